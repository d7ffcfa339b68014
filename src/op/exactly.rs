//! Constants of int8 or of reals as exact numbers.

use super::quant::{QuantTensor, Quantization};

/// `steps · scale`; no more than 255 steps in magnitude, and the scale not negative.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exactly {
    pub(super) steps: i32,
    pub(super) scale: f32,
}

/// The elements of a constant in their order; `None` where it is none, or has a scale per channel.
pub(super) fn exactly(tensor: &QuantTensor) -> Option<Vec<Exactly>> {
    let values = tensor.data.as_deref()?;
    match (&tensor.quantization, values.as_i8(), values.as_f32()) {
        (Quantization::PerTensor(params), Some(codes), _) => {
            let steps = codes.iter().map(|&code| i32::from(code) - params.zero_point);
            let scale = params.scale;
            Some(steps.map(|steps| Exactly { steps, scale }).collect())
        }
        (Quantization::Plain, _, Some(reals)) => {
            let exactly = reals.iter().map(|&real| Exactly {
                steps: if real < 0.0 { -1 } else { i32::from(real != 0.0) },
                scale: real.abs(),
            });
            Some(exactly.collect())
        }
        _ => None,
    }
}
