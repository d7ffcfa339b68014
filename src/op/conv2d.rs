//! Conv: <https://onnx.ai/onnx/operators/onnx__Conv.html>, two spatial axes, channels-last.

use serde::{Deserialize, Serialize};

use super::{Clamp, Window};

/// `y[n,h,w,o] = clamp(b[o] + Σ x[n, h·s+ky·d−p, …, i]·weights[o,ky,kx,i])`.
///
/// Inputs: `x [n, h, w, c]`, `weights [out_c, kernel_h, kernel_w, c / groups]`, optionally `bias [out_c]`. Depthwise
/// where `groups = c`. One-dimensional convolutions have `h = 1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv2d {
    /// Kernel, strides, dilations, padding.
    pub window: Window,
    /// Channel groups.
    pub groups: usize,
    /// The activation fused behind it.
    pub clamp: Clamp,
}
