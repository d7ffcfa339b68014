//! Samples: what calibration and evaluation feed to a graph. Reading them from files is [`crate::data`]'s.

use crate::op::tensor::Values;

/// Why a sample cannot be had: the file, what was wanted, what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}: {reason}")]
pub struct SampleError {
    /// The file or array.
    pub source_name: String,
    /// What was wanted and what was found.
    pub reason: String,
}

/// A number of complete inputs, read one at a time, so that memory does not grow with their number.
pub trait Samples: Sync {
    /// Number of samples.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sample `index`: one value per graph input, in their order, in the ONNX model's layout and element type.
    ///
    /// # Errors
    /// Where the source cannot be read or holds a NaN.
    fn get(&self, index: usize) -> Result<Vec<Values>, SampleError>;
}

/// No samples: for models that need no calibration.
pub struct NoSamples;

impl Samples for NoSamples {
    fn len(&self) -> usize {
        0
    }
    fn get(&self, index: usize) -> Result<Vec<Values>, SampleError> {
        Err(SampleError {
            source_name: "samples".into(),
            reason: format!("no sample {index}: there are none"),
        })
    }
}

/// Told about work done, for progress bars: what is going on, how much is done, of how much. Called from any thread.
pub type Progress<'a> = &'a (dyn Fn(&str, usize, usize) + Sync);
