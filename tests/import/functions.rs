//! The model's own functions are inlined.

use tinsmith::import::{self, Options};
use tinsmith::ir::FloatGraph;
use tinsmith::op::tensor::{Data, Values};
use tinsmith::reference;
use tinsmith_proto::{AttributeProto, FunctionProto, NodeProto, OperatorSetIdProto};

use super::onnx::{Onnx, float, subgraph};
use super::refused::{problems, refused};

/// A function of domain `my` from the nodes of a model.
pub(crate) fn function(name: &str, inputs: &[&str], outputs: &[&str], mut nodes: Onnx) -> FunctionProto {
    let strings = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let opset = |domain: &str, version: i64| OperatorSetIdProto {
        domain: domain.into(),
        version,
    };
    FunctionProto {
        name: name.into(),
        domain: "my".into(),
        input: strings(inputs),
        output: strings(outputs),
        node: std::mem::take(&mut nodes.graph().node),
        opset_import: vec![opset("", 13), opset("my", 1)],
        ..FunctionProto::default()
    }
}

fn model(functions: Vec<FunctionProto>) -> Onnx {
    let mut model = Onnx::new(13).input("x", [2]);
    model.0.functions = functions;
    model
}

fn nodes() -> Onnx {
    Onnx::new(13)
}

/// An attribute that is the function's.
fn reference_to(name: &str, argument: &str) -> AttributeProto {
    AttributeProto {
        ref_attr_name: argument.into(),
        ..float(name, 0.0)
    }
}

fn imported(model: &Onnx) -> FloatGraph {
    import::onnx(&model.bytes(), &Options::default()).unwrap()
}

fn values(model: &Onnx) -> Vec<Vec<f64>> {
    let x = Values::f32([2], vec![1.0, 2.0]);
    let outputs = reference::run(&imported(model), &[x]).unwrap();
    outputs.iter().map(Values::to_f64).collect()
}

/// `y = alpha · x + bias`, where alpha is 2 unless given and the bias may be left out.
fn scale() -> FunctionProto {
    let inside = nodes()
        .node(
            "Constant",
            &[],
            &["y"],
            vec![reference_to("value_float", "alpha")],
        )
        .node("Mul", &["x", "y"], &["scaled"], vec![])
        .node("Clip", &["scaled", "least"], &["clipped"], vec![]);
    let mut function = function("Scale", &["x", "least"], &["clipped", "scaled"], inside);
    function.attribute_proto = vec![float("alpha", 2.0)];
    function
}

#[test]
fn functions_are_inlined_with_their_attributes() {
    let call = |attributes: Vec<AttributeProto>, inputs: &[&str]| {
        model(vec![scale()])
            .constant("floor", &Values::f32([], vec![5.0]))
            .node("my.Scale", inputs, &["y"], attributes)
            .output("y")
    };
    assert_eq!(values(&call(vec![], &["x"])), [[2.0, 4.0]]);
    assert_eq!(
        values(&call(vec![float("alpha", 3.0)], &["x", "floor"])),
        [[5.0, 6.0]]
    );
    assert_eq!(values(&call(vec![float("alpha", 3.0)], &["x", ""])), [[3.0, 6.0]]);
    refused(
        &call(vec![float("gamma", 3.0)], &["x"]),
        &["my.Scale `Y`", "`gamma` found"],
    );
    refused(
        &call(vec![], &["x", "", "x"]),
        &["my.Scale `Y`", "at most 2 inputs and 2 outputs"],
    );
}

#[test]
fn inner_names_do_not_meet_outer_ones() {
    let twice = function(
        "Twice",
        &["x"],
        &["y"],
        nodes()
            .node("my.Scale", &["x"], &["a", "b"], vec![float("alpha", 1.5)])
            .node("my.Scale", &["b"], &["y"], vec![]),
    );
    let model = model(vec![twice, scale()])
        .node("Relu", &["x"], &["a"], vec![])
        .node("my.Twice", &["a"], &["scaled"], vec![])
        .node("my.Twice", &["scaled"], &["y"], vec![])
        .node("Add", &["y", "a"], &["z"], vec![])
        .output("z")
        .output("scaled");
    assert_eq!(values(&model), [[10.0, 20.0], [3.0, 6.0]]);
    // A function sees nothing of its caller.
    let peeping = function("Peep", &[], &["y"], nodes().node("Relu", &["x"], &["y"], vec![]));
    let model = self::model(vec![peeping])
        .node("my.Peep", &[], &["y"], vec![])
        .output("y");
    refused(&model, &["Relu `Y/Y`", "input `x` wanted, which nothing makes"]);
}

