//! Arithmetic in the element types of ONNX, so that an operator's meaning is written once for all of them.
//!
//! Integers wrap, and their division truncates. Floats round after every operation; nothing is fused.

use half::{bf16, f16};

use super::Clamp;
use super::tensor::{DType, Data, Values, View};

/// An element type with arithmetic.
pub trait Element: Copy + Default + PartialOrd + Send + Sync + 'static {
    /// The least value: what the greatest of nothing is.
    const LOWEST: Self;

    /// What sums of products are kept in: the type itself, or f32 where that has only 16 bits of a real.
    type Sum: Copy + Default;
    /// `sum + a · b`, rounded after each of the two.
    fn accumulate(sum: Self::Sum, a: Self, b: Self) -> Self::Sum;
    /// The sum as an element.
    fn from_sum(sum: Self::Sum) -> Self;

    /// The elements, where they are of this type.
    fn of(data: &Data) -> Option<&[Self]>;
    /// Elements of this type.
    fn data(elements: Vec<Self>) -> Data;
    /// `self + other`.
    fn add(self, other: Self) -> Self;
    /// `self − other`.
    fn subtract(self, other: Self) -> Self;
    /// `self · other`.
    fn multiply(self, other: Self) -> Self;
    /// `self / other`; `None` where an integer is divided by zero.
    fn divide(self, other: Self) -> Option<Self>;
    /// Whether it is no number.
    fn is_nan(self) -> bool;
    /// Limited to the two ends; a NaN passes.
    fn clamped(self, clamp: Clamp) -> Self;
}

/// An element type of reals.
pub trait Real: Element {
    /// The nearest value.
    fn from_f64(x: f64) -> Self;
    /// The value.
    fn to_f64(self) -> f64;
    /// `exp(self)`, the same on every host.
    fn exp(self) -> Self;
    /// The natural logarithm, the same on every host.
    fn log(self) -> Self;
    /// `tanh(self)`, the same on every host.
    fn tanh(self) -> Self;
    /// The square root, correctly rounded.
    fn sqrt(self) -> Self;
}

macro_rules! floats {
    ($($float:ident, $variant:ident, $sum:ty, $from_sum:expr, $from_f64:expr, $map:expr, $exp:path, $log:path, $tanh:path, $sqrt:path;)*) => {$(
        impl Element for $float {
            const LOWEST: Self = $float::NEG_INFINITY;

            type Sum = $sum;
            #[inline(always)]
            fn accumulate(sum: $sum, a: Self, b: Self) -> $sum {
                sum + <$sum>::from(a) * <$sum>::from(b)
            }
            #[inline(always)]
            fn from_sum(sum: $sum) -> Self {
                $from_sum(sum)
            }

            fn of(data: &Data) -> Option<&[Self]> {
                if let View::$variant(elements) = data.view() { Some(elements) } else { None }
            }
            fn data(elements: Vec<Self>) -> Data {
                Data::$variant(elements)
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self + other
            }
            #[inline(always)]
            fn subtract(self, other: Self) -> Self {
                self - other
            }
            #[inline(always)]
            fn multiply(self, other: Self) -> Self {
                self * other
            }
            #[inline(always)]
            fn divide(self, other: Self) -> Option<Self> {
                Some(self / other)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $float::is_nan(self)
            }
            #[inline(always)]
            fn clamped(self, clamp: Clamp) -> Self {
                let low = clamp.min.map_or(self, |min| {
                    let min = $float::from_f64(min.into());
                    if self < min { min } else { self }
                });
                clamp.max.map_or(low, |max| {
                    let max = $float::from_f64(max.into());
                    if low > max { max } else { low }
                })
            }
        }

        impl Real for $float {
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                $from_f64(x)
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn exp(self) -> Self {
                $map(self, $exp)
            }
            fn log(self) -> Self {
                $map(self, $log)
            }
            fn tanh(self) -> Self {
                $map(self, $tanh)
            }
            fn sqrt(self) -> Self {
                $map(self, $sqrt)
            }
        }
    )*};
}

floats! {
    f32, F32, f32, |sum| sum, |x| x as f32, apply, libm::expf, libm::logf, libm::tanhf, f32::sqrt;
    f64, F64, f64, |sum| sum, |x| x, apply, libm::exp, libm::log, libm::tanh, f64::sqrt;
    f16, F16, f32, f16::from_f32, f16::from_f64, |x: f16, f: fn(f32) -> f32| f16::from_f32(f(x.to_f32())), libm::expf, libm::logf, libm::tanhf, f32::sqrt;
    bf16, BF16, f32, bf16::from_f32, bf16::from_f64, |x: bf16, f: fn(f32) -> f32| bf16::from_f32(f(x.to_f32())), libm::expf, libm::logf, libm::tanhf, f32::sqrt;
}

fn apply<T>(x: T, f: fn(T) -> T) -> T {
    f(x)
}

macro_rules! integers {
    ($($integer:ident, $variant:ident;)*) => {$(
        impl Element for $integer {
            const LOWEST: Self = $integer::MIN;

            type Sum = Self;
            fn accumulate(sum: Self, a: Self, b: Self) -> Self {
                sum.wrapping_add(a.wrapping_mul(b))
            }
            fn from_sum(sum: Self) -> Self {
                sum
            }

            fn of(data: &Data) -> Option<&[Self]> {
                if let View::$variant(elements) = data.view() { Some(elements) } else { None }
            }
            fn data(elements: Vec<Self>) -> Data {
                Data::$variant(elements)
            }
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            fn subtract(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            fn multiply(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            fn divide(self, other: Self) -> Option<Self> {
                (other != 0).then(|| self.wrapping_div(other))
            }
            fn is_nan(self) -> bool {
                false
            }
            fn clamped(self, clamp: Clamp) -> Self {
                // The ends that an integer can take lie inside the real ones; a cast saturates at the type's own.
                let low = clamp.min.map_or(self, |min| self.max(f64::from(min).ceil() as Self));
                clamp.max.map_or(low, |max| low.min(f64::from(max).floor() as Self))
            }
        }
    )*};
}

integers! {
    i8, I8;
    u8, U8;
    i16, I16;
    u16, U16;
    i32, I32;
    u32, U32;
    i64, I64;
    u64, U64;
}

/// What `eval` makes of the inputs in f32, rounded once to the type of the first: for half-precision reals.
pub(super) fn in_f32(inputs: &[&Values], eval: impl FnOnce(&[&Values]) -> Vec<f32>) -> Data {
    let wide: Vec<Values> = inputs
        .iter()
        .map(|values| Values::new(values.shape.clone(), values.data.cast(DType::F32)))
        .collect();
    let y = eval(&wide.iter().collect::<Vec<_>>());
    Data::F32(y).cast(inputs[0].data.dtype())
}
