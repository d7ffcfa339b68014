//! Sixteen sums of products at once, in the registers of each set of vector instructions.
//!
//! Every lane is a sum of its own: a product, rounded, then an addition, rounded, whatever the registers.

use super::Clamp;
use super::element::Element;

/// Sums that go together: one vector of 512 bits of f32, two of 256, four of 128.
pub(crate) const LANES: usize = 16;

/// The tile of a matrix product that the registers hold beside its operands.
#[derive(Clone, Copy)]
pub(crate) enum Tile {
    /// Three rows by one panel.
    Small,
    /// Six rows by one panel.
    Middle,
    /// Eight rows by two panels.
    Large,
}

/// [`LANES`] sums over elements of type `T`.
pub(crate) trait Sums<T>: Copy {
    /// The tile that suits.
    const TILE: Tile;
    /// No sum yet.
    fn zero() -> Self;
    /// Adds `a · b[lane]` to each lane.
    fn add_scaled(self, a: T, b: &[T; LANES]) -> Self;
    /// Adds `a[lane] · b[lane]` to each lane.
    fn add_products(self, a: &[T; LANES], b: &[T; LANES]) -> Self;
    /// Adds the bias, limits the results, and writes them.
    fn finish(self, bias: Option<&[T; LANES]>, clamp: Clamp, out: &mut [T; LANES]);
}

/// `N` times [`LANES`] elements of `from`, `step` elements from one to the next; `None` where they are not all there.
/// One check for all leaves the registers to the loop.
#[inline(always)]
#[allow(
    unsafe_code,
    reason = "a check per element set is what this is there to avoid"
)]
pub(crate) fn strips<T, const N: usize>(from: &[T], step: usize) -> Option<[&[T; LANES]; N]> {
    let needed = step.checked_mul(N - 1)?.checked_add(LANES)?;
    if from.len() < needed {
        return None;
    }
    let first = from.as_ptr();
    // SAFETY: the last element of set `i` is the one at `i·step + LANES − 1`, which is below `needed` and so inside
    // `from`; arrays are aligned like their elements; the references live as long as `from` is borrowed.
    Some(std::array::from_fn(|i| unsafe { &*first.add(i * step).cast() }))
}

/// Sums in plain arrays, which the compiler turns into the vectors that it has.
#[derive(Clone, Copy)]
pub(crate) struct Plain<T: Element>([T::Sum; LANES]);

impl<T: Element> Sums<T> for Plain<T> {
    const TILE: Tile = Tile::Small;

