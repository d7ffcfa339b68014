//! Models of ai.onnx.ml, attention with graphs of its own, and one-hot codes: what ONNX Runtime does not tell, and
//! what is refused.

use tinsmith::import::{self, Options};
use tinsmith::op::tensor::{Data, Values};
use tinsmith::reference;
use tinsmith_proto::tensor_proto::DataType;
use tinsmith_proto::{AttributeProto, OperatorSetIdProto};

use super::onnx::{Onnx, float, floats, int, ints, strings, subgraph, word};
use super::refused::refused;

fn with_domain(mut model: Onnx, domain: &str, version: i64) -> Onnx {
    model.0.opset_import.push(OperatorSetIdProto {
        domain: domain.into(),
        version,
    });
    model
}

/// A model of one node of ai.onnx.ml on rows of two features.
fn of_rows(operator: &str, outputs: &[&str], attributes: Vec<AttributeProto>) -> Onnx {
    let model = with_domain(Onnx::new(17).input("x", [3, 2]), "ai.onnx.ml", 3);
    let model = model.node(&format!("ai.onnx.ml.{operator}"), &["x"], outputs, attributes);
    outputs.iter().fold(model, |model, output| model.output(output))
}

fn run(model: &Onnx, inputs: &[Values]) -> Vec<Values> {
    let graph = import::onnx(&model.bytes(), &Options::default()).unwrap();
    reference::run(&graph, inputs).unwrap()
}

/// One tree that asks whether the first feature is at most 0, with weights of both leaves for these classes.
fn stump(classes: &[i64], weights: &[f32], more: Vec<AttributeProto>) -> Vec<AttributeProto> {
    let each = classes.len();
    let leaves: Vec<i64> = [1, 2].iter().flat_map(|&leaf| vec![leaf; each]).collect();
    let tree = vec![
        ints("nodes_treeids", &[0; 3]),
        ints("nodes_nodeids", &[0, 1, 2]),
        ints("nodes_featureids", &[0; 3]),
        strings("nodes_modes", &["BRANCH_LEQ", "LEAF", "LEAF"]),
        floats("nodes_values", &[0.0; 3]),
        ints("nodes_truenodeids", &[1, 0, 0]),
        ints("nodes_falsenodeids", &[2, 0, 0]),
        ints("class_treeids", &vec![0; 2 * each]),
        ints("class_nodeids", &leaves),
        ints("class_ids", &[classes, classes].concat()),
        floats("class_weights", weights),
    ];
    [tree, more].concat()
}

#[test]
fn the_top_class_of_two_is_the_greater_one() {
    let labels = ints("classlabels_int64s", &[7, 5]);
    let attributes = stump(&[0, 1], &[0.75, 0.25, 0.125, 0.875], vec![labels]);
    let model = of_rows("TreeEnsembleClassifier", &["y", "z"], attributes);
    let x = Values::f32([3, 2], vec![-1.0, 0.0, 1.0, 0.0, 0.0, 9.0]);
    let made = run(&model, &[x]);
    assert_eq!(made[0], Values::new([3], Data::I64(vec![7, 5, 7])));
    let scores = vec![0.75, 0.25, 0.125, 0.875, 0.75, 0.25];
    assert_eq!(made[1], Values::f32([3, 2], scores));
}

#[test]
fn models_that_runtimes_take_differently_are_refused() {
    let labels = || ints("classlabels_int64s", &[7, 5]);
    let trees = |classes: &[i64], more| {
        let weights = vec![0.5; 2 * classes.len()];
        of_rows(
            "TreeEnsembleClassifier",
            &["y", "z"],
            stump(classes, &weights, more),
        )
    };
    refused(
        &trees(&[1], vec![labels()]),
        &["`Y`", "for the second alone found"],
    );
    let names = strings("classlabels_strings", &["cat", "dog"]);
    refused(
        &trees(&[0, 1], vec![names]),
        &["`Y`", "string found", "give the names with --labels"],
    );
    let bent = |transform| vec![labels(), word("post_transform", transform)];
    refused(&trees(&[0], bent("SOFTMAX")), &["`Y`", "NONE or LOGISTIC"]);
    refused(&trees(&[0, 1], bent("PROBIT")), &["`Y`", "PROBIT found"]);
    let bases = vec![labels(), floats("base_values", &[0.5, 0.5])];
    refused(&trees(&[0], bases), &["`Y`", "base values"]);
    let linear = |operator: &str, outputs: &[&str], more: Vec<AttributeProto>| {
        let coefficients = floats("coefficients", &[1.0, 2.0]);
        of_rows(operator, outputs, [vec![coefficients], more].concat())
    };
    let one = vec![word("post_transform", "LOGISTIC")];
    refused(
        &linear("LinearRegressor", &["y"], one),
        &["`Y`", "one score per row"],
    );
    for targets in [0, -1, 2, i64::MAX] {
        let model = linear("LinearRegressor", &["y"], vec![int("targets", targets)]);
        refused(&model, &["LinearRegressor `Y`"]);
    }
    let labels = ints("classlabels_ints", &[1, 2, 3]);
    refused(
        &linear("LinearClassifier", &["y", "z"], vec![labels]),
        &["`Y`", "two for one"],
    );
    refused(
        &of_rows("Scaler", &["y"], vec![floats("offset", &[1.0; 3])]),
        &["`Y`", "`offset` of 1 or 2"],
    );
    refused(
        &of_rows("Normalizer", &["y"], vec![word("norm", "L3")]),
        &["`Y`", "L3 found"],
    );
}

