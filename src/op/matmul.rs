//! MatMul: <https://onnx.ai/onnx/operators/onnx__MatMul.html>, NumPy's rules for ranks and batches.

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use super::element::Element;
use super::geometry::Geometry;
use super::lower::Operand;
use super::products::{Factors, Products};
use super::quant::QuantTensor;
use super::rescale;
use super::tensor::{DType, Data, Shape, TensorType, Values, broadcast_indices, broadcast_shape};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect, gemm, real};
use crate::target::Target;

/// `y[…, m, n] = Σ a[…, m, k]·b[…, k, n]`. With constant `b` of rank 2 the optimizer makes it a `Dense`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatMul {}

impl Operator for MatMul {
    const ONNX: &'static [&'static str] = &["MatMul"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 2..=2)?;
        expect::number("a", inputs[0])?;
        expect::dtype("b", inputs[1], inputs[0].dtype)?;
        let product = Product::of(&inputs[0].shape, &inputs[1].shape).ok_or_else(|| {
            OpError::new(format!(
                "a, b with a's columns as many as b's rows and batches that broadcast wanted, {} and {} found",
                inputs[0], inputs[1]
            ))
        })?;
        Ok(vec![TensorType::new(inputs[0].dtype, product.shape)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let data = match inputs[0].data.dtype() {
            DType::F32 => products::<f32>(inputs),
            DType::F64 => products::<f64>(inputs),
            DType::I8 => products::<i8>(inputs),
            DType::U8 => products::<u8>(inputs),
            DType::I16 => products::<i16>(inputs),
            DType::I32 => products::<i32>(inputs),
            DType::I64 => products::<i64>(inputs),
            DType::F16 => products::<f16>(inputs),
            DType::BF16 => products::<bf16>(inputs),
            DType::U16 => products::<u16>(inputs),
            DType::U32 => products::<u32>(inputs),
            DType::U64 => products::<u64>(inputs),
            DType::Bool | DType::Narrow(_) => {
                return Err(OpError::new(format!("numbers wanted, {ty} found")));
            }
        };
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let (a, b) = (&inputs[0].ty.shape, &inputs[1].ty.shape);
        let product = Product::of(a, b).ok_or_else(|| OpError::new("the shapes do not fit"))?;
        if real::computes(inputs, outputs)? {
            let sizes = [product.rows, product.depth, product.columns];
            return real::matmul(sizes, [batches(a), batches(b)], &product.batch, inputs);
        }
        product.lower(inputs, outputs[0])
    }

    fn macs(&self, inputs: &[&TensorType]) -> u64 {
        Product::of(&inputs[0].shape, &inputs[1].shape).map_or(0, |product| {
            let outputs: usize = product.shape.iter().product();
            (outputs as u64).saturating_mul(product.depth as u64)
        })
    }
}

/// Shapes of a product by NumPy's rules: a vector on the left is a row, one on the right a column, and the axis
/// that made it a matrix is dropped from the result; leading axes are batches and broadcast.
struct Product {
    /// Broadcast batches.
    batch: Shape,
    /// Rows of `a`.
    rows: usize,
    /// Columns of `a`, rows of `b`.
    depth: usize,
    /// Columns of `b`.
    columns: usize,
    /// Shape of the result.
    shape: Shape,
}

impl Product {
    /// The product of these shapes; `None` where they do not fit.
    fn of(a: &[usize], b: &[usize]) -> Option<Self> {
        let (a_batch, rows, depth) = match *a {
            [] => return None,
            [depth] => (&[][..], 1, depth),
            [ref batch @ .., rows, depth] => (batch, rows, depth),
        };
        let (b_batch, b_rows, columns) = match *b {
            [] => return None,
            [rows] => (&[][..], rows, 1),
            [ref batch @ .., rows, columns] => (batch, rows, columns),
        };
        if depth != b_rows {
            return None;
        }
        let batch = broadcast_shape(a_batch, b_batch)?;
        let mut shape = batch.clone();
        if a.len() > 1 {
            shape.push(rows);
        }
        if b.len() > 1 {
            shape.push(columns);
        }
        Some(Self {
            batch,
            rows,
            depth,
            columns,
            shape,
        })
    }
}

impl Product {
    /// The product of int8 matrices.
    fn lower(&self, inputs: &[&QuantTensor], y: &QuantTensor) -> Result<Lowered, LowerError> {
        let operand = |index: usize, name: &str| {
            let params = rescale::activation(inputs.get(index).copied(), name)?;
            Ok::<_, OpError>(Factors::all(params))
        };
        let factors = [operand(0, "first operand")?, operand(1, "second operand")?];
        let batches = [batches(&inputs[0].ty.shape), batches(&inputs[1].ty.shape)];
        let sources = (0..2).map(|index| Operand::of_input(index, inputs[index]));
        let products = Products {
            factors,
            sizes: [self.rows, self.depth, self.columns],
            batches: Geometry::new(batches, &self.batch)?.in_one_call()?,
        };
        products.lower(sources.collect(), y)
    }
}

/// The axes before the matrices.
fn batches(shape: &[usize]) -> &[usize] {
    &shape[..shape.len().saturating_sub(2)]
}

fn products<T: Element>(inputs: &[&Values]) -> Data {
    let operand = |i: usize| T::of(&inputs[i].data).expect("the type check found one type");
    let (a, b) = (operand(0), operand(1));
    let product = Product::of(&inputs[0].shape, &inputs[1].shape).expect("the type check found the product");
    let (rows, depth, columns) = (product.rows, product.depth, product.columns);
    let batches = |shape: &[usize]| broadcast_indices(batches(shape), &product.batch);
    let mut y = vec![T::default(); product.shape.iter().product()];
    if y.is_empty() {
        return T::data(y);
    }
    let out = y.chunks_exact_mut(rows * columns);
    for ((a_batch, b_batch), out) in batches(&inputs[0].shape)
        .into_iter()
        .zip(batches(&inputs[1].shape))
        .zip(out)
    {
        let a = &a[a_batch * rows * depth..][..rows * depth];
        let b = &b[b_batch * depth * columns..][..depth * columns];
        let packed = gemm::Packed::from_rows(b, depth, columns);
        gemm::product(a, rows, &packed, gemm::Finish::NONE, out, columns);
    }
    T::data(y)
}
