//! Conv and ConvTranspose over any number of spatial axes, channels-last:
//! <https://onnx.ai/onnx/operators/onnx__Conv.html>, <https://onnx.ai/onnx/operators/onnx__ConvTranspose.html>.

use serde::{Deserialize, Serialize};

use super::element::{Element, in_f32};
use super::gemm::{self, Finish};
use super::lower::{KernelCall, Operand};
use super::quant::{QuantTensor, Range};
use super::tensor::{DType, Data, TensorType, Values};
use super::window_nd::WindowNd;
use super::{Clamp, Constraint, LowerError, Lowered, OpError, Operator, expect};
use super::{movement, real, rescale, wide};
use crate::target::Target;
use tinsmith_runtime::kernels::Layer;

/// `y[n,…,o] = clamp(b[o] + Σ x[n, position(…, k…), i]·weights[o,k…,i])`, positions as [`WindowNd`] has them.
///
/// Inputs: `x [n, d…, c]`, `weights [out_c, k…, c / groups]`, optionally `bias [out_c]`. Plain convolutions over one
/// and two axes are `Conv2d`s. A transposed convolution has its kernel turned around, so that its taps gather.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConvNd {
    /// Kernel, strides, dilations, padding, output.
    pub window: WindowNd,
    /// Channel groups.
    pub groups: usize,
    /// The activation fused behind it.
    pub clamp: Clamp,
}

