//! Elementwise operators: old forms, what they become, and what is refused.

use tinsmith::import::{self, Options};
use tinsmith::ir::FloatGraph;
use tinsmith::op::tensor::{Data, Values};
use tinsmith::op::{BinaryKind, Op, UnaryKind};
use tinsmith::reference;

use super::onnx::{Onnx, float, int, word};

fn import(model: &Onnx) -> FloatGraph {
    import::onnx(&model.bytes(), &Options::default()).unwrap()
}

fn reason(model: &Onnx) -> String {
    import::onnx(&model.bytes(), &Options::default())
        .unwrap_err()
        .to_string()
}

fn kinds(graph: &FloatGraph) -> Vec<String> {
    let name = |op: &Op| match op {
        Op::Unary(op) => format!("{:?}", op.kind),
        Op::Binary(op) => format!("{:?}", op.kind),
        other => other.name().to_owned(),
    };
    graph.nodes.iter().map(|node| name(&node.op)).collect()
}

fn of(opset: i64, op: &str, b: &Values, attributes: &[(&str, i64)]) -> Onnx {
    let attributes = attributes.iter().map(|&(name, value)| int(name, value)).collect();
    Onnx::new(opset)
        .input("x", [2, 3, 2])
        .constant("b", b)
        .node(op, &["x", "b"], &["y"], attributes)
        .output("y")
}

#[test]
fn broadcasting_was_asked_for_and_had_an_axis() {
    let b = Values::f32([3], vec![10.0, 20.0, 30.0]);
    let model = of(6, "Add", &b, &[("broadcast", 1), ("axis", 1)]);
    let x = Values::f32([2, 3, 2], vec![1.0; 12]);
    let y = reference::run(&import(&model), &[x]).unwrap().remove(0);
    let row = [11.0, 11.0, 21.0, 21.0, 31.0, 31.0];
    assert_eq!(y, Values::f32([2, 3, 2], [row, row].concat()));
    let unasked = reason(&of(6, "Add", &b, &[]));
    assert!(unasked.contains("equal shapes wanted"), "{unasked}");
    let beyond = reason(&of(6, "Mul", &b, &[("broadcast", 1), ("axis", 2)]));
    assert!(!beyond.is_empty());
    let long = Values::f32([3, 2], vec![0.0; 6]);
    let beyond = reason(&of(6, "Sub", &long, &[("broadcast", 1), ("axis", 2)]));
    assert!(beyond.contains("from axis 2 on"), "{beyond}");
}

#[test]
fn bounds_that_are_numbers_become_clamps() {
    let six = Values::f32([], vec![6.0]);
    let clamp = kinds(&import(&of(13, "Min", &six, &[])));
    assert_eq!(clamp, ["Clamp(Clamp { min: None, max: Some(6.0) })"]);
    let two = Values::f32([2], vec![6.0, 7.0]);
    assert_eq!(kinds(&import(&of(13, "Max", &two, &[]))), ["Max"]);
    let slope = Values::f32([1], vec![0.25]);
    assert_eq!(
        kinds(&import(&of(16, "PRelu", &slope, &[]))),
        [format!("{:?}", UnaryKind::LeakyRelu { alpha: 0.25 })]
    );
    let computed = Onnx::new(13)
        .input("x", [4])
        .input("low", [1])
        .constant("high", &six)
        .node("Clip", &["x", "low", "high"], &["y"], vec![])
        .output("y");
    let wanted = [
        format!("{:?}", BinaryKind::Max),
        "Clamp(Clamp { min: None, max: Some(6.0) })".into(),
    ];
    assert_eq!(kinds(&import(&computed)), wanted);
}

#[test]
fn crossed_bounds_give_the_upper_one() {
    let model = Onnx::new(6)
        .input("x", [2])
        .node("Clip", &["x"], &["y"], vec![float("min", 2.0), float("max", 1.0)])
        .output("y");
    let x = Values::f32([2], vec![0.0, 3.0]);
    let y = reference::run(&import(&model), &[x]).unwrap().remove(0);
    assert_eq!(y, Values::f32([2], vec![1.0, 1.0]));
}

#[test]
fn random_numbers_are_refused() {
    let words = "random numbers wanted, which a compiler has not";
    let bernoulli = Onnx::new(15)
        .input("x", [2])
        .node("Bernoulli", &["x"], &["y"], vec![])
        .output("y");
    assert!(reason(&bernoulli).contains(words));
    let old = Onnx::new(6)
        .input("x", [2])
        .node("Dropout", &["x"], &["y"], vec![float("ratio", 0.5)])
        .output("y");
    assert!(reason(&old).contains(words));
    let dropout = |ratio: f32| {
        Onnx::new(13)
            .input("x", [2])
            .constant("ratio", &Values::f32([], vec![ratio]))
            .constant("t", &Values::new([], Data::Bool(vec![true])))
            .node("Dropout", &["x", "ratio", "t"], &["y", "mask"], vec![])
            .node("Where", &["mask", "y", "x"], &["z"], vec![])
            .output("z")
    };
    assert!(reason(&dropout(0.1)).contains(words));
    assert_eq!(kinds(&import(&dropout(0.0))), ["Select"]);
}

#[test]
fn parameters_must_be_numbers() {
    let one = |op: &str, attribute| {
        let model = Onnx::new(20).input("x", [2]);
        reason(&model.node(op, &["x"], &["y"], vec![attribute]).output("y"))
    };
    assert!(one("LeakyRelu", float("alpha", f32::INFINITY)).contains("finite"));
    assert!(one("Celu", float("alpha", 0.0)).contains("divides by it"));
    assert!(one("Gelu", word("approximate", "sin")).contains("none or tanh"));
    let reals = of(13, "Mod", &Values::f32([], vec![2.0]), &[]);
    assert!(reason(&reals).contains("`fmod` of 1"));
}
