//! Models that were made to harm, through the program itself: each is refused by the name of its node, with exit code
//! 3, at once, in 100 MB, and leaves no file behind.

use std::process::Command;
use std::time::{Duration, Instant};

use tinsmith::op::tensor::{Data, Values};
use tinsmith_proto::tensor_proto::DataType;
use tinsmith_proto::{AttributeProto, NodeProto};

use super::{Bench, outcome};
use crate::import::control::nested;
use crate::import::functions::function;
use crate::import::onnx::{Onnx, float, int, ints, subgraph, value, word};

const MAX: i64 = i64::MAX;
const MIN: i64 = i64::MIN;

/// Memory that a refusal may take, in KiB as `ulimit` has it.
const MOST_KIB: u32 = 100 << 10;
/// A debug build on a busy machine; a release build takes a tenth.
const PATIENCE: Duration = Duration::from_secs(5);

/// A command that cannot have more memory.
fn bounded(bench: &Bench, arguments: &str) -> Command {
    let command = bench.command(arguments);
    if !cfg!(target_os = "linux") {
        return command;
    }
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("ulimit -d {MOST_KIB} && exec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args())
        .env("TINSMITH_CACHE", "none")
        .current_dir(bench.0.path());
    shell
}

/// Checks and compiles a model, which must be refused with these words.
#[track_caller]
fn refused_with(bench: &Bench, what: &str, bytes: &[u8], words: &[&str]) {
    bench.write("model.onnx", bytes);
    let before = bench.files();
    for verb in [
        "check model.onnx",
        "compile model.onnx --target mps2-an386 --precision f32",
    ] {
        let start = Instant::now();
        let found = outcome(&mut bounded(bench, verb));
        let took = start.elapsed();
        assert!(took < PATIENCE, "{what}: {took:?}");
        let told = words.iter().all(|word| found.stderr.contains(word));
        assert!(
            found.exit == 3 && told,
            "{what}: exit 3 and {words:?} wanted, {} found\n{}{}",
            found.exit,
            found.stdout,
            found.stderr
        );
    }
    assert_eq!(bench.files(), before, "{what}");
}

/// Models whose node `Y` is to blame.
fn all_refused(models: impl IntoIterator<Item = (String, Onnx)>) {
    let bench = Bench::new();
    for (what, model) in models {
        refused_with(&bench, &what, &model.bytes(), &["`Y`"]);
    }
}

fn x(opset: i64) -> Onnx {
    Onnx::new(opset).input("x", [1, 2, 4, 4])
}

#[test]
fn one_hot_out_of_range() {
    let model = |depth: &[i64], values: &[f32], axis: i64| {
        Onnx::new(17)
            .typed_input("i", DataType::Int64, [2_i64, 2])
            .ints("depth", depth)
            .constant("values", &Values::f32([values.len()], values.to_vec()))
            .node(
                "OneHot",
                &["i", "depth", "values"],
                &["y"],
                vec![int("axis", axis)],
            )
            .output("y")
    };
    let depths = [&[0][..], &[-1], &[1 << 40], &[MAX], &[MIN], &[3, 3], &[]];
    let depths = depths.map(|depth| (format!("depth {depth:?}"), model(depth, &[0.0, 1.0], -1)));
    let axes = [3, -4, MAX, MIN].map(|axis| (format!("axis {axis}"), model(&[3], &[0.0, 1.0], axis)));
    let values = ("three values".to_owned(), model(&[3], &[0.0, 1.0, 2.0], 0));
    all_refused(depths.into_iter().chain(axes).chain([values]));
}

#[test]
fn splits_out_of_range() {
    let by_input = |extents: &[i64]| {
        let model = x(17).ints("extents", extents);
        model.node("Split", &["x", "extents"], &["y", "z"], vec![int("axis", 3)])
    };
    let extents = [&[-1, 5][..], &[1, 1], &[MAX, MAX], &[MAX, 5], &[MIN, MIN], &[4]];
    let extents = extents.map(|extents| (format!("extents {extents:?}"), by_input(extents)));
    let old = vec![int("axis", 3), ints("split", &[MAX, 5])];
    let old = x(11).node("Split", &["x"], &["y", "z"], old);
    let axes = [4, -5, MAX, MIN].map(|axis| {
        let model = x(17).node("Split", &["x"], &["y", "z"], vec![int("axis", axis)]);
        (format!("axis {axis}"), model)
    });
    let counts = [0, -1, 3, MAX, MIN].map(|count| {
        let attributes = vec![int("axis", 3), int("num_outputs", count)];
        let model = x(18).node("Split", &["x"], &["y", "z"], attributes);
        (format!("num_outputs {count}"), model)
    });
    let both = vec![int("axis", 3), int("num_outputs", 2)];
    let both = x(18)
        .ints("extents", &[2, 2])
        .node("Split", &["x", "extents"], &["y", "z"], both);
    let others = [("opset 11".to_owned(), old), ("both".to_owned(), both)];
    let all = extents.into_iter().chain(axes).chain(counts).chain(others);
    all_refused(all.map(|(what, model)| (what, model.output("y").output("z"))));
}

#[test]
fn transposed_convolutions_out_of_range() {
    let model = |shape: &[usize], attributes: Vec<AttributeProto>| {
        x(17)
            .zeros("w", shape)
            .node("ConvTranspose", &["x", "w"], &["y"], attributes)
            .output("y")
    };
    let pairs = [
        ("strides", &[0, 1][..]),
        ("strides", &[-1, 1]),
        ("strides", &[MAX, 1]),
        ("strides", &[1]),
        ("dilations", &[0, 1]),
        ("dilations", &[MAX, MAX]),
        ("pads", &[MAX; 4]),
        ("pads", &[-1; 4]),
        ("pads", &[9; 4]),
        ("pads", &[1]),
        ("output_padding", &[MAX, 0]),
        ("output_padding", &[-1, 0]),
        ("output_padding", &[1, 1]),
        ("output_shape", &[-1, 3]),
        ("output_shape", &[MAX, MAX]),
        ("kernel_shape", &[0, 3]),
        ("kernel_shape", &[9, 9]),
    ];
    let lists = pairs.map(|(name, numbers)| (format!("{name} {numbers:?}"), vec![ints(name, numbers)]));
    let groups = [0, -1, 3, MAX, MIN].map(|group| (format!("group {group}"), vec![int("group", group)]));
    let word = ("auto_pad".to_owned(), vec![word("auto_pad", "WIDE")]);
    let attributes = lists.into_iter().chain(groups).chain([word]);
    let shapes = [&[2, 3, 0, 3][..], &[2, 3], &[5, 3, 3, 3]];
    let shapes = shapes.map(|shape| (format!("weights {shape:?}"), model(shape, vec![])));
    all_refused(
        attributes
            .map(|(what, attributes)| (what, model(&[2, 3, 3, 3], attributes)))
            .chain(shapes),
    );
}

#[test]
fn windows_of_nothing() {
    let mut models = Vec::new();
    for (name, numbers) in [
        ("strides", [0, 1]),
        ("dilations", [1, 0]),
        ("kernel_shape", [0, 3]),
        ("kernel_shape", [-1, 3]),
        ("kernel_shape", [1 << 62, 1]),
    ] {
        for operator in ["Conv", "MaxPool", "AveragePool", "LpPool"] {
            let mut attributes = vec![ints(name, &numbers)];
            if operator != "Conv" && name != "kernel_shape" {
                attributes.push(ints("kernel_shape", &[3, 3]));
            }
            // The dilations of an average came later than opset 17.
            let model = x(19).zeros("w", &[3, 2, 3, 3]);
            let inputs = if operator == "Conv" {
                &["x", "w"][..]
            } else {
                &["x"]
            };
            let model = model.node(operator, inputs, &["y"], attributes).output("y");
            models.push((format!("{operator} {name} {numbers:?}"), model));
        }
    }
    for group in [0, -1, 3, MIN] {
        let model = x(17).zeros("w", &[3, 2, 3, 3]);
        let model = model.node("Conv", &["x", "w"], &["y"], vec![int("group", group)]);
        models.push((format!("Conv group {group}"), model.output("y")));
    }
    all_refused(models);
}

#[test]
fn slices_and_joints_out_of_range() {
    let slice = |[starts, ends, axes, steps]: [&[i64]; 4]| {
        let model = x(17).ints("starts", starts).ints("ends", ends);
        let model = model.ints("axes", axes).ints("steps", steps);
        model.node("Slice", &["x", "starts", "ends", "axes", "steps"], &["y"], vec![])
    };
    let slices = [
        [&[0][..], &[1], &[0], &[0]],
        [&[0], &[1], &[4], &[1]],
        [&[0], &[1], &[MIN], &[1]],
        [&[0, 0], &[1, 1], &[0, 0], &[1, 1]],
        [&[0, 0], &[1], &[0], &[1]],
    ];
    let slices = slices.map(|parts| (format!("Slice {parts:?}"), slice(parts)));
    let old = [&[1][..], &[1, 2]].map(|ends| {
        let axis = if ends.len() == 1 { 7 } else { 1 };
        let attributes = vec![ints("starts", &[0]), ints("ends", ends), ints("axes", &[axis])];
        let model = x(1).node("Slice", &["x"], &["y"], attributes);
        (format!("Slice of opset 1 to {ends:?}"), model)
    });
    let joints = [4, -5, MAX, MIN].map(|axis| {
        let model = x(17).node("Concat", &["x", "x"], &["y"], vec![int("axis", axis)]);
        (format!("Concat {axis}"), model)
    });
    let joined = |inputs: &[&str], attributes| {
        let model = x(17).zeros("w", &[1, 2, 3, 3]).ints("i", &[1]);
        model.node("Concat", inputs, &["y"], attributes)
    };
    let misfits = [
        ("no axis", joined(&["x", "x"], vec![])),
        ("no inputs", joined(&[], vec![int("axis", 0)])),
        ("shapes", joined(&["x", "w"], vec![int("axis", 1)])),
        ("types", joined(&["x", "i"], vec![int("axis", 1)])),
    ];
    let misfits = misfits.map(|(what, model)| (what.to_owned(), model));
    let all = slices.into_iter().chain(old).chain(joints).chain(misfits);
    all_refused(all.map(|(what, model)| (what, model.output("y"))));
}

#[test]
fn scans_out_of_range() {
    let scan = |length: i64, sequences: i64, attributes: Vec<AttributeProto>| {
        let mut body = Onnx::new(17)
            .input("s", [2])
            .input("e", [2])
            .node("Add", &["s", "e"], &["o"], vec![])
            .node("Relu", &["o"], &["p"], vec![])
            .output("o")
            .output("p");
        let body = subgraph("body", std::mem::take(body.graph()));
        let attributes = [vec![body, int("num_scan_inputs", sequences)], attributes].concat();
        Onnx::new(17)
            .input("x", [length, 2])
            .zeros("init", &[2])
            .node("Scan", &["init", "x"], &["y", "z"], attributes)
            .output("y")
            .output("z")
    };
    let counts = [0, -1, 3, MAX, MIN].map(|count| (format!("{count} sequences"), scan(4, count, vec![])));
    let lists = [
        ("scan_input_axes", &[5][..]),
        ("scan_input_axes", &[MIN]),
        ("scan_input_axes", &[0, 0]),
        ("scan_output_axes", &[3]),
        ("scan_output_axes", &[MAX]),
        ("scan_input_directions", &[2]),
        ("scan_output_directions", &[-1]),
    ];
    let lists = lists.map(|(name, numbers)| {
        (
            format!("{name} {numbers:?}"),
            scan(4, 1, vec![ints(name, numbers)]),
        )
    });
    // Beyond what a loop over one body counts to, too.
    let long = ("many iterations".to_owned(), scan(1 << 25, 1, vec![]));
    all_refused(counts.into_iter().chain(lists).chain([long]));
}

#[test]
fn sizes_out_of_range() {
    let by_shape = |operator: &str, shape: &[i64]| {
        let model = x(17).ints("s", shape);
        model.node(operator, &["x", "s"], &["y"], vec![]).output("y")
    };
    let shapes = [
        ("Expand", &[1 << 40, 2, 4, 4][..]),
        ("Expand", &[MAX; 4]),
        ("Expand", &[-1, 2, 4, 4]),
        ("Tile", &[MAX; 4]),
        ("Tile", &[-1, 1, 1, 1]),
        ("Tile", &[1 << 20, 1 << 20, 1, 1]),
        ("Reshape", &[-5]),
        ("Reshape", &[-1, -1]),
        ("Reshape", &[MAX, 2]),
        ("Reshape", &[0; 5]),
        ("Pad", &[MAX; 8]),
        ("Pad", &[-9; 8]),
        ("TopK", &[MAX]),
        ("Gather", &[1]),
    ];
    let shapes = shapes.map(|(operator, shape)| (format!("{operator} {shape:?}"), by_shape(operator, shape)));
    let scales = [0.0, f32::NAN, f32::INFINITY, -1.0, 1e9].map(|scale| {
        let scales = Values::f32([4], vec![1.0, 1.0, scale, scale]);
        let model = x(17).constant("s", &scales);
        let model = model.node("Resize", &["x", "", "s"], &["y"], vec![]);
        (format!("Resize by {scale}"), model.output("y"))
    });
    all_refused(shapes.into_iter().chain(scales));
}

#[test]
fn quantization_by_no_number() {
    let mut models = Vec::new();
    for scale in [0.0, f32::NAN, f32::INFINITY, -1.0] {
        let model = || {
            x(17)
                .constant("s", &Values::f32([], vec![scale]))
                .constant("one", &Values::f32([], vec![1.0]))
                .constant("rows", &Values::f32([4], vec![1.0, scale, 1.0, 1.0]))
                .constant("z", &Values::new([], Data::I8(vec![0])))
                .constant("zs", &Values::new([4], Data::I8(vec![0; 4])))
                .constant("w", &Values::new([4, 4], Data::I8(vec![0; 16])))
        };
        let there = model()
            .node("QuantizeLinear", &["x", "s", "z"], &["y"], vec![])
            .node("DequantizeLinear", &["y", "s", "z"], &["o"], vec![]);
        let weights = model()
            .node("DequantizeLinear", &["w", "rows", "zs"], &["y"], vec![])
            .node("MatMul", &["x", "y"], &["o"], vec![]);
        let product = ["q", "one", "z", "w", "s", "z", "one", "z"];
        let product = model()
            .node("QuantizeLinear", &["x", "one", "z"], &["q"], vec![])
            .node("QLinearMatMul", &product, &["y"], vec![])
            .node("DequantizeLinear", &["y", "one", "z"], &["o"], vec![]);
        for (what, model) in [("activations", there), ("weights", weights), ("product", product)] {
            models.push((format!("{what} by {scale}"), model.output("o")));
        }
    }
    all_refused(models);
}

#[test]
fn files_without_end() {
    let bench = Bench::new();
    let with = |nodes: Onnx| {
        let mut model = Onnx::new(13).input("x", [2]);
        model.0.functions = vec![function("F", &["x"], &["y"], nodes)];
        model.node("my.F", &["x"], &["y"], vec![]).output("y").bytes()
    };
    let call = || Onnx::new(13).node("my.F", &["x"], &["y"], vec![]);
    let itself = ["my.F `Y/Y", "my.F → my.F"];
    refused_with(&bench, "direct", &with(call()), &itself);
    // The branch that is taken calls the function around it; so does one that may be taken.
    let branch = || {
        let mut inside = call().output("y");
        std::mem::take(inside.graph())
    };
    let branches = || {
        vec![
            subgraph("then_branch", branch()),
            subgraph("else_branch", branch()),
        ]
    };
    let known = value("value", &Values::new([], Data::Bool(vec![true])));
    let known =
        Onnx::new(13)
            .node("Constant", &[], &["c"], vec![known])
            .node("If", &["c"], &["y"], branches());
    refused_with(&bench, "known", &with(known), &itself);
    let open = Onnx::new(13)
        .node("ReduceSum", &["x"], &["sum"], vec![int("keepdims", 0)])
        .node("Cast", &["sum"], &["c"], vec![int("to", 9)])
        .node("If", &["c"], &["y"], branches());
    refused_with(&bench, "open", &with(open), &itself);
    refused_with(&bench, "nested", &nested(100_000), &["nested too deep"]);
    let mut many = x(17).output("y");
    many.graph().node = vec![NodeProto::default(); 1_000_000];
    refused_with(&bench, "many", &many.bytes(), &["in proportion to the file"]);
    let own = x(17).node("Add", &["x", "y"], &["y"], vec![]).output("y");
    refused_with(&bench, "self edge", &own.bytes(), &["Add `Y`", "in a cycle"]);
    let unknown = x(17).node("Relu", &["x"], &["y"], vec![float("beta", 0.0)]);
    refused_with(
        &bench,
        "attribute",
        &unknown.output("y").bytes(),
        &["Relu `Y`", "`beta`"],
    );
}
