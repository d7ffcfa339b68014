//! Arithmetic in the element types of ONNX, so that an operator's meaning is written once for all of them.
//!
//! Integers wrap, and their division truncates. Floats round after every operation; nothing is fused.

use super::Clamp;
use super::tensor::Data;

/// An element type with arithmetic.
pub trait Element: Copy + Default + PartialOrd + Send + Sync + 'static {
    /// The least value: what the greatest of nothing is.
    const LOWEST: Self;

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
    /// `tanh(self)`, the same on every host.
    fn tanh(self) -> Self;
    /// The square root, correctly rounded.
    fn sqrt(self) -> Self;
}

macro_rules! floats {
    ($($float:ident, $variant:ident, $exp:path, $tanh:path;)*) => {$(
        impl Element for $float {
            const LOWEST: Self = $float::NEG_INFINITY;

            fn of(data: &Data) -> Option<&[Self]> {
                if let Data::$variant(elements) = data { Some(elements) } else { None }
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
                    let min = $float::from(min);
                    if self < min { min } else { self }
                });
                clamp.max.map_or(low, |max| {
                    let max = $float::from(max);
                    if low > max { max } else { low }
                })
            }
        }

        impl Real for $float {
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as Self
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn exp(self) -> Self {
                $exp(self)
            }
            fn tanh(self) -> Self {
                $tanh(self)
            }
            fn sqrt(self) -> Self {
                $float::sqrt(self)
            }
        }
    )*};
}

floats! {
    f32, F32, libm::expf, libm::tanhf;
    f64, F64, libm::exp, libm::tanh;
}

macro_rules! integers {
    ($($integer:ident, $variant:ident;)*) => {$(
        impl Element for $integer {
            const LOWEST: Self = $integer::MIN;

            fn of(data: &Data) -> Option<&[Self]> {
                if let Data::$variant(elements) = data { Some(elements) } else { None }
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
    i32, I32;
    i64, I64;
}
