//! AveragePool and GlobalAveragePool: <https://onnx.ai/onnx/operators/onnx__AveragePool.html>, channels-last.

use serde::{Deserialize, Serialize};

use super::data::with_reals;
use super::element::Real;
use super::lower::{KernelCall, Operand, Proof};
use super::movement;
use super::quant::{QuantParams, QuantTensor, Range};
use super::real;
use super::rescale::{self, Codes, Factor, Reach};
use super::tensor::{Data, TensorType, Values};
use super::wide;
use super::window::{extents_fit, is_small_batch, per_image};
use super::{
    Clamp, Constraint, LowerError, Lowered, OpError, Operator, OutputParams, Window, expect,
    window::{pooled, unravel},
};
use crate::target::Target;
use std::collections::BTreeSet;
use tinsmith_runtime::format::AveragePoolF32;
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::{FixedScale, Rounding};

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
        Constraint {
            text: "a kernel has at most 4194304 taps",
            holds: |op, _| op.window.kernel[0].saturating_mul(op.window.kernel[1]) <= MAX_TAPS,
        },
        Constraint {
            text: "padding either counts, as far as `pads` says, or does not; `ceil_mode` adds none to padding that counts",
            holds: |op, _| !op.pads_count() || op.ceil_pads == [0, 0],
        },
    ];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        expect::rank("x", inputs[0], 4)?;
        expect::float("x", inputs[0])?;
        pooled(&self.window, inputs[0])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let x = inputs[0];
        let data = with_reals!(
            x.data, v => self.means(v, &x.shape, &ty.shape),
            else return Err(OpError::new(format!("reals wanted, {} found", x.ty())))
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
        let (x, y) = (&inputs[0].ty.shape, &outputs[0].ty.shape);
        let along = |axis: usize| {
            let counted = (0..y[axis + 1]).map(|output| self.counted(axis, output, x[axis + 1]));
            counted.collect::<BTreeSet<usize>>()
        };
        let (rows, columns) = (along(0), along(1));
        let counts = rows
            .iter()
            .flat_map(|rows| columns.iter().map(move |columns| rows * columns));
        let mean = Mean {
            window: self.window.record([x[1], x[2]], [y[1], y[2]])?,
            channels: movement::fitting(x[3])?,
            count_include_pad: self.pads_count(),
            clamp: self.clamp,
        };
        mean.lower(counts.collect(), inputs[0], outputs[0])
    }
}

/// What the record's `2^22` taps of 255 steps each need: sums below 2^30.
pub(super) const MAX_TAPS: usize = 1 << 22;

/// A mean over windows, as the runtime computes it.
pub(super) struct Mean {
    pub(super) window: tinsmith_runtime::format::Window,
    pub(super) channels: u16,
    pub(super) count_include_pad: bool,
    pub(super) clamp: Clamp,
}

impl Mean {
    /// The call for windows of these sizes: an exact division where input and output have one scale, else a rescale
    /// per size.
    pub(super) fn lower(
        &self,
        counts: BTreeSet<usize>,
        x: &QuantTensor,
        y: &QuantTensor,
    ) -> Result<Lowered, LowerError> {
        if counts.contains(&0) {
            return Err(
                OpError::new("a window lies wholly in the padding, so that its mean is 0 / 0")
                    .with_help("give the pool less padding than its kernel has taps")
                    .into(),
            );
        }
        if real::computes(&[x], &[y])? {
            return Ok(self.lower_real(x, y));
        }
        if wide::computes(&[x], &[y])? {
            let channels = self.channels.into();
            return wide::mean(&self.window, channels, self.count_include_pad, self.clamp, x, y);
        }
        let from = rescale::activation(Some(x), "input")?;
        let to = rescale::activation(Some(y), "output")?;
        let codes = Codes::new(to, self.clamp);
        let divide = from.scale == to.scale;
        let mut proof = Proof::default();
        let (left_shift, constants) = if divide {
            (0, Vec::new())
        } else {
            self.scales(&counts, from, to.scale, codes, &mut proof)?
        };
        let record = tinsmith_runtime::format::AveragePool {
            window: self.window,
            channels: self.channels,
            ifm_zero_point: movement::fitting(from.zero_point)?,
            ofm_zero_point: movement::fitting(to.zero_point)?,
            min: codes.min,
            max: codes.max,
            divide: divide.into(),
            count_include_pad: self.count_include_pad.into(),
            left_shift,
            ..Default::default()
        };
        let source = Operand::Input {
            index: 0,
            byte_offset: 0,
        };
        let call = KernelCall::new(Layer::AveragePool(record), vec![source], constants);
        Ok(Lowered {
            proof,
            ..per_image(call, x, y)
        })
    }

    fn lower_real(&self, x: &QuantTensor, y: &QuantTensor) -> Lowered {
        let (min, max) = real::ends(self.clamp);
        let layer = Layer::AveragePoolF32(AveragePoolF32 {
            window: self.window,
            channels: self.channels.into(),
            min,
            max,
            count_include_pad: self.count_include_pad.into(),
            ..AveragePoolF32::default()
        });
        real::pool(layer, x, y)
    }

    /// The left shift of the sums, and the rescales by window size: `multiplier: i32[n]`, then `shift: u8[n]`.
    fn scales(
        &self,
        counts: &BTreeSet<usize>,
        from: QuantParams,
        scale: f32,
        codes: Codes,
        proof: &mut Proof,
    ) -> Result<(u8, Vec<u8>), OpError> {
        let factor = |count: usize| {
            Factor::new(&[from.scale], &[scale], movement::fitting(count)?)
                .ok_or_else(|| OpError::new("a scale is not positive and finite"))
        };
        let factors: Vec<Factor> = counts
            .iter()
            .map(|&count| factor(count))
            .collect::<Result<_, _>>()?;
        let most = counts.last().copied().unwrap_or(0) as i64;
        let (below, above) = (
            -128 - i64::from(from.zero_point),
            127 - i64::from(from.zero_point),
        );
        let left_shift = rescale::shift_that_fits(&factors, most * above.max(-below))?;
        let taps = usize::from(self.window.kernel_h) * usize::from(self.window.kernel_w);
        let unused = FixedScale {
            multiplier: 0,
            right_shift: FixedScale::MIN_SHIFT,
            rounding: Rounding::Up,
        };
        let mut scales = vec![unused; taps];
        for (&count, &factor) in counts.iter().zip(&factors) {
            let steps = count as i64;
            let reach = Reach::Range(steps * below, steps * above);
            let solved = rescale::solve(factor, reach, left_shift, codes);
            proof.record(count, factor.to_f64(), solved.fit, solved.scale.rounding);
            scales[count - 1] = solved.scale; // counts are 1..=taps
        }
        let stored = || scales.iter().map(|scale| scale.to_stored());
        let multipliers = stored().flat_map(|(multiplier, _)| multiplier.to_le_bytes());
        let constants = multipliers.chain(stored().map(|(_, shift)| shift)).collect();
        Ok((left_shift, constants))
    }
}

impl AveragePool {
    /// Whether there is padding that counts.
    fn pads_count(&self) -> bool {
        self.count_include_pad && self.window.pads != [0, 0, self.ceil_pads[0], self.ceil_pads[1]]
    }

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
    fn means<T: Real>(&self, elements: &[T], shape: &[usize], out_shape: &[usize]) -> Data {
        let (window, h, w, channels) = (&self.window, shape[1], shape[2], shape[3]);
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
