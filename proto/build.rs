//! Turns `onnx.proto` into Rust with protox, so that no protoc is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=onnx.proto");
    let schema = protox::compile(["onnx.proto"], ["."])?;
    prost_build::Config::new().compile_fds(schema)?;
    Ok(())
}
