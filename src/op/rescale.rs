//! The threshold solver: the integers that mean what ONNX means.
