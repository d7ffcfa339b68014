//! LayerNormalization of int8: the constants of the runtime's kernel, whose module says what they mean and how far its
//! results may be from exact ones.

use tinsmith_runtime::format;
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::kernels::layer_norm::{
    EPSILON_BITS, EPSILON_FRACTION, FRACTION, INVERSE_BITS, MOST_WIDTH, OFFSET_BITS, RIGHT_SHIFTS, SLOPE_BITS,
};

use super::exactly::{Exactly, exactly};
use super::lower::{KernelCall, LowerError, Lowered, Operand, Proof};
use super::quant::QuantTensor;
use super::rescale::{self, Codes, Dyadic};
use super::{Clamp, LayerNorm, OpError, movement};

/// A number that a scale of the graph is, which is finite.
fn exact(scale: f32) -> Result<Dyadic, OpError> {
    Dyadic::new(scale).ok_or_else(|| OpError::new("a scale is not finite"))
}

impl LayerNorm {
    /// The kernel over int8.
    pub(super) fn lower_codes(
        &self,
        inputs: &[&QuantTensor],
        y: &QuantTensor,
    ) -> Result<Lowered, LowerError> {
        let x = inputs[0];
        let from = rescale::activation(Some(x), "input")?;
        let to = rescale::activation(Some(y), "output")?;
        let width: usize = x.ty.shape[self.axis..].iter().product();
        let count = i32::try_from(width)
            .ok()
            .filter(|&count| (1..=MOST_WIDTH as i32).contains(&count));
        let count = count.ok_or_else(|| {
            OpError::new(format!(
                "rows of 1 to {MOST_WIDTH} elements wanted, {width} found"
            ))
        })?;
        let vector = |index: usize, name: &str, missing: Exactly| match inputs.get(index) {
            None => Ok(vec![missing; width]),
            Some(tensor) => exactly(tensor).ok_or_else(|| {
                OpError::new(format!(
                    "its {name} is not a constant of reals, or of int8 with one scale"
                ))
                .with_help("store it in the model, or compile with --precision f32")
            }),
        };
        let number = |steps: i32| Exactly { steps, scale: 1.0 };
        let (slopes, offsets) = (vector(1, "scale", number(1))?, vector(2, "bias", number(0))?);
        let (in_scale, out_scale) = (exact(from.scale)?, exact(to.scale)?);

        let steps =
            |steps: i32| Dyadic::steps(steps, 1.0).ok_or_else(|| OpError::new("a count is not finite"));
        let squared = exact(self.epsilon)?.times(steps(count)?).times(steps(count)?);
        let epsilon = squared.fixed(in_scale.times(in_scale), EPSILON_FRACTION as i32);
        let epsilon = epsilon.filter(|&(epsilon, _)| epsilon > 0 && epsilon >> EPSILON_BITS == 0);
        let (epsilon, _) = epsilon.ok_or_else(|| {
            OpError::new(format!(
                "an epsilon of {} is nothing, or everything, beside steps of {:e}",
                self.epsilon, from.scale
            ))
            .with_help("an epsilon about the square of a step, or somewhat less, is usual")
        })?;
        let (inverse, inverse_exponent) = inverse(out_scale)
            .ok_or_else(|| OpError::new(format!("an output scale of {:e} has no reciprocal", to.scale)))?;

        // Of the shift, all but the exponent of the slopes: see the kernel's numbers.
        let fixed = 33 + inverse_exponent - FRACTION as i32;
        let most = i32::from(*RIGHT_SHIFTS.end()) - fixed;
        let (slopes, exponent) = in_bits(&slopes, most)?;
        let right_shift = u8::try_from(fixed + exponent).ok();
        let right_shift = right_shift
            .filter(|shift| RIGHT_SHIFTS.contains(shift))
            .ok_or_else(|| {
                OpError::new(format!("its slopes are beyond 2^58 steps of {:e}", to.scale))
                    .with_help("choose a larger output scale: most of the results saturate")
            })?;
        let offset = |offset: &Exactly| {
            let offset = Dyadic::steps(offset.steps, offset.scale)?;
            let (floor, is_exact) = offset.fixed(out_scale, FRACTION as i32)?;
            // An odd number stands for all between its neighbours.
            let odd = if is_exact { floor } else { floor | 1 };
            i64::try_from(odd)
                .ok()
                .filter(|odd| odd.unsigned_abs() >> OFFSET_BITS == 0)
        };
        let offsets: Option<Vec<i64>> = offsets.iter().map(offset).collect();
        let offsets = offsets.ok_or_else(|| {
            OpError::new(format!("its bias is beyond 2^22 steps of {:e}", to.scale))
                .with_help("choose a larger output scale: most of the results saturate")
        })?;

        let codes = Codes::new(to, Clamp::NONE);
        let record = format::LayerNorm {
            rows: movement::fitting(x.ty.len() / width)?,
            width: movement::fitting(width)?,
            right_shift,
            ofm_zero_point: movement::fitting(to.zero_point)?,
            min: codes.min,
            max: codes.max,
            ..format::LayerNorm::default()
        };
        let mut constants = epsilon.to_le_bytes().to_vec();
        constants.extend(inverse.to_le_bytes());
        constants.extend([0; 8]);
        constants.extend(
            slopes
                .iter()
                .chain(&offsets)
                .flat_map(|number| number.to_le_bytes()),
        );
        let source = Operand::Input {
            index: 0,
            byte_offset: 0,
        };
        let call = KernelCall {
            in_place: vec![0],
            padding_bytes: 8,
            ..KernelCall::new(Layer::LayerNorm(record), vec![source], constants)
        };
        Ok(Lowered::one(call, Proof::default()))
    }
}

/// `1 / scale` as a number of [`INVERSE_BITS`] bits times a power of two.
fn inverse(scale: Dyadic) -> Option<(u64, i32)> {
    let one = Dyadic::new(1.0)?;
    // Of every f32 from the least on; the reciprocal's bits grow with the fraction one by one.
    (-100..=250).find_map(|fraction| {
        let (inverse, _) = one.fixed(scale, fraction)?;
        (inverse >> (INVERSE_BITS - 1) == 1).then_some((inverse as u64, fraction))
    })
}

/// Slopes as whole numbers of up to [`SLOPE_BITS`] bits over one power of two, at most `most`, to nearest.
fn in_bits(slopes: &[Exactly], most: i32) -> Result<(Vec<i64>, i32), OpError> {
    let not_finite = || OpError::new("its scale is not finite");
    let values: Option<Vec<Dyadic>> = slopes
        .iter()
        .map(|slope| Dyadic::steps(slope.steps, slope.scale))
        .collect();
    let values = values.ok_or_else(not_finite)?;
    let one = exact(1.0)?;
    let nearest = |value: Dyadic, fraction: i32| {
        let (doubled, _) = value.fixed(one, fraction + 1)?;
        Some((doubled + 1).div_euclid(2))
    };
    let fits = |fraction: &i32| {
        let fit = |&value: &Dyadic| {
            nearest(value, *fraction).is_some_and(|bits| bits.unsigned_abs() >> SLOPE_BITS == 0)
        };
        values.iter().all(fit)
    };
    // From the finest on.
    let fraction = (-200..=most).rev().find(fits).ok_or_else(not_finite)?;
    let bits = values
        .iter()
        .map(|&value| nearest(value, fraction).map(|bits| bits as i64));
    Ok((bits.collect::<Option<_>>().ok_or_else(not_finite)?, fraction))
}
