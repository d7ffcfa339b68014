//! What the codes of a quantized activation stand for.

use crate::op::quant::{QuantParams, QuantTensor};
use crate::op::tensor::{DType, Data};

/// The codes of a quantized activation: int8, or int16.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Codes {
    params: QuantParams,
    is_wide: bool,
}

impl Codes {
    /// int16 codes where they are wide, else int8.
    pub(super) const fn new(params: QuantParams, is_wide: bool) -> Self {
        Self { params, is_wide }
    }

    /// Those of a tensor; `None` of one that is no quantized activation.
    pub(super) fn of(tensor: &QuantTensor) -> Option<Self> {
        Some(Self::new(tensor.params()?, tensor.is_wide()))
    }

    /// Real units of a step.
    pub(super) const fn scale(self) -> f32 {
        self.params.scale
    }

    /// The zero point, in the codes' own type.
    pub(super) fn zero_point(self) -> Data {
        let zero_point = self.params.zero_point;
        if self.is_wide {
            Data::I16(vec![zero_point as i16])
        } else {
            Data::I8(vec![zero_point as i8])
        }
    }

    /// Their element type.
    pub(super) const fn dtype(self) -> DType {
        if self.is_wide { DType::I16 } else { DType::I8 }
    }

    /// What a code stands for.
    pub(super) fn real(self, code: i32) -> f64 {
        f64::from(code - self.params.zero_point) * f64::from(self.params.scale)
    }

    /// What stored codes stand for, one after the other; bytes are little-endian.
    pub(super) fn reals(self, bytes: &[u8]) -> Vec<f64> {
        if self.is_wide {
            let codes = bytes.as_chunks().0.iter();
            codes
                .map(|&code| self.real(i16::from_le_bytes(code).into()))
                .collect()
        } else {
            bytes.iter().map(|&code| self.real((code as i8).into())).collect()
        }
    }

    /// The least and the greatest code.
    const fn ends(self) -> (i32, i32) {
        if self.is_wide {
            (i16::MIN as i32, i16::MAX as i32)
        } else {
            (i8::MIN as i32, i8::MAX as i32)
        }
    }

    /// The least and the greatest real that there is a code for.
    pub(super) fn range(self) -> (f64, f64) {
        let (least, greatest) = self.ends();
        (self.real(least), self.real(greatest))
    }

    /// The range outside of which values count: a step beyond what the codes stand for, since rounding could lose as much.
    pub(super) fn bounds(self) -> (f64, f64) {
        let (least, greatest) = self.ends();
        (self.real(least - 1), self.real(greatest + 1))
    }
}
