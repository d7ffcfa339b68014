//! Which accumulators a channel of a convolution or dense layer can reach, and that no sum on the way overflows.

/// A channel's accumulator `bias + Σ (x − zero_point)·w` over all int8 inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accumulator {
    /// Least value.
    pub min: i64,
    /// Greatest value.
    pub max: i64,
    /// `bias − zero_point · Σ w`: what the kernel starts from.
    pub folded_bias: i32,
}

/// A sum of a channel may leave `i32`: the greatest magnitude a partial sum may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// That magnitude.
    pub magnitude: i64,
}

/// The accumulator of a channel with these weights. Padding taps read the zero point and so contribute nothing,
/// which is inside the range; a kernel that skips them or adds in any order stays inside the proven bound.
///
/// # Errors
/// Where a partial sum of `folded_bias + Σ x·w` or of `bias + Σ (x − zero_point)·w`, in some order, may leave `i32`.
pub fn accumulator(
    weights: impl Iterator<Item = impl Into<i64>>,
    bias: i64,
    zero_point: i32,
) -> Result<Accumulator, Overflow> {
    let (mut positive, mut negative) = (0i64, 0i64);
    for weight in weights.map(Into::into) {
        if weight > 0 {
            positive += weight;
        } else {
            negative -= weight;
        }
    }
    let zero_point = i64::from(zero_point);
    let (above, below) = (127 - zero_point, 128 + zero_point); // x − zero_point ∈ −below..=above
    let max = bias + positive * above + negative * below;
    let min = bias - positive * below - negative * above;
    let folded = bias - zero_point * (positive - negative);
    let sums = 128 * (positive + negative); // |Σ x·w| of any subset of taps
    let widest = (positive + negative) * above.max(below); // |Σ (x − zero_point)·w| of any subset
    let magnitude = (folded.abs() + sums).max(bias.abs() + widest);
    if magnitude > i64::from(i32::MAX) {
        return Err(Overflow { magnitude });
    }
    Ok(Accumulator {
        min,
        max,
        folded_bias: folded as i32, // within the magnitude
    })
}
