//! The integers that mean what ONNX means: exact factors, the threshold solver, tables.
//!
//! A node of a [`crate::ir::QuantGraph`] means `quantize(op(dequantize(inputs)))` over exact reals, the f32 scales
//! taken as exact numbers, ties to even. Exact rounding and the runtime's fixed-point rounding are both monotone in
//! the accumulator, so they agree on every accumulator if they agree on the thresholds: for each output code, the
//! least accumulator that reaches it and the greatest that does not. Each of the two bounds the multiplier from one
//! side, in whole numbers; whatever multiplier lies between all bounds is proven.
//!
//! ```text
//! factor       exact ratios of f32 scales
//! solve        one accumulator, one factor: the threshold solver
//! accumulator  which accumulators a channel can reach, and that none overflows
//! weighted     convolutions and dense layers: all channels of a layer
//! pair         sums of two int8 operands: every pair checked
//! ratio        exact factors, for int16
//! quotient     quotients of two int8 operands: every pair's bounds
//! table        functions of one int8 value
//! ```

mod accumulator;
mod dyadic;
mod factor;
mod pair;
mod quotient;
mod ratio;
mod solve;
mod table;
mod weighted;

pub use accumulator::{Accumulator, Overflow, accumulator};
pub use dyadic::Dyadic;
pub use factor::Factor;
pub use pair::{PairScale, Side, pair};
pub use quotient::{QuotientScale, quotient};
pub use ratio::{on_grid, ratio};
pub use solve::{Codes, Fit, Reach, Solved, left_shift, solve};
pub use table::{binary_constant, requantize, tabulate, unary};
pub(crate) use weighted::{Rescaled, activation, rescaled, shift_that_fits, weights};
pub use weighted::{Weighted, weighted};

use super::lower::{InexactChannel, Proof};
use tinsmith_runtime::Rounding;

impl Proof {
    /// Counts one channel's outcome.
    pub(crate) fn record(&mut self, channel: usize, factor: f64, fit: Fit, rounding: Rounding) {
        if fit == Fit::Inexact {
            self.inexact.push(InexactChannel { channel, factor });
            return;
        }
        match rounding {
            Rounding::Up => self.up += 1,
            Rounding::Even => self.even += 1,
        }
        if fit == Fit::Moved {
            self.moved += 1;
        }
    }
}
