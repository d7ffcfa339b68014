//! Sixteen sums of products at once, in the registers of each set of vector instructions.
//!
//! Every lane is a sum of its own: a product, rounded, then an addition, rounded, whatever the registers.

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
    /// The sums as elements.
    fn elements(self) -> [T; LANES];
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
        for lane in 0..LANES {
            self.0[lane] = T::accumulate(self.0[lane], a, b[lane]);
        }
        self
    }
    #[inline(always)]
    fn add_products(mut self, a: &[T; LANES], b: &[T; LANES]) -> Self {
        for lane in 0..LANES {
            self.0[lane] = T::accumulate(self.0[lane], a[lane], b[lane]);
        }
        self
    }
    #[inline(always)]
    fn elements(self) -> [T; LANES] {
        self.0.map(T::from_sum)
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
        __m256, __m512, _mm256_add_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_set1_ps, _mm256_setzero_ps,
        _mm256_storeu_ps, _mm512_add_ps, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_setzero_ps,
        _mm512_storeu_ps,
    };

    use super::{LANES, Sums, Tile};

    /// Two registers of 256 bits.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2Sums([__m256; 2]);

    // SAFETY, of all blocks of this implementation: `Vectors::run` is the only code that names the type, and calls
    // what it named it for after the host was found to have AVX2. Every load and store spans 8 of the 16 elements of
    // an array, from the first or from the ninth on.
    impl Sums<f32> for Avx2Sums {
        const TILE: Tile = Tile::Middle;

        #[inline(always)]
        fn zero() -> Self {
            unsafe { Self([_mm256_setzero_ps(); 2]) }
        }
        #[inline(always)]
        fn add_scaled(self, a: f32, b: &[f32; LANES]) -> Self {
            let [low, high] = self.0;
            let b = b.as_ptr();
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
        fn elements(self) -> [f32; LANES] {
            let mut elements = [0.0; LANES];
            unsafe {
                _mm256_storeu_ps(elements.as_mut_ptr(), self.0[0]);
                _mm256_storeu_ps(elements.as_mut_ptr().add(8), self.0[1]);
            }
            elements
        }
    }

    /// One register of 512 bits.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512Sums(__m512);

    // SAFETY, of all blocks of this implementation: `Vectors::run` is the only code that names the type, and calls
    // what it named it for after the host was found to have AVX-512. Every load and store spans the 16 elements of an
    // array.
    impl Sums<f32> for Avx512Sums {
        const TILE: Tile = Tile::Large;

        #[inline(always)]
        fn zero() -> Self {
            unsafe { Self(_mm512_setzero_ps()) }
        }
        #[inline(always)]
        fn add_scaled(self, a: f32, b: &[f32; LANES]) -> Self {
            unsafe {
                let product = _mm512_mul_ps(_mm512_set1_ps(a), _mm512_loadu_ps(b.as_ptr()));
                Self(_mm512_add_ps(self.0, product))
            }
        }
        #[inline(always)]
        fn add_products(self, a: &[f32; LANES], b: &[f32; LANES]) -> Self {
            unsafe {
                let product = _mm512_mul_ps(_mm512_loadu_ps(a.as_ptr()), _mm512_loadu_ps(b.as_ptr()));
                Self(_mm512_add_ps(self.0, product))
            }
        }
        #[inline(always)]
        fn elements(self) -> [f32; LANES] {
            let mut elements = [0.0; LANES];
            unsafe { _mm512_storeu_ps(elements.as_mut_ptr(), self.0) };
            elements
        }
    }
}
