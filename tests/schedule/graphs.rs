//! Graphs with kernels, made by hand or at random, without asking any operator.

use std::sync::Arc;

use tinsmith::ir::{Handle, Node, Program, QuantGraph};
use tinsmith::op::quant::{QuantParams, QuantTensor, Quantization};
use tinsmith::op::tensor::{DType, Data, TensorType, Values};
use tinsmith::op::{Clamp, KernelCall, Lowered, Op, Operand, Unary, UnaryKind, View};
use tinsmith::schedule::edges;
use tinsmith::schedule::{self, IoLayout};
use tinsmith::target::Target;
use tinsmith_runtime::format::{Add, Delay, Dense, Fill, Pair, StridedCopy, Table};
use tinsmith_runtime::kernels::Layer;

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

pub(crate) type Tensor = Handle<QuantTensor>;

/// A graph of flat int8 tensors that grows node by node, with the kernels of each node. Tensors are named `x0` or
/// `t1` by their index, nodes `n0`, `n1` and so on.
pub(crate) struct Build {
    pub(crate) graph: QuantGraph,
    pub(crate) lowered: Vec<Lowered>,
}

/// Biases, multipliers near 2^30, shifts of 37 or so, weights: all sorts of bytes that the kernel takes.
fn dense_constants(inputs: usize, outputs: usize, seed: usize) -> Vec<u8> {
    let mut random = Random::new(seed as u64);
    let mut bytes = Vec::new();
    for _ in 0..outputs {
        bytes.extend((random.below(2000) as i32 - 1000).to_le_bytes());
    }
    for _ in 0..outputs {
        bytes.extend(((1 << 30) + random.below(1 << 30) as i32).to_le_bytes());
    }
    bytes.extend((0..outputs).map(|_| 36 + random.below(3) as u8));
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    bytes.extend((0..inputs * outputs).map(|_| random.below(256) as u8));
    bytes
}

fn copy(count: usize) -> StridedCopy {
    StridedCopy {
        dims: [1, 1, 1, 1, count as u32],
        ifm_strides: [1; 5],
        ofm_strides: [1; 5],
        element_bytes: 1,
        ..StridedCopy::default()
    }
}

fn call(layer: Layer, sources: Vec<Operand>) -> KernelCall {
    KernelCall {
        layer,
        sources,
        ofm_byte_offset: 0,
        constants: Vec::new(),
        padding_bytes: 0,
        state_bytes: 0,
        in_place: Vec::new(),
    }
}

fn input(index: usize, byte_offset: usize) -> Operand {
    Operand::Input { index, byte_offset }
}

impl Build {
    pub(crate) fn new() -> Self {
        Self {
            graph: QuantGraph::new("test"),
            lowered: Vec::new(),
        }
    }

    fn tensor(&mut self, prefix: &str, bytes: usize, data: Option<Arc<Values>>) -> Tensor {
        let index = self.graph.tensors.len();
        self.graph.tensors.push(QuantTensor {
            name: format!("{prefix}{index}"),
            ty: TensorType::new(DType::I8, [bytes]),
            quantization: Quantization::PerTensor(QuantParams {
                scale: 0.5,
                zero_point: 0,
            }),
            model_dtype: DType::F32,
            data,
        })
    }

    pub(crate) fn bytes(&self, tensor: Tensor) -> usize {
        self.graph.tensors[tensor].ty.bytes()
    }

    pub(crate) fn input(&mut self, bytes: usize) -> Tensor {
        let tensor = self.tensor("x", bytes, None);
        self.graph.inputs.push(tensor);
        tensor
    }

    pub(crate) fn output(&mut self, tensor: Tensor) {
        self.graph.outputs.push(tensor);
    }

    pub(crate) fn constant(&mut self, bytes: usize) -> Tensor {
        let data = (0..bytes).map(|i| (i % 100) as i8).collect();
        self.tensor("k", bytes, Some(Arc::new(Values::new([bytes], Data::I8(data)))))
    }

