//! What a metric is made of: a look at both models' outputs for each sample, and figures at the end.

use std::sync::OnceLock;

use super::{EvaluateError, Metric};
use crate::op::tensor::Values;

/// A metric at work.
pub(super) trait Judge: Sync {
    /// Looks at one sample. Every sample is shown once, in any order and from any thread.
    ///
    /// # Errors
    /// Where the sample's label or outputs are not what the metric is made for.
    fn see(&self, seen: &Seen<'_>) -> Result<(), EvaluateError>;

    /// The figures over all samples, taken in their order, when all were shown.
    ///
    /// # Errors
    /// Where the samples or labels have no such figure.
    fn figures(&self) -> Result<Metric, EvaluateError>;
}

/// A sample and what both models gave for it.
pub(super) struct Seen<'s> {
    /// Which sample.
    pub(super) sample: usize,
    /// The sample itself, in the ONNX model's own layout.
    pub(super) inputs: &'s [Values],
    /// All outputs, in the ONNX model's own layout.
    pub(super) outputs: Both<&'s [Values]>,
    /// The numbers of the first output.
    pub(super) first: Both<Vec<f64>>,
}

/// A thing seen of the float and of the quantized model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Both<T> {
    pub(super) float: T,
    pub(super) quantized: T,
}

impl<T> Both<T> {
    pub(super) fn map<'b, U>(&'b self, f: impl Fn(&'b T) -> U) -> Both<U> {
        Both {
            float: f(&self.float),
            quantized: f(&self.quantized),
        }
    }

    pub(super) fn try_map<'b, U, E>(&'b self, f: impl Fn(&'b T) -> Result<U, E>) -> Result<Both<U>, E> {
        Ok(Both {
            float: f(&self.float)?,
            quantized: f(&self.quantized)?,
        })
    }
}

/// What a metric keeps of each sample, filled in from any thread.
pub(super) struct Slots<D>(Vec<OnceLock<D>>);

impl<D> Slots<D> {
    /// Empty slots, one per sample.
    pub(super) fn new(samples: usize) -> Self {
        Self((0..samples).map(|_| OnceLock::new()).collect())
    }

    /// Keeps something of a sample.
    pub(super) fn put(&self, sample: usize, kept: D) {
        let is_first = self.0[sample].set(kept).is_ok();
        debug_assert!(is_first, "a sample is shown once");
    }

    /// Number of samples.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What was kept, in the samples' order.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &D> + Clone {
        self.0.iter().map(|slot| {
            slot.get()
                .expect("figures are asked for when every sample was shown")
        })
    }
}
