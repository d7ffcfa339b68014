//! What Resize and Upsample do along one axis: <https://onnx.ai/onnx/operators/onnx__Resize.html>.

use serde::{Deserialize, Serialize};

use super::element::{Real, in_f32};
use super::lower::{KernelCall, Operand};
use super::quant::QuantTensor;
use super::tensor::{DType, Data, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect, movement, real};
use crate::target::Target;
use tinsmith_runtime::format::ResampleF32;
use tinsmith_runtime::kernels::Layer;

/// `y[…, j, …] = Σ_t weights[j·taps + t]·x[…, sources[j·taps + t], …]` along `axis`. Taps of weight zero take no part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resample {
    /// The axis, counted from the front.
    pub axis: usize,
    /// Taps of an output.
    pub taps: usize,
    /// The element under each tap, output by output.
    pub sources: Vec<usize>,
    /// The weight of each tap.
    pub weights: Vec<f64>,
}

impl Operator for Resample {
    const ONNX: &'static [&'static str] = &["Resize", "Upsample"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        expect::float("x", inputs[0])?;
        expect::axis(self.axis, inputs[0])?;
        let extent = inputs[0].shape[self.axis];
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
        let mut shape = inputs[0].shape.clone();
        shape[self.axis] = self.sources.len() / self.taps;
        Ok(vec![TensorType::new(inputs[0].dtype, shape)])
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
        if self.is_mean() {
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
            return Err(OpError::new("weighted resampling has no int8 kernel")
                .with_help("resize by the nearest element, or compile with --precision f32")
                .into());
        }
        let (shape, axis) = (&inputs[0].ty.shape, self.axis);
        let outer: usize = shape[..axis].iter().product();
        let inner: usize = shape[axis + 1..].iter().product();
        let record = ResampleF32 {
            outer: movement::fitting(outer)?,
            extent: movement::fitting(shape[axis])?,
            outputs: movement::fitting(self.sources.len() / self.taps)?,
            inner: movement::fitting(inner)?,
            taps: movement::fitting(self.taps)?,
            ..ResampleF32::default()
        };
        let mut constants = Vec::with_capacity(8 * self.sources.len());
        for &source in &self.sources {
            let source: u32 = movement::fitting(source)?;
            constants.extend(source.to_le_bytes());
        }
        constants.extend(
            self.weights
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
        let extent = inputs[0].shape[self.axis].max(1);
        ((inputs[0].len() / extent) as u64).saturating_mul(self.sources.len() as u64)
    }
}

impl Resample {
    /// Whether every output is a mean of inputs, and lies between them.
    fn is_mean(&self) -> bool {
        let mean = |weights: &[f64]| {
            let sum: f64 = weights.iter().sum();
            weights.iter().all(|&weight| weight >= 0.0) && (sum - 1.0).abs() < 1e-6
        };
        self.taps > 0 && self.weights.chunks(self.taps).all(mean)
    }

    /// Sums from zero, in the order of the taps: that of the runtime.
    fn sums<T: Real>(&self, x: &Values) -> Vec<T> {
        let elements = T::of(&x.data).expect("the type check found a float type");
        let extent = x.shape[self.axis];
        let inner: usize = x.shape[self.axis + 1..].iter().product();
        let outer: usize = x.shape[..self.axis].iter().product();
        let weights: Vec<T> = self.weights.iter().map(|&weight| T::from_f64(weight)).collect();
        let mut y = vec![T::default(); outer * inner * self.sources.len() / self.taps];
        let mut rows = y.chunks_exact_mut(inner.max(1));
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
