//! The float convolution behind Conv2d, in two forms: patches of the input times packed weights, and, where every
//! channel has a kernel of its own, [`depthwise`](super::depthwise). Both add the taps of an output in the order of
//! the kernel's rows, columns and input channels, starting from zero; taps in the padding count as zeros.

use std::ops::Range;

use super::element::Element;
use super::gemm::Finish;
use super::sums::LANES;
use super::{Conv2d, Window, depthwise, gemm};

/// The weights of a convolution, packed for it.
#[derive(Clone, Debug)]
pub(crate) enum Weights<T> {
    /// One kernel per channel.
    Depthwise(depthwise::Packed<T>),
    /// One matrix per group.
    Grouped(Vec<gemm::Packed<T>>),
}

impl<T: Element> Weights<T> {
    /// Packs `[out_c, kernel_h, kernel_w, in_c / groups]`.
    pub(super) fn pack(groups: usize, weights: &[T], shape: &[usize]) -> Self {
        let out_channels = shape[0];
        let depth: usize = shape[1..].iter().product();
        if shape[3] == 1 && groups == out_channels {
            return Self::Depthwise(depthwise::Packed::new(weights, groups, depth));
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
pub(super) struct Image<'a, T> {
    pub(super) pixels: &'a [T],
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) channels: usize,
}

/// Convolves `x` of shape `[n, h, w, c]` to `out_shape`.
pub(super) fn convolve<T: Element>(
    conv: &Conv2d,
    x: &[T],
    shape: &[usize],
    weights: &Weights<T>,
    finish: Finish<'_, T>,
    out_shape: &[usize],
) -> Vec<T> {
    let mut out = vec![T::default(); out_shape.iter().product()];
    let image_len: usize = shape[1..].iter().product();
    let out_len: usize = out_shape[1..].iter().product();
    if out_len == 0 {
        return out;
    }
    for (i, out) in out.chunks_exact_mut(out_len).enumerate() {
        let image = Image {
            pixels: &x[i * image_len..][..image_len],
            h: shape[1],
            w: shape[2],
            channels: shape[3],
        };
        match weights {
            Weights::Depthwise(weights) => {
                depthwise::convolve(&conv.window, image, weights, finish, out, out_shape[2]);
            }
            Weights::Grouped(groups) => {
                grouped(conv, image, groups, finish, out, [out_shape[2], out_shape[3]]);
            }
        }
    }
    out
}

/// Whether every patch is one pixel, so that the image is its own matrix of patches.
fn is_pointwise(window: &Window) -> bool {
    window.kernel == [1, 1] && window.strides == [1, 1] && window.pads == [0; 4]
}

fn grouped<T: Element>(
    conv: &Conv2d,
    image: Image<'_, T>,
    groups: &[gemm::Packed<T>],
    finish: Finish<'_, T>,
    out: &mut [T],
    [out_w, out_channels]: [usize; 2],
) {
    let n_pixels = out.len() / out_channels;
    if let ([weights], true) = (groups, is_pointwise(&conv.window)) {
        return gemm::product(image.pixels, n_pixels, weights, finish, out, out_channels);
    }
    let depth = groups[0].depth();
    let block = (gemm::BLOCK_ELEMENTS / depth.max(1)).next_multiple_of(8).max(8);
    let mut buffer = vec![T::default(); block * depth + LANES];
    for (g, weights) in groups.iter().enumerate() {
        let patches = Patches::new(conv, image, g, out_w);
        let columns = g * weights.columns()..(g + 1) * weights.columns();
        for first in (0..n_pixels).step_by(block) {
            let rows = block.min(n_pixels - first);
            patches.copy(first, rows, &mut buffer);
            let out = &mut out[first * out_channels + columns.start..];
            gemm::product(
                &buffer,
                rows,
                weights,
                finish.part(columns.clone()),
                out,
                out_channels,
            );
        }
    }
}

/// What the windows of one group of channels see of an image: `[kernel_h, kernel_w, in_c / groups]` each.
struct Patches<'a, T> {
    window: &'a Window,
    image: Image<'a, T>,
    /// Where the group's channels begin, and their number.
    first_channel: usize,
    channels: usize,
    /// Columns of the output.
    out_w: usize,
    /// Columns of the output whose windows lie inside the image's.
    inner: Range<usize>,
}

