//! Models that bring their own quantization: what is taken, what is refused, by name.

use std::sync::Arc;

use tinsmith::ir::{FloatGraph, FloatTensor, Handle, NoSamples, Node, Problem, QuantGraph};
use tinsmith::op::quant::{QuantParams, Quantization};
use tinsmith::op::tensor::{DType, Data, TensorType, Values};
use tinsmith::op::{
    Binary, BinaryKind, Clamp, Dense, DequantizeLinear, MaxPool, Op, Pad, PadMode, QuantizeLinear, Reshape,
    Transpose, Unary, UnaryKind, Window,
};
use tinsmith::quantize::{self, Options, Precision, QuantizeError};
use tinsmith::simulate::{Simulator, edge};
use tinsmith::target::Target;

use super::meaning;

type Tensor = Handle<FloatTensor>;

/// Builds small quantized models.
struct Builder {
    graph: FloatGraph,
    zero_type: DType,
}

impl Builder {
    fn new(zero_type: DType) -> Self {
        Self {
            graph: FloatGraph::new("small"),
            zero_type,
        }
    }

    fn tensor(&mut self, name: &str, dtype: DType, shape: &[usize]) -> Tensor {
        self.graph.tensors.push(FloatTensor {
            name: name.into(),
            ty: TensorType::new(dtype, shape),
            data: None,
        })
    }

    fn constant(&mut self, name: &str, values: Values) -> Tensor {
        self.graph.tensors.push(FloatTensor {
            name: name.into(),
            ty: values.ty(),
            data: Some(Arc::new(values)),
        })
    }

    fn input(&mut self, name: &str, dtype: DType, shape: &[usize]) -> Tensor {
        let input = self.tensor(name, dtype, shape);
        self.graph.inputs.push(input);
        input
    }

    fn node(&mut self, name: &str, op: Op, inputs: &[Tensor]) -> Tensor {
        let types: Vec<TensorType> = inputs
            .iter()
            .map(|&input| self.graph.tensors[input].ty.clone())
            .collect();
        let ty = op
            .output_types(&types.iter().collect::<Vec<_>>())
            .unwrap()
            .remove(0);
        let output = self.tensor(&format!("{name}_out"), ty.dtype, &ty.shape);
        self.graph.nodes.push(Node {
            name: name.into(),
            op,
            inputs: inputs.to_vec(),
            outputs: vec![output],
        });
        output
    }

    fn with_parameters(&mut self, name: &str, op: Op, x: Tensor, scale: f32, zero_point: i32) -> Tensor {
        let scale = self.constant(&format!("{name}_scale"), Values::f32([], vec![scale]));
        let zero = match self.zero_type {
            DType::U8 => Data::U8(vec![zero_point as u8]),
            _ => Data::I8(vec![zero_point as i8]),
        };
        let zero = self.constant(&format!("{name}_zero"), Values::new([], zero));
        self.node(name, op, &[x, scale, zero])
    }

    fn quantize(&mut self, name: &str, x: Tensor, scale: f32, zero_point: i32) -> Tensor {
        self.with_parameters(
            name,
            Op::QuantizeLinear(QuantizeLinear { axis: 0 }),
            x,
            scale,
            zero_point,
        )
    }

    fn dequantize(&mut self, name: &str, x: Tensor, scale: f32, zero_point: i32) -> Tensor {
        self.with_parameters(
            name,
            Op::DequantizeLinear(DequantizeLinear { axis: 0 }),
            x,
            scale,
            zero_point,
        )
    }

    /// Integers behind a `DequantizeLinear` with zero points of 0 in their own type.
    fn stored(&mut self, name: &str, values: Values, scales: Vec<f32>) -> Tensor {
        let zeros = match values.data {
            Data::I32(_) => Data::I32(vec![0; scales.len()]),
            _ => Data::I8(vec![0; scales.len()]),
        };
        let shape = if scales.len() == 1 {
            vec![]
        } else {
            vec![scales.len()]
        };
        let codes = self.constant(&format!("{name}_codes"), values);
        let scale = self.constant(&format!("{name}_scale"), Values::f32(shape.clone(), scales));
        let zero = self.constant(&format!("{name}_zero"), Values::new(shape, zeros));
        self.node(
            name,
            Op::DequantizeLinear(DequantizeLinear { axis: 0 }),
            &[codes, scale, zero],
        )
    }

