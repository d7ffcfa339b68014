//! The depthwise convolution: every channel with a kernel of its own.
//!
//! Sixteen channels go together. Their weights stay at hand while the windows of a row pass by, several at once, so that
//! as many sums are under way as hide the latency of an addition.

use super::Window;
use super::convolve::Image;
use super::element::Element;
use super::gemm::Finish;
use super::sums::{LANES, Sums, strips};
use super::vectors::{Set, Task};

/// Windows of a row whose sums are kept at once.
const WINDOWS: usize = 8;

/// The weights, packed: `[channels / LANES, taps, LANES]`, zeros behind the last channel.
#[derive(Clone, Debug)]
pub(crate) struct Packed<T> {
    taps: usize,
    blocks: Vec<[T; LANES]>,
}

impl<T: Element> Packed<T> {
    /// Packs `[channels, taps]`.
    pub(super) fn new(weights: &[T], channels: usize, taps: usize) -> Self {
        let mut blocks = vec![[T::default(); LANES]; channels.div_ceil(LANES) * taps];
        for channel in 0..channels {
            for tap in 0..taps {
                blocks[channel / LANES * taps + tap][channel % LANES] = weights[channel * taps + tap];
            }
        }
        Self { taps, blocks }
    }
}

/// Convolves one image to `out`, which has `out_w` columns.
pub(super) fn convolve<T: Element>(
    window: &Window,
    image: Image<'_, T>,
    weights: &Packed<T>,
    finish: Finish<'_, T>,
    out: &mut [T],
    out_w: usize,
) {
    T::run(Depthwise {
        window,
        image,
        weights,
        finish,
        out,
        out_w,
    });
}

/// A depthwise convolution to be computed.
struct Depthwise<'a, T> {
    window: &'a Window,
    image: Image<'a, T>,
    weights: &'a Packed<T>,
    finish: Finish<'a, T>,
    out: &'a mut [T],
    out_w: usize,
}

impl<T: Element> Task for Depthwise<'_, T> {
    #[inline(always)]
    fn run<S: Set>(self) {
        let Self {
            window,
            image,
            weights,
            finish,
            out,
            out_w,
        } = self;
        let channels = image.channels;
        let inner = window.inner(1, out_w, image.w);
        let mut taps = Vec::with_capacity(weights.taps);
        for (y, out) in out.chunks_exact_mut(out_w * channels).enumerate() {
            let mut x = 0;
            while x < out_w {
                // The windows from here on that see the same taps.
                let many = if x == inner.start { inner.len().max(1) } else { 1 };
                find_taps(window, image, [y, x], &mut taps);
                for (block, weights) in weights.blocks.chunks_exact(weights.taps).enumerate() {
                    let row = Row {
                        pixels: image.pixels,
                        taps: &taps,
                        weights,
                        step: window.strides[1] * channels,
                        channel: block * LANES,
                        channels,
                        finish,
                    };
                    row.sum::<T::Sums<S>>(&mut out[x * channels..][..many * channels]);
                }
                x += many;
            }
        }
    }
}

/// The taps of window `[y, x]` that are not padding: the first element of the pixel under each, and its number.
#[inline(always)]
fn find_taps<T>(window: &Window, image: Image<'_, T>, [y, x]: [usize; 2], taps: &mut Vec<(usize, usize)>) {
    let columns = window.taps(1, x, image.w);
    taps.clear();
    for ky in window.taps(0, y, image.h) {
        let row = window.position(0, y, ky) * image.w;
        taps.extend(columns.clone().map(|kx| {
            let pixel = row + window.position(1, x, kx);
            (pixel * image.channels, ky * window.kernel[1] + kx)
        }));
    }
}

/// Windows side by side that see the same taps, and the channels of one block.
#[derive(Clone, Copy)]
struct Row<'a, T> {
    pixels: &'a [T],
    /// Those of the first window.
    taps: &'a [(usize, usize)],
    /// `[taps, LANES]`.
    weights: &'a [[T; LANES]],
    /// Elements from one window to the next.
    step: usize,
    /// The block's first channel.
    channel: usize,
    channels: usize,
    finish: Finish<'a, T>,
}

impl<T: Element> Row<'_, T> {
    /// Sums up into the block's channels of `out`, `[windows, channels]`.
    #[inline(always)]
    fn sum<L: Sums<T>>(self, out: &mut [T]) {
        let windows = out.len() / self.channels;
        let mut first = 0;
        while first + WINDOWS <= windows {
            self.windows::<L, WINDOWS>(first, out);
            first += WINDOWS;
        }
        for first in first..windows {
            self.windows::<L, 1>(first, out);
        }
    }

    /// Sums up `WINDOWS` windows from `first` on.
    #[inline(always)]
    fn windows<L: Sums<T>, const WINDOWS: usize>(self, first: usize, out: &mut [T]) {
        let mut sums = [L::zero(); WINDOWS];
        for &(pixel, tap) in self.taps {
            let weights = &self.weights[tap];
            let pixels = &self.pixels[pixel + first * self.step + self.channel..];
            if let Some(strips) = strips::<T, WINDOWS>(pixels, self.step) {
                for (sum, strip) in sums.iter_mut().zip(strips) {
                    *sum = sum.add_products(strip, weights);
                }
            } else {
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.add_products(&last_elements(&pixels[i * self.step..]), weights);
                }
            }
        }
        let channels = LANES.min(self.channels - self.channel);
        for (i, sum) in sums.into_iter().enumerate() {
            let out = &mut out[(first + i) * self.channels + self.channel..][..channels];
            self.finish.write(sum, self.channel, out);
        }
    }
}

/// The elements at the end of the image, where there may be fewer than a block; the lanes behind are not read.
#[cold]
fn last_elements<T: Element>(left: &[T]) -> [T; LANES] {
    let mut elements = [T::default(); LANES];
    let len = left.len().min(LANES);
    elements[..len].copy_from_slice(&left[..len]);
    elements
}
