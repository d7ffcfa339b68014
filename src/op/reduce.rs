//! Reductions: <https://onnx.ai/onnx/operators/onnx__ReduceSum.html> and its neighbours.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tinsmith_runtime::format::MaxPool;
use tinsmith_runtime::kernels::Layer;

use super::average_pool::Mean;
use super::data::with_reals;
use super::element::{Element, Real};
use super::geometry::Geometry;
use super::lower::{KernelCall, Operand};
use super::products::{Factors, Products};
use super::quant::QuantTensor;
use super::rescale::{self, Codes};
use super::tensor::{DType, Data, TensorType, Values, View, broadcast_indices};
use super::window::MAX_EXTENT;
use super::{Clamp, Window, movement, real, wide};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;

/// What becomes of the elements that are reduced to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReduceKind {
    /// Their sum: 0 of none.
    Sum,
    /// Their mean: NaN of none; of integers, toward zero.
    Mean,
    /// The greatest: the least of all values of none; NaN where there is one.
    Max,
    /// The least: the greatest of all values of none; NaN where there is one.
    Min,
    /// Their product: 1 of none.
    Prod,
}

impl ReduceKind {
    /// Whether the result is one of the elements.
    pub fn picks(self) -> bool {
        match self {
            Self::Max | Self::Min => true,
            Self::Sum | Self::Mean | Self::Prod => false,
        }
    }
}

/// The elements along `axes` made one, which stay as extents of 1 (a reshape follows where the model drops them).
///
/// Numbers of every type; `Max` and `Min` of Booleans too. Sums, means and products of reals are computed in f64, in
/// the order of the input, and rounded once; those of integers wrap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reduce {
    /// What becomes of the elements.
    pub kind: ReduceKind,
    /// The axes, ascending, counted from the front.
    pub axes: Vec<usize>,
}

