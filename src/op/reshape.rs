//! Reshape, and all that only renames extents: Flatten, Squeeze, Unsqueeze.

use serde::{Deserialize, Serialize};

use super::tensor::Shape;

/// The same elements under another shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reshape {
    /// The resolved shape: no 0, no −1.
    pub shape: Shape,
}
