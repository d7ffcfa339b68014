//! Samples between the elements of a tensor, defined once for the kernels and for the compiler's reference.

use core::ops::{Add, Div, Mul, Sub};

/// Reals that samples are computed in.
pub trait Float:
    Copy + PartialOrd + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// The number, which must be exact in f32.
    fn of(x: f32) -> Self;
    /// An extent.
    fn extent(n: u32) -> Self;
    /// Rounded down.
    fn floor(self) -> Self;
    /// Rounded up.
    fn ceil(self) -> Self;
    /// Rounded to nearest, ties to even.
    fn rint(self) -> Self;
    /// Its integer part; saturates, and is 0 of NaN.
    fn index(self) -> i64;
}

macro_rules! floats {
    ($($float:ident, $floor:path, $ceil:path, $rint:path;)*) => {$(
        impl Float for $float {
            fn of(x: f32) -> Self {
                x.into()
            }
            fn extent(n: u32) -> Self {
                n as $float
            }
            fn floor(self) -> Self {
                $floor(self)
            }
            fn ceil(self) -> Self {
                $ceil(self)
            }
            fn rint(self) -> Self {
                $rint(self)
            }
            fn index(self) -> i64 {
                self as i64
            }
        }
    )*};
}

floats! {
    f32, libm::floorf, libm::ceilf, libm::rintf;
    f64, libm::floor, libm::ceil, libm::rint;
}

/// Taps along one axis: indices, outside the axis where nothing is, and weights.
#[derive(Clone, Copy)]
struct Taps<F> {
    taps: [(Option<u32>, F); 4],
    count: usize,
}

impl<F: Float> Taps<F> {
    fn all(&self) -> &[(Option<u32>, F)] {
        self.taps.get(..self.count).unwrap_or_default()
    }
}

/// How `GridSample` reads a tensor of up to three spatial axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Extents, outermost first; fewer than three axes have extents of 1 in front.
    pub extents: [u32; 3],
    /// Number of spatial axes.
    pub axes: u8,
    /// 0: the nearest element, ties to even; 1: linear; 2: cubic, with a = −0.75.
    pub mode: u8,
    /// What lies outside; 0: zeros; 1: the border; 2: the inside, reflected.
    pub padding: u8,
    /// What −1 and 1 are; 0: the centres of the outermost elements; 1: their outer edges; 2: coordinates count
    /// elements.
    pub coordinates: u8,
}

impl Grid {
    /// Whether every code is known and no extent is zero.
    pub fn is_valid(&self) -> bool {
        (1..=3).contains(&self.axes)
            && self.mode <= 2
            && self.padding <= 2
            && self.coordinates <= 2
            && self.extents.iter().all(|&extent| extent > 0)
    }

    /// The value at a point, outermost coordinate first, of which the last [`Grid::axes`] count. `read` gives the
    /// element of an index, counted row-major. `None` where `read` gives it.
    pub fn sample<F: Float>(&self, point: [F; 3], read: impl Fn(usize) -> Option<F>) -> Option<F> {
        let none = Taps {
            taps: [(Some(0), F::of(1.0)); 4],
            count: 1,
        };
        let mut taps = [none; 3];
        let first = 3usize.saturating_sub(self.axes.into());
        for (axis, (slot, (&x, &extent))) in taps.iter_mut().zip(point.iter().zip(&self.extents)).enumerate()
        {
            if axis >= first {
                *slot = self.taps(x, extent);
            }
        }
        let [planes, rows, columns] = taps;
        let [_, in_h, in_w] = self.extents.map(|extent| extent as usize);
        let zero = F::of(0.0);
        // A mode with one tap takes its element as it is; sums start from zero.
        let mut volume = zero;
        for &(d, d_weight) in planes.all() {
            let mut plane = zero;
            for &(h, h_weight) in rows.all() {
                let mut row = zero;
                for &(w, w_weight) in columns.all() {
                    let x = match (d, h, w) {
                        (Some(d), Some(h), Some(w)) => {
                            let at = (d as usize).wrapping_mul(in_h).wrapping_add(h as usize);
                            read(at.wrapping_mul(in_w).wrapping_add(w as usize))?
                        }
                        _ => zero,
                    };
                    row = row + w_weight * x;
                }
                plane = plane + h_weight * row;
            }
            volume = volume + d_weight * plane;
        }
        Some(volume)
    }

