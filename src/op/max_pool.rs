//! MaxPool: <https://onnx.ai/onnx/operators/onnx__MaxPool.html>, two spatial axes, channels-last.

use serde::{Deserialize, Serialize};

use super::{Clamp, Window};

/// The largest of each window; padding does not take part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaxPool {
    /// Kernel, strides, dilations, padding.
    pub window: Window,
    /// The activation fused behind it.
    pub clamp: Clamp,
}
