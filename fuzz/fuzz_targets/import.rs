//! Any bytes give a graph that obeys the verifier's rules, or an error that says something.
//!
//! `cargo +nightly fuzz run import fuzz/corpus/import fuzz/seeds/import`

#![no_main]

use libfuzzer_sys::fuzz_target;
use tinsmith::import::{self, ImportError, Options};
use tinsmith::ir::verify::verify;

fuzz_target!(|bytes: &[u8]| {
    match import::onnx(bytes, &Options::default()) {
        Ok(graph) => verify(&graph).expect("what imports obeys the rules"),
        Err(ImportError::Problems(problems)) => assert!(!problems.is_empty(), "an error has a reason"),
        Err(
            ImportError::NotProtobuf { .. }
            | ImportError::TooLarge { .. }
            | ImportError::TooMuch { .. }
            | ImportError::NoGraph,
        ) => {}
    }
});
