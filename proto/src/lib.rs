//! The messages of an ONNX file, generated from `onnx.proto` at build time.
//!
//! Decoding is [`Message::decode`]: it checks the protobuf encoding and nothing of ONNX's rules. What a model means is
//! for the compiler's `import` stage; its `emit` stage writes such files, and no other names these types.

#[allow(unused_qualifications, clippy::all, reason = "generated")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}

pub use generated::*;
pub use prost::{DecodeError, Message};
