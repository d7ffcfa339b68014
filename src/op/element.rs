//! Arithmetic in the element types of ONNX, so that an operator's meaning is written once for all of them.
//!
//! Integers wrap, and their division truncates. Floats round after every operation; nothing is fused.

use std::cmp::Ordering;

use half::{bf16, f16};
use tinsmith_runtime::kernels::float::exp;

use super::Clamp;
use super::sums::{Plain, Sums};
use super::tensor::{DType, Data, Values, View};
use super::vectors::{Set, Task, Vectors};

/// An element type with arithmetic.
pub(crate) trait Element: Copy + Default + PartialOrd + Send + Sync + 'static {
    /// The least value: what the greatest of nothing is.
    const LOWEST: Self;

    /// What sums of products are kept in: the type itself, or f32 where that has only 16 bits of a real.
    type Sum: Copy + Default;
    /// `sum + a · b`, rounded after each of the two.
    fn accumulate(sum: Self::Sum, a: Self, b: Self) -> Self::Sum;
    /// The sum as an element.
    fn from_sum(sum: Self::Sum) -> Self;
    /// Many sums at once, with the vector instructions of a set.
    type Sums<S: Set>: Sums<Self>;
    /// Runs a task over elements of this type: with the widest vectors where the type has [`Sums`] of its own for them,
    /// compiled once where it has not.
    fn run(task: impl Task);

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

/// An element type of integers.
pub(crate) trait Integer: Element + Ord {
    /// −1, 0 or 1.
    fn sign(self) -> Self;
    /// The rest of a division toward −∞, of the divisor's sign; `None` of a division by zero.
    fn modulo(self, divisor: Self) -> Option<Self>;
    /// The rest of a division toward zero, of the dividend's sign; `None` of a division by zero.
    fn rest(self, divisor: Self) -> Option<Self>;
    /// The power, wrapped; `None` of zero to the power of a negative number. Other negative powers are cut toward zero.
    fn power(self, exponent: Self) -> Option<Self>;
    /// Bits that are in both.
    fn and(self, other: Self) -> Self;
    /// Bits that are in one or both.
    fn or(self, other: Self) -> Self;
    /// Bits that are in one.
    fn xor(self, other: Self) -> Self;
    /// Shifted toward the high bits; zero where no bit stays.
    fn shifted_left(self, bits: Self) -> Self;
    /// Shifted toward the low bits; zero where no bit stays.
    fn shifted_right(self, bits: Self) -> Self;
}

/// An element type of reals.
pub(crate) trait Real: Element {
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
    ($($float:ident, $variant:ident, $sum:ty, $sums:ty, $run:expr, $from_sum:expr, $from_f64:expr, $map:expr, $exp:path, $log:path, $tanh:path, $sqrt:path;)*) => {$(
        impl Element for $float {
            const LOWEST: Self = $float::NEG_INFINITY;

            type Sum = $sum;
            type Sums<S: Set> = $sums;
            fn run(task: impl Task) {
                $run(task);
            }
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
    f32, F32, f32, S::F32, |task| Vectors::current().run(task), |sum| sum, |x| x as f32, apply, exp::exp, libm::logf, libm::tanhf, f32::sqrt;
    f64, F64, f64, Plain<f64>, Vectors::plain, |sum| sum, |x| x, apply, libm::exp, libm::log, libm::tanh, f64::sqrt;
    f16, F16, f32, Plain<f16>, Vectors::plain, f16::from_f32, f16::from_f64, |x: f16, f: fn(f32) -> f32| f16::from_f32(f(x.to_f32())), exp::exp, libm::logf, libm::tanhf, f32::sqrt;
    bf16, BF16, f32, Plain<bf16>, Vectors::plain, bf16::from_f32, bf16::from_f64, |x: bf16, f: fn(f32) -> f32| bf16::from_f32(f(x.to_f32())), exp::exp, libm::logf, libm::tanhf, f32::sqrt;
}

fn apply<T>(x: T, f: fn(T) -> T) -> T {
    f(x)
}

macro_rules! integers {
    ($($integer:ident, $variant:ident;)*) => {$(
        impl Element for $integer {
            const LOWEST: Self = $integer::MIN;

            type Sum = Self;
            type Sums<S: Set> = Plain<Self>;
            fn run(task: impl Task) {
                Vectors::plain(task);
            }
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

        impl Integer for $integer {
            fn sign(self) -> Self {
                match self.cmp(&0) {
                    Ordering::Less => (0 as Self).wrapping_sub(1),
                    Ordering::Equal => 0,
                    Ordering::Greater => 1,
                }
            }
            fn modulo(self, divisor: Self) -> Option<Self> {
                let rest = self.rest(divisor)?;
                let other_sign = (rest < Self::default()) != (divisor < Self::default());
                Some(if rest != 0 && other_sign { rest.wrapping_add(divisor) } else { rest })
            }
            fn rest(self, divisor: Self) -> Option<Self> {
                (divisor != 0).then(|| self.wrapping_rem(divisor))
            }
            fn power(self, exponent: Self) -> Option<Self> {
                if exponent < Self::default() {
                    let is_odd = exponent & 1 == 1;
                    return match i128::from(self) {
                        0 => None,
                        1 => Some(1),
                        -1 => Some(if is_odd { self } else { 1 }),
                        _ => Some(0),
                    };
                }
                // Squaring: one step per bit of the exponent.
                let (mut power, mut square, mut left) = (1 as Self, self, exponent);
                while left != 0 {
                    if left & 1 == 1 {
                        power = power.wrapping_mul(square);
                    }
                    square = square.wrapping_mul(square);
                    left >>= 1;
                }
                Some(power)
            }
            fn and(self, other: Self) -> Self {
                self & other
            }
            fn or(self, other: Self) -> Self {
                self | other
            }
            fn xor(self, other: Self) -> Self {
                self ^ other
            }
            fn shifted_left(self, bits: Self) -> Self {
                u32::try_from(bits).ok().and_then(|bits| self.checked_shl(bits)).unwrap_or(0)
            }
            fn shifted_right(self, bits: Self) -> Self {
                u32::try_from(bits).ok().and_then(|bits| self.checked_shr(bits)).unwrap_or(0)
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
