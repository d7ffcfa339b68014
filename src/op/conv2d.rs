//! Conv: <https://onnx.ai/onnx/operators/onnx__Conv.html>, two spatial axes, channels-last.

use serde::{Deserialize, Serialize};

use super::element::{Element, in_f32};
use super::lower::{KernelCall, Operand};
use super::quant::{QuantTensor, Range};
use super::tensor::{DType, Data, TensorType, Values};
use super::window::{extents_fit, is_small_batch, per_image};
use super::{Clamp, Constraint, LowerError, Lowered, OpError, Operator, Window, convolve, expect, gemm};
use super::{int4, movement, real, rescale, wide};
use crate::target::Target;
use tinsmith_runtime::format::DepthwiseConv2d;
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::lanes::Packing;

/// `y[n,h,w,o] = clamp(b[o] + Σ x[n, h·s+ky·d−p, …, i]·weights[o,ky,kx,i])`.
///
/// Inputs: `x [n, h, w, c]`, `weights [out_c, kernel_h, kernel_w, c / groups]`, optionally `bias [out_c]`. Depthwise
/// where `groups = c`. One-dimensional convolutions have `h = 1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv2d {
    /// Kernel, strides, dilations, padding.
    pub window: Window,
    /// Channel groups.
    pub groups: usize,
    /// The activation fused behind it.
    pub clamp: Clamp,
}

impl Operator for Conv2d {
    const ONNX: &'static [&'static str] = &["Conv"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[
        Constraint {
            text: "the batch is at most 256",
            holds: |_, inputs| is_small_batch(inputs[0]),
        },
        Constraint {
            text: "rows, columns and channels are at most 65535 each",
            holds: |_, inputs| inputs.iter().all(|input| extents_fit(input)),
        },
        Constraint {
            text: "kernel, strides, dilations and padding are at most 65535 each",
            holds: |op, _| op.window.fits_record(),
        },
    ];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 2..=3)?;
        let (x, weights) = (inputs[0], inputs[1]);
        expect::rank("x", x, 4)?;
        expect::float("x", x)?;
        expect::rank("weights", weights, 4)?;
        expect::dtype("weights", weights, x.dtype)?;
        let (channels, out_channels) = (x.shape[3], weights.shape[0]);
        if self.groups == 0
            || !channels.is_multiple_of(self.groups)
            || !out_channels.is_multiple_of(self.groups)
        {
            return Err(OpError::new(format!(
                "groups that divide {channels} input and {out_channels} output channels wanted, {} found",
                self.groups
            )));
        }
        let [kernel_h, kernel_w] = self.window.kernel;
        let wanted = [out_channels, kernel_h, kernel_w, channels / self.groups];
        expect::shape("weights", weights, &wanted)?;
        if let Some(bias) = inputs.get(2) {
            expect::dtype("bias", bias, x.dtype)?;
            expect::shape("bias", bias, &[out_channels])?;
        }
        let [out_h, out_w] = self.window.output_extents([x.shape[1], x.shape[2]])?;
        Ok(vec![TensorType::new(
            x.dtype,
            [x.shape[0], out_h, out_w, out_channels],
        )])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let data = match ty.dtype {
            DType::F64 => Data::F64(self.convolve(inputs, &self.pack::<f64>(inputs[1]), &ty.shape)),
            DType::F32 => Data::F32(self.convolve(inputs, &self.pack::<f32>(inputs[1]), &ty.shape)),
            _ => in_f32(inputs, |inputs| {
                self.convolve(inputs, &self.pack::<f32>(inputs[1]), &ty.shape)
            }),
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
            return real::convolution(&self.window, self.groups, self.clamp, inputs, outputs[0]);
        }
        if wide::computes(inputs, outputs)? {
            return wide::convolution(self, inputs, outputs[0]);
        }
        if int4::is_int4(inputs) {
            return int4::convolution(self, inputs, outputs[0]);
        }
        let layer = rescale::weighted(inputs, outputs[0], self.clamp)?;
        let (x, y) = (&inputs[0].ty.shape, &outputs[0].ty.shape);
        let record = tinsmith_runtime::format::Conv2d {
            window: self.window.record([x[1], x[2]], [y[1], y[2]])?,
            in_c: movement::fitting(x[3])?,
            out_c: movement::fitting(y[3])?,
            groups: movement::fitting(self.groups)?,
            ifm_zero_point: layer.input_zero_point,
            ofm_zero_point: movement::fitting(layer.codes.zero_point)?,
            min: layer.codes.min,
            max: layer.codes.max,
            left_shift: layer.left_shift,
            packing: Packing::Plain as u8,
            ..Default::default()
        };
        let mut constants = layer.head;
        // One group is a plain convolution, even over one channel.
        let layer_record = if self.groups == x[3] && self.groups > 1 {
            let taps = layer.rows[0].len();
            let by_tap = (0..taps).flat_map(|tap| layer.rows.iter().map(move |row| row[tap] as u8));
            constants.extend(by_tap);
            Layer::DepthwiseConv2d(DepthwiseConv2d(record))
        } else {
            constants.extend(
                layer
                    .rows
                    .iter()
                    .flat_map(|row| row.iter().map(|&weight| weight as u8)),
            );
            Layer::Conv2d(record)
        };
        let source = Operand::Input {
            index: 0,
            byte_offset: 0,
        };
        let call = KernelCall {
            padding_bytes: layer.padding_bytes,
            ..KernelCall::new(layer_record, vec![source], constants)
        };
        Ok(Lowered {
            proof: layer.proof,
            ..per_image(call, inputs[0], outputs[0])
        })
    }

    fn macs(&self, inputs: &[&TensorType]) -> u64 {
        let products = inputs[1].len() as u64;
        let Ok([out_h, out_w]) = self
            .window
            .output_extents([inputs[0].shape[1], inputs[0].shape[2]])
        else {
            return 0;
        };
        (inputs[0].shape[0] as u64 * out_h as u64 * out_w as u64).saturating_mul(products)
    }
}

impl Conv2d {
    /// Whether its weights may be int4: each output pixel is a product of one input pixel.
    pub fn takes_int4(&self) -> bool {
        self.window.kernel == [1, 1] && self.window.pads == [0; 4] && self.groups == 1
    }

    /// The weights, packed.
    pub(crate) fn pack<T: Element>(&self, weights: &Values) -> convolve::Weights<T> {
        let elements = T::of(&weights.data).expect("the type check found one float type");
        convolve::Weights::pack(self.groups, elements, &weights.shape)
    }

    /// The layer with its weights packed, which serves many samples: `inputs` are those of [`Operator::eval`] and
    /// were checked, `out_shape` is the shape that the check gave.
    pub(crate) fn convolve<T: Element>(
        &self,
        inputs: &[&Values],
        weights: &convolve::Weights<T>,
        out_shape: &[usize],
    ) -> Vec<T> {
        let input = |i: usize| T::of(&inputs[i].data).expect("the type check found one float type");
        let finish = gemm::Finish {
            bias: (inputs.len() > 2).then(|| input(2)),
            clamp: self.clamp,
        };
        convolve::convolve(self, input(0), &inputs[0].shape, weights, finish, out_shape)
    }
}
