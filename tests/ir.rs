//! Graphs as text and the verifier's rules.

use tinsmith::ir::stored::{self, StoredError};
use tinsmith::ir::text::{Constants, ParseErrorKind, parse, print};
use tinsmith::ir::verify::{VerifyError, verify};
use tinsmith::ir::{FloatGraph, QuantGraph};
use tinsmith::op::quant::{QuantParams, Quantization};

const CONV: &str = r#"graph "demo"
note "dimension `batch` was set to 1"
input %x: f32[1,3,3,2]
const %w: f32[1,1,1,2] = [0.1, -3.0]
%y: f32[1,3,3,1] = Conv2d {"window":{"kernel":[1,1],"strides":[1,1],"dilations":[1,1],"pads":[0,0,0,0]},"groups":1,"clamp":{"min":0.1}} (%x, %w) "conv; \"1\""
output %y
"#;

const QUANT: &str = r#"graph "quantized"
input %x: i8[1,2] scale 0.5 zero_point -3 model f32
const %w: i8[3,2] axis 0 scales [0.5, 0.25, 1e-10] = [1, 2, 3, -4, 5, -128]
const %"bias:0": i32[3] axis 0 scales [0.25, 0.125, 5e-11] = [1, 2, -3]
%y: i8[1,3] scale 0.0625 zero_point 0 = Dense {"clamp":{"max":6.0}} (%x, %w, %"bias:0") "dense"
output %y
"#;

fn float(text: &str) -> FloatGraph {
    parse(text).unwrap()
}

#[test]
fn float_text_reads_back_as_written() {
    let graph = float(CONV);
    verify(&graph).unwrap();
    assert_eq!(print(&graph, Constants::Full), CONV);
    assert_eq!(graph.nodes[0].name, "conv; \"1\"");
}

#[test]
fn what_is_stored_reads_back_to_the_bit() {
    let known = float(CONV);
    let mut changed = float(&CONV.replace("-3.0", "-0.0"));
    let quant: QuantGraph = parse(QUANT).unwrap();
    let mut bytes = Vec::new();
    stored::write(&known, &known, &mut bytes).unwrap();
    let first = bytes.len();
    stored::write(&changed, &known, &mut bytes).unwrap();
    stored::write(&quant, &known, &mut bytes).unwrap();
    let mut rest = &bytes[..];
    let read: FloatGraph = stored::read(&known, &mut rest).unwrap();
    assert_eq!(print(&read, Constants::Full), CONV);
    // A constant of the known graph is the same one.
    let weights = |graph: &FloatGraph| graph.tensors[graph.nodes[0].inputs[1]].data.clone().unwrap();
    assert!(std::sync::Arc::ptr_eq(&weights(&read), &weights(&known)));
    let read: FloatGraph = stored::read(&known, &mut rest).unwrap();
    assert!(weights(&read).as_f32().unwrap()[1].is_sign_negative());
    assert_eq!(read, changed);
    let read: QuantGraph = stored::read(&known, &mut rest).unwrap();
    assert_eq!(print(&read, Constants::Full), QUANT);
    assert!(rest.is_empty());

    // What is no graph is told, not believed.
    let read = |bytes: &[u8], known: &FloatGraph| stored::read::<tinsmith::ir::FloatTensor>(known, bytes);
    for len in 0..first {
        assert!(read(&bytes[..len], &known).is_err());
    }
    let none = FloatGraph::new("none");
    assert!(matches!(read(&bytes, &none), Err(StoredError::NoConstant { .. })));
    changed.outputs.push(changed.inputs[0]);
    changed.nodes.clear();
    let mut bytes = Vec::new();
    stored::write(&changed, &known, &mut bytes).unwrap();
    assert!(matches!(read(&bytes, &known), Err(StoredError::Invalid(_))));
}

#[test]
fn quantized_text_reads_back_as_written() {
    let graph: QuantGraph = parse(QUANT).unwrap();
    verify(&graph).unwrap();
    assert_eq!(print(&graph, Constants::Full), QUANT);
}

#[test]
fn a_summary_tells_large_constants_apart_but_does_not_read_back() {
    let text = "graph \"g\"\ninput %x: f32[20]\nconst %c: f32[20] = FILL\n%y = Binary {\"kind\":\"Add\",\"clamp\":{}} (%x, %c)\noutput %y";
    let summary = |fill: &str| print(&float(&text.replace("FILL", fill)), Constants::Summary);
    assert_ne!(summary("ramp"), summary("zeros"));
    let error = parse::<tinsmith::ir::FloatTensor>(&summary("ramp")).unwrap_err();
    assert_eq!((error.line, error.kind), (3, ParseErrorKind::Summary));
}