    /// The least and the greatest coordinate inside.
    fn border<F: Float>(&self, extent: u32) -> (F, F) {
        let half = F::of(0.5);
        if self.coordinates == 1 {
            (F::of(-0.5), F::extent(extent) - half)
        } else {
            (F::of(0.0), F::extent(extent) - F::of(1.0))
        }
    }

    fn taps<F: Float>(&self, x: F, extent: u32) -> Taps<F> {
        let (one, two) = (F::of(1.0), F::of(2.0));
        let length = F::extent(extent);
        let mut x = match self.coordinates {
            0 => (x + one) / two * (length - one),
            1 => ((x + one) * length - one) / two,
            _ => x,
        };
        if self.mode == 0 {
            x = x.rint();
        }
        let (low, high) = self.border(extent);
        if x < low || x > high {
            x = match self.padding {
                1 if x < F::of(0.0) => F::of(0.0),
                1 => length - one,
                2 => reflected(x, low, high),
                _ => x,
            };
        }
        let mut taps = [(None, one); 4];
        if self.mode == 0 {
            taps[0] = (self.inside(x.index(), extent), one);
            return Taps { taps, count: 1 };
        }
        let floor = x.floor();
        let ratio = x - floor;
        let first = floor.index();
        if self.mode == 1 {
            taps[0] = (self.inside(first, extent), one - ratio);
            taps[1] = (self.inside(first.saturating_add(1), extent), ratio);
            return Taps { taps, count: 2 };
        }
        for ((slot, weight), step) in taps.iter_mut().zip(cubic(ratio)).zip(-1i64..) {
            *slot = (self.inside(first.saturating_add(step), extent), weight);
        }
        Taps { taps, count: 4 }
    }

    /// The element that stands at an index, inside or not.
    fn inside(&self, index: i64, extent: u32) -> Option<u32> {
        let last = i64::from(extent).saturating_sub(1).max(0);
        if (0..=last).contains(&index) {
            return Some(index as u32);
        }
        match self.padding {
            0 => None,
            1 => Some(index.clamp(0, last) as u32),
            _ => {
                let (low, high) = self.border::<f64>(extent);
                let index = reflected(index as f64, low, high).index();
                Some(index.clamp(0, last) as u32)
            }
        }
    }
}

/// A coordinate mirrored at the two ends until it lies between them.
fn reflected<F: Float>(x: F, low: F, high: F) -> F {
    let range = high - low;
    let beyond = if x < low {
        low - x
    } else if x > high {
        x - high
    } else {
        return x;
    };
    if range <= F::of(0.0) {
        return low;
    }
    let times = (beyond / range).floor();
    let rest = beyond - times * range;
    let half = times / F::of(2.0);
    let is_even = half.floor() == half;
    if (x < low) == is_even {
        low + rest
    } else {
        high - rest
    }
}

/// Weights of the four elements around a point that lies `ratio` behind the second of them, with a = −0.75.
fn cubic<F: Float>(ratio: F) -> [F; 4] {
    let a = F::of(-0.75);
    let (one, two, three) = (F::of(1.0), F::of(2.0), F::of(3.0));
    let far = |x: F| ((a * x - F::of(5.0) * a) * x + F::of(8.0) * a) * x - F::of(4.0) * a;
    let near = |x: F| ((a + two) * x - (a + three)) * x * x + one;
    [far(ratio + one), near(ratio), near(one - ratio), far(two - ratio)]
}

