//! Passes: `tests/passes/<pass>/<case>.txt` is a graph as text; the pass alone makes of it the snapshot beside it. Each
//! case is also run through the reference executor, before and after.

use std::fs;
use std::path::Path;

use tinsmith::ir::text::{Constants, parse, print};
use tinsmith::ir::verify::verify;
use tinsmith::ir::{FloatGraph, TensorInfo};
use tinsmith::op::tensor::{DType, Data, TensorType, Values};
use tinsmith::optimize::{self, PASSES, Pass};
use tinsmith::reference;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/passes");

/// Passes that compute new constants; all others move or drop what is there.
const APPROXIMATE: &[&str] = &[
    "decompose-batch-norm",
    "fold-batch-norm",
    "fold-channel-scale",
    "fold-input-scale",
    "fuse-bias",
    "reduce-mean-to-pool",
];

fn cases(pass: &str) -> Vec<std::path::PathBuf> {
    let mut cases: Vec<_> = fs::read_dir(Path::new(FOLDER).join(pass))
        .unwrap_or_else(|error| panic!("tests/passes/{pass}: {error}"))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    cases.sort();
    cases
}

/// Values of any type that are neither regular nor large.
fn noise(ty: &TensorType, seed: u64) -> Values {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as i64
    };
    let len = ty.len();
    let data = match ty.dtype {
        DType::F32 => Data::F32((0..len).map(|_| (next() % 2001 - 1000) as f32 / 256.0).collect()),
        DType::F64 => Data::F64((0..len).map(|_| (next() % 2001 - 1000) as f64 / 256.0).collect()),
        DType::I8 => Data::I8((0..len).map(|_| next() as i8).collect()),
        DType::U8 => Data::U8((0..len).map(|_| next() as u8).collect()),
        DType::I16 => Data::I16((0..len).map(|_| next() as i16).collect()),
        DType::I32 => Data::I32((0..len).map(|_| (next() % 100) as i32).collect()),
        DType::I64 => Data::I64((0..len).map(|_| next() % 100).collect()),
        DType::Bool => Data::Bool((0..len).map(|_| next() % 2 == 0).collect()),
    };
    Values::new(ty.shape.clone(), data)
}

fn transposes(graph: &FloatGraph) -> usize {
    let nodes = graph.nodes.iter();
    nodes.filter(|node| node.op.name() == "Transpose").count()
}

fn outputs(graph: &FloatGraph, seed: u64) -> Vec<Values> {
    let inputs: Vec<Values> = graph
        .inputs
        .iter()
        .zip(seed..)
        .map(|(&input, seed)| noise(&graph.tensors[input].ty, seed))
        .collect();
    reference::run(graph, &inputs).unwrap()
}

/// Equal types; and elements no further apart than `tolerance` of the range of the output.
fn assert_close(before: &[Values], after: &[Values], tolerance: f64, context: &str) {
    assert_eq!(before.len(), after.len(), "{context}");
    for (before, after) in before.iter().zip(after) {
        assert_eq!(before.ty(), after.ty(), "{context}");
        let (before, after) = (before.to_f64(), after.to_f64());
        let range = before.iter().fold(0.0f64, |range, x| range.max(x.abs()));
        for (i, (x, y)) in before.iter().zip(&after).enumerate() {
            assert!(
                (x - y).abs() <= tolerance * range,
                "{context}: element {i} was {x}, is {y}, of a range of {range}"
            );
        }
    }
}

fn check(pass: &Pass, case: &Path) {
    let name = case.file_stem().unwrap().to_str().unwrap();
    let context = format!("{}/{name}", pass.name);
    let text = fs::read_to_string(case).unwrap();
    let mut graph: FloatGraph = parse(&text).unwrap_or_else(|error| panic!("{context}: {error}"));
    verify(&graph).unwrap_or_else(|error| panic!("{context}: {error}"));
    let before = graph.clone();
    let rewrites = optimize::apply(pass, &mut graph).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(
        rewrites == 0,
        name.starts_with("refuses"),
        "{context}: {rewrites} rewrites"
    );
    let again = optimize::apply(pass, &mut graph.clone()).unwrap();
    assert_eq!(again, 0, "{context}: the pass finds work in its own result");
    let tolerance = if APPROXIMATE.contains(&pass.name) {
        1e-5
    } else {
        0.0
    };
    for seed in 1..4 {
        assert_close(
            &outputs(&before, seed),
            &outputs(&graph, seed),
            tolerance,
            &context,
        );
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(case.parent().unwrap());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, print(&graph, Constants::Summary)));
}

#[test]
fn every_pass_does_what_its_cases_say() {
    for pass in PASSES {
        let cases = cases(pass.name);
        let refuses =
            |path: &&std::path::PathBuf| path.file_stem().unwrap().to_str().unwrap().starts_with("refuses");
        assert!(
            cases.iter().any(|case| !refuses(&case)) && cases.iter().any(|case| refuses(&case)),
            "{} has cases that it rewrites and cases that it refuses",
            pass.name
        );
        for case in &cases {
            check(pass, case);
        }
    }
}

#[test]
fn every_case_means_the_same_after_all_passes() {
    for pass in PASSES {
        for case in cases(pass.name) {
            let before: FloatGraph = parse(&fs::read_to_string(&case).unwrap()).unwrap();
            let after = optimize::run(before.clone(), &optimize::Options::default()).unwrap();
            assert!(transposes(&after) <= transposes(&before), "{}", case.display());
            for seed in 1..4 {
                let context = case.display().to_string();
                assert_close(&outputs(&before, seed), &outputs(&after, seed), 1e-5, &context);
            }
        }
    }
}

#[test]
fn printed_graphs_read_back_as_they_were() {
    for pass in PASSES {
        for case in cases(pass.name) {
            let graph: FloatGraph = parse(&fs::read_to_string(&case).unwrap()).unwrap();
            let full = print(&graph, Constants::Full);
            let again: FloatGraph = parse(&full).unwrap();
            assert_eq!(full, print(&again, Constants::Full), "{}", case.display());
            assert_eq!(graph.nodes.len(), again.nodes.len());
            for (before, after) in graph.nodes.iter().zip(&again.nodes) {
                assert_eq!((&before.name, &before.op), (&after.name, &after.op));
                for (&x, &y) in before.inputs.iter().zip(&after.inputs) {
                    let (x, y) = (&graph.tensors[x], &again.tensors[y]);
                    assert_eq!((&x.name, &x.ty, x.data()), (&y.name, &y.ty, y.data()));
                }
            }
        }
    }
}