    fn node(
        &mut self,
        inputs: &[Tensor],
        bytes: usize,
        calls: Vec<KernelCall>,
        view: Option<View>,
    ) -> Tensor {
        let output = self.tensor("t", bytes, None);
        self.graph.nodes.push(Node {
            name: format!("n{}", self.graph.nodes.len()),
            // The scheduler asks an operator for nothing but its work.
            op: Op::Unary(Unary {
                kind: UnaryKind::Clamp(Clamp::RELU),
            }),
            inputs: inputs.to_vec(),
            outputs: vec![output],
        });
        self.lowered.push(Lowered {
            calls,
            view,
            ..Lowered::default()
        });
        output
    }

    pub(crate) fn dense(&mut self, x: Tensor, outputs: usize) -> Tensor {
        let inputs = self.bytes(x);
        let record = Dense {
            rows: 1,
            in_features: inputs as u32,
            out_features: outputs as u32,
            ofm_zero_point: 3,
            min: -128,
            max: 127,
            ..Dense::default()
        };
        let call = KernelCall {
            constants: dense_constants(inputs, outputs, self.graph.nodes.len()),
            ..call(Layer::Dense(record), vec![input(0, 0)])
        };
        self.node(&[x], outputs, vec![call], None)
    }

    pub(crate) fn table(&mut self, x: Tensor) -> Tensor {
        let bytes = self.bytes(x);
        let record = Table {
            count: bytes as u32,
            ..Table::default()
        };
        let call = KernelCall {
            constants: (0..=255u8).map(|i| i.wrapping_mul(7).wrapping_add(5)).collect(),
            in_place: vec![0],
            ..call(Layer::Table(record), vec![input(0, 0)])
        };
        self.node(&[x], bytes, vec![call], None)
    }

    /// A sum of two tensors of one size, or of one and a constant.
    pub(crate) fn add(&mut self, a: Tensor, b: Tensor) -> Tensor {
        let bytes = self.bytes(a);
        let strides = [bytes as u32, bytes as u32, bytes as u32, 1];
        let record = Add {
            operands: Pair {
                dims: [1, 1, 1, bytes as u32],
                a_strides: strides,
                b_strides: strides,
                ..Pair::default()
            },
            a_multiplier: 3,
            b_multiplier: 2,
            a_zero_point: 1,
            right_shift: 2,
            min: -128,
            max: 127,
            ..Add::default()
        };
        let is_constant = self.graph.tensors[b].data.is_some();
        let call = KernelCall {
            in_place: if is_constant { vec![0] } else { vec![0, 1] },
            ..call(Layer::Add(record), vec![input(0, 0), input(1, 0)])
        };
        self.node(&[a, b], bytes, vec![call], None)
    }

    pub(crate) fn reshape(&mut self, x: Tensor) -> Tensor {
        let bytes = self.bytes(x);
        self.slice(x, 0, bytes)
    }

    pub(crate) fn slice(&mut self, x: Tensor, start: usize, bytes: usize) -> Tensor {
        let call = call(Layer::StridedCopy(copy(bytes)), vec![input(0, start)]);
        self.node(
            &[x],
            bytes,
            vec![call],
            Some(View::OfInput { byte_offset: start }),
        )
    }

    pub(crate) fn reverse(&mut self, x: Tensor) -> Tensor {
        let bytes = self.bytes(x);
        let mut record = copy(bytes);
        record.ifm_strides[4] = -1;
        let call = call(Layer::StridedCopy(record), vec![input(0, bytes - 1)]);
        self.node(&[x], bytes, vec![call], None)
    }

    pub(crate) fn concat(&mut self, parts: &[Tensor]) -> Tensor {
        let mut byte_offsets = Vec::new();
        let mut end = 0;
        let mut calls = Vec::new();
        for (index, &part) in parts.iter().enumerate() {
            let bytes = self.bytes(part);
            byte_offsets.push(end);
            calls.push(KernelCall {
                ofm_byte_offset: end,
                ..call(Layer::StridedCopy(copy(bytes)), vec![input(index, 0)])
            });
            end += bytes;
        }
        self.node(parts, end, calls, Some(View::JoinsInputs { byte_offsets }))
    }

