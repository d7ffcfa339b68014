//! PRelu of int8 with a slope for each channel: <https://onnx.ai/onnx/operators/onnx__PRelu.html>.

use tinsmith_runtime::format::PRelu;
use tinsmith_runtime::kernels::Layer;

use super::exactly::{Exactly, exactly};
use super::lower::{KernelCall, LowerError, Lowered, Operand, Proof};
use super::quant::QuantTensor;
use super::rescale::{self, Codes, Factor, Reach};
use super::runs::Runs;
use super::{Binary, OpError, movement};

/// Factors of zero have no mantissa; this one takes every negative code to zero.
const NOTHING: f32 = f32::MIN_POSITIVE;

impl Binary {
    /// One factor for what is not negative, and one for each channel of what is: every accumulator is proven, as there
    /// are at most 255.
    pub(super) fn lower_slopes(
        &self,
        inputs: &[&QuantTensor],
        y: &QuantTensor,
    ) -> Result<Lowered, LowerError> {
        let (x, to) = (inputs[0], rescale::activation(Some(y), "output")?);
        let from = rescale::activation(Some(x), "input")?;
        let slopes = exactly(inputs[1]).ok_or_else(|| {
            OpError::new("its slopes are not constants with one scale, or reals")
                .with_help("store them in the model, or compile with --precision f32")
        })?;
        let [outer, channels, inner] = channels(x, inputs[1], y)?;
        let factor = |slope: &Exactly| {
            let scale = if slope.steps == 0 { NOTHING } else { slope.scale };
            let steps = u8::try_from(slope.steps.unsigned_abs().max(1)).ok()?;
            Factor::new(&[from.scale, scale], &[to.scale], 1)?.of_steps(steps)
        };
        let one = Exactly { steps: 1, scale: 1.0 };
        let factors = std::iter::once(&one).chain(&slopes).map(factor);
        let factors: Vec<Factor> = factors
            .collect::<Option<_>>()
            .ok_or_else(|| OpError::new("a scale or a slope is not finite"))?;
        let codes = Codes::new(to, self.clamp);
        // Codes −128 to 127, of which those from the zero point on are not negative.
        let zero_point = i64::from(from.zero_point);
        let (above, below) = (127 - zero_point, 128 + zero_point);
        let left_shift = rescale::shift_that_fits(&factors, above.max(below))?;
        let mut proof = Proof::default();
        let mut stored = Vec::with_capacity(factors.len());
        for (index, factor) in factors.iter().enumerate() {
            let slope = index.checked_sub(1).map(|channel| &slopes[channel]);
            let reach = match slope {
                None => Reach::Range(0, above),
                Some(slope) if slope.steps < 0 => Reach::Range(1.min(below), below),
                Some(_) => Reach::Range(-below, (-1).max(-below)),
            };
            let solved = rescale::solve(*factor, reach, left_shift, codes);
            proof.record(
                index.saturating_sub(1),
                factor.to_f64(),
                solved.fit,
                solved.scale.rounding,
            );
            let (multiplier, shift) = solved.scale.to_stored();
            let is_negative = slope.is_some_and(|slope| slope.steps < 0);
            stored.push((if is_negative { -multiplier } else { multiplier }, shift));
        }
        let (multiplier, shift) = stored[0];
        let record = PRelu {
            outer: movement::fitting(outer)?,
            channels: movement::fitting(channels)?,
            inner: movement::fitting(inner)?,
            multiplier,
            shift,
            left_shift,
            ifm_zero_point: movement::fitting(from.zero_point)?,
            ofm_zero_point: movement::fitting(to.zero_point)?,
            min: codes.min,
            max: codes.max,
            ..PRelu::default()
        };
        let slopes = &stored[1..];
        let mut constants: Vec<u8> = slopes
            .iter()
            .flat_map(|(multiplier, _)| multiplier.to_le_bytes())
            .collect();
        constants.extend(slopes.iter().map(|&(_, shift)| shift));
        let source = Operand::Input {
            index: 0,
            byte_offset: 0,
        };
        let call = KernelCall {
            in_place: vec![0],
            ..KernelCall::new(Layer::PRelu(record), vec![source], constants)
        };
        Ok(Lowered::one(call, proof))
    }
}

/// Rows before the channels, channels, and elements of each that lie side by side.
fn channels(x: &QuantTensor, slopes: &QuantTensor, y: &QuantTensor) -> Result<[usize; 3], OpError> {
    let runs = Runs::broadcast([&slopes.ty.shape], &y.ty.shape);
    let count = slopes.ty.len();
    // Of what is left once neighbours are joined, one dimension alone walks over the slopes.
    let walks: Vec<usize> = (0..runs.dims.len())
        .filter(|&i| runs.strides[0][i] != 0)
        .collect();
    match (&walks[..], x.ty.len() == y.ty.len()) {
        (&[axis], true) if runs.dims[axis] == count => Ok([
            runs.dims[..axis].iter().product(),
            count,
            runs.dims[axis + 1..].iter().product(),
        ]),
        _ => Err(OpError::new(format!(
            "slopes along neighbouring axes of x wanted, {} for {} found",
            slopes.ty, x.ty
        ))
        .with_help("give the PRelu one slope for each channel")),
    }
}
