//! ONNX's own backend tests, through import and the reference executor: every test of which all operators are known
//! must give ONNX's result, or be refused for a reason that stands in the list below.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use tinsmith::import::{self, ImportError};
use tinsmith::ir::FloatGraph;
use tinsmith::ir::verify::verify;
use tinsmith::op;
use tinsmith::op::tensor::Values;
use tinsmith::optimize;
use tinsmith::reference;
use tinsmith_proto::{Message, ModelProto, TensorProto};

use crate::import::onnx::values;

/// Tests that are refused, by a part of their names, and why that is as it should be.
const REFUSED: &[(&str, &str)] = &[
    ("FLOAT16", "no element type for float16"),
    ("FLOAT8", "no element type for float8"),
    ("FLOAT4", "no element type for float4"),
    ("INT2", "no element type for int2"),
    ("INT4", "no element type for int4"),
    ("int2", "no element type for int2"),
    ("int4", "no element type for int4"),
    ("uint16", "no element type for uint16"),
    ("uint32", "no element type for uint32"),
    ("uint64", "no element type for uint64"),
    ("e4m3fn", "no element type for float8"),
    ("e5m2", "no element type for float8"),
    ("e8m0", "no element type for float8"),
    ("float4e2m1", "no element type for float4"),
    ("blocked", "scales per block"),
    ("training", "only inference has a meaning here"),
    ("with_argmax", "indices of maxima"),
    ("3d", "three spatial axes"),
    ("Conv3d", "three spatial axes"),
    ("BatchNorm3d", "three spatial axes"),
    ("sequence", "sequences"),
    ("identity_opt", "optional values"),
    ("mask", "the mask of a dropout"),
    ("wrap_pad", "padding that wraps around"),
    ("test_constant", "a result that depends on no input"),
    ("test_shape", "a result that depends on no input"),
    ("slice_start_out_of_bounds", "a result without elements"),
    (
        "causal_conv_with_state",
        "an operator set newer than the known ones",
    ),
    ("allowzero", "an input without elements"),
    ("test_operator_add", "operator set 6: broadcasting by attributes"),
    ("test_operator_mm", "operator set 6: broadcasting by attributes"),
    ("test_Linear", "operator set 6: broadcasting by attributes"),
    ("BatchNorm2d", "operator set 6: inference by an attribute"),
];

/// What became of a test.
enum Outcome {
    Passed,
    Refused(String),
    Wrong(String),
}

#[test]
fn onnx_backend_tests_pass() {
    let Some(archive) = crate::shared::path("conformance/onnx-backend-tests.tar.gz") else {
        return;
    };
    let files = unpack(&archive);
    let known: BTreeSet<String> = import::operators().into_iter().collect();
    let (mut passed, mut refused, mut complaints) = (0, 0, Vec::new());
    for suite in ["node", "simple", "pytorch-converted", "pytorch-operator"] {
        let prefix = format!("{suite}/");
        let models = files
            .range(prefix.clone()..)
            .take_while(|(path, _)| path.starts_with(&prefix));
        for (path, bytes) in models.filter(|(path, _)| path.ends_with("/model.onnx")) {
            let test = path.trim_end_matches("model.onnx");
            let name = test[prefix.len()..].trim_end_matches('/');
            let mut model = ModelProto::decode(&**bytes).unwrap();
            // What changed from operator set 6 to 7 shows in attributes, which import refuses where it does not know them.
            for opset in model.opset_import.iter_mut().filter(|opset| opset.version == 6) {
                opset.version = 7;
            }
            let operators = model.graph.as_ref().map_or(&[][..], |graph| &graph.node);
            if !operators.iter().all(|node| known.contains(node.op_type.as_str())) {
                continue;
            }
            let listed = REFUSED.iter().find(|(part, _)| name.contains(part));
            match (run(&model, &files, test), listed) {
                // A name may hold such a part by chance (`point4` holds `int4`).
                (Outcome::Passed, _) => passed += 1,
                (Outcome::Refused(_), Some(_)) => refused += 1,
                (Outcome::Refused(reason), None) => complaints.push(format!("{name}: refused: {reason}")),
                (Outcome::Wrong(how), _) => complaints.push(format!("{name}: {how}")),
            }
        }
    }
    eprintln!("ONNX backend tests: {passed} passed, {refused} refused as listed");
    assert!(
        complaints.is_empty(),
        "{} complaints:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
    assert!(passed > 0, "the archive holds tests");
}

/// The files of the archive, by their paths.
type Files = BTreeMap<String, Vec<u8>>;

fn unpack(archive: &Path) -> Files {
    let archive = flate2::read::GzDecoder::new(std::fs::File::open(archive).unwrap());
    let mut files = Files::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(path.trim_start_matches("./").to_owned(), bytes);
    }
    files
}