    /// Compiled with f32 where int8 does not do, and run: the outputs are the reference executor's.
    fn agrees_in_f32(mut self, outputs: &[Tensor], inputs: &[Values]) -> QuantGraph {
        self.graph.outputs = outputs.to_vec();
        let wanted = tinsmith::reference::run(&self.graph, inputs).unwrap();
        let mut options = tinsmith::Options::default();
        options.quantize.precision = Precision::F32;
        let target = Target::builtin("mps2-an386").unwrap();
        let artifact = tinsmith::build(&target, self.graph, &NoSamples, &options, &|_, _, _| ()).unwrap();
        let mut simulator = Simulator::new(&artifact.blob).unwrap();
        let stored = edge::store_all(simulator.blob(), inputs).unwrap();
        let stored: Vec<&[u8]> = stored.iter().map(Vec::as_slice).collect();
        let found = simulator.run(&stored).unwrap();
        assert_eq!(edge::load_all(simulator.blob(), &found).unwrap(), wanted);
        artifact.quant
    }

    fn run(mut self, outputs: &[Tensor]) -> Result<QuantGraph, QuantizeError> {
        self.graph.outputs = outputs.to_vec();
        tinsmith::ir::verify::verify(&self.graph).unwrap();
        quantize::run(self.graph, &NoSamples, &Options::default(), &|_, _, _| ())
            .map(|quantized| quantized.quant)
    }

    fn problems(self, outputs: &[Tensor]) -> Vec<Problem> {
        match self.run(outputs) {
            Err(QuantizeError::Problems(problems)) => problems,
            other => panic!("problems wanted, {other:?} found"),
        }
    }
}

fn dense() -> Op {
    Op::Dense(Dense { clamp: Clamp::NONE })
}

fn add() -> Op {
    Op::Binary(Binary {
        kind: BinaryKind::Add,
        clamp: Clamp::NONE,
    })
}

fn names(graph: &QuantGraph) -> Vec<&str> {
    graph.nodes.iter().map(|node| node.name.as_str()).collect()
}

#[test]
fn floats_at_the_edge_become_int8_ports() {
    let mut b = Builder::new(DType::I8);
    let x = b.input("x", DType::F32, &[1, 2]);
    let q = b.quantize("q", x, 0.5, 3);
    let x = b.dequantize("dq", q, 0.5, 3);
    let weights = b.stored(
        "w",
        Values::new([3, 2], Data::I8(vec![1, 2, 3, 4, 5, 6])),
        vec![0.1, 0.2, 0.3],
    );
    let y = b.node("layer", dense(), &[x, weights]);
    let q = b.quantize("q2", y, 0.25, -7);
    let y = b.dequantize("dq2", q, 0.25, -7);
    let graph = b.run(&[y]).unwrap();
    assert_eq!(names(&graph), ["layer"]);
    let (input, output) = (&graph.tensors[graph.inputs[0]], &graph.tensors[graph.outputs[0]]);
    assert_eq!(
        (input.name.as_str(), input.model_dtype, input.ty.dtype),
        ("x", DType::F32, DType::I8)
    );
    assert_eq!(
        input.params(),
        Some(QuantParams {
            scale: 0.5,
            zero_point: 3
        })
    );
    assert_eq!(
        (output.name.as_str(), output.model_dtype),
        ("dq2_out", DType::F32)
    );
    let weights = &graph.tensors[graph.nodes[0].inputs[1]];
    let scales = vec![0.1, 0.2, 0.3];
    assert_eq!(weights.quantization, Quantization::PerChannel { axis: 0, scales });
}

#[test]
fn uint8_moves_down_by_128() {
    let mut b = Builder::new(DType::U8);
    let x = b.input("x", DType::U8, &[1, 2, 2, 1]);
    let real = b.dequantize("dq", x, 0.5, 130);
    let pool = MaxPool {
        window: Window {
            kernel: [2, 2],
            strides: [1, 1],
            dilations: [1, 1],
            pads: [0; 4],
        },
        clamp: Clamp::NONE,
    };
    let y = b.node("pool", Op::MaxPool(pool), &[real]);
    let y = b.quantize("q", y, 0.5, 130);
    let pad = Pad {
        before: vec![0, 1, 0, 0],
        after: vec![0; 4],
        // In codes: the code of zero.
        mode: PadMode::Constant(130.0),
    };
    let y = b.node("pad", Op::Pad(pad), &[y]);
    let graph = b.run(&[y]).unwrap();
    assert_eq!(names(&graph), ["pool", "pad"]);
    assert_eq!(graph.tensors[graph.inputs[0]].params().unwrap().zero_point, 2);
    assert_eq!(graph.tensors[graph.inputs[0]].model_dtype, DType::U8);
    let codes = Values::new([1, 2, 2, 1], Data::I8(vec![-128, 5, 7, 2]));
    let outputs = meaning::outputs(&graph, &[codes]);
    assert_eq!(outputs[0].as_i8().unwrap(), [2, 7]);
}

