//! Random numbers: refused, each by name.

use super::{Call, Importer, Made, onnx};
use crate::op::OpError;

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("Bernoulli", refuse),
    onnx("Multinomial", refuse),
    onnx("RandomNormal", refuse),
    onnx("RandomNormalLike", refuse),
    onnx("RandomUniform", refuse),
    onnx("RandomUniformLike", refuse),
];

/// What a node asks for in vain.
pub(super) const WANTED: &str = "random numbers wanted, which a compiler has not";

fn refuse(_call: &mut Call<'_>) -> Made {
    Err(OpError::new(WANTED).with_help("make the random numbers an input of the model"))
}
