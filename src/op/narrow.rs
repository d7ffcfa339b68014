//! Element types of at most eight bits: <https://onnx.ai/onnx/technical/float8.html>,
//! <https://onnx.ai/onnx/technical/int4.html>.

/// An element type that holds values, but computes nothing: `Cast`, `QuantizeLinear` and `DequantizeLinear` lead to
/// and from it, and data movement knows it. Elements are codes, one in a byte, unused upper bits zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Narrow {
    /// Two bits, two's complement.
    I2,
    /// Two bits, unsigned.
    U2,
    /// Four bits, two's complement.
    I4,
    /// Four bits, unsigned.
    U4,
    /// Sign, two bits of exponent, one of mantissa.
    F4E2M1,
    /// Sign, four bits of exponent, three of mantissa; no infinities.
    F8E4M3Fn,
    /// The same with one zero and one NaN.
    F8E4M3FnUz,
    /// Sign, five bits of exponent, two of mantissa; as IEEE 754.
    F8E5M2,
    /// The same without infinities, with one zero and one NaN.
    F8E5M2FnUz,
    /// A power of two; no sign, no zero.
    F8E8M0,
}

impl Narrow {
    /// Bits of one element in a file, where elements are packed, the first one lowest.
    pub const fn bits(self) -> usize {
        match self {
            Self::I2 | Self::U2 => 2,
            Self::I4 | Self::U4 | Self::F4E2M1 => 4,
            Self::F8E4M3Fn | Self::F8E4M3FnUz | Self::F8E5M2 | Self::F8E5M2FnUz | Self::F8E8M0 => 8,
        }
    }

    /// Its name in text graphs and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::I2 => "i2",
            Self::U2 => "u2",
            Self::I4 => "i4",
            Self::U4 => "u4",
            Self::F4E2M1 => "f4e2m1",
            Self::F8E4M3Fn => "f8e4m3fn",
            Self::F8E4M3FnUz => "f8e4m3fnuz",
            Self::F8E5M2 => "f8e5m2",
            Self::F8E5M2FnUz => "f8e5m2fnuz",
            Self::F8E8M0 => "f8e8m0",
        }
    }

    /// The integer that a code stands for; `None` of float types.
    pub const fn to_integer(self, code: u8) -> Option<i8> {
        match self {
            Self::I2 => Some(((code << 6) as i8) >> 6),
            Self::I4 => Some(((code << 4) as i8) >> 4),
            Self::U2 => Some((code & 3) as i8),
            Self::U4 => Some((code & 15) as i8),
            Self::F4E2M1
            | Self::F8E4M3Fn
            | Self::F8E4M3FnUz
            | Self::F8E5M2
            | Self::F8E5M2FnUz
            | Self::F8E8M0 => None,
        }
    }

    /// The code of the nearest number, ties to the even code; beyond the ends, that of the greatest or least number.
    pub fn encode(self, x: f32) -> u8 {
        let codes = 0..=((1_u16 << self.bits()) - 1) as u8;
        if x.is_nan() {
            return codes
                .clone()
                .find(|&code| self.decode(code).is_nan())
                .unwrap_or(0);
        }
        let mut best = (f32::INFINITY, 0);
        for code in codes {
            let value = self.decode(code);
            let distance = (value - x).abs();
            let signs_agree = value.is_sign_negative() == x.is_sign_negative();
            let nearer = distance < best.0 || distance == best.0 && code % 2 == 0 && signs_agree;
            if value.is_finite() && nearer {
                best = (distance, code);
            }
        }
        best.1
    }

    /// The number that a code stands for.
    pub fn decode(self, code: u8) -> f32 {
        let code = u32::from(code);
        match self {
            Self::I2 | Self::U2 | Self::I4 | Self::U4 => {
                f32::from(self.to_integer(code as u8).unwrap_or_default())
            }
            Self::F4E2M1 => float(code, 3, 1, 1),
            Self::F8E4M3Fn if code & 0x7f == 0x7f => f32::NAN,
            Self::F8E4M3Fn => float(code, 7, 3, 7),
            Self::F8E5M2 if code & 0x7f > 0x7c => f32::NAN,
            Self::F8E5M2 if code & 0x7f == 0x7c => f32::INFINITY.copysign(float(code, 7, 2, 15)),
            Self::F8E5M2 => float(code, 7, 2, 15),
            Self::F8E4M3FnUz | Self::F8E5M2FnUz if code == 0x80 => f32::NAN,
            Self::F8E4M3FnUz => float(code, 7, 3, 8),
            Self::F8E5M2FnUz => float(code, 7, 2, 16),
            Self::F8E8M0 if code == 0xff => f32::NAN,
            Self::F8E8M0 => 2f64.powi(code as i32 - 127) as f32,
        }
    }
}

/// The float of a sign at bit `sign_bit`, an exponent with `bias`, and `mantissa_bits` of mantissa.
fn float(code: u32, sign_bit: u32, mantissa_bits: u32, bias: i32) -> f32 {
    let mantissa = code & ((1 << mantissa_bits) - 1);
    let exponent = ((code & ((1 << sign_bit) - 1)) >> mantissa_bits) as i32;
    let (significand, exponent) = if exponent == 0 {
        (mantissa, 1)
    } else {
        (mantissa | 1 << mantissa_bits, exponent)
    };
    let value = f64::from(significand) * 2f64.powi(exponent - bias - mantissa_bits as i32);
    let value = value as f32;
    if code >> sign_bit & 1 == 1 { -value } else { value }
}
