//! Every kernel against a naive loop written from its formula alone: edge shapes, extremes, seeded random numbers. Each
//! case goes the whole way through a blob, its check and the executor.

mod algebra;
mod attention;
mod computed;
mod dense_int4;
mod elementwise;
mod float;
mod functions;
mod guards;
mod layer_norm;
mod lstm;
mod movement;
mod places;
mod plain;
mod pools;
mod products;
mod recurrent;
mod repeat;
mod softmax;
mod wide;
mod windows;

use tinsmith_runtime::format::Window;

use crate::blobs::Random;

/// `value · 2^(−shift)` to nearest; bit 7 of a stored shift sends ties to even, else they go up.
fn nearest(value: i128, stored_shift: u8) -> i128 {
    let unit = 1i128 << (stored_shift & 0x7f);
    let (floor, rest) = (value.div_euclid(unit), value.rem_euclid(unit));
    let tie_goes_up = stored_shift < 0x80 || floor % 2 != 0;
    floor + i128::from(2 * rest > unit || (2 * rest == unit && tie_goes_up))
}

/// How accumulators become int8: multiplier, stored shift, and what all channels share.
#[derive(Clone, Copy)]
struct Rescale {
    multiplier: i32,
    shift: u8,
}

impl Rescale {
    /// One that takes accumulators of about `size` to about the int8 range.
    fn random(random: &mut Random, size: i64) -> Self {
        let bits = 64 - size.max(1).leading_zeros() as i64;
        let shift = (31 + bits - 7 + random.range(-1, 1)).clamp(33, 55) as u8;
        let even = if random.range(0, 1) == 1 { 0x80 } else { 0 };
        let multiplier = match random.range(0, 3) {
            0 => 1 << 30,
            1 => i32::MAX,
            _ => random.range(1 << 29, i32::MAX.into()) as i32,
        };
        Self {
            multiplier,
            shift: shift | even,
        }
    }

    /// The int8 result.
    fn apply(self, acc: i64, zero_point: i8, min: i8, max: i8) -> u8 {
        let value =
            nearest(i128::from(acc) * i128::from(self.multiplier), self.shift) + i128::from(zero_point);
        value.clamp(min.into(), max.into()) as i8 as u8
    }
}

/// A clamp: mostly the whole range.
fn random_clamp(random: &mut Random) -> (i8, i8) {
    if random.range(0, 2) > 0 {
        return (-128, 127);
    }
    let (a, b) = (random.i8(), random.i8());
    (a.min(b), a.max(b))
}

/// A window with every kind of edge: strides that skip, dilation, padding on any side and beyond the kernel.
fn random_window(random: &mut Random) -> Window {
    let mut axis = || {
        let kernel = random.range(1, 4);
        let (stride, dilation) = (random.range(1, 3), random.one_of(&[1, 1, 1, 2, 3]));
        let (extent, out) = (random.range(1, 9), random.range(1, 6));
        let pad = random.one_of(&[0, 0, 1, 2, 5]);
        [extent, out, kernel, pad, stride, dilation].map(|value| value as u16)
    };
    let [in_h, out_h, kernel_h, pad_top, stride_h, dilation_h] = axis();
    let [in_w, out_w, kernel_w, pad_left, stride_w, dilation_w] = axis();
    Window {
        in_h,
        in_w,
        out_h,
        out_w,
        kernel_h,
        kernel_w,
        pad_top,
        pad_left,
        stride_h,
        stride_w,
        dilation_h,
        dilation_w,
    }
}

/// Index of the input pixel under a tap of output (`y`, `x`); `None` in the padding.
fn pixel(w: &Window, y: usize, x: usize, ky: usize, kx: usize) -> Option<usize> {
    let position = |out: usize, stride: u16, pad: u16, k: usize, dilation: u16, extent: u16| {
        let at = out as i64 * i64::from(stride) - i64::from(pad) + k as i64 * i64::from(dilation);
        (0..i64::from(extent)).contains(&at).then_some(at as usize)
    };
    let iy = position(y, w.stride_h, w.pad_top, ky, w.dilation_h, w.in_h)?;
    let ix = position(x, w.stride_w, w.pad_left, kx, w.dilation_w, w.in_w)?;
    Some(iy * usize::from(w.in_w) + ix)
}

/// Every output position of a window with its taps, in row-major order.
fn positions(w: &Window) -> impl Iterator<Item = Vec<Option<usize>>> + '_ {
    let taps = move |y: usize, x: usize| {
        (0..w.kernel_h.into())
            .flat_map(|ky| (0..w.kernel_w.into()).map(move |kx| (ky, kx)))
            .map(|(ky, kx)| pixel(w, y, x, ky, kx))
            .collect()
    };
    (0..w.out_h.into()).flat_map(move |y| (0..w.out_w.into()).map(move |x| taps(y, x)))
}