impl Operator for Reduce {
    const ONNX: &'static [&'static str] =
        &["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[
        Constraint {
            text: "the averaged axes are neighbours",
            holds: |op, inputs| is_real(inputs) || op.run(&inputs[0].shape).is_some(),
        },
        Constraint {
            text: "the axes before, among and behind the averaged ones have at most 65535 elements each",
            holds: |op, inputs| {
                let run = op.run(&inputs[0].shape);
                is_real(inputs) || run.is_none_or(|run| run.iter().all(|&extent| extent <= MAX_EXTENT))
            },
        },
    ];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        if !self.kind.picks() {
            expect::number("x", inputs[0])?;
        }
        if matches!(inputs[0].dtype, DType::Narrow(_)) {
            return Err(OpError::new(format!(
                "elements with arithmetic wanted, {} found",
                inputs[0]
            )));
        }
        let mut shape = inputs[0].shape.clone();
        for &axis in &self.axes {
            expect::axis(axis, inputs[0])?;
            shape[axis] = 1;
        }
        if !self.axes.is_sorted_by(|a, b| a < b) {
            return Err(OpError::new(format!(
                "ascending axes wanted, {:?} found",
                self.axes
            )));
        }
        Ok(vec![TensorType::new(inputs[0].dtype, shape)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let x = inputs[0];
        // Where each element goes: the output's index of the axes that stay, in the order of the input.
        let places = broadcast_indices(&ty.shape, &x.shape);
        let data = with_reals!(
            x.data, v => Element::data(reals(self.kind, v, &places, ty.len())),
            else integers(self.kind, x, &places, ty.len())?
        );
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn output_params(&self) -> OutputParams {
        match self.kind {
            ReduceKind::Mean | ReduceKind::Max | ReduceKind::Min => OutputParams::SameAsInput(0),
            ReduceKind::Sum | ReduceKind::Prod => OutputParams::Observed,
        }
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        if real::computes(inputs, outputs)? {
            return real::reduce(self, inputs[0]);
        }
        let [outer, reduced, inner] = self
            .run(&inputs[0].ty.shape)
            .ok_or_else(|| OpError::new("the reduced axes are not neighbours"))?;
        let window = Window {
            kernel: [1, reduced],
            strides: [1, 1],
            dilations: [1, 1],
            pads: [0; 4],
        };
        let window = window.record([outer, reduced], [outer, 1])?;
        let channels = movement::fitting(inner)?;
        match self.kind {
            ReduceKind::Mean => {
                let mean = Mean {
                    window,
                    channels,
                    count_include_pad: false,
                    clamp: Clamp::NONE,
                };
                mean.lower(BTreeSet::from([reduced]), inputs[0], outputs[0])
            }
            ReduceKind::Max => greatest_codes(window, channels.into(), inputs[0], outputs[0]),
            ReduceKind::Min => Err(OpError::new("the least of codes has no integer kernel")
                .with_help("take the greatest of the negated values, or compile with --precision f32")
                .into()),
            ReduceKind::Sum => sums([outer, reduced, inner], inputs[0], outputs[0]),
            ReduceKind::Prod => Err(OpError::new("a product along axes has no integer kernel")
                .with_help("compile with --precision f32")
                .into()),
        }
    }
}

fn is_real(inputs: &[&TensorType]) -> bool {
    inputs.first().is_some_and(|x| x.dtype == DType::F32)
}

/// The greatest code of each window: taking it commutes with a change of parameters, which follows.
fn greatest_codes(
    window: tinsmith_runtime::format::Window,
    channels: u32,
    x: &QuantTensor,
    y: &QuantTensor,
) -> Result<Lowered, LowerError> {
    if wide::computes(&[x], &[y])? {
        return wide::greatest(&window, channels, Clamp::NONE, x, y);
    }
    let from = rescale::activation(Some(x), "input")?;
    let to = rescale::activation(Some(y), "output")?;
    let codes = Codes::new(from, Clamp::NONE);
    let record = MaxPool {
        window,
        channels: movement::fitting(channels)?,
        min: codes.min,
        max: codes.max,
        ..Default::default()
    };
    let source = Operand::of_input(0, x);
    let mut calls = vec![KernelCall::new(Layer::MaxPool(record), vec![source], Vec::new())];
    if from != to {
        let table = rescale::requantize(from, to, Clamp::NONE);
        calls.push(movement::table_call(Operand::Output, table, y.ty.len())?);
    }
    Ok(Lowered {
        calls,
        ..Lowered::default()
    })
}

/// Sums along an axis: products of a row of ones with a matrix for each index before the axis.
fn sums(
    [outer, reduced, inner]: [usize; 3],
    x: &QuantTensor,
    y: &QuantTensor,
) -> Result<Lowered, LowerError> {
    let from = rescale::activation(Some(x), "input")?;
    let products = Products {
        factors: [Factors::ones(), Factors::all(from)],
        sizes: [1, reduced, inner],
        batches: Geometry::new([&[1], &[outer]], &[outer])?,
    };
    let sources = vec![Operand::Constant(vec![1; reduced]), Operand::of_input(0, x)];
    products.lower(sources, y)
}

impl Reduce {
    /// Elements before, among and behind the reduced axes; `None` where others lie among them.
    pub(crate) fn run(&self, shape: &[usize]) -> Option<[usize; 3]> {
        // Extents of one are everybody's neighbours.
        let wide = |axis: &usize| shape.get(*axis).is_some_and(|&extent| extent != 1);
        let reduced: Vec<usize> = self.axes.iter().copied().filter(wide).collect();
        let (first, last) = match reduced[..] {
            [] => (shape.len(), shape.len()),
            [first, ..] => (first, reduced[reduced.len() - 1] + 1),
        };
        let among = (first..last).filter(wide).count();
        let product = |range: std::ops::Range<usize>| shape[range].iter().product::<usize>();
        (among == reduced.len()).then(|| {
            [
                product(0..first),
                product(first..last),
                product(last..shape.len()),
            ]
        })
    }
}

/// Reductions of the reals that share a place.
fn reals<T: Real>(kind: ReduceKind, x: &[T], places: &[usize], len: usize) -> Vec<T> {
    let elements = x.iter().copied().zip(places.iter().copied());
    // Where a NaN is found, it stays: no comparison with it holds.
    let pick = |start: T, goes_before: fn(T, T) -> bool| {
        let mut found = vec![start; len];
        for (x, place) in elements.clone() {
            if goes_before(x, found[place]) || x.is_nan() {
                found[place] = x;
            }
        }
        found
    };
    let fold = |start: f64, f: fn(f64, f64) -> f64| {
        let mut found = vec![start; len];
        for (x, place) in elements.clone() {
            found[place] = f(found[place], x.to_f64());
        }
        found
    };
    let rounded = |found: Vec<f64>| found.into_iter().map(T::from_f64).collect();
    match kind {
        ReduceKind::Max => pick(T::LOWEST, |x, found| x > found),
        ReduceKind::Min => pick(T::from_f64(f64::INFINITY), |x, found| x < found),
        ReduceKind::Sum => rounded(fold(0.0, |sum, x| sum + x)),
        ReduceKind::Prod => rounded(fold(1.0, |product, x| product * x)),
        ReduceKind::Mean => {
            let count = x.len() as f64 / len as f64;
            rounded(
                fold(0.0, |sum, x| sum + x)
                    .into_iter()
                    .map(|sum| sum / count)
                    .collect(),
            )
        }
    }
}

/// Reductions of the integers (or Booleans, as 0 and 1) that share a place: exact but for products, which like the
/// results wrap.
fn integers(kind: ReduceKind, x: &Values, places: &[usize], len: usize) -> Result<Data, OpError> {
    let dtype = x.data.dtype();
    let (x, [least, greatest]) =
        widened(x).ok_or_else(|| OpError::new(format!("numbers wanted, {} found", x.ty())))?;
    let fold = |start: i128, f: fn(i128, i128) -> i128| {
        let mut found = vec![start; len];
        for (&x, &place) in x.iter().zip(places) {
            found[place] = f(found[place], x);
        }
        found
    };
    let found = match kind {
        ReduceKind::Max => fold(least, i128::max),
        ReduceKind::Min => fold(greatest, i128::min),
        ReduceKind::Sum => fold(0, i128::wrapping_add),
        ReduceKind::Prod => fold(1, i128::wrapping_mul),
        ReduceKind::Mean => {
            let count = (x.len() / len.max(1)) as i128;
            let mean = |sum: i128| {
                sum.checked_div(count)
                    .ok_or_else(|| OpError::new("a mean of one integer or more wanted, of none found"))
            };
            fold(0, i128::wrapping_add)
                .into_iter()
                .map(mean)
                .collect::<Result<_, _>>()?
        }
    };
    Ok(narrowed(dtype, &found))
}

/// Integers or Booleans, and the ends of their type's range.
fn widened(x: &Values) -> Option<(Vec<i128>, [i128; 2])> {
    macro_rules! wide {
        ($($variant:ident $integer:ident),*) => {
            match x.data.view() {
                $(View::$variant(v) => (
                    v.iter().map(|&x| i128::from(x)).collect(),
                    [i128::from($integer::MIN), i128::from($integer::MAX)],
                ),)*
                View::Bool(v) => (v.iter().map(|&x| i128::from(x)).collect(), [0, 1]),
                View::F32(_) | View::F64(_) | View::F16(_) | View::BF16(_) | View::Narrow(..) => return None,
            }
        };
    }
    Some(wide!(I8 i8, U8 u8, I16 i16, U16 u16, I32 i32, U32 u32, I64 i64, U64 u64))
}

/// The lowest bits of integers as elements of an integer type.
fn narrowed(dtype: DType, x: &[i128]) -> Data {
    match dtype {
        DType::I8 => Data::I8(x.iter().map(|&x| x as i8).collect()),
        DType::U8 => Data::U8(x.iter().map(|&x| x as u8).collect()),
        DType::I16 => Data::I16(x.iter().map(|&x| x as i16).collect()),
        DType::U16 => Data::U16(x.iter().map(|&x| x as u16).collect()),
        DType::I32 => Data::I32(x.iter().map(|&x| x as i32).collect()),
        DType::U32 => Data::U32(x.iter().map(|&x| x as u32).collect()),
        DType::I64 => Data::I64(x.iter().map(|&x| x as i64).collect()),
        DType::U64 => Data::U64(x.iter().map(|&x| x as u64).collect()),
        DType::Bool => Data::Bool(x.iter().map(|&x| x != 0).collect()),
        DType::F32 | DType::F64 | DType::F16 | DType::BF16 | DType::Narrow(_) => {
            unreachable!("reals are reduced as such, and the type check refused codes")
        }
    }
}
