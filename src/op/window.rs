//! The sliding window that convolutions and pools share.

use serde::{Deserialize, Serialize};

/// A window over rows and columns of a channels-last tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Rows and columns from one window to the next.
    pub strides: [usize; 2],
    /// Rows and columns from one tap to the next.
    pub dilations: [usize; 2],
    /// Padding: top, left, bottom, right. `auto_pad` and `ceil_mode` were resolved at import.
    pub pads: [usize; 4],
}