#[test]
fn functions_that_call_themselves_are_refused_by_name() {
    let call = |name: &str| nodes().node(name, &["x"], &["y"], vec![]);
    let direct = function("F", &["x"], &["y"], call("my.F"));
    let with = |functions| model(functions).node("my.F", &["x"], &["y"], vec![]).output("y");
    refused(&with(vec![direct]), &["my.F `Y/Y`", "my.F → my.F found"]);
    let around =
        [("F", "my.G"), ("G", "my.F")].map(|(name, other)| function(name, &["x"], &["y"], call(other)));
    refused(
        &with(around.to_vec()),
        &["my.F `Y/Y/Y`", "my.F → my.G → my.F found"],
    );
    let branch = || {
        let mut inside = call("my.F").output("y");
        std::mem::take(inside.graph())
    };
    let condition = Values::new([], Data::Bool(vec![true]));
    let hidden = nodes()
        .node(
            "Constant",
            &[],
            &["c"],
            vec![super::onnx::value("value", &condition)],
        )
        .node(
            "If",
            &["c"],
            &["z"],
            vec![
                subgraph("then_branch", branch()),
                subgraph("else_branch", branch()),
            ],
        );
    refused(
        &with(vec![function("F", &["x"], &["z"], hidden)]),
        &["my.F `Y/Y`", "my.F → my.F found"],
    );
}

#[test]
fn functions_cannot_blow_up() {
    // Each calls the next one twice.
    let chain = |length: usize| -> Vec<FunctionProto> {
        let name = |index: usize| format!("F{index}");
        (0..length)
            .map(|index| {
                let next = format!("my.F{}", index + 1);
                let inside = if index + 1 == length {
                    nodes().node("Relu", &["x"], &["y"], vec![])
                } else {
                    nodes()
                        .node(&next, &["x"], &["a"], vec![])
                        .node(&next, &["a"], &["y"], vec![])
                };
                function(&name(index), &["x"], &["y"], inside)
            })
            .collect()
    };
    let with = |functions| model(functions).node("my.F0", &["x"], &["y"], vec![]).output("y");
    assert_eq!(values(&with(chain(8))), [[1.0, 2.0]]);
    refused(
        &with(chain(30)),
        &["nodes of functions, branches and iterations wanted, more found"],
    );
    let all = problems(&with(chain(40)), &Options::default());
    assert!(
        all[0].contains("functions and subgraphs within each other"),
        "{all:#?}"
    );
    let mut twins = vec![scale(), scale()];
    refused(
        &with_scale(twins.clone()),
        &["function `Scale`", "a name of its own wanted"],
    );
    // Another overload is another function.
    twins[1].overload = "2".into();
    assert_eq!(values(&with_scale(twins)), [[2.0, 4.0]]);
}

fn with_scale(functions: Vec<FunctionProto>) -> Onnx {
    model(functions)
        .node("my.Scale", &["x"], &["y"], vec![])
        .output("y")
}

#[test]
fn functions_have_operator_sets_of_their_own() {
    let mut old = function(
        "Old",
        &["x"],
        &["y"],
        nodes().node("Clip", &["x"], &["y"], vec![float("max", 1.5)]),
    );
    let call = |function: &FunctionProto| {
        model(vec![function.clone()])
            .node("my.Old", &["x"], &["y"], vec![])
            .output("y")
    };
    refused(
        &call(&old),
        &["Clip `Y/Y`", "an attribute of opset 13 wanted, `max` found"],
    );
    old.opset_import[0].version = 6;
    assert_eq!(values(&call(&old)), [[1.0, 1.5]]);
    old.opset_import.clear();
    refused(&call(&old), &["model `my.Old`", "none found"]);
    old.node = vec![NodeProto::default()];
    assert!(!problems(&call(&old), &Options::default()).is_empty());
}