#[test]
fn every_fill_has_its_values() {
    let constant = |ty: &str, fill: &str| {
        let graph = float(&format!("graph \"g\"\nconst %c: {ty} = {fill}\noutput %c"));
        let (_, tensor) = graph.tensors.iter().next().unwrap();
        tensor.data.as_ref().unwrap().to_f64()
    };
    assert_eq!(constant("i64[2]", "zeros"), [0.0, 0.0]);
    assert_eq!(constant("f64[2]", "ones"), [1.0, 1.0]);
    assert_eq!(constant("f32[2]", "full -2.5"), [-2.5, -2.5]);
    assert_eq!(constant("i8[3]", "ramp"), [-14.0, -7.0, 0.0]);
    assert_eq!(constant("u8[3]", "ramp"), [0.0, 7.0, 14.0]);
    assert_eq!(constant("f32[3]", "ramp"), [-1.75, -0.875, 0.0]);
    assert_eq!(constant("bool[2]", "[true, false]"), [1.0, 0.0]);
    assert_eq!(constant("f32[2]", "[inf, 1e-45]")[0], f64::INFINITY);
}

#[test]
fn errors_name_the_line_and_what_was_wanted() {
    let message = |text: &str| {
        parse::<tinsmith::ir::FloatTensor>(&format!("graph \"g\"\ninput %x: f32[2]\n{text}"))
            .unwrap_err()
            .to_string()
    };
    for (text, wanted) in [
        ("output %z", "line 3: no line above defines `%z`"),
        ("input %x: f32[2]", "line 3: `%x` is defined above"),
        ("inputs %y: f32[2]", "line 3: wanted a statement, found `inputs`"),
        ("graph \"h\"", "line 3: wanted a statement, found `graph`"),
        ("input %y: f31[2]", "line 3: wanted an element type, found `f31`"),
        ("input %y: f32[2,-1]", "line 3: wanted an extent, found `-1`"),
        (
            "const %c: f32[3] = [1.0]",
            "line 3: f32[3] needs 3 elements, found 1",
        ),
        ("const %c: i8[1] = [200]", "line 3: wanted an i8, found `200`"),
        (
            "input %y: f32[99999999999,99999999999]",
            "line 3: more than 268435456 elements",
        ),
        (
            "%y = Unary {\"kind\":\"Sigmoid\"} (%x) \"n\" x",
            "line 3: wanted the end of the line, found `x`",
        ),
        (
            "input %y: i8[1] scale 1 zero_point 0",
            "line 3: tensors of this kind of graph carry no quantization",
        ),
        (
            "%y = Softmax {\"axis\":7} (%x)",
            "line 3: the type cannot be inferred",
        ),
        (
            "%y: f32[2] = Nothing (%x)",
            "line 3: no operator takes these fields: unknown variant `Nothing`",
        ),
        (
            "%y: f32[2] = Softmax (%x)",
            "line 3: no operator takes these fields: missing field `axis`",
        ),
        (
            "%y: f32[2] = Softmax {\"axis\":0 (%x)",
            "line 3: wanted an operator's fields in JSON",
        ),
    ] {
        let found = message(text);
        assert!(found.starts_with(wanted), "{text}: {found}");
    }
    let error = parse::<tinsmith::ir::FloatTensor>("// nothing\n").unwrap_err();
    assert_eq!(error.kind, ParseErrorKind::NoGraph);
}

#[test]
fn no_text_makes_the_reader_panic() {
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize
    };
    let pieces = [
        "%", "\"", "[", "]", "{", "}", "(", ",", ":", "=", "f32", "9", "-", "\\", "é", "//", "\n", "ramp",
        " ",
    ];
    for text in [CONV, QUANT] {
        for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)) {
            let _ = parse::<tinsmith::ir::FloatTensor>(&text[..end]);
            let mut changed = text.to_owned();
            changed.replace_range(end..=end, pieces[next() % pieces.len()]);
            let _ = parse::<tinsmith::op::quant::QuantTensor>(&changed);
            changed.insert_str(end, pieces[next() % pieces.len()]);
            if let Ok(graph) = parse::<tinsmith::op::quant::QuantTensor>(&changed) {
                let _ = verify(&graph);
                let _ = print(&graph, Constants::Summary);
            }
        }
    }
}