/// Runs all data sets of a test. What a compiler must know beforehand (a shape, axes, bounds) is an input in many of
/// these tests: where the model is refused as it is, all inputs but the first become constants.
fn run(model: &ModelProto, files: &Files, test: &str) -> Outcome {
    let sets = (0..).map(|i| format!("{test}test_data_set_{i}/"));
    let exists = |set: &String| {
        files
            .range(set.clone()..)
            .next()
            .is_some_and(|(path, _)| path.starts_with(set))
    };
    for set in sets.take_while(exists) {
        let (inputs, outputs) = match (tensors(files, &set, "input"), tensors(files, &set, "output")) {
            (Ok(inputs), Ok(outputs)) => (inputs, outputs),
            (Err(reason), _) | (_, Err(reason)) => return Outcome::Refused(reason),
        };
        let outcome = match run_once(model, &inputs, &outputs) {
            Outcome::Refused(first) => {
                match run_once(&frozen(model, &inputs), &inputs[..1.min(inputs.len())], &outputs) {
                    Outcome::Refused(second) => Outcome::Refused(format!("{first}; frozen: {second}")),
                    other => other,
                }
            }
            other => other,
        };
        if !matches!(outcome, Outcome::Passed) {
            return outcome;
        }
    }
    Outcome::Passed
}

fn run_once(model: &ModelProto, inputs: &[TensorProto], wanted: &[TensorProto]) -> Outcome {
    let mut options = import::Options::default();
    let named = model.graph.iter().flat_map(|graph| &graph.input).zip(inputs);
    options.shapes = named
        .map(|(info, tensor)| (info.name.clone(), shape(tensor)))
        .collect();
    let graph = match import::onnx(&model.encode_to_vec(), &options) {
        Ok(graph) => graph,
        Err(ImportError::Problems(problems)) => {
            return Outcome::Refused(
                problems
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("; "),
            );
        }
        Err(error) => return Outcome::Wrong(error.to_string()),
    };
    if let Err(error) = verify(&graph) {
        return Outcome::Wrong(error.to_string());
    }
    let inputs: Option<Vec<Values>> = inputs.iter().map(values).collect();
    let wanted: Option<Vec<Values>> = wanted.iter().map(values).collect();
    let (Some(inputs), Some(wanted)) = (inputs, wanted) else {
        return Outcome::Refused("an element type that is not known".into());
    };
    // Initializers may stand among the inputs, as old models have it, and are no inputs of the graph then.
    let inputs = &inputs[..graph.inputs.len().min(inputs.len())];
    if let Some(difference) = compare(&graph, inputs, &wanted) {
        return Outcome::Wrong(difference);
    }
    match optimize::run(graph, &optimize::Options::default()) {
        Ok(optimized) => match compare(&optimized, inputs, &wanted) {
            Some(difference) => Outcome::Wrong(format!("optimized: {difference}")),
            None => Outcome::Passed,
        },
        Err(error) => Outcome::Wrong(error.to_string()),
    }
}

/// How what a graph gives differs from what is wanted.
fn compare(graph: &FloatGraph, inputs: &[Values], wanted: &[Values]) -> Option<String> {
    let found = match reference::run(graph, inputs) {
        Ok(found) => found,
        Err(error) => return Some(error.to_string()),
    };
    if found.len() != wanted.len() {
        return Some(format!("{} outputs instead of {}", found.len(), wanted.len()));
    }
    found
        .iter()
        .zip(wanted)
        .find_map(|(found, wanted)| difference(found, wanted))
}

/// The model with all inputs but the first as constants.
fn frozen(model: &ModelProto, inputs: &[TensorProto]) -> ModelProto {
    let mut model = model.clone();
    let graph = model.graph.as_mut().unwrap();
    for (info, tensor) in graph.input.iter().zip(inputs).skip(1) {
        let mut tensor = tensor.clone();
        tensor.name = info.name.clone();
        graph.initializer.push(tensor);
    }
    graph.input.truncate(1);
    model
}

/// Where two results differ beyond ONNX's tolerances.
fn difference(found: &Values, wanted: &Values) -> Option<String> {
    if found.ty() != wanted.ty() {
        return Some(format!("{} instead of {}", found.ty(), wanted.ty()));
    }
    let (float, pairs) = (
        wanted.data.dtype().is_float(),
        found.to_f64().into_iter().zip(wanted.to_f64()),
    );
    let close = |found: f64, wanted: f64| {
        found == wanted
            || float && found.is_nan() && wanted.is_nan()
            || float && (found - wanted).abs() <= 1e-7 + 1e-3 * wanted.abs()
    };
    let (i, (found, wanted)) = pairs
        .enumerate()
        .find(|&(_, (found, wanted))| !close(found, wanted))?;
    Some(format!("element {i} is {found}, wanted {wanted}"))
}

/// The tensors `prefix_0.pb`, `prefix_1.pb`, … of a data set.
fn tensors(files: &Files, set: &str, prefix: &str) -> Result<Vec<TensorProto>, String> {
    (0..)
        .map_while(|i| files.get(&format!("{set}{prefix}_{i}.pb")))
        .map(|bytes| TensorProto::decode(&**bytes).map_err(|_| "not a tensor".to_owned()))
        .collect()
}

fn shape(tensor: &TensorProto) -> Vec<usize> {
    tensor
        .dims
        .iter()
        .map(|&extent| extent.try_into().unwrap())
        .collect()
}

#[test]
fn every_operator_stands_in_the_table() {
    let table: BTreeSet<&str> = op::supported().iter().flat_map(|row| row.onnx).copied().collect();
    for name in [
        "Conv",
        "Gemm",
        "MatMul",
        "Softmax",
        "QuantizeLinear",
        "Flatten",
        "Dropout",
    ] {
        assert!(table.contains(name), "{name}");
    }
}
