//! One-node quantized graphs, run through schedule, blob and simulator, and through their meaning.

use std::sync::Arc;

use tinsmith::ir::{Handle, Node, QuantGraph};
use tinsmith::op::Op;
use tinsmith::op::quant::{QuantParams, QuantTensor, Quantization};
use tinsmith::op::tensor::{DType, Data, Narrow, TensorType, Values};
use tinsmith::simulate::Simulator;
use tinsmith::target::Target;
use tinsmith::{emit, schedule};

use super::meaning;
use crate::emit::onnx::codes_read_again;

/// A seeded generator of codes and scales.
pub(crate) struct Random(u32);

impl Random {
    pub(crate) fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 8
    }

    pub(crate) fn codes(&mut self, len: usize) -> Vec<i8> {
        (0..len)
            .map(|_| match self.next() % 8 {
                0 => i8::MIN,
                1 => i8::MAX,
                _ => self.next() as i8,
            })
            .collect()
    }

    pub(crate) fn wide_codes(&mut self, len: usize) -> Vec<i16> {
        (0..len)
            .map(|_| match self.next() % 8 {
                0 => i16::MIN,
                1 => i16::MAX,
                2 => (self.next() % 64) as i16 - 32,
                _ => self.next() as i16,
            })
            .collect()
    }

    /// Codes of an element type.
    fn values(&mut self, shape: &[usize], dtype: DType) -> Values {
        let len = shape.iter().product();
        let data = match dtype {
            DType::I16 => Data::I16(self.wide_codes(len)),
            _ => Data::I8(self.codes(len)),
        };
        Values::new(shape, data)
    }

    pub(crate) fn params(&mut self) -> QuantParams {
        QuantParams {
            scale: 0.01 + self.next() as f32 / (1 << 24) as f32 * 0.05,
            zero_point: (self.next() % 256) as i32 - 128,
        }
    }
}

/// One run of the blob: its inputs, as they are and as bytes, and its outputs.
struct Run {
    inputs: Vec<Values>,
    bytes: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
}

pub(crate) type Tensor = Handle<QuantTensor>;

/// The graph, as it grows.
pub(crate) struct Case {
    pub(crate) graph: QuantGraph,
    pub(crate) random: Random,
    /// The element type of activations made from now on: int8, or int16.
    pub(crate) dtype: DType,
}

impl Case {
    pub(crate) fn new(seed: u32) -> Self {
        Self {
            graph: QuantGraph::new("case"),
            random: Random(seed.wrapping_mul(2_654_435_761).wrapping_add(99)),
            dtype: DType::I8,
        }
    }

    pub(crate) fn tensor(
        &mut self,
        name: &str,
        shape: &[usize],
        params: QuantParams,
        data: Option<Values>,
    ) -> Tensor {
        self.graph.tensors.push(QuantTensor {
            name: name.into(),
            ty: TensorType::new(self.dtype, shape),
            quantization: Quantization::PerTensor(params),
            model_dtype: self.dtype,
            data: data.map(Arc::new),
        })
    }

    pub(crate) fn input(&mut self, name: &str, shape: &[usize], params: QuantParams) -> Tensor {
        let input = self.tensor(name, shape, params, None);
        self.graph.inputs.push(input);
        input
    }

    /// A constant of codes.
    pub(crate) fn constant(&mut self, name: &str, shape: &[usize], params: QuantParams) -> Tensor {
        let values = self.random.values(shape, self.dtype);
        self.tensor(name, shape, params, Some(values))
    }

    /// A constant that is not quantized.
    pub(crate) fn plain(&mut self, name: &str, values: Values) -> Tensor {
        self.graph.tensors.push(QuantTensor {
            name: name.into(),
            ty: values.ty(),
            quantization: Quantization::Plain,
            model_dtype: values.data.dtype(),
            data: Some(Arc::new(values)),
        })
    }

    /// Weights with one scale per output channel.
    pub(crate) fn weights(&mut self, shape: &[usize]) -> Tensor {
        let codes = self
            .random
            .codes(shape.iter().product())
            .into_iter()
            .map(|code| code.max(-127));
        let values = Values::new(shape, Data::I8(codes.collect()));
        let scales = (0..shape[0]).map(|_| self.random.params().scale / 40.0).collect();
        self.graph.tensors.push(QuantTensor {
            name: "weights".into(),
            ty: values.ty(),
            quantization: Quantization::PerChannel { axis: 0, scales },
            model_dtype: DType::I8,
            data: Some(Arc::new(values)),
        })
    }

    /// int4 weights with one scale per output channel, or with blocks.
    pub(crate) fn int4_weights(&mut self, shape: &[usize], block: Option<usize>) -> Tensor {
        let len: usize = shape.iter().product();
        let codes = self.random.codes(len).into_iter().map(|code| code as u8 & 15);
        let values = Values::new(shape, Data::Narrow(Narrow::I4, codes.collect()));
        // Short, so that a scale times a factor is an f32.
        let scale = |random: &mut Random| (1 + random.next() % 4095) as f32 / (1 << 20) as f32;
        let scales: Vec<f32> = (0..shape[0]).map(|_| scale(&mut self.random)).collect();
        let quantization = match block {
            None => Quantization::PerChannel { axis: 0, scales },
            Some(block) => {
                let blocks = shape[shape.len() - 1].div_ceil(block);
                // Without a common divisor, which would count as part of the scale.
                let factor = |i: usize| match i % blocks {
                    0 => 1,
                    _ => 1 + (self.random.next() % 31) as u8,
                };
                let factors = (0..shape[0] * blocks).map(factor).collect();
                Quantization::PerBlock {
                    scales,
                    block,
                    factors,
                }
            }
        };
        self.graph.tensors.push(QuantTensor {
            name: "weights".into(),
            ty: values.ty(),
            quantization,
            model_dtype: DType::F32,
            data: Some(Arc::new(values)),
        })
    }

