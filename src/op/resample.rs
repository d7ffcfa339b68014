//! What Resize and Upsample do along axes: <https://onnx.ai/onnx/operators/onnx__Resize.html>.

use serde::{Deserialize, Serialize};

use super::element::{Real, in_f32};
use super::lower::{InexactChannel, KernelCall, Operand, Proof};
use super::quant::QuantTensor;
use super::rescale::{self, Codes, Factor, Fit, Reach};
use super::tensor::{DType, Data, Shape, TensorType, Values};
use super::{
    Clamp, Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect, movement, real,
};
use crate::target::Target;
use tinsmith_runtime::format::ResampleF32;
use tinsmith_runtime::kernels::Layer;

/// What is done along one axis: `y[…, j, …] = Σ_t weights[j·taps + t]·x[…, sources[j·taps + t], …]`. Taps of weight zero
/// take no part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlongAxis {
    /// The axis, counted from the front.
    pub axis: usize,
    /// Taps of an output.
    pub taps: usize,
    /// The element under each tap, output by output.
    pub sources: Vec<usize>,
    /// The weight of each tap.
    pub weights: Vec<f64>,
}

/// Weighted sums along one axis, and then along a second one: in integers, nothing is rounded between the two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resample {
    /// The first axis.
    #[serde(flatten)]
    pub first: AlongAxis,
    /// Another axis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<AlongAxis>,
}

impl From<AlongAxis> for Resample {
    fn from(first: AlongAxis) -> Self {
        Self { first, second: None }
    }
}

impl Operator for Resample {
    const ONNX: &'static [&'static str] = &["Resize", "Upsample"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        expect::float("x", inputs[0])?;
        let mut ty = inputs[0].clone();
        for along in self.axes() {
            along.check(&ty)?;
            ty.shape = along.output_shape(&ty.shape);
        }
        Ok(vec![ty])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let data = match ty.dtype {
            DType::F64 => Data::F64(self.sums(inputs[0])),
            DType::F32 => Data::F32(self.sums(inputs[0])),
            _ => in_f32(inputs, |inputs| self.sums(inputs[0])),
        };
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn output_params(&self) -> OutputParams {
        if self.axes().all(AlongAxis::is_mean) {
            OutputParams::SameAsInput(0)
        } else {
            OutputParams::Observed
        }
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        if !real::computes(inputs, outputs)? {
            return self.lower_codes(inputs[0], outputs[0]);
        }
        if self.second.is_some() {
            return Err(OpError::new("resampling along two axes at once is for int8")
                .with_help("compile with --precision f32, which takes one axis after the other")
                .into());
        }
        let (shape, along) = (&inputs[0].ty.shape, &self.first);
        let outer: usize = shape[..along.axis].iter().product();
        let inner: usize = shape[along.axis + 1..].iter().product();
        let record = ResampleF32 {
            outer: movement::fitting(outer)?,
            extent: movement::fitting(shape[along.axis])?,
            outputs: movement::fitting(along.outputs())?,
            inner: movement::fitting(inner)?,
            taps: movement::fitting(along.taps)?,
            ..ResampleF32::default()
        };
        let mut constants = Vec::with_capacity(8 * along.sources.len());
        for &source in &along.sources {
            let source: u32 = movement::fitting(source)?;
            constants.extend(source.to_le_bytes());
        }
        constants.extend(
            along
                .weights
                .iter()
                .flat_map(|&weight| (weight as f32).to_le_bytes()),
        );
        Ok(Lowered::from(KernelCall::new(
            Layer::ResampleF32(record),
            vec![Operand::of_input(0, inputs[0])],
            constants,
        )))
    }

    fn macs(&self, inputs: &[&TensorType]) -> u64 {
        let mut shape = inputs[0].shape.clone();
        let of_axis = |along: &AlongAxis| {
            let rest = (shape.iter().product::<usize>() / shape[along.axis].max(1)) as u64;
            shape = along.output_shape(&shape);
            rest.saturating_mul(along.sources.len() as u64)
        };
        self.axes().map(of_axis).fold(0, u64::saturating_add)
    }
}

impl Resample {
    /// The axes in their order.
    pub fn axes(&self) -> impl Iterator<Item = &AlongAxis> {
        std::iter::once(&self.first).chain(&self.second)
    }