#[test]
fn integers_above_a_real_threshold() {
    let model = with_domain(Onnx::new(17), "ai.onnx.ml", 1);
    let model = model
        .typed_input("x", DataType::Int64, [4_i64])
        .node(
            "ai.onnx.ml.Binarizer",
            &["x"],
            &["y"],
            vec![float("threshold", -1.5)],
        )
        .output("y");
    let x = Values::new([4], Data::I64(vec![-3, -2, -1, 0]));
    assert_eq!(run(&model, &[x]), [Values::new([4], Data::I64(vec![0, 0, 1, 1]))]);
}

#[test]
fn graphs_that_change_scores_keep_their_type() {
    let model = |graph: Onnx| {
        let mut graph = graph;
        let modifier = subgraph("score_mod", std::mem::take(graph.graph()));
        let model = with_domain(Onnx::new(26), "ai.onnx.preview", 1);
        let ends = ["q", "k", "v"];
        ends.iter()
            .fold(model, |model, end| model.input(end, [1, 2, 3, 4]))
            .node("ai.onnx.preview.FlexAttention", &ends, &["y"], vec![modifier])
            .output("y")
    };
    let graph = || Onnx::new(26).input("s", [1, 2, 3, 3]);
    let short = graph()
        .node("ReduceMax", &["s"], &["t"], vec![int("keepdims", 0)])
        .output("t");
    refused(
        &model(short),
        &["FlexAttention `Y`", "a graph that keeps f32[1,2,3,3] wanted"],
    );
    refused(
        &model(graph()),
        &["FlexAttention `Y`", "one output wanted", "with 0 found"],
    );
    let two = graph().input("t", [1]).output("s");
    refused(&model(two), &["FlexAttention `Y`", "a graph of 1 inputs wanted"]);
    let unknown = graph().node("Wobble", &["s"], &["t"], vec![]).output("t");
    refused(&model(unknown), &["Wobble `T`", "unknown operator"]);
}

#[test]
fn one_hot_codes_of_every_type() {
    let hits = |dtype: DataType, indices: Data, depth: i64| {
        let count = indices.len();
        let model = Onnx::new(17)
            .typed_input("i", dtype, [count as i64])
            .ints("depth", &[depth])
            .constant("values", &Values::f32([2], vec![-1.0, 2.0]))
            .node("OneHot", &["i", "depth", "values"], &["y"], vec![int("axis", 0)])
            .output("y");
        let made = run(&model, &[Values::new([count], indices)]);
        assert_eq!(made[0].shape, [depth as usize, count]);
        let places = made[0].to_f64().into_iter().enumerate();
        let hits = places.filter(|&(_, value)| value == 2.0);
        hits.map(|(at, _)| (at / count, at % count)).collect::<Vec<_>>()
    };
    // Places beyond a narrow type's range are no places of its codes.
    assert_eq!(
        hits(DataType::Uint8, Data::U8(vec![0, 255]), 300),
        [(0, 0), (255, 1)]
    );
    let signed = Data::I8(vec![-1, 100, -128]);
    assert_eq!(hits(DataType::Int8, signed, 300), [(100, 1), (172, 2), (299, 0)]);
    let most = Data::U64(vec![u64::MAX, 2]);
    assert_eq!(hits(DataType::Uint64, most, 3), [(2, 1)]);
    let reals = Data::F32(vec![1.5, -0.0, -3.0, f32::NAN, 3.0, -4.0]);
    assert_eq!(hits(DataType::Float, reals, 3), [(0, 1), (0, 2)]);
}
