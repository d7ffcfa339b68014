//! Element types of at most eight bits: <https://onnx.ai/onnx/technical/float8.html>,
//! <https://onnx.ai/onnx/technical/int4.html>.

use serde::{Deserialize, Serialize};

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

/// How numbers become those of an 8-bit float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoding {
    /// Whether what lies beyond the greatest number becomes that; otherwise infinity, or NaN where there is none.
    pub saturate: bool,
    /// Rounding to powers of two, [`Narrow::F8E8M0`]; all others round to nearest, ties to even.
    pub round: RoundMode,
}

impl Default for Encoding {
    /// What ONNX does unless told otherwise.
    fn default() -> Self {
        Self {
            saturate: true,
            round: RoundMode::Up,
        }
    }
}

/// Rounding to powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoundMode {
    /// To the next greater.
    Up,
    /// To the next smaller.
    Down,
    /// To the nearer; from the middle, up.
    Nearest,
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

    /// Whether it holds integers.
    pub const fn is_integer(self) -> bool {
        self.to_integer(0).is_some()
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

    /// The code of the nearest number, ties to the even code; `encoding` says what lies beyond the ends.
    ///
    /// Integers are cut toward zero and keep their lowest bits, as [`Cast`](super::Cast) has it. A NaN becomes the
    /// type's NaN; where it has none, zero of a negative sign. The float of a NaN without a sign is the positive one.
    pub fn encode(self, x: f64, encoding: Encoding) -> u8 {
        match self {
            Self::I2 | Self::U2 | Self::I4 | Self::U4 => self.wrap(x as i64 as i128),
            Self::F8E8M0 => power_of_two(x, encoding),
            Self::F4E2M1 if x.is_nan() => 0x8,
            Self::F4E2M1 => {
                let magnitude = round(x.abs(), 1, 1).min(0x7) as u8;
                magnitude | u8::from(x.is_sign_negative()) << 3
            }
            Self::F8E4M3Fn | Self::F8E4M3FnUz | Self::F8E5M2 | Self::F8E5M2FnUz => self.float8(x, encoding),
        }
    }

    /// The lowest bits of an integer.
    pub const fn wrap(self, x: i128) -> u8 {
        x as u8 & ((1_u16 << self.bits()) - 1) as u8
    }

    /// The code of an integer, limited to the ends of the type; floats saturate as well.
    pub fn saturate(self, x: i64) -> u8 {
        let (low, high) = match self {
            Self::I2 => (-2, 1),
            Self::U2 => (0, 3),
            Self::I4 => (-8, 7),
            Self::U4 => (0, 15),
            Self::F4E2M1
            | Self::F8E4M3Fn
            | Self::F8E4M3FnUz
            | Self::F8E5M2
            | Self::F8E5M2FnUz
            | Self::F8E8M0 => return self.encode(x as f64, Encoding::default()),
        };
        self.wrap(x.clamp(low, high).into())
    }

    /// A float8 with a sign: one rounding, from whatever type.
    fn float8(self, x: f64, encoding: Encoding) -> u8 {
        // Mantissa bits, bias, the codes of the greatest number and of what lies beyond it.
        let (mantissa_bits, bias, greatest, beyond, nan) = match self {
            Self::F8E4M3Fn => (3, 7, 0x7e, 0x7f, 0x7f),
            Self::F8E5M2 => (2, 15, 0x7b, 0x7c, 0x7e),
            Self::F8E4M3FnUz => (3, 8, 0x7f, 0x80, 0x80),
            _ => (2, 16, 0x7f, 0x80, 0x80),
        };
        let sign = if x.is_sign_negative() { 0x80 } else { 0 };
        let magnitude = if x.is_nan() {
            nan
        } else {
            match round(x.abs(), mantissa_bits, bias) {
                code if code <= greatest => code as u8,
                _ if encoding.saturate => greatest as u8,
                _ => beyond,
            }
        };
        let one_zero = matches!(self, Self::F8E4M3FnUz | Self::F8E5M2FnUz);
        // The code of a negative zero is the NaN of types with one zero.
        if one_zero && (magnitude == 0 || magnitude == 0x80) {
            magnitude
        } else {
            magnitude | sign
        }
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

/// The code of the nearest float with this much mantissa and this bias, as if there were exponents without end; ties go
/// to the even code. `x` is not negative; the code of infinity is beyond all others.
fn round(x: f64, mantissa_bits: i32, bias: i32) -> u64 {
    if x.is_infinite() {
        return u64::MAX;
    }
    let least_exponent = 1 - bias;
    let exponent = ((x.to_bits() >> 52) as i32 - 1023).max(least_exponent);
    // A power of two, so that the quotient is exact but where it vanishes beside a half anyway.
    let step = 2f64.powi(exponent - mantissa_bits);
    let steps = (x / step).round_ties_even() as u64;
    // The leading bit of a normal number counts one exponent up, and so does a carry out of the mantissa.
    (((exponent - least_exponent) as u64) << mantissa_bits) + steps
}

/// The code of a power of two. Numbers below zero have none near them: NaN.
fn power_of_two(x: f64, Encoding { saturate, round }: Encoding) -> u8 {
    const NAN: u8 = 0xff;
    const LEAST: i32 = -127;
    const GREATEST: i32 = 127;
    if x.is_nan() || x < 0.0 {
        return NAN;
    }
    // f64 subnormals lie far below the least power, where only that counts.
    let floor = if x.is_infinite() {
        GREATEST + 1
    } else {
        (x.to_bits() >> 52 & 0x7ff) as i32 - 1023
    };
    let mantissa = x.to_bits() & ((1 << 52) - 1);
    let up = match round {
        RoundMode::Up => mantissa != 0,
        RoundMode::Down => false,
        RoundMode::Nearest => mantissa >= 1 << 51,
    };
    let exponent = floor + i32::from(up && x.is_finite());
    if (LEAST..=GREATEST).contains(&exponent) && (saturate || floor >= LEAST) {
        (exponent - LEAST) as u8
    } else if saturate {
        (exponent.clamp(LEAST, GREATEST) - LEAST) as u8
    } else {
        NAN
    }
}