    /// Joins two tensors byte by byte in turn, which no view can do.
    pub(crate) fn interleave(&mut self, a: Tensor, b: Tensor) -> Tensor {
        let bytes = self.bytes(a);
        let calls = [0, 1].map(|index| {
            let mut record = copy(bytes);
            record.ofm_strides[4] = 2;
            KernelCall {
                ofm_byte_offset: index,
                ..call(Layer::StridedCopy(record), vec![input(index, 0)])
            }
        });
        self.node(&[a, b], 2 * bytes, calls.to_vec(), None)
    }

    /// A margin on both sides: a fill, then a copy into its middle.
    pub(crate) fn pad(&mut self, x: Tensor, margin: usize) -> Tensor {
        let bytes = self.bytes(x);
        let total = bytes + 2 * margin;
        let fill = Fill {
            count: total as u32,
            ..Fill::default()
        };
        let middle = KernelCall {
            ofm_byte_offset: margin,
            ..call(Layer::StridedCopy(copy(bytes)), vec![input(0, 0)])
        };
        self.node(&[x], total, vec![call(Layer::Fill(fill), vec![]), middle], None)
    }

    pub(crate) fn delay(&mut self, x: Tensor) -> Tensor {
        let bytes = self.bytes(x);
        let record = Delay {
            count: bytes as u32,
            ..Delay::default()
        };
        let call = KernelCall {
            state_bytes: bytes,
            in_place: vec![0],
            ..call(Layer::Delay(record), vec![input(0, 0)])
        };
        self.node(&[x], bytes, vec![call], None)
    }

    /// One to four inputs, up to 20 nodes of every kind, one to three outputs.
    pub(crate) fn random(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut build = Self::new();
        let mut tensors = Vec::new();
        for _ in 0..1 + random.below(4) {
            tensors.push(build.input(1 + random.below(90)));
        }
        for _ in 0..1 + random.below(20) {
            let x = tensors[random.below(tensors.len())];
            let bytes = build.bytes(x);
            let alike = |build: &Self, random: &mut Random| {
                let alike: Vec<Tensor> = tensors
                    .iter()
                    .copied()
                    .filter(|&t| build.bytes(t) == bytes)
                    .collect();
                alike[random.below(alike.len())]
            };
            let made = match random.below(12) {
                0 | 1 => build.dense(x, 1 + random.below(120)),
                2 => build.table(x),
                3 => {
                    let other = alike(&build, &mut random);
                    build.add(x, other)
                }
                4 => {
                    let k = build.constant(bytes);
                    build.add(x, k)
                }
                5 => build.reshape(x),
                6 => {
                    let start = random.below(bytes);
                    let length = 1 + random.below(bytes - start);
                    build.slice(x, start, length)
                }
                7 => {
                    let parts: Vec<Tensor> = (0..2 + random.below(3))
                        .map(|_| tensors[random.below(tensors.len())])
                        .collect();
                    build.concat(&parts)
                }
                8 => build.reverse(x),
                9 => {
                    let other = alike(&build, &mut random);
                    build.interleave(x, other)
                }
                10 => build.pad(x, 1 + random.below(9)),
                _ => build.delay(x),
            };
            // Shapes must not grow without end.
            if build.bytes(made) < 2000 {
                tensors.push(made);
            }
        }
        let produced: Vec<Tensor> = build.graph.nodes.iter().map(|node| node.outputs[0]).collect();
        for _ in 0..1 + random.below(3) {
            build.output(produced[random.below(produced.len())]);
        }
        build.output(produced[produced.len() - 1]);
        build
    }

    /// The program on a board, which the checker has passed.
    pub(crate) fn schedule(&self) -> Program {
        let target = Target::builtin("mps2-an386").unwrap();
        let edges = edges::find(&self.graph, IoLayout::Keep);
        schedule::with_kernels(&target, &self.graph, &edges, &self.lowered).unwrap()
    }
}
