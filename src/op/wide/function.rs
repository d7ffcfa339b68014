//! Functions of one int16 value.

use tinsmith_runtime::format::Function16;
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::kernels::wide::function::interpolate;

use super::{limits, params, slopes};
use crate::op::lower::{KernelCall, LowerError, Lowered, Operand, Proof};
use crate::op::movement::fitting;
use crate::op::quant::{QuantParams, QuantTensor};
use crate::op::tensor::DType;
use crate::op::{Clamp, UnaryKind};

/// Segments of a table, as powers of two: the fewest that are within [`WITHIN`], else the most.
const LOG2_SEGMENTS: [u8; 4] = [9, 10, 11, 12];
/// Codes by which a table may differ to be good enough.
const WITHIN: u32 = 1;

/// A function: exactly where it is one or two slopes with a clamp, by a table else.
pub(in crate::op) fn unary(kind: UnaryKind, x: &QuantTensor, y: &QuantTensor) -> Result<Lowered, LowerError> {
    if let Some((both, clamp)) = two_slopes(kind) {
        return slopes(x, y, both, clamp);
    }
    let found = Found::new(kind, params(x)?, params(y)?);
    let record = Function16 {
        count: fitting(x.ty.len())?,
        log2_segments: found.log2_segments,
        ..Function16::default()
    };
    let constants = found.table.into_iter().flatten().collect();
    let call = KernelCall {
        in_place: vec![0],
        ..KernelCall::new(
            Layer::Function16(record),
            vec![Operand::of_input(0, x)],
            constants,
        )
    };
    Ok(Lowered::one(call, Proof::default()))
}

/// By how many codes, at most, the kernel of a function differs from rounding the function itself; `None` where it is
/// exact. All 65,536 inputs are compared.
pub fn deviation(kind: UnaryKind, from: QuantParams, to: QuantParams) -> Option<u32> {
    match two_slopes(kind) {
        Some(_) => None,
        None => Some(Found::new(kind, from, to).deviation),
    }
}

/// The slopes above and below zero, as magnitudes with signs, of a function that is made of them.
fn two_slopes(kind: UnaryKind) -> Option<([(f32, bool); 2], Clamp)> {
    let one = (1.0, false);
    match kind {
        UnaryKind::Clamp(clamp) => Some(([one; 2], clamp)),
        UnaryKind::Abs => Some(([one, (1.0, true)], Clamp::NONE)),
        UnaryKind::Neg => Some(([(1.0, true); 2], Clamp::NONE)),
        UnaryKind::LeakyRelu { alpha } if alpha.is_finite() => {
            Some(([one, (alpha.abs(), alpha < 0.0)], Clamp::NONE))
        }
        _ => None,
    }
}

/// The table chosen.
struct Found {
    log2_segments: u8,
    table: Vec<[u8; 2]>,
    deviation: u32,
}

impl Found {
    fn new(kind: UnaryKind, from: QuantParams, to: QuantParams) -> Self {
        let value = |code: i32| {
            let real = kind.of(f64::from(code - from.zero_point) * f64::from(from.scale));
            // What is no number becomes zero, infinities saturate.
            let steps = if real.is_nan() {
                0.0
            } else {
                libm::rint(real / f64::from(to.scale))
            };
            let (least, greatest) = limits(DType::I16);
            (steps + f64::from(to.zero_point)).clamp(least.into(), greatest.into()) as i16
        };
        let codes = || i16::MIN..=i16::MAX;
        let wanted: Vec<i16> = codes().map(|code| value(code.into())).collect();
        let with = |log2_segments: u8| {
            let step = 1i32 << (16 - log2_segments);
            let entries = 0..=1i32 << log2_segments;
            let entry = |index: i32| value(i32::from(i16::MIN) + index * step).to_le_bytes();
            let table: Vec<[u8; 2]> = entries.map(entry).collect();
            let differs = |(code, &wanted): (i16, &i16)| {
                let found = interpolate(&table, log2_segments.into(), code).expect("a table of that many");
                (i32::from(found) - i32::from(wanted)).unsigned_abs()
            };
            let deviation = codes().zip(&wanted).map(differs).max().unwrap_or(0);
            Self {
                log2_segments,
                table,
                deviation,
            }
        };
        let [first, more @ ..] = LOG2_SEGMENTS;
        more.into_iter().fold(with(first), |found, log2_segments| {
            if found.deviation <= WITHIN {
                found
            } else {
                with(log2_segments)
            }
        })
    }
}
