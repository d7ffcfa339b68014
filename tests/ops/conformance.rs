//! ONNX's own backend tests.
