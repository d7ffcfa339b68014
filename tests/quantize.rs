//! Quantization: the threshold solver against exact rational arithmetic, models taken as they stand, calibration.

mod calibrate;
pub(crate) mod case;
mod computed;
mod concats;
mod encodings;
mod given;
mod lowering;
mod meaning;
mod mixed;
mod qdq;
mod reference;
mod rescale;
mod rows;
mod steps;
mod weight_forms;
mod wide;
mod widen;
