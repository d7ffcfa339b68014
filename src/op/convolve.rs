//! The float convolution behind Conv2d, in two forms: patches of the input times packed weights, and, for depthwise
//! ones, taps over all channels at once. Both add the taps of an output in the order of the kernel's rows, columns
//! and input channels, starting from zero; taps in the padding count as zeros.

use super::element::Element;
use super::vectors::{Task, Vectors};
use super::{Conv2d, gemm};

/// Channels whose sums a depthwise convolution keeps in registers: enough independent sums to hide the latency of an
/// addition with vectors of 512 bits, and one such vector for what is left.
const MANY_LANES: usize = 64;
const LANES: usize = 16;

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
            Weights::Depthwise(weights) => Vectors::current().run(Depthwise {
                conv,
                image,
                weights,
                out,
                out_w: out_shape[2],
            }),
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
    let block = (gemm::BLOCK_ELEMENTS / depth).next_multiple_of(8).max(8);
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

/// A depthwise convolution of one image to be computed.
struct Depthwise<'a, T> {
    conv: &'a Conv2d,
    image: Image<'a, T>,
    /// `[kernel_h, kernel_w, channels]`.
    weights: &'a [T],
    out: &'a mut [T],
    out_w: usize,
}

impl<T: Element> Task for Depthwise<'_, T> {
    #[inline(always)]
    fn run(self, _vectors: Vectors) {
        let (window, channels) = (&self.conv.window, self.image.channels);
        // First element of the pixel and of the weights under each tap that is not padding.
        let mut taps: Vec<(usize, usize)> = Vec::with_capacity(self.weights.len() / channels);
        for (pixel, out) in self.out.chunks_exact_mut(channels).enumerate() {
            let (y, x) = (pixel / self.out_w, pixel % self.out_w);
            let columns = window.taps(1, x, self.image.w);
            taps.clear();
            for ky in window.taps(0, y, self.image.h) {
                let row = window.position(0, y, ky) * self.image.w;
                taps.extend(columns.clone().map(|kx| {
                    let pixel = row + window.position(1, x, kx);
                    (pixel * channels, (ky * window.kernel[1] + kx) * channels)
                }));
            }
            let (pixels, weights) = (self.image.pixels, self.weights);
            let done = blocks::<T, MANY_LANES>(pixels, weights, &taps, out, 0);
            let done = blocks::<T, LANES>(pixels, weights, &taps, out, done);
            for (channel, sum) in out.iter_mut().enumerate().skip(done) {
                *sum = taps.iter().fold(T::default(), |acc, &(pixel, tap)| {
                    acc.add(pixels[pixel + channel].multiply(weights[tap + channel]))
                });
            }
        }
    }
}

/// The sums of as many whole blocks of channels as there are behind the first `done`; gives the channels done then.
#[inline(always)]
fn blocks<T: Element, const LANES: usize>(
    pixels: &[T],
    weights: &[T],
    taps: &[(usize, usize)],
    out: &mut [T],
    mut done: usize,
) -> usize {
    for sums in out[done..].as_chunks_mut::<LANES>().0 {
        let mut acc = [T::default(); LANES];
        for &(pixel, tap) in taps {
            let x = pixels[pixel + done..].first_chunk::<LANES>();
            let w = weights[tap + done..].first_chunk::<LANES>();
            // Both hold all channels, of which this block is a part.
            if let (Some(x), Some(w)) = (x, w) {
                for lane in 0..LANES {
                    acc[lane] = acc[lane].add(x[lane].multiply(w[lane]));
                }
            }
        }
        *sums = acc;
        done += LANES;
    }
    done
}