#[test]
fn parameters_change_where_the_model_changes_them() {
    let mut b = Builder::new(DType::I8);
    let x = b.input("x", DType::I8, &[1, 4]);
    let real = b.dequantize("dq", x, 0.5, 0);
    let same = b.quantize("same", real, 0.5, 0);
    let other = b.quantize("other", real, 0.25, 1);
    let graph = b.run(&[same, other]).unwrap();
    // The first output is the input's own codes: it takes a copy to be two ports.
    assert_eq!(names(&graph), ["other", "same_out"]);
    let codes = Values::new([1, 4], Data::I8(vec![-128, -3, 0, 63]));
    let outputs = meaning::outputs(&graph, std::slice::from_ref(&codes));
    assert_eq!(outputs[0], codes);
    assert_eq!(outputs[1].as_i8().unwrap(), [-128, -5, 1, 127]);
}

#[test]
fn rounding_reaches_back_through_what_only_moves() {
    let mut b = Builder::new(DType::I8);
    let x = b.input("x", DType::I8, &[1, 4]);
    let real = b.dequantize("dq", x, 0.5, 0);
    let sum = b.node("sum", add(), &[real, real]);
    let moved = b.node("moved", Op::Reshape(Reshape { shape: vec![2, 2] }), &[sum]);
    let kind = UnaryKind::Clamp(Clamp::RELU);
    let clamped = b.node("clamped", Op::Unary(Unary { kind }), &[moved]);
    let turned = b.node(
        "turned",
        Op::Transpose(Transpose { perm: vec![1, 0] }),
        &[clamped],
    );
    let y = b.quantize("q", turned, 0.75, -100);
    let graph = b.run(&[y]).unwrap();
    assert_eq!(names(&graph), ["sum", "moved", "clamped", "turned"]);
    let wanted = Some(QuantParams {
        scale: 0.75,
        zero_point: -100,
    });
    assert!(
        graph
            .nodes
            .iter()
            .all(|node| graph.tensors[node.outputs[0]].params() == wanted)
    );
}

#[test]
fn a_bias_of_another_scale_is_rounded_and_reported() {
    let build = |scale: f32| {
        let mut b = Builder::new(DType::I8);
        let x = b.input("x", DType::I8, &[1, 2]);
        let x = b.dequantize("dq", x, 0.5, 0);
        let weights = b.stored("w", Values::new([1, 2], Data::I8(vec![10, 20])), vec![0.1]);
        let bias = b.stored("b", Values::new([1], Data::I32(vec![1000])), vec![scale]);
        let y = b.node("layer", dense(), &[x, weights, bias]);
        let y = b.quantize("q", y, 0.25, 0);
        b.run(&[y]).unwrap()
    };
    let bias = |graph: &QuantGraph| {
        graph.tensors[graph.nodes[0].inputs[2]]
            .data
            .as_ref()
            .unwrap()
            .to_i64()
            .unwrap()
    };
    let exact = 0.5f32 * 0.1;
    for scale in [exact, exact.next_up(), exact.next_down()] {
        let graph = build(scale);
        assert_eq!(bias(&graph), [1000]);
        assert!(graph.notes.is_empty(), "{:?}", graph.notes);
    }
    let graph = build(exact * 1.0003);
    assert_eq!(bias(&graph), [1000]);
    assert!(
        graph
            .notes
            .iter()
            .any(|note| note.contains("layer") && note.contains("rounded")),
        "{:?}",
        graph.notes
    );
    let graph = build(exact * 3.0);
    assert_eq!(bias(&graph), [3000]);
}