    pub(crate) fn bias(&mut self, channels: usize) -> Tensor {
        let bias = (0..channels)
            .map(|_| self.random.next() as i32 % 4000 - 2000)
            .collect();
        let values = Values::new([channels], Data::I32(bias));
        self.graph.tensors.push(QuantTensor {
            name: "bias".into(),
            ty: values.ty(),
            quantization: Quantization::PerChannel {
                axis: 0,
                scales: vec![1.0; channels],
            },
            model_dtype: DType::I32,
            data: Some(Arc::new(values)),
        })
    }

    pub(crate) fn node(&mut self, op: Op, inputs: &[Tensor], params: QuantParams) {
        // Bias and weights count as the reals they stand for.
        let types: Vec<TensorType> = inputs
            .iter()
            .map(|&input| {
                let tensor = &self.graph.tensors[input];
                let dtype = if tensor.ty.dtype == DType::I64 {
                    DType::I64
                } else {
                    DType::F32
                };
                TensorType::new(dtype, tensor.ty.shape.clone())
            })
            .collect();
        let shape = op
            .output_types(&types.iter().collect::<Vec<_>>())
            .unwrap()
            .remove(0)
            .shape;
        let output = self.tensor("y", &shape, params, None);
        self.graph.nodes.push(Node {
            name: "node".into(),
            op,
            inputs: inputs.to_vec(),
            outputs: vec![output],
        });
        self.graph.outputs.push(output);
    }

    /// The blob; fails where something has no exact form.
    pub(crate) fn blob(&self) -> Vec<u8> {
        tinsmith::ir::verify::verify(&self.graph).unwrap();
        let target = Target::builtin("mps2-an386").unwrap();
        let program = schedule::run(&target, &self.graph, &schedule::Options::default()).unwrap();
        emit::blob(&target, &program, &emit::Options::default()).unwrap()
    }

    /// The codes of the first output.
    pub(crate) fn codes(&self, inputs: &[Vec<i8>]) -> Vec<i8> {
        let blob = self.blob();
        let mut simulator = Simulator::new(&blob).unwrap();
        let bytes = |codes: &Vec<i8>| codes.iter().map(|&code| code as u8).collect();
        let inputs: Vec<Vec<u8>> = inputs.iter().map(bytes).collect();
        let outputs = simulator.run(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>());
        outputs.unwrap()[0].iter().map(|&byte| byte as i8).collect()
    }

    /// Runs some inputs every way: what the graph means, its blob, and the blob of the graph written as ONNX.
    pub(crate) fn check(mut self) {
        let (given, got) = self.runs();
        let given: Vec<Vec<&[u8]>> = given
            .iter()
            .map(|bytes| bytes.iter().map(Vec::as_slice).collect())
            .collect();
        if let Some(again) = codes_read_again(&self.graph, &given) {
            assert_eq!(again, got, "written as ONNX: {:?}", self.graph.nodes[0].op);
        }
    }

    /// The same of what ONNX writes in several operators, which have no int8 form one by one.
    pub(crate) fn check_blob(mut self) {
        self.runs();
    }

    /// How far codes are from what the graph means, for those of some inputs; of what is next to it, not equal.
    pub(crate) fn distances(mut self) -> Vec<u64> {
        let runs = self.simulated();
        let distances = runs.iter().flat_map(|run| {
            let wanted = &meaning::outputs(&self.graph, &run.inputs)[0];
            let found = Data::from_le_bytes(wanted.data.dtype(), &run.outputs[0]);
            let found = Values::new(wanted.shape.clone(), found).to_i64().unwrap();
            let pairs = found.into_iter().zip(wanted.to_i64().unwrap());
            pairs
                .map(|(found, wanted)| found.abs_diff(wanted))
                .collect::<Vec<_>>()
        });
        distances.collect()
    }

    /// Some inputs, and the outputs of the blob, which are what the graph means.
    #[allow(clippy::type_complexity, reason = "bytes of ports of runs, twice")]
    fn runs(&mut self) -> (Vec<Vec<Vec<u8>>>, Vec<Vec<Vec<u8>>>) {
        let runs = self.simulated();
        for run in &runs {
            let wanted = meaning::outputs(&self.graph, &run.inputs);
            let ty = wanted[0].ty();
            let codes = Values::new(ty.shape, Data::from_le_bytes(ty.dtype, &run.outputs[0]));
            assert_eq!(codes, wanted[0], "{:?}", self.graph.nodes[0].op);
        }
        runs.into_iter().map(|run| (run.bytes, run.outputs)).unzip()
    }

    /// Some inputs, and what the blob gives for them.
    fn simulated(&mut self) -> Vec<Run> {
        let blob = self.blob();
        let mut simulator = Simulator::new(&blob).unwrap();
        let types: Vec<TensorType> = self
            .graph
            .inputs
            .iter()
            .map(|&input| self.graph.tensors[input].ty.clone())
            .collect();
        let mut runs = Vec::new();
        for _ in 0..4 {
            let inputs: Vec<Values> = types
                .iter()
                .map(|ty| self.random.values(&ty.shape, ty.dtype))
                .collect();
            let bytes: Vec<Vec<u8>> = inputs.iter().map(|values| values.data.to_le_bytes()).collect();
            let outputs = simulator
                .run(&bytes.iter().map(Vec::as_slice).collect::<Vec<_>>())
                .unwrap();
            runs.push(Run {
                inputs,
                bytes,
                outputs,
            });
        }
        runs
    }
}
