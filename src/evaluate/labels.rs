//! What is known to be right of the samples.

use std::borrow::Cow;

use super::EvaluateError;
use crate::data::DataError;
use crate::data::coco::Coco;
use crate::data::npy::Array;
use crate::op::tensor::Values;

/// What is known to be right.
#[derive(Debug)]
pub enum Labels {
    /// A class per sample, or per group of samples.
    Classes(Vec<i64>),
    /// A whole output per sample, or a map of classes.
    Outputs(Array),
    /// Boxes in images.
    Boxes(Coco),
}

impl Labels {
    /// Labels from an array: whole outputs where it has one per sample and more than one number in each, else
    /// classes.
    ///
    /// # Errors
    /// Where the file cannot be read, or classes are no whole numbers.
    pub fn new(array: Array, samples: usize) -> Result<Self, DataError> {
        if array.len() > samples && array.shape.first() == Some(&samples) {
            return Ok(Self::Outputs(array));
        }
        Ok(Self::Classes(array.read_integers()?))
    }
}

/// What outputs are compared with, number by number.
#[derive(Clone, Copy)]
pub(super) enum Truth<'o> {
    /// The float model's own outputs.
    Float,
    /// A row of numbers per sample.
    Rows(&'o Array),
}

impl<'o> Truth<'o> {
    /// The rows of `array`, each of `wanted` numbers.
    ///
    /// # Errors
    /// Where it holds another number of numbers.
    pub(super) fn rows(array: &'o Array, wanted: usize, samples: usize) -> Result<Self, EvaluateError> {
        if array.len() != wanted * samples {
            return Err(EvaluateError::LabelShape {
                found: array.shape.clone(),
                wanted,
            });
        }
        Ok(Self::Rows(array))
    }

    /// What is right for a sample, where the float model gives `float`.
    pub(super) fn of(self, sample: usize, float: &[f64]) -> Result<Cow<'_, [f64]>, EvaluateError> {
        Ok(match self {
            Self::Float => float.into(),
            Self::Rows(array) => row(array, sample, float.len())?.into(),
        })
    }
}

/// The numbers that an array of `count` numbers per sample has for a sample.
pub(super) fn row(array: &Array, sample: usize, count: usize) -> Result<Vec<f64>, DataError> {
    Ok(Values::new([count], array.read(sample * count, count)?).to_f64())
}
