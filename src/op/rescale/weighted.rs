//! Convolutions and dense layers: every channel's folded bias, rescale and proof, and the head of their constants.

use rayon::prelude::*;
use tinsmith_runtime::format::CONSTANT_ALIGN;

use super::accumulator::{Accumulator, Overflow, accumulator};
use super::factor::Factor;
use super::solve::{Codes, Reach, Solved, left_shift, solve};
use crate::op::lower::{LowerError, Proof};
use crate::op::quant::{QuantParams, QuantTensor, Quantization};
use crate::op::tensor::Data;
use crate::op::{Clamp, OpError};

/// A layer of weighted sums, all but the order of its weights in the blob.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighted<'a> {
    /// The weights, one row per output channel.
    pub rows: Vec<&'a [i8]>,
    /// `bias: i32[channels]`, `multiplier: i32[channels]`, `shift: u8[channels]`, padding: the constants block up to
    /// the weights.
    pub head: Vec<u8>,
    /// Bytes of the head that are padding.
    pub padding_bytes: usize,
    /// What padding taps read.
    pub input_zero_point: i8,
    /// What the accumulator is shifted left by.
    pub left_shift: u8,
    /// Zero point and clamp of the output.
    pub codes: Codes,
    /// The proof of every channel.
    pub proof: Proof,
}

/// All of a layer of weighted sums but its weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rescaled {
    /// See [`Weighted::head`].
    pub(crate) head: Vec<u8>,
    /// See [`Weighted::padding_bytes`].
    pub(crate) padding_bytes: usize,
    /// What padding taps read.
    pub(crate) input_zero_point: i8,
    /// What the accumulator is shifted left by.
    pub(crate) left_shift: u8,
    /// Zero point and clamp of the output.
    pub(crate) codes: Codes,
    /// The proof of every channel.
    pub(crate) proof: Proof,
}

/// Solves every channel of a layer with inputs `x`, weights (output channels outermost) and optionally a bias, which
/// counts in steps of exactly the input's scale times the weights'.
///
/// # Errors
/// Where the weights or the bias are not constants of the right type, where an accumulator may overflow, or where a
/// factor is too large for a shifted accumulator to fit.
pub fn weighted<'a>(
    inputs: &[&'a QuantTensor],
    output: &QuantTensor,
    clamp: Clamp,
) -> Result<Weighted<'a>, LowerError> {
    let (weights, scales) = weights(inputs.get(1).copied())?;
    let rows: Vec<&[i8]> = weights.chunks(weights.len() / scales.len()).collect();
    let sum = |channel: usize, bias, zero_point| {
        let row: &[i8] = rows[channel];
        accumulator(row.iter().copied(), bias, zero_point)
    };
    let Rescaled {
        head,
        padding_bytes,
        input_zero_point,
        left_shift,
        codes,
        proof,
    } = rescaled(inputs, output, clamp, scales, sum)?;
    Ok(Weighted {
        rows,
        head,
        padding_bytes,
        input_zero_point,
        left_shift,
        codes,
        proof,
    })
}

/// The same of weights of any kind, with a scale for each output channel: `sum` gives the accumulator of a channel with a bias
/// and an input zero point.
///
/// # Errors
/// As [`weighted`].
pub(crate) fn rescaled(
    inputs: &[&QuantTensor],
    output: &QuantTensor,
    clamp: Clamp,
    scales: &[f32],
    sum: impl Fn(usize, i64, i32) -> Result<Accumulator, Overflow>,
) -> Result<Rescaled, LowerError> {
    let x = activation(inputs.first().copied(), "input")?;
    let y = activation(Some(output), "output")?;
    let channels = scales.len();
    let bias = inputs.get(2).map_or(Ok(&[][..]), |bias| biases(bias, channels))?;
    let codes = Codes::new(y, clamp);

    let mut problems = Vec::new();
    let mut sums = Vec::with_capacity(channels);
    let mut factors = Vec::with_capacity(channels);
    for (channel, &scale) in scales.iter().enumerate() {
        let bias = bias.get(channel).copied().unwrap_or(0);
        match sum(channel, bias.into(), x.zero_point) {
            Ok(sum) => sums.push(sum),
            Err(overflow) => problems.push(
                OpError::new(format!(
                    "output channel {channel} has sums of up to {}, beyond the {} of a 32-bit accumulator",
                    overflow.magnitude,
                    i32::MAX
                ))
                .with_help("split the layer's inputs in two layers and add their results"),
            ),
        }
        match Factor::new(&[x.scale, scale], &[y.scale], 1) {
            Some(factor) => factors.push(factor),
            None => problems.push(OpError::new(format!(
                "output channel {channel} has a scale that is not positive and finite"
            ))),
        }
    }
    if !problems.is_empty() {
        return Err(LowerError(problems));
    }
    let widest = sums
        .iter()
        .map(|sum| sum.max.abs().max(sum.min.abs()))
        .max()
        .unwrap_or(0);
    let left_shift = shift_that_fits(&factors, widest)?;
    let solved: Vec<Solved> = sums
        .par_iter()
        .zip(&factors)
        .map(|(sum, &factor)| solve(factor, Reach::Range(sum.min, sum.max), left_shift, codes))
        .collect();

    let mut proof = Proof::default();
    for (channel, (solved, factor)) in solved.iter().zip(&factors).enumerate() {
        proof.record(channel, factor.to_f64(), solved.fit, solved.scale.rounding);
    }
    let (head, padding_bytes) = head(&sums, &solved);
    Ok(Rescaled {
        head,
        padding_bytes,
        input_zero_point: x.zero_point as i8, // an int8 activation's
        left_shift,
        codes,
        proof,
    })
}