impl<'a, T: Element> Patches<'a, T> {
    fn new(conv: &'a Conv2d, image: Image<'a, T>, group: usize, out_w: usize) -> Self {
        let channels = image.channels / conv.groups;
        Self {
            window: &conv.window,
            image,
            first_channel: group * channels,
            channels,
            out_w,
            inner: conv.window.inner(1, out_w, image.w),
        }
    }

    /// Copies `rows` patches from output pixel `first` on to the beginning of `buffer`, zeros in the padding. The
    /// buffer has [`LANES`] elements more, which come to hold anything.
    fn copy(&self, first: usize, rows: usize, buffer: &mut [T]) {
        let kernel_w = self.window.kernel[1];
        let depth = self.window.kernel[0] * kernel_w * self.channels;
        let (mut y, mut x) = (first / self.out_w, first % self.out_w);
        let mut ky = self.window.taps(0, y, self.image.h);
        for row in 0..rows {
            let kx = if self.inner.contains(&x) {
                0..kernel_w
            } else {
                self.window.taps(1, x, self.image.w)
            };
            let patch = row * depth;
            if ky.len() == self.window.kernel[0] && kx.len() == kernel_w {
                self.copy_one([y, x], [ky.clone(), kx], &mut buffer[patch..], copy_ahead);
            } else {
                buffer[patch..patch + depth].fill(T::default());
                if !kx.is_empty() {
                    self.copy_one([y, x], [ky.clone(), kx], &mut buffer[patch..], copy_run);
                }
            }
            x += 1;
            if x == self.out_w {
                (y, x) = (y + 1, 0);
                ky = self.window.taps(0, y, self.image.h);
            }
        }
    }

    /// Copies what taps `ky` and `kx` of window `[y, x]` see, run by run.
    #[inline(always)]
    fn copy_one(
        &self,
        [y, x]: [usize; 2],
        [ky, kx]: [Range<usize>; 2],
        patch: &mut [T],
        copy_run: impl Fn(&[T], usize, &mut [T]),
    ) {
        let Image { pixels, w, .. } = self.image;
        let kernel_w = self.window.kernel[1];
        let whole_rows = self.channels == self.image.channels && self.window.dilations[1] == 1;
        for ky in ky {
            let row = self.window.position(0, y, ky) * w;
            if whole_rows {
                let from = (row + self.window.position(1, x, kx.start)) * self.channels;
                let to = (ky * kernel_w + kx.start) * self.channels;
                copy_run(&pixels[from..], kx.len() * self.channels, &mut patch[to..]);
                continue;
            }
            for kx in kx.clone() {
                let from = (row + self.window.position(1, x, kx)) * self.image.channels + self.first_channel;
                let to = (ky * kernel_w + kx) * self.channels;
                copy_run(&pixels[from..], self.channels, &mut patch[to..]);
            }
        }
    }
}

/// Copies the first `len` elements.
fn copy_run<T: Copy>(from: &[T], len: usize, to: &mut [T]) {
    to[..len].copy_from_slice(&from[..len]);
}

/// Copies the first `len` elements, or [`LANES`] at once where those are more and both sides have so many: for patches
/// without padding, where each run overwrites what the one before it left behind.
#[inline(always)]
fn copy_ahead<T: Copy>(from: &[T], len: usize, to: &mut [T]) {
    if len <= LANES
        && let (Some(from), Some(to)) = (from.first_chunk::<LANES>(), to.first_chunk_mut::<LANES>())
    {
        *to = *from;
        return;
    }
    copy_run(from, len, to);
}
