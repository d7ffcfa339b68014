//! Kernels over reals: portable scalar loops in one order, every operation rounded to f32, so that the same bytes come
//! out everywhere. Sums start at 0 and take products in the order of the weights; the bias comes last.

pub mod attention;
pub mod average_pool;
pub mod binary;
pub mod cast;
pub mod conv2d;
pub mod conv_nd;
pub mod cumulate;
pub mod dense;
pub mod exp;
pub mod fill;
pub mod function;
pub mod grid_sample;
pub mod layer_norm;
pub mod matmul;
pub mod max_pool;
pub mod max_pool_indices;
pub mod non_max_suppression;
pub mod recurrent;
pub mod reduce;
pub mod resample;
pub mod roi_align;
pub mod softmax;
pub mod unary;

use super::Extent;
use crate::format::CONSTANT_ALIGN;

/// Bytes of a real.
const WIDTH: u32 = 4;

/// A stored real.
type Word = [u8; WIDTH as usize];

/// The reals of a region.
fn words(bytes: &[u8]) -> &[Word] {
    bytes.as_chunks().0
}

/// The reals of a region, to write.
fn words_mut(bytes: &mut [u8]) -> &mut [Word] {
    bytes.as_chunks_mut().0
}

/// A region of `elements` reals.
fn region(offset: u32, elements: u32) -> Option<Extent> {
    let bytes = elements.checked_mul(WIDTH)?;
    Some(Extent { offset, bytes })
}

/// `x` limited to the two ends; NaN passes.
fn clamp(x: f32, min: f32, max: f32) -> f32 {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

/// The constants block of a product with `channels` outputs and `weights` weights: biases, padded, weights.
fn products_block(offset: u32, channels: u32, weights: u32) -> Option<Extent> {
    let biases = channels
        .checked_mul(WIDTH)?
        .checked_next_multiple_of(CONSTANT_ALIGN)?;
    let bytes = biases.checked_add(weights.checked_mul(WIDTH)?)?;
    Some(Extent { offset, bytes })
}

/// Biases and weights of such a block.
fn products(block: &[u8], channels: usize) -> Option<(&[Word], &[Word])> {
    let biases = channels.checked_mul(WIDTH as usize)?;
    let weights = block.get(biases.checked_next_multiple_of(CONSTANT_ALIGN as usize)?..)?;
    Some((words(block.get(..biases)?), words(weights)))
}

/// The sum with the products of neighbours added, one after the other.
fn dot(sum: f32, x: &[Word], weights: &[Word]) -> f32 {
    x.iter().zip(weights).fold(sum, |sum, (&x, &weight)| {
        sum + f32::from_le_bytes(x) * f32::from_le_bytes(weight)
    })
}
