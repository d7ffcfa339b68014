//! Emulated boards compute what the simulator computes: every byte of every layer.

mod edge;
mod handmade;
mod models;
mod wide;

use std::collections::BTreeSet;

use tinsmith::simulate::{BoardError, SimulateError, Simulator, board};
use tinsmith::target::Target;
use tinsmith_runtime::format::{Dequantize16, Quantize16};
use tinsmith_runtime::kernels::{self, Layer};
use tinsmith_runtime::{Blob, BlobError};

use crate::blobs;

/// What a board did; `None`, with the reason in one line, where no emulator or no toolchain is to be had.
fn boot(target: &Target, blob: &[u8], inputs: &[Vec<Vec<u8>>]) -> Option<board::BoardRun> {
    match board::run(target, blob, inputs) {
        Ok(run) => Some(run),
        Err(
            error @ (BoardError::EmulatorMissing { .. }
            | BoardError::ToolchainMissing { .. }
            | BoardError::LinkerMissing { .. }),
        ) => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{}: {error}", target.name),
    }
}

/// Runs the blob with a step of every kind on a board, and holds it against the simulator.
fn check(name: &str) {
    let target = Target::builtin(name).unwrap();
    let (blob, inputs) = (handmade::blob(), handmade::inputs(3));
    let Some(run) = boot(&target, &blob, &inputs) else {
        return;
    };
    assert_eq!(board::compare(&blob, &inputs, &run).unwrap(), None);

    let steps = Blob::check(&blob).unwrap().steps().count();
    assert!(run.traces.iter().all(|trace| trace.len() == steps));
    let mut simulator = Simulator::new(&blob).unwrap();
    for (inputs, outputs) in inputs.iter().zip(&run.outputs) {
        assert_eq!(&simulator.run(&[&inputs[0]]).unwrap(), outputs);
    }
    // The untraced run does the same work, and nothing but it, to the resolution of the timer.
    let traced: u64 = run.instructions[0].iter().sum();
    assert!(
        run.total_instructions.abs_diff(traced) < 200 * steps as u64,
        "{traced} traced, {}",
        run.total_instructions
    );
    // The same again: what is counted under `-icount` repeats exactly.
    let again = boot(&target, &blob, &inputs).unwrap();
    assert_eq!(run, again);
}

/// The tests of one board.
macro_rules! board_tests {
    ($($module:ident: $name:literal,)*) => {
        const TESTED: &[&str] = &[$($name),*];

        $(mod $module {
            #[test]
            fn equals_the_simulator_in_a_step_of_every_kind() {
                super::check($name);
            }

            #[test]
            fn equals_the_simulator_in_the_demo() {
                super::models::check_demo($name);
            }

            #[test]
            fn equals_the_simulator_and_onnx_in_the_reference_models() {
                super::models::check_references($name);
            }
        })*
    };
}

board_tests! {
    mps2_an385: "mps2-an385",
    mps2_an386: "mps2-an386",
    mps2_an500: "mps2-an500",
    mps2_an505: "mps2-an505",
    mps3_an547: "mps3-an547",
    riscv32_virt: "riscv32-virt",
}

#[test]
fn every_emulated_target_is_tested() {
    let emulated: Vec<&str> = Target::names()
        .filter(|name| Target::builtin(name).unwrap().emulator.is_some())
        .collect();
    assert_eq!(emulated, TESTED);
}

#[test]
fn the_blob_by_hand_has_a_step_of_every_integer_kind() {
    let blob = handmade::blob();
    let blob = Blob::check(&blob).unwrap();
    let found: BTreeSet<u8> = blob.steps().map(|layer: Layer| layer.opcode()).collect();
    let lists = kernels::INT8.iter().chain(kernels::INT16);
    let mut all: BTreeSet<u8> = lists.map(|kernel| kernel.opcode).collect();
    all.extend([Quantize16::OPCODE, Dequantize16::OPCODE]);
    assert_eq!(found, all);
}

#[test]
fn a_difference_is_found_where_it_is() {
    let (blob, inputs) = (handmade::blob(), handmade::inputs(2));
    let mut run = board::BoardRun {
        outputs: vec![],
        traces: vec![],
        instructions: vec![],
        total_instructions: 0,
    };
    let mut simulator = Simulator::new(&blob).unwrap();
    for inputs in &inputs {
        let mut trace = Vec::new();
        simulator
            .run_traced(&[&inputs[0]], &mut |_, bytes| trace.push(bytes.to_vec()))
            .unwrap();
        run.traces.push(trace);
    }
    assert_eq!(board::compare(&blob, &inputs, &run).unwrap(), None);
    run.traces[1][4][17] ^= 0x10;
    let difference = board::compare(&blob, &inputs, &run).unwrap().unwrap();
    assert_eq!(
        (difference.inference, difference.step, difference.byte),
        (1, 4, 17)
    );
    assert_eq!(difference.wanted ^ difference.found, 0x10);
}

#[test]
fn a_blob_that_is_not_sound_is_refused_by_name() {
    let blob = handmade::blob();
    let refused = |bytes: &[u8]| match Simulator::new(bytes) {
        Err(SimulateError::Blob(error)) => error,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was accepted"),
    };
    assert!(matches!(
        refused(&blob[..blob.len() - 1]),
        BlobError::Truncated { .. }
    ));
    assert_eq!(refused(b"no blob"), BlobError::NotABlob);
    let changed = |at: usize, value: u8| {
        let mut blob = blob.clone();
        blob[at] = value;
        blobs::seal(&mut blob);
        blob
    };
    let mut flipped = blob.clone();
    flipped[200] ^= 4;
    assert_eq!(refused(&flipped), BlobError::Checksum);
    assert!(matches!(
        refused(&changed(4, 2)),
        BlobError::Version { found: 2, .. }
    ));
    assert!(matches!(
        refused(&changed(6, 9)),
        BlobError::Lanes { found: 9, .. }
    ));
}

#[test]
fn inputs_of_another_size_are_refused() {
    let blob = handmade::blob();
    let wrong = SimulateError::Inputs {
        wanted: vec![315],
        found: vec![314],
    };
    assert_eq!(Simulator::new(&blob).unwrap().run(&[&[0; 314]]), Err(wrong));
    let target = Target::builtin("mps2-an385").unwrap();
    let error = board::run(&target, &blob, &[vec![vec![0; 314]]]).unwrap_err();
    assert!(matches!(error, BoardError::Inputs { .. }), "{error}");
}

#[test]
fn a_target_without_a_board_is_refused() {
    let target = Target::builtin("host-x86-64").unwrap();
    let error = board::run(&target, &handmade::blob(), &[]).unwrap_err();
    assert!(matches!(error, BoardError::NoBoard { .. }), "{error}");
}

#[test]
fn a_missing_emulator_is_named() {
    let mut target = Target::builtin("mps2-an385").unwrap();
    target.emulator.as_mut().unwrap().program = "qemu-system-nothing".into();
    let error = board::run(&target, &handmade::blob(), &[]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`qemu-system-nothing` is not installed"),
        "{error}"
    );
}

#[test]
fn a_missing_compiler_target_is_named_with_the_way_to_it() {
    let error = tinsmith::simulate::toolchain::Toolchain::find("thumbv9-none-eabi");
    // A compiler with the library's sources is tried with any target.
    if let Err(error) = error {
        assert!(
            error.to_string().contains("rustup target add thumbv9-none-eabi"),
            "{error}"
        );
    }
}
