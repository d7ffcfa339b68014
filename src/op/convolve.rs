//! The float convolution behind Conv2d, in two forms: patches of the input times packed weights, and, for depthwise
//! ones, taps over all channels at once. Both add the taps of an output in the order of the kernel's rows, columns
//! and input channels, starting from zero; taps in the padding count as zeros.

use super::element::Element;
use super::{Conv2d, gemm};

/// Channels whose sums a depthwise convolution keeps in registers.
const LANES: usize = 8;

/// The weights of a convolution, packed for it.
#[derive(Clone, Debug)]
pub(crate) enum Weights<T> {
    /// `[kernel_h, kernel_w, channels]`, one kernel per channel.
    Depthwise(Vec<T>),
    /// One matrix per group.
    Grouped(Vec<gemm::Packed<T>>),
}

impl<T: Element> Weights<T> {
    /// Packs `[out_c, kernel_h, kernel_w, in_c / groups]`.
    pub(super) fn pack(groups: usize, weights: &[T], shape: &[usize]) -> Self {
        let out_channels = shape[0];
        let depth: usize = shape[1..].iter().product();
        if shape[3] == 1 && groups == out_channels {
            let taps = (0..depth).flat_map(|tap| (0..groups).map(move |c| c * depth + tap));
            return Self::Depthwise(taps.map(|i| weights[i]).collect());
        }
        let columns = out_channels / groups;
        Self::Grouped(
            (0..groups)
                .map(|g| gemm::Packed::from_columns(&weights[g * columns * depth..], columns, depth))
                .collect(),
        )
    }
}

/// The input of a convolution: `[h, w, channels]` of one image.
#[derive(Clone, Copy)]
struct Image<'a, T> {
    pixels: &'a [T],
    h: usize,
    w: usize,
    channels: usize,
}

/// Convolves `x` of shape `[n, h, w, c]` to `out_shape`, without the bias and the clamp.
pub(super) fn convolve<T: Element>(
    conv: &Conv2d,
    x: &[T],
    shape: &[usize],
    weights: &Weights<T>,
    out_shape: &[usize],
) -> Vec<T> {
    let mut out = vec![T::default(); out_shape.iter().product()];
    let image_len: usize = shape[1..].iter().product();
    let out_len: usize = out_shape[1..].iter().product();
    if image_len == 0 || out_len == 0 {
        return out;
    }
    for (pixels, out) in x.chunks_exact(image_len).zip(out.chunks_exact_mut(out_len)) {
        let image = Image {
            pixels,
            h: shape[1],
            w: shape[2],
            channels: shape[3],
        };
        match weights {
            Weights::Depthwise(weights) => depthwise(conv, image, weights, out, out_shape[2]),
            Weights::Grouped(groups) => grouped(conv, image, groups, out, [out_shape[2], out_shape[3]]),
        }
    }
    out
}

/// Whether every patch is one pixel, so that the image is its own matrix of patches.
fn is_pointwise(conv: &Conv2d) -> bool {
    conv.window.kernel == [1, 1] && conv.window.strides == [1, 1] && conv.window.pads == [0; 4]
}

fn grouped<T: Element>(
    conv: &Conv2d,
    image: Image<'_, T>,
    groups: &[gemm::Packed<T>],
    out: &mut [T],
    [out_w, out_channels]: [usize; 2],
) {
    let n_pixels = out.len() / out_channels;
    if let ([weights], true) = (groups, is_pointwise(conv)) {
        return gemm::product(image.pixels, n_pixels, weights, out, out_channels);
    }
    let depth = groups[0].depth();
    let block = (gemm::BLOCK_ELEMENTS / depth).next_multiple_of(4).max(4);
    let mut patches = vec![T::default(); block * depth];
    for (g, weights) in groups.iter().enumerate() {
        for first in (0..n_pixels).step_by(block) {
            let rows = block.min(n_pixels - first);
            for (pixel, patch) in (first..first + rows).zip(patches.chunks_exact_mut(depth)) {
                copy_patch(conv, image, g, [pixel / out_w, pixel % out_w], patch);
            }
            let out = &mut out[first * out_channels + g * weights.columns()..];
            gemm::product(&patches, rows, weights, out, out_channels);
        }
    }
}

/// Copies what window `[y, x]` sees of group `g`: `[kernel_h, kernel_w, in_c / groups]`, zeros in the padding.
fn copy_patch<T: Element>(conv: &Conv2d, image: Image<'_, T>, g: usize, [y, x]: [usize; 2], patch: &mut [T]) {
    let window = &conv.window;
    let (kernel_w, channels) = (window.kernel[1], image.channels / conv.groups);
    let rows = window.taps(0, y, image.h);
    let columns = window.taps(1, x, image.w);
    if rows.len() < window.kernel[0] || columns.len() < kernel_w {
        patch.fill(T::default());
    }
    let whole_rows = conv.groups == 1 && window.dilations[1] == 1 && !columns.is_empty();
    for ky in rows {
        let row = window.position(0, y, ky) * image.w;
        if whole_rows {
            let from = (row + window.position(1, x, columns.start)) * channels;
            let to = (ky * kernel_w + columns.start) * channels;
            let len = columns.len() * channels;
            patch[to..to + len].copy_from_slice(&image.pixels[from..from + len]);
            continue;
        }
        for kx in columns.clone() {
            let from = (row + window.position(1, x, kx)) * image.channels + g * channels;
            let to = (ky * kernel_w + kx) * channels;
            patch[to..to + channels].copy_from_slice(&image.pixels[from..from + channels]);
        }
    }
}

fn depthwise<T: Element>(conv: &Conv2d, image: Image<'_, T>, weights: &[T], out: &mut [T], out_w: usize) {
    let (window, channels) = (&conv.window, image.channels);
    // First element of the pixel and of the weights under each tap that is not padding.
    let mut taps: Vec<(usize, usize)> = Vec::with_capacity(weights.len() / channels);
    for (pixel, out) in out.chunks_exact_mut(channels).enumerate() {
        let (y, x) = (pixel / out_w, pixel % out_w);
        let columns = window.taps(1, x, image.w);
        taps.clear();
        for ky in window.taps(0, y, image.h) {
            let row = window.position(0, y, ky) * image.w;
            taps.extend(columns.clone().map(|kx| {
                let pixel = row + window.position(1, x, kx);
                (pixel * channels, (ky * window.kernel[1] + kx) * channels)
            }));
        }
        let (blocks, rest) = out.as_chunks_mut::<LANES>();
        let n_blocks = blocks.len();
        for (block, sums) in blocks.iter_mut().enumerate() {
            let mut acc = [T::default(); LANES];
            for &(pixel, tap) in &taps {
                let x = image.pixels[pixel + block * LANES..].first_chunk::<LANES>();
                let w = weights[tap + block * LANES..].first_chunk::<LANES>();
                // Both hold all channels, of which this block is a part.
                if let (Some(x), Some(w)) = (x, w) {
                    for lane in 0..LANES {
                        acc[lane] = acc[lane].add(x[lane].multiply(w[lane]));
                    }
                }
            }
            *sums = acc;
        }
        for (i, sum) in rest.iter_mut().enumerate() {
            let channel = n_blocks * LANES + i;
            *sum = taps.iter().fold(T::default(), |acc, &(pixel, tap)| {
                acc.add(image.pixels[pixel + channel].multiply(weights[tap + channel]))
            });
        }
    }
}