/// The verifier's message on a graph that was changed after reading.
fn broken(change: impl FnOnce(&mut FloatGraph)) -> String {
    let mut graph = float(
        r#"graph "g"
input %x: f32[1,2]
const %w: f32[3,2] = ramp
%a = Dense {"clamp":{}} (%x, %w) "dense"
%y = Unary {"kind":"Sigmoid"} (%a) "sigmoid"
output %y
"#,
    );
    verify(&graph).unwrap();
    change(&mut graph);
    verify(&graph).unwrap_err().to_string()
}

#[test]
fn the_verifier_finds_what_breaks_each_rule() {
    let tensor = |graph: &FloatGraph, name: &str| {
        let (handle, _) = graph.tensors.iter().find(|(_, t)| t.name == name).unwrap();
        handle
    };
    assert_eq!(
        broken(|g| g.nodes.swap(0, 1)),
        "Unary `sigmoid` reads `a`, which no node before it produces"
    );
    assert_eq!(
        broken(|g| drop(g.nodes.pop())),
        "output `y` is neither produced by a node nor an input nor a constant"
    );
    assert_eq!(
        broken(|g| g.nodes.push(g.nodes[1].clone())),
        "Unary `sigmoid` writes `y`, which is written by a node before it"
    );
    assert_eq!(
        broken(|g| g.nodes[0].outputs = g.inputs.clone()),
        "Dense `dense` writes `x`, which is an input of the graph"
    );
    assert_eq!(
        broken(|g| g.inputs.push(g.inputs[0])),
        "`x` is an input of the graph twice"
    );
    assert_eq!(
        broken(|g| g.inputs = vec![tensor(g, "w")]),
        "`w` is an input of the graph, but carries the elements of a constant"
    );
    assert_eq!(
        broken(|g| {
            let a = tensor(g, "a");
            g.tensors[a].name = "w".into();
        }),
        "two tensors are named `w`"
    );
    assert_eq!(
        broken(|g| {
            let a = tensor(g, "a");
            g.tensors[a].name = String::new();
        }),
        "tensor 2 has no name"
    );
    assert_eq!(
        broken(|g| {
            let w = tensor(g, "w");
            g.tensors[w].ty.shape = vec![2, 3];
        }),
        "constant `w` is stated as f32[2,3], but its elements are f32[3,2]"
    );
    assert_eq!(
        broken(|g| {
            let a = tensor(g, "a");
            g.tensors[a].ty.shape = vec![3];
        }),
        "Dense `dense` gives `a` as f32[1,3], but it is stated as f32[3]"
    );
    assert_eq!(
        broken(|g| {
            let a = tensor(g, "a");
            g.nodes[1].outputs.push(a);
        }),
        "Unary `sigmoid` writes `a`, which is written by a node before it"
    );
    assert!(broken(|g| g.nodes[0].inputs.truncate(1)).starts_with("Dense `dense`: "));
    assert_eq!(
        broken(|g| {
            let mut other = g.clone();
            let far = (0..9).map(|_| other.tensors.push(other.tensors[g.inputs[0]].clone()));
            g.outputs = far.collect();
        }),
        "the list of outputs names tensor 4, but the graph has 4"
    );
}

#[test]
fn the_verifier_checks_quantization() {
    let broken = |name: &str, quantization: Quantization| {
        let mut graph: QuantGraph = parse(QUANT).unwrap();
        let (handle, _) = graph.tensors.iter().find(|(_, t)| t.name == name).unwrap();
        graph.tensors[handle].quantization = quantization;
        verify(&graph).unwrap_err()
    };
    let per_tensor = |scale, zero_point| Quantization::PerTensor(QuantParams { scale, zero_point });
    for scale in [0.0, -1.0, f32::INFINITY, f32::NAN, -0.0] {
        assert!(matches!(
            broken("x", per_tensor(scale, 0)),
            VerifyError::Scale { .. }
        ));
    }
    assert_eq!(
        broken("x", per_tensor(1.0, 128)).to_string(),
        "`x` has the zero point 128, which i8 cannot hold"
    );
    let scales = |axis, n| Quantization::PerChannel {
        axis,
        scales: vec![0.5; n],
    };
    assert_eq!(
        broken("w", scales(0, 2)).to_string(),
        "`w` (i8[3,2]) has 2 scales along axis 0, wanted one per index"
    );
    assert!(matches!(
        broken("w", scales(2, 2)),
        VerifyError::ScaleCount { .. }
    ));
}
