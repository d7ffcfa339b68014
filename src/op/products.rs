//! Sums of products of two int8 tensors, neither of which is weights: all sums in reach are proven.

use tinsmith_runtime::format::MatMul;
use tinsmith_runtime::kernels::Layer;

use super::geometry::Geometry;
use super::lower::{KernelCall, LowerError, Lowered, Operand, Proof};
use super::quant::{QuantParams, QuantTensor};
use super::rescale::{self, Codes, Factor, Reach};
use super::{Clamp, OpError, movement};

/// One side of the products.
pub(super) struct Factors {
    params: QuantParams,
    /// The least and the greatest code.
    codes: [i32; 2],
}

impl Factors {
    /// Any codes.
    pub(super) fn all(params: QuantParams) -> Self {
        Self {
            params,
            codes: [-128, 127],
        }
    }

    /// The number one, as the code 1.
    pub(super) fn ones() -> Self {
        let params = QuantParams {
            scale: 1.0,
            zero_point: 0,
        };
        Self {
            params,
            codes: [1; 2],
        }
    }

    fn steps(&self) -> [i64; 2] {
        self.codes.map(|code| i64::from(code - self.params.zero_point))
    }
}

/// Products of matrices.
pub(super) struct Products {
    pub(super) factors: [Factors; 2],
    /// Rows, depth, columns.
    pub(super) sizes: [usize; 3],
    /// Where the matrices lie, counted in matrices.
    pub(super) batches: Geometry<2>,
}

impl Products {
    /// The kernel.
    pub(super) fn lower(&self, sources: Vec<Operand>, y: &QuantTensor) -> Result<Lowered, LowerError> {
        let ([rows, depth, columns], [a, b]) = (self.sizes, &self.factors);
        let to = rescale::activation(Some(y), "output")?;
        let factor = Factor::new(&[a.params.scale, b.params.scale], &[to.scale], 1)
            .ok_or_else(|| OpError::new("a scale is not positive and finite"))?;
        let products = a.steps().into_iter().flat_map(|x| b.steps().map(|y| x * y));
        let (least, most) = products.fold((0, 0), |(least, most): (i64, i64), product| {
            (least.min(product), most.max(product))
        });
        let terms: i64 = movement::fitting(depth)?;
        let reach = |end: i64| {
            end.checked_mul(terms)
                .filter(|sum| sum.abs() <= i64::from(i32::MAX))
        };
        let (Some(least), Some(most)) = (reach(least), reach(most)) else {
            return Err(OpError::new(format!(
                "sums of {terms} products may go beyond a 32-bit accumulator"
            ))
            .with_help("split the product along its inner axis and add the parts")
            .into());
        };
        let left_shift = rescale::shift_that_fits(&[factor], most.max(-least))?;
        let codes = Codes::new(to, Clamp::NONE);
        let solved = rescale::solve(factor, Reach::Range(least, most), left_shift, codes);
        let (multiplier, shift) = solved.scale.to_stored();
        let record = MatMul {
            batch: self.batches.dims()?,
            a_strides: self.batches.strides_of_blocks(0, rows * depth)?,
            b_strides: self.batches.strides_of_blocks(1, depth * columns)?,
            rows: movement::fitting(rows)?,
            depth: movement::fitting(depth)?,
            columns: movement::fitting(columns)?,
            multiplier,
            shift,
            left_shift,
            a_zero_point: movement::fitting(a.params.zero_point)?,
            b_zero_point: movement::fitting(b.params.zero_point)?,
            ofm_zero_point: movement::fitting(to.zero_point)?,
            min: codes.min,
            max: codes.max,
            ..MatMul::default()
        };
        let mut proof = Proof::default();
        proof.record(0, factor.to_f64(), solved.fit, solved.scale.rounding);
        let call = KernelCall::new(Layer::MatMul(record), sources, Vec::new());
        Ok(Lowered::one(call, proof))
    }
}