/// The constants block up to the weights, and how much of it is padding.
fn head(sums: &[Accumulator], solved: &[Solved]) -> (Vec<u8>, usize) {
    let stored = || solved.iter().map(|solved| solved.scale.to_stored());
    let mut head: Vec<u8> = sums
        .iter()
        .flat_map(|sum| sum.folded_bias.to_le_bytes())
        .collect();
    head.extend(stored().flat_map(|(multiplier, _)| multiplier.to_le_bytes()));
    head.extend(stored().map(|(_, shift)| shift));
    let used = head.len();
    head.resize(used.next_multiple_of(CONSTANT_ALIGN as usize), 0);
    let padding = head.len() - used;
    (head, padding)
}

/// The left shift that the largest factor needs, with the proof that accumulators up to `widest` fit it.
pub(crate) fn shift_that_fits(factors: &[Factor], widest: i64) -> Result<u8, OpError> {
    let largest = factors.iter().map(|factor| factor.to_f64()).fold(0.0, f64::max);
    let help = "choose a larger output scale: most of this layer's results saturate";
    let shift = left_shift(factors).ok_or_else(|| {
        OpError::new(format!(
            "one step of the sum is {largest:e} output steps, beyond 2^29"
        ))
        .with_help(help)
    })?;
    if widest << shift > i64::from(i32::MAX) {
        return Err(OpError::new(format!(
            "sums of up to {widest} with {largest:e} output steps each do not fit a 32-bit accumulator"
        ))
        .with_help(help));
    }
    Ok(shift)
}

/// The parameters of an int8 activation.
pub(crate) fn activation(tensor: Option<&QuantTensor>, what: &str) -> Result<QuantParams, OpError> {
    if let Some(wide) = tensor.filter(|tensor| tensor.is_wide()) {
        return Err(OpError::new(format!(
            "the {what} `{}` is int16, which has no form here",
            wide.name
        ))
        .with_help("quantize the operator's inputs and outputs to int8, or keep it in f32"));
    }
    let params = tensor.and_then(QuantTensor::params);
    params.ok_or_else(|| OpError::new(format!("the {what} is not int8 with one scale and zero point")))
}

/// The elements and scales of constant weights.
pub(crate) fn weights(tensor: Option<&QuantTensor>) -> Result<(&[i8], &[f32]), OpError> {
    let tensor = tensor.ok_or_else(|| OpError::new("the weights are missing"))?;
    let elements = tensor.data.as_deref().and_then(|values| values.as_i8());
    let elements = elements.ok_or_else(|| {
        OpError::new("the weights are not an int8 constant").with_help("weights must be known when compiling")
    })?;
    match &tensor.quantization {
        Quantization::PerChannel { axis: 0, scales }
            if Some(&scales.len()) == tensor.ty.shape.first() && !elements.is_empty() =>
        {
            Ok((elements, scales))
        }
        Quantization::PerChannel { .. }
        | Quantization::PerBlock { .. }
        | Quantization::PerTensor(_)
        | Quantization::Plain => Err(OpError::new(
            "the weights do not have one scale per output channel, with zero point 0",
        )),
    }
}

/// The elements of a constant bias.
fn biases(tensor: &QuantTensor, channels: usize) -> Result<&[i32], OpError> {
    match tensor.data.as_deref().map(|values| &values.data) {
        Some(Data::I32(bias)) if bias.len() == channels => Ok(bias),
        Some(_) | None => Err(OpError::new(format!(
            "the bias is not an int32 constant of {channels} elements"
        ))),
    }
}