    /// One axis after the other.
    fn sums<T: Real>(&self, x: &Values) -> Vec<T> {
        let elements = T::of(&x.data).expect("the type check found a float type");
        let y = self.first.sums(elements, &x.shape);
        match &self.second {
            Some(second) => second.sums(&y, &self.first.output_shape(&x.shape)),
            None => y,
        }
    }

    /// The kernel over int8: weights are whole parts of one denominator for each axis, so that the sum is exact, and its
    /// rescale is proven for every sum in reach.
    fn lower_codes(&self, x: &QuantTensor, y: &QuantTensor) -> Result<Lowered, LowerError> {
        let from = rescale::activation(Some(x), "input")?;
        let to = rescale::activation(Some(y), "output")?;
        // The one axis, or both, from the front; what has no axis is one element.
        let mut axes: Vec<&AlongAxis> = self.axes().collect();
        axes.sort_by_key(|along| along.axis);
        let (first, last) = (axes[0].axis, axes[axes.len() - 1].axis);
        if last - first + 1 != axes.len() {
            return Err(OpError::new(format!("neighbouring axes wanted, {first} and {last} found")).into());
        }
        let single = AlongAxis {
            axis: first,
            taps: 1,
            sources: vec![0],
            weights: vec![1.0],
        };
        let [rows, columns] = match axes[..] {
            [rows, columns] => [rows, columns],
            _ => [&single, axes[0]],
        };
        let shape = &x.ty.shape;
        let extents = [if axes.len() == 2 { shape[first] } else { 1 }, shape[last]];
        let parts = [rows.in_parts()?, columns.in_parts()?];
        let total = |parts: &Parts| {
            let sums = parts
                .weights
                .chunks(parts.taps)
                .map(|weights| weights.iter().map(|weight| i64::from(*weight).abs()).sum::<i64>());
            sums.max().unwrap_or(0)
        };
        let farthest = i64::from((127 - from.zero_point).max(128 + from.zero_point));
        let widest = farthest * total(&parts[0]) * total(&parts[1]);
        let denominator = parts[0].denominator * parts[1].denominator; // 15 bits each
        let factor = Factor::new(&[from.scale], &[to.scale], denominator)
            .ok_or_else(|| OpError::new("a scale is not positive and finite"))?;
        let left_shift = rescale::shift_that_fits(&[factor], widest)?;
        let codes = Codes::new(to, Clamp::NONE);
        let solved = rescale::solve(factor, Reach::Range(-widest, widest), left_shift, codes);
        let (multiplier, shift) = solved.scale.to_stored();
        // Ties of a denominator like 6 are on no binary grid; a division has them.
        let divides = solved.fit == Fit::Inexact && from.scale == to.scale && widest < 1 << 30;
        let size = |number: usize| movement::fitting(number);
        let record = tinsmith_runtime::format::Resample {
            outer: size(shape[..first].iter().product())?,
            extents: [size(extents[0])?, size(extents[1])?],
            outputs: [size(rows.outputs())?, size(columns.outputs())?],
            taps: [size(rows.taps)?, size(columns.taps)?],
            inner: size(shape[last + 1..].iter().product())?,
            divisor: if divides { denominator } else { 0 },
            multiplier,
            shift,
            left_shift,
            ifm_zero_point: movement::fitting(from.zero_point)?,
            ofm_zero_point: movement::fitting(to.zero_point)?,
            min: codes.min,
            max: codes.max,
            ..Default::default()
        };
        let mut proof = Proof::default();
        let fit = if divides { Fit::Nearest } else { solved.fit };
        proof.record(0, factor.to_f64(), fit, solved.scale.rounding);
        let mut constants = Vec::new();
        for (along, parts) in [rows, columns].into_iter().zip(&parts) {
            for (&source, weight) in along.sources.iter().zip(&parts.weights) {
                let source: u16 = movement::fitting(source)?;
                constants.extend(source.to_le_bytes());
                constants.extend(weight.to_le_bytes());
            }
            proof
                .inexact
                .extend(parts.inexact.iter().map(|&output| InexactChannel {
                    channel: output,
                    factor: factor.to_f64(),
                }));
        }
        let source = Operand::Input {
            index: 0,
            byte_offset: 0,
        };
        let call = KernelCall::new(Layer::Resample(record), vec![source], constants);
        Ok(Lowered::one(call, proof))
    }
}

