//! The float matrix product behind convolution and dense layers.
