//! AveragePool and GlobalAveragePool: <https://onnx.ai/onnx/operators/onnx__AveragePool.html>, channels-last.

use serde::{Deserialize, Serialize};

use super::{Clamp, Window};

/// The mean of each window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AveragePool {
    /// Kernel, strides, dilations, padding.
    pub window: Window,
    /// Whether padding counts, as zeros, in the window's size.
    pub count_include_pad: bool,
    /// The activation fused behind it.
    pub clamp: Clamp,
}