/// An axis' weights as whole parts of one denominator.
struct Parts {
    denominator: u32,
    taps: usize,
    weights: Vec<i16>,
    /// Outputs whose weights are not such parts, but were rounded to them.
    inexact: Vec<usize>,
}

/// The greatest denominator, so that weights up to one fit 16 bits.
const MOST_PARTS: u32 = 1 << 14;

/// How far a weight may lie from a whole number of parts of one: far above what f64 loses in computing a ratio, and far
/// below what 255 steps of a code could show.
const NEAR: f64 = 1e-12;

impl AlongAxis {
    fn outputs(&self) -> usize {
        self.sources.len() / self.taps
    }

    fn output_shape(&self, shape: &[usize]) -> Shape {
        let mut shape: Shape = shape.into();
        shape[self.axis] = self.outputs();
        shape
    }

    fn check(&self, ty: &TensorType) -> Result<(), OpError> {
        expect::axis(self.axis, ty)?;
        let extent = ty.shape[self.axis];
        let whole = self.taps > 0 && self.sources.len().is_multiple_of(self.taps);
        if !whole
            || self.weights.len() != self.sources.len()
            || self.sources.iter().any(|&source| source >= extent)
        {
            return Err(OpError::new(format!(
                "{} taps of {extent} elements and a weight for each wanted, {} taps and {} weights found",
                self.taps,
                self.sources.len(),
                self.weights.len()
            )));
        }
        Ok(())
    }

    /// Whether every output is a mean of inputs, and lies between them.
    fn is_mean(&self) -> bool {
        let mean = |weights: &[f64]| {
            let sum: f64 = weights.iter().sum();
            weights.iter().all(|&weight| weight >= 0.0) && (sum - 1.0).abs() < 1e-6
        };
        self.taps > 0 && self.weights.chunks(self.taps).all(mean)
    }

    /// The weights over the least denominator that holds them all; rounded, and listed, where there is none.
    fn in_parts(&self) -> Result<Parts, OpError> {
        let is_whole = |weight: f64, parts: u32| {
            let scaled = weight * f64::from(parts);
            (scaled - libm::rint(scaled)).abs() <= NEAR * f64::from(parts)
        };
        let fits = |parts: &u32| self.weights.iter().all(|&weight| is_whole(weight, *parts));
        let denominator = (1..=MOST_PARTS).find(fits).unwrap_or(MOST_PARTS);
        let part = |&weight: &f64| {
            let scaled = libm::rint(weight * f64::from(denominator));
            let is_small = scaled.abs() <= f64::from(i16::MAX);
            is_small.then_some(scaled as i16).ok_or_else(|| {
                OpError::new(format!("weights between −2 and 2 wanted, {weight} found"))
                    .with_help("compile with --precision f32")
            })
        };
        let outputs = self.weights.chunks(self.taps).enumerate();
        let inexact =
            outputs.filter(|(_, weights)| !weights.iter().all(|&weight| is_whole(weight, denominator)));
        Ok(Parts {
            denominator,
            taps: self.taps,
            weights: self.weights.iter().map(part).collect::<Result<_, _>>()?,
            inexact: inexact.map(|(output, _)| output).collect(),
        })
    }

    /// Sums from zero, in the order of the taps: that of the runtime.
    fn sums<T: Real>(&self, elements: &[T], shape: &[usize]) -> Vec<T> {
        let extent = shape[self.axis];
        let inner: usize = shape[self.axis + 1..].iter().product();
        let outer: usize = shape[..self.axis].iter().product();
        let weights: Vec<T> = self.weights.iter().map(|&weight| T::from_f64(weight)).collect();
        let mut y = vec![T::default(); outer * inner * self.outputs()];
        if y.is_empty() {
            return y;
        }
        let mut rows = y.chunks_exact_mut(inner);
        for plane in elements.chunks(extent * inner).take(outer) {
            let outputs = self.sources.chunks(self.taps).zip(weights.chunks(self.taps));
            for ((sources, weights), row) in outputs.zip(&mut rows) {
                for (&source, &weight) in sources.iter().zip(weights) {
                    if weight == T::default() {
                        continue;
                    }
                    for (y, &x) in row.iter_mut().zip(&plane[source * inner..]) {
                        *y = y.add(x.multiply(weight));
                    }
                }
            }
        }
        y
    }
}
