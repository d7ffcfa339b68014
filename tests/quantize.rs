//! Quantization: the threshold solver against exact rational arithmetic, models taken as they stand, calibration.

mod calibrate;
mod lowering;
mod meaning;
mod reference;
mod rescale;