impl Operator for ConvNd {
    const ONNX: &'static [&'static str] = &["Conv", "ConvTranspose"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[
        Constraint {
            text: "there are at most 3 spatial axes",
            holds: |op, _| op.window.axes() <= 3,
        },
        Constraint {
            text: "spatial extents are at most 65535 each",
            holds: |op, inputs| {
                let fits = |&extent: &usize| extent <= super::window::MAX_EXTENT;
                inputs[0].shape[1..=op.window.axes()].iter().all(fits) && op.window.output.iter().all(fits)
            },
        },
    ];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 2..=3)?;
        let (x, weights) = (inputs[0], inputs[1]);
        self.window.check()?;
        let axes = self.window.axes();
        expect::rank("x", x, axes + 2)?;
        expect::float("x", x)?;
        expect::rank("weights", weights, axes + 2)?;
        expect::dtype("weights", weights, x.dtype)?;
        let (channels, out_channels) = (x.shape[axes + 1], weights.shape[0]);
        if self.groups == 0
            || !channels.is_multiple_of(self.groups)
            || !out_channels.is_multiple_of(self.groups)
        {
            return Err(OpError::new(format!(
                "groups that divide {channels} input and {out_channels} output channels wanted, {} found",
                self.groups
            )));
        }
        let wanted = [
            &[out_channels],
            &self.window.kernel[..],
            &[channels / self.groups],
        ]
        .concat();
        expect::shape("weights", weights, &wanted)?;
        if let Some(bias) = inputs.get(2) {
            expect::dtype("bias", bias, x.dtype)?;
            expect::shape("bias", bias, &[out_channels])?;
        }
        let shape = [&[x.shape[0]], &self.window.output[..], &[out_channels]].concat();
        Ok(vec![TensorType::new(x.dtype, shape)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let data = match ty.dtype {
            DType::F64 => Data::F64(self.convolve(inputs)),
            DType::F32 => Data::F32(self.convolve(inputs)),
            _ => in_f32(inputs, |inputs| self.convolve(inputs)),
        };
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn output_range(&self, observed: Range) -> Range {
        observed.clamped(self.clamp)
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        if real::computes(inputs, outputs)? {
            return Ok(real::convolution_nd(self, inputs)?);
        }
        if wide::computes(inputs, outputs)? {
            return wide::convolution_nd(self, inputs, outputs[0]);
        }
        let axes = self.window.axes();
        let layer = rescale::weighted(inputs, outputs[0], self.clamp)?;
        let x = &inputs[0].ty.shape;
        let record = tinsmith_runtime::format::ConvNd {
            images: movement::fitting(x[0])?,
            window: self.window.record(&x[1..=axes])?,
            in_c: movement::fitting(x[axes + 1])?,
            out_c: movement::fitting(outputs[0].ty.shape[axes + 1])?,
            groups: movement::fitting(self.groups)?,
            ifm_zero_point: layer.input_zero_point,
            ofm_zero_point: movement::fitting(layer.codes.zero_point)?,
            min: layer.codes.min,
            max: layer.codes.max,
            left_shift: layer.left_shift,
            ..Default::default()
        };
        let mut constants = layer.head;
        let weights = layer.rows.iter().flat_map(|row| row.iter());
        constants.extend(weights.map(|&weight| weight as u8));
        let source = Operand::Input {
            index: 0,
            byte_offset: 0,
        };
        let call = KernelCall {
            padding_bytes: layer.padding_bytes,
            ..KernelCall::new(Layer::ConvNd(record), vec![source], constants)
        };
        Ok(Lowered::one(call, layer.proof))
    }

    fn macs(&self, inputs: &[&TensorType]) -> u64 {
        // As many products as the kernel has elements, per output position; a spread leaves that share of them.
        let outputs = self.window.output.iter();
        let positions = outputs.fold(inputs[0].shape[0] as u64, |all, &extent| {
            all.saturating_mul(extent as u64)
        });
        let spread: u64 = self.window.spread.iter().map(|&spread| spread as u64).product();
        positions.saturating_mul(inputs[1].len() as u64) / spread.max(1)
    }
}

impl ConvNd {
    /// Sums from zero over taps and channels in their order, the bias last: the order of the runtime.
    fn convolve<T: Element>(&self, inputs: &[&Values]) -> Vec<T> {
        let input = |i: usize| T::of(&inputs[i].data).expect("the type check found one float type");
        let (x, weights) = (input(0), input(1));
        let finish = Finish {
            bias: (inputs.len() > 2).then(|| input(2)),
            clamp: self.clamp,
        };
        let (shape, axes) = (&inputs[0].shape, self.window.axes());
        let (extents, in_c, out_c) = (&shape[1..=axes], shape[axes + 1], inputs[1].shape[0]);
        let pixels = extents.iter().product::<usize>();
        let (filter_c, group_out) = (in_c / self.groups, out_c / self.groups);
        let outputs: usize = self.window.output.iter().product();
        let mut y = vec![T::default(); shape[0] * outputs * out_c];
        if y.is_empty() {
            return y;
        }
        let mut patches = Vec::new();
        for alike in self.window.alike(extents) {
            for group in 0..self.groups {
                let columns = group * group_out..(group + 1) * group_out;
                let finish = finish.part(columns.clone());
                let taps = &alike.taps;
                let filters = columns.flat_map(|o| taps.iter().map(move |tap| o * self.window.taps() + tap));
                let filters: Vec<T> = filters
                    .flat_map(|filter| &weights[filter * filter_c..][..filter_c])
                    .copied()
                    .collect();
                let packed = gemm::Packed::from_columns(&filters, group_out, taps.len() * filter_c);
                let block = (gemm::BLOCK_ELEMENTS / packed.depth().max(1)).max(8);
                let mut sums = vec![T::default(); block * group_out];
                for image in 0..shape[0] {
                    let x = &x[image * pixels * in_c..];
                    for (firsts, places) in alike.pixels.chunks(block).zip(alike.outputs.chunks(block)) {
                        patches.clear();
                        for first in firsts {
                            for tap in &alike.offsets {
                                let from = (first + tap) * in_c + group * filter_c;
                                patches.extend_from_slice(&x[from..from + filter_c]);
                            }
                        }
                        gemm::product(&patches, places.len(), &packed, finish, &mut sums, group_out);
                        for (&place, sums) in places.iter().zip(sums.chunks_exact(group_out)) {
                            let row = (image * outputs + place) * out_c + group * group_out;
                            y[row..row + group_out].copy_from_slice(sums);
                        }
                    }
                }
            }
        }
        y
    }
}