    #[inline(always)]
    fn zero() -> Self {
        Self([T::Sum::default(); LANES])
    }
    #[inline(always)]
    fn add_scaled(mut self, a: T, b: &[T; LANES]) -> Self {
        for (sum, &b) in self.0.iter_mut().zip(b) {
            *sum = T::accumulate(*sum, a, b);
        }
        self
    }
    #[inline(always)]
    fn add_products(mut self, a: &[T; LANES], b: &[T; LANES]) -> Self {
        for (sum, (&a, &b)) in self.0.iter_mut().zip(a.iter().zip(b)) {
            *sum = T::accumulate(*sum, a, b);
        }
        self
    }
    #[inline(always)]
    fn finish(self, bias: Option<&[T; LANES]>, clamp: Clamp, out: &mut [T; LANES]) {
        *out = self.0.map(T::from_sum);
        if let Some(bias) = bias {
            for (y, &bias) in out.iter_mut().zip(bias) {
                *y = y.add(bias);
            }
        }
        if !clamp.is_none() {
            for y in out {
                *y = y.clamped(clamp);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2Sums, Avx512Sums};

#[cfg(target_arch = "x86_64")]
#[allow(
    unsafe_code,
    reason = "vector instructions, in types that only code for hosts with them can name"
)]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _mm256_add_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps,
        _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm512_add_ps, _mm512_loadu_ps, _mm512_max_ps,
        _mm512_min_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };

    use super::{Clamp, LANES, Sums, Tile};

    /// Two registers of 256 bits.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2Sums([__m256; 2]);

    // `Vectors::run` is the only code that names this type, and calls what it named it for after the host was found to
    // have AVX2. Every load and store spans 8 of the 16 elements of an array, from the first or from the ninth on.
    impl Sums<f32> for Avx2Sums {
        const TILE: Tile = Tile::Middle;

        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: as said at the head of this implementation.
            unsafe { Self([_mm256_setzero_ps(); 2]) }
        }
        #[inline(always)]
        fn add_scaled(self, a: f32, b: &[f32; LANES]) -> Self {
            let [low, high] = self.0;
            let b = b.as_ptr();
            // SAFETY: as said at the head of this implementation.
            unsafe {
                let a = _mm256_set1_ps(a);
                Self([
                    _mm256_add_ps(low, _mm256_mul_ps(a, _mm256_loadu_ps(b))),
                    _mm256_add_ps(high, _mm256_mul_ps(a, _mm256_loadu_ps(b.add(8)))),
                ])
            }
        }
        #[inline(always)]
        fn add_products(self, a: &[f32; LANES], b: &[f32; LANES]) -> Self {
            let [low, high] = self.0;
            let (a, b) = (a.as_ptr(), b.as_ptr());
            // SAFETY: as said at the head of this implementation.
            unsafe {
                Self([
                    _mm256_add_ps(low, _mm256_mul_ps(_mm256_loadu_ps(a), _mm256_loadu_ps(b))),
                    _mm256_add_ps(
                        high,
                        _mm256_mul_ps(_mm256_loadu_ps(a.add(8)), _mm256_loadu_ps(b.add(8))),
                    ),
                ])
            }
        }
        #[inline(always)]
        fn finish(self, bias: Option<&[f32; LANES]>, clamp: Clamp, out: &mut [f32; LANES]) {
            let [mut low, mut high] = self.0;
            let out = out.as_mut_ptr();
            // SAFETY: as said at the head of this implementation.
            unsafe {
                if let Some(bias) = bias {
                    low = _mm256_add_ps(low, _mm256_loadu_ps(bias.as_ptr()));
                    high = _mm256_add_ps(high, _mm256_loadu_ps(bias.as_ptr().add(8)));
                }
                // Of a NaN and a number, these take their second operand: a NaN passes.
                if let Some(min) = clamp.min {
                    let min = _mm256_set1_ps(min);
                    (low, high) = (_mm256_max_ps(min, low), _mm256_max_ps(min, high));
                }
                if let Some(max) = clamp.max {
                    let max = _mm256_set1_ps(max);
                    (low, high) = (_mm256_min_ps(max, low), _mm256_min_ps(max, high));
                }
                _mm256_storeu_ps(out, low);
                _mm256_storeu_ps(out.add(8), high);
            }
        }
    }

    /// One register of 512 bits.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512Sums(__m512);

    // `Vectors::run` is the only code that names this type, and calls what it named it for after the host was found to
    // have AVX-512. Every load and store spans the 16 elements of an array.
    impl Sums<f32> for Avx512Sums {
        const TILE: Tile = Tile::Large;

        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: as said at the head of this implementation.
            unsafe { Self(_mm512_setzero_ps()) }
        }
        #[inline(always)]
        fn add_scaled(self, a: f32, b: &[f32; LANES]) -> Self {
            // SAFETY: as said at the head of this implementation.
            unsafe {
                let product = _mm512_mul_ps(_mm512_set1_ps(a), _mm512_loadu_ps(b.as_ptr()));
                Self(_mm512_add_ps(self.0, product))
            }
        }
        #[inline(always)]
        fn add_products(self, a: &[f32; LANES], b: &[f32; LANES]) -> Self {
            // SAFETY: as said at the head of this implementation.
            unsafe {
                let product = _mm512_mul_ps(_mm512_loadu_ps(a.as_ptr()), _mm512_loadu_ps(b.as_ptr()));
                Self(_mm512_add_ps(self.0, product))
            }
        }
        #[inline(always)]
        fn finish(self, bias: Option<&[f32; LANES]>, clamp: Clamp, out: &mut [f32; LANES]) {
            let mut y = self.0;
            // SAFETY: as said at the head of this implementation.
            unsafe {
                if let Some(bias) = bias {
                    y = _mm512_add_ps(y, _mm512_loadu_ps(bias.as_ptr()));
                }
                // Of a NaN and a number, these take their second operand: a NaN passes.
                if let Some(min) = clamp.min {
                    y = _mm512_max_ps(_mm512_set1_ps(min), y);
                }
                if let Some(max) = clamp.max {
                    y = _mm512_min_ps(_mm512_set1_ps(max), y);
                }
                _mm512_storeu_ps(out.as_mut_ptr(), y);
            }
        }
    }
}