#[test]
fn what_is_not_quantized_is_listed_by_name() {
    let mut b = Builder::new(DType::I8);
    let x = b.input("x", DType::I8, &[1, 2]);
    let real = b.dequantize("dq", x, 0.5, 0);
    // Float weights, and a sum of a value before it is rounded.
    let weights = b.constant("floats", Values::f32([2, 2], vec![1.0; 4]));
    let y = b.node("layer", dense(), &[real, weights]);
    let q = b.quantize("q", y, 0.25, 0);
    let sum = b.node("sum", add(), &[y, real]);
    let q2 = b.quantize("q2", sum, 0.25, 0);
    let tail = b.node(
        "tail",
        Op::Unary(Unary {
            kind: UnaryKind::Tanh,
        }),
        &[real],
    );
    let problems = b.problems(&[q, q2, tail]);
    let listed = |name: &str| {
        let found = problems.iter().find(|problem| problem.node == name);
        found.unwrap_or_else(|| panic!("{name} in {problems:?}"))
    };
    assert!(listed("layer").reason.contains("`floats`"), "{problems:?}");
    assert!(
        listed("sum").reason.contains("before that is rounded"),
        "{problems:?}"
    );
    assert!(listed("tail").reason.contains("not quantized"), "{problems:?}");
    assert!(
        problems.iter().all(|problem| problem.help.is_some()),
        "{problems:?}"
    );
}

#[test]
fn one_tensor_under_two_parameters_is_refused() {
    let mut b = Builder::new(DType::I8);
    let x = b.input("x", DType::I8, &[1, 2]);
    let a = b.dequantize("a", x, 0.5, 0);
    let c = b.dequantize("c", x, 0.25, 0);
    let y = b.node("sum", add(), &[a, c]);
    let y = b.quantize("q", y, 0.25, 0);
    let problems = b.problems(&[y]);
    assert_eq!(problems[0].node, "a");
    assert!(problems[0].reason.contains("elsewhere"), "{problems:?}");
}

/// A sigmoid that is added to itself before anything rounds it, behind a dense layer that is int8.
fn unrounded_sigmoid() -> (Builder, Tensor) {
    let mut b = Builder::new(DType::I8);
    let x = b.input("x", DType::I8, &[1, 2]);
    let x = b.dequantize("dq", x, 0.5, 3);
    let weights = b.stored(
        "w",
        Values::new([3, 2], Data::I8(vec![1, 2, 3, 4, 5, 6])),
        vec![0.1, 0.2, 0.3],
    );
    let y = b.node("layer", dense(), &[x, weights]);
    let q = b.quantize("q2", y, 0.25, -7);
    let y = b.dequantize("dq2", q, 0.25, -7);
    let kind = UnaryKind::Sigmoid;
    let y = b.node("sigmoid", Op::Unary(Unary { kind }), &[y]);
    let y = b.node("sum", add(), &[y, y]);
    let y = b.quantize("q3", y, 0.01, -100);
    (b, y)
}

#[test]
fn what_is_not_rounded_between_operators_takes_f32() {
    let (b, y) = unrounded_sigmoid();
    let problems = b.problems(&[y]);
    assert!(problems.iter().any(|problem| {
        let help = problem.help.as_deref().unwrap_or_default();
        problem.node == "sigmoid" && help.contains("--precision f32")
    }));
    let (b, y) = unrounded_sigmoid();
    let graph = b.agrees_in_f32(&[y], &[Values::new([1, 2], Data::I8(vec![100, -3]))]);
    let dtype = |name: &str| {
        let node = graph.nodes.iter().find(|node| node.name == name).unwrap();
        graph.tensors[node.outputs[0]].ty.dtype
    };
    let found = ["layer", "sigmoid", "sum", "q3"].map(dtype);
    assert_eq!(found, [DType::I8, DType::F32, DType::F32, DType::I8]);
}

#[test]
fn a_division_of_tensors_takes_f32() {
    let mut b = Builder::new(DType::I8);
    let (x, y) = (b.input("x", DType::I8, &[1, 4]), b.input("y", DType::I8, &[1, 1]));
    let (x, y) = (b.dequantize("dx", x, 0.5, 3), b.dequantize("dy", y, 0.25, 1));
    let kind = BinaryKind::Div;
    let clamp = Clamp::NONE;
    let z = b.node("div", Op::Binary(Binary { kind, clamp }), &[x, y]);
    let z = b.quantize("q", z, 0.1, 0);
    let x = Values::new([1, 4], Data::I8(vec![100, -3, 7, 0]));
    let y = Values::new([1, 1], Data::I8(vec![9]));
    b.agrees_in_f32(&[z], &[x, y]);
}
