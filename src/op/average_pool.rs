//! AveragePool and GlobalAveragePool: <https://onnx.ai/onnx/operators/onnx__AveragePool.html>, channels-last.

use serde::{Deserialize, Serialize};

use super::element::Real;
use super::quant::{QuantTensor, Range};
use super::tensor::{DType, Data, TensorType, Values};
use super::{
    Clamp, Constraint, LowerError, Lowered, OpError, Operator, OutputParams, Window, expect,
    window::{pooled, unravel},
};
use crate::target::Target;

/// The mean of each window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AveragePool {
    /// Kernel, strides, dilations, padding.
    pub window: Window,
    /// Whether padding counts, as zeros, in the window's size.
    pub count_include_pad: bool,
    /// Rows at the bottom and columns at the right that only `ceil_mode` added to the padding; they never count.
    #[serde(default)]
    pub ceil_pads: [usize; 2],
    /// The activation fused behind it.
    pub clamp: Clamp,
}

impl Operator for AveragePool {
    const ONNX: &'static [&'static str] = &["AveragePool", "GlobalAveragePool"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        expect::rank("x", inputs[0], 4)?;
        expect::float("x", inputs[0])?;
        pooled(&self.window, inputs[0])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let data = match inputs[0].data.dtype() {
            DType::F64 => self.means::<f64>(inputs[0], &ty.shape),
            _ => self.means::<f32>(inputs[0], &ty.shape),
        };
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn output_params(&self) -> OutputParams {
        OutputParams::Observed
    }

    fn output_range(&self, observed: Range) -> Range {
        observed
    }

    fn lower(
        &self,
        target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        unimplemented!("{target:?} {inputs:?} {outputs:?}")
    }

    fn macs(&self, _inputs: &[&TensorType]) -> u64 {
        0
    }
}

impl AveragePool {
    /// Rows (axis 0) or columns (axis 1) that count in the size of window `output` over `extent` of them.
    pub(crate) fn counted(&self, axis: usize, output: usize, extent: usize) -> usize {
        let window = &self.window;
        if !self.count_include_pad {
            return window.taps(axis, output, extent).len();
        }
        // The padding that counts is as good as a larger input, reached without padding.
        let after = window.pads[axis + 2].saturating_sub(self.ceil_pads[axis]);
        let mut unpadded = window.clone();
        unpadded.pads = [0; 4];
        unpadded
            .taps(axis, output, window.pads[axis] + extent + after)
            .len()
    }

    /// Sums in f64, in the order of rows and columns, rounded once. A window wholly in padding that does not count
    /// has no mean: NaN.
    fn means<T: Real>(&self, x: &Values, out_shape: &[usize]) -> Data {
        let elements = T::of(&x.data).expect("the type check found a float type");
        let (window, h, w, channels) = (&self.window, x.shape[1], x.shape[2], x.shape[3]);
        let mut y = vec![T::default(); out_shape.iter().product()];
        let mut sums = vec![0.0; channels];
        for (pixel, out) in y.chunks_exact_mut(channels.max(1)).enumerate() {
            let (n, out_y, out_x) = unravel(pixel, out_shape);
            sums.fill(0.0);
            for ky in window.taps(0, out_y, h) {
                let row = (n * h + window.position(0, out_y, ky)) * w;
                for kx in window.taps(1, out_x, w) {
                    let from = (row + window.position(1, out_x, kx)) * channels;
                    for (sum, x) in sums.iter_mut().zip(&elements[from..from + channels]) {
                        *sum += x.to_f64();
                    }
                }
            }
            let count = (self.counted(0, out_y, h) * self.counted(1, out_x, w)) as f64;
            for (y, sum) in out.iter_mut().zip(&sums) {
                *y = T::from_f64(sum / count).clamped(self.clamp);
            }
        }
        T::data(y)
    }
}
