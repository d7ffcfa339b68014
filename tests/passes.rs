//! Passes: `tests/passes/<pass>/<case>.txt` is a graph as text; the pass alone makes of it the snapshot beside it. Each
//! case is also run through the reference executor, before and after.

use std::fs;
use std::path::Path;

use tinsmith::import;
use tinsmith::ir::text::{Constants, parse, print};
use tinsmith::ir::verify::verify;
use tinsmith::ir::{FloatGraph, TensorInfo};
use tinsmith::op::Op;
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
    "fold-through-moves",
    "fuse-bias",
    "recognize-attention",
    "recognize-functions",
    "recognize-layer-norm",
    "recognize-softmax",
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
        dtype => Data::I64((0..len).map(|_| next() % 100).collect()).cast(dtype),
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

/// The five reference models in both their forms: no transpose is left, and the outputs are the same; of the quantized
/// ones, to the bit.
#[test]
fn reference_models_keep_no_transpose_and_their_meaning() {
    for name in [
        "models/kws_ds_cnn.onnx",
        "models/ic_resnet8.onnx",
        "models/vww_mobilenet_v1_025_96.onnx",
        "models/ad_autoencoder.onnx",
        "models/sww_ds_cnn1d.onnx",
        "reference/qdq/kws.onnx",
        "reference/qdq/ic.onnx",
        "reference/qdq/vww.onnx",
        "reference/qdq/ad.onnx",
        "reference/qdq/sww.onnx",
    ] {
        let Some(path) = crate::shared::path(name) else {
            continue;
        };
        let before = import::onnx(&fs::read(path).unwrap(), &import::Options::default()).unwrap();
        let after = optimize::run(before.clone(), &optimize::Options::default()).unwrap();
        assert_eq!(transposes(&after), 0, "{name}");
        // One layer per step of the device: everything else was absorbed.
        let left = after.nodes.iter().find(|node| {
            matches!(
                node.op,
                Op::BatchNormalization(_) | Op::MatMul(_) | Op::Unary(_) | Op::Pad(_)
            )
        });
        assert_eq!(left.map(|node| &node.name), None, "{name}");
        let tolerance = if name.starts_with("reference") { 0.0 } else { 1e-5 };
        assert_close(&outputs(&before, 1), &outputs(&after, 1), tolerance, name);
    }
}

const SMALL: &str = "graph \"small\"
input %x: f32[1,4,5,3]
const %w: f32[2,1,1,3] = ramp
%a = Conv2d {\"window\":{\"kernel\":[1,1],\"strides\":[1,1],\"dilations\":[1,1],\"pads\":[0,0,0,0]},\"groups\":1,\"clamp\":{}} (%x, %w)
%b = Transpose {\"perm\":[0,3,1,2]} (%a)
%c = Unary {\"kind\":{\"Clamp\":{\"min\":0.0}}} (%b)
%y = Transpose {\"perm\":[0,2,3,1]} (%c)
output %y
";

fn operators(graph: &FloatGraph) -> Vec<&'static str> {
    graph.nodes.iter().map(|node| node.op.name()).collect()
}

#[test]
fn the_driver_stops_where_it_is_told() {
    let graph: FloatGraph = parse(SMALL).unwrap();
    let run = |options: &optimize::Options| optimize::run(graph.clone(), options).unwrap();
    let stop_after = optimize::Options {
        stop_after: Some("eliminate-transposes".into()),
        ..Default::default()
    };
    assert_eq!(operators(&run(&stop_after)), ["Conv2d", "Unary"]);
    let none = optimize::Options {
        pass_limit: Some(0),
        ..Default::default()
    };
    assert_eq!(run(&none), graph);
    assert_eq!(operators(&run(&optimize::Options::default())), ["Conv2d"]);
}

#[test]
fn an_unknown_pass_is_named_beside_the_known_ones() {
    let options = optimize::Options {
        stop_after: Some("fuse-all".into()),
        ..Default::default()
    };
    let error = optimize::run(parse(SMALL).unwrap(), &options)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("no pass is named `fuse-all`"), "{error}");
    assert!(error.contains("fuse-activation"), "{error}");
}

#[test]
fn a_pass_that_breaks_the_graph_is_named() {
    let pass = Pass {
        name: "reverse-nodes",
        run: |graph| {
            graph.nodes.swap(0, 1);
            1
        },
        last_resort: false,
        for_reals: false,
        for_integers: false,
    };
    let mut graph: FloatGraph = parse(SMALL).unwrap();
    let error = optimize::apply(&pass, &mut graph).unwrap_err();
    assert_eq!(
        error.to_string(),
        "pass `reverse-nodes` broke the graph: Transpose `b` reads `a`, which no node before it produces"
    );
}

#[test]
fn passes_are_named_like_their_folders_and_files() {
    for pass in PASSES {
        let file = pass.name.replace('-', "_");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/optimize");
        assert!(
            source.join(format!("{file}.rs")).exists() || source.join(&file).join("mod.rs").exists(),
            "{}",
            pass.name
        );
    }
    for entry in fs::read_dir(FOLDER).unwrap() {
        let folder = entry.unwrap().file_name();
        assert!(
            PASSES.iter().any(|pass| *pass.name == *folder),
            "no pass is named as {folder:?}"
        );
    }
}
