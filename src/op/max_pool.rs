//! MaxPool: <https://onnx.ai/onnx/operators/onnx__MaxPool.html>, two spatial axes, channels-last.

use serde::{Deserialize, Serialize};

use super::data::with_numbers;
use super::element::Element;
use super::lower::{KernelCall, Operand};
use super::movement;
use super::quant::{QuantTensor, Range};
use super::real;
use super::rescale::{self, Codes};
use super::tensor::{TensorType, Values};
use super::vectors::{Set, Task};
use super::wide;
use super::window::{extents_fit, is_small_batch, per_image, pooled};
use super::{Clamp, Constraint, LowerError, Lowered, OpError, Operator, OutputParams, Window, expect};
use crate::target::Target;
use tinsmith_runtime::format::MaxPoolF32;
use tinsmith_runtime::kernels::Layer;

/// The largest of each window; padding does not take part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaxPool {
    /// Kernel, strides, dilations, padding.
    pub window: Window,
    /// The activation fused behind it.
    pub clamp: Clamp,
}

impl Operator for MaxPool {
    const ONNX: &'static [&'static str] = &["MaxPool"];
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
        expect::count(inputs, 1..=1)?;
        expect::rank("x", inputs[0], 4)?;
        expect::number("x", inputs[0])?;
        pooled(&self.window, inputs[0])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let x = inputs[0];
        let data = with_numbers!(
            x.data, v => Element::data(self.largest(v, &x.shape, &ty.shape)),
            else return Err(OpError::new(format!("numbers wanted, {} found", x.ty())))
        );
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn output_params(&self) -> OutputParams {
        OutputParams::SameAsInput(0)
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
            return self.lower_real(inputs[0], outputs[0]);
        }
        let (x, y) = (&inputs[0].ty.shape, &outputs[0].ty.shape);
        if wide::computes(inputs, outputs)? {
            let window = self.window.record([x[1], x[2]], [y[1], y[2]])?;
            let channels = movement::fitting(x[3])?;
            return wide::greatest(&window, channels, self.clamp, inputs[0], outputs[0]);
        }
        let from = rescale::activation(Some(inputs[0]), "input")?;
        let to = rescale::activation(Some(outputs[0]), "output")?;
        // Taking the largest commutes with anything monotone, so a change of parameters may follow.
        let clamp = if from == to { self.clamp } else { Clamp::NONE };
        let codes = Codes::new(from, clamp);
        let record = tinsmith_runtime::format::MaxPool {
            window: self.window.record([x[1], x[2]], [y[1], y[2]])?,
            channels: movement::fitting(x[3])?,
            min: codes.min,
            max: codes.max,
            ..Default::default()
        };
        let source = Operand::Input {
            index: 0,
            byte_offset: 0,
        };
        let call = KernelCall::new(Layer::MaxPool(record), vec![source], Vec::new());
        let mut calls = per_image(call, inputs[0], outputs[0]).calls;
        if from != to {
            let table = rescale::requantize(from, to, self.clamp);
            calls.push(movement::table_call(Operand::Output, table, outputs[0].ty.len())?);
        }
        Ok(Lowered {
            calls,
            ..Lowered::default()
        })
    }
}

impl MaxPool {
    fn lower_real(&self, input: &QuantTensor, output: &QuantTensor) -> Result<Lowered, LowerError> {
        let (x, y) = (&input.ty.shape, &output.ty.shape);
        let (min, max) = real::ends(self.clamp);
        let layer = Layer::MaxPoolF32(MaxPoolF32 {
            window: self.window.record([x[1], x[2]], [y[1], y[2]])?,
            channels: movement::fitting(x[3])?,
            min,
            max,
            ..MaxPoolF32::default()
        });
        Ok(real::pool(layer, input, output))
    }

    /// The largest of each window: NaN where there is one, the type's least value where all lies in the padding.
    fn largest<T: Element>(&self, x: &[T], shape: &[usize], out_shape: &[usize]) -> Vec<T> {
        let mut y = vec![T::LOWEST; out_shape.iter().product()];
        T::run(Largest {
            op: self,
            x,
            shape,
            y: &mut y,
            out_shape,
        });
        y
    }
}

/// A pool to be computed: the type's least value stands in `y`.
struct Largest<'a, T> {
    op: &'a MaxPool,
    x: &'a [T],
    shape: &'a [usize],
    y: &'a mut [T],
    out_shape: &'a [usize],
}

impl<T: Element> Task for Largest<'_, T> {
    #[inline(always)]
    fn run<S: Set>(self) {
        let window = &self.op.window;
        let (h, w, channels) = (self.shape[1], self.shape[2], self.shape[3]);
        let (out_h, out_w) = (self.out_shape[1], self.out_shape[2]);
        if self.y.is_empty() {
            return;
        }
        for (row, out) in self.y.chunks_exact_mut(out_w * channels).enumerate() {
            let (n, out_y) = (row / out_h, row % out_h);
            let rows = window.taps(0, out_y, h);
            for (out_x, out) in out.chunks_exact_mut(channels).enumerate() {
                let columns = window.taps(1, out_x, w);
                for ky in rows.clone() {
                    let row = (n * h + window.position(0, out_y, ky)) * w;
                    for kx in columns.clone() {
                        let from = (row + window.position(1, out_x, kx)) * channels;
                        for (y, &x) in out.iter_mut().zip(&self.x[from..from + channels]) {
                            *y = if x > *y || x.is_nan() { x } else { *y };
                        }
                    }
                }
                if !self.op.clamp.is_none() {
                    for y in out {
                        *y = y.clamped(self.op.clamp);
                    }
                }
            }
        }
    }
}