/// How `RoiAlign` reads the regions of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regions {
    /// Rows and columns of the image.
    pub image: [u32; 2],
    /// Rows and columns of bins.
    pub bins: [u32; 2],
    /// Samples along each axis of a bin; 0 takes as many as a bin has elements.
    pub sampling: u32,
    /// Elements per unit of the regions' coordinates.
    pub scale: f32,
    /// Whether coordinates are those of elements' edges, half an element from their centres.
    pub half_pixel: bool,
    /// Whether a bin is the largest of its weighted elements, else the mean of its samples.
    pub largest: bool,
}

/// First bin, size of a bin and samples in it, along one axis.
struct Bins<F> {
    start: F,
    size: F,
    samples: u32,
}

impl Regions {
    /// The value of bin `[row, column]` of the region `[x1, y1, x2, y2]`. `read` gives the element of an index,
    /// counted row-major. `None` where `read` gives it.
    pub fn bin<F: Float>(
        &self,
        [x1, y1, x2, y2]: [F; 4],
        [row, column]: [u32; 2],
        read: impl Fn(usize) -> Option<F>,
    ) -> Option<F> {
        let [out_h, out_w] = self.bins;
        let rows = self.along(y1, y2, out_h);
        let columns = self.along(x1, x2, out_w);
        let mut sum = F::of(0.0);
        let mut largest: Option<F> = None;
        for iy in 0..rows.samples {
            let y = rows.at(row, iy);
            for ix in 0..columns.samples {
                let products = self.products(y, columns.at(column, ix), &read)?;
                let [a, b, c, d] = products;
                sum = sum + (a + b + c + d);
                for x in products {
                    if largest.is_none_or(|largest| x > largest) {
                        largest = Some(x);
                    }
                }
            }
        }
        if self.largest {
            return Some(largest.unwrap_or(F::of(0.0)));
        }
        let count = F::extent(rows.samples) * F::extent(columns.samples);
        Some(sum / if count > F::of(1.0) { count } else { F::of(1.0) })
    }

    fn along<F: Float>(&self, start: F, end: F, bins: u32) -> Bins<F> {
        let scale = F::of(self.scale);
        let offset = F::of(if self.half_pixel { 0.5 } else { 0.0 });
        let (start, end) = (start * scale - offset, end * scale - offset);
        let mut length = end - start;
        if !self.half_pixel && length < F::of(1.0) {
            length = F::of(1.0);
        }
        let size = length / F::extent(bins);
        let samples = match self.sampling {
            0 => u32::try_from(size.ceil().index()).unwrap_or(0),
            given => given,
        };
        Bins { start, size, samples }
    }

    /// The four elements around a point, each times its weight; zeros outside the image.
    fn products<F: Float>(&self, y: F, x: F, read: impl Fn(usize) -> Option<F>) -> Option<[F; 4]> {
        let (zero, one) = (F::of(0.0), F::of(1.0));
        let [height, width] = self.image;
        let outside = |at: F, extent: u32| at < F::of(-1.0) || at > F::extent(extent);
        if outside(y, height) || outside(x, width) {
            return Some([zero; 4]);
        }
        let place = |at: F, extent: u32| {
            let at = if at < zero { zero } else { at };
            let last = extent.saturating_sub(1);
            let low = u32::try_from(at.index()).unwrap_or(0);
            if low >= last {
                return (last, last, zero);
            }
            (low, low.wrapping_add(1), at - F::extent(low))
        };
        let (y_low, y_high, ly) = place(y, height);
        let (x_low, x_high, lx) = place(x, width);
        let (hy, hx) = (one - ly, one - lx);
        let element = |y: u32, x: u32| {
            let row = (y as usize).wrapping_mul(width as usize);
            read(row.wrapping_add(x as usize))
        };
        Some([
            hy * hx * element(y_low, x_low)?,
            hy * lx * element(y_low, x_high)?,
            ly * hx * element(y_high, x_low)?,
            ly * lx * element(y_high, x_high)?,
        ])
    }
}

impl<F: Float> Bins<F> {
    /// Where sample `sample` of bin `bin` lies.
    fn at(&self, bin: u32, sample: u32) -> F {
        let middle = F::extent(sample) + F::of(0.5);
        self.start + F::extent(bin) * self.size + middle * self.size / F::extent(self.samples)
    }
}
