//! GridSample: <https://onnx.ai/onnx/operators/onnx__GridSample.html>, channels first.

use serde::{Deserialize, Serialize};

use super::element::in_f32;
use super::lower::{KernelCall, Operand};
use super::quant::QuantTensor;
use super::tensor::{DType, Data, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect, movement, real};
use crate::target::Target;
use tinsmith_runtime::format::GridSampleF32;
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::sample::{Float, Grid};

/// How a value comes of the elements around a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SampleMode {
    /// The nearest element, ties to even.
    Nearest,
    /// Linear between neighbours.
    Linear,
    /// Cubic over four neighbours, with a = −0.75.
    Cubic,
}

/// What lies outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SamplePadding {
    /// Zeros.
    Zeros,
    /// The outermost elements.
    Border,
    /// The inside, reflected at the ends.
    Reflection,
}

/// What a point's coordinates mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Coordinates {
    /// −1 and 1 are the centres of the outermost elements.
    Corners,
    /// −1 and 1 are their outer edges.
    Edges,
    /// They count elements.
    Elements,
}

/// `y[n, c, p…] = x[n, c]` at the point `grid[n, p…]`, whose coordinates come innermost axis first.
///
/// Inputs: `x [n, c, d…]` with up to three spatial axes, `grid [n, p…, axes]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GridSample {
    /// How a value comes about.
    pub mode: SampleMode,
    /// What lies outside.
    pub padding: SamplePadding,
    /// What coordinates mean.
    pub coordinates: Coordinates,
}

impl Operator for GridSample {
    const ONNX: &'static [&'static str] = &["GridSample", "DeformConv"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 2..=2)?;
        let (x, grid) = (inputs[0], inputs[1]);
        expect::float("x", x)?;
        expect::float("grid", grid)?;
        let axes = x.shape.len().saturating_sub(2);
        let fits = (1..=3).contains(&axes)
            && grid.shape.len() >= 2
            && grid.shape[0] == x.shape[0]
            && grid.shape.last() == Some(&axes);
        if !fits {
            return Err(OpError::new(format!(
                "`x` of one to three spatial axes and a grid of points with as many coordinates wanted, {x} and \
                 {grid} found"
            )));
        }
        if x.shape[2..].contains(&0) {
            return Err(OpError::new(format!("elements to sample wanted, {x} found")));
        }
        let points = &grid.shape[1..grid.shape.len() - 1];
        Ok(vec![TensorType::new(x.dtype, [&x.shape[..2], points].concat())])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let grid = self.grid(&inputs[0].shape)?;
        let is_wide = inputs.iter().any(|values| values.data.dtype() == DType::F64);
        let data = if is_wide {
            let [x, points] = [inputs[0].to_f64(), inputs[1].to_f64()];
            Data::F64(samples(&grid, &x, &points, &inputs[0].shape)).cast(ty.dtype)
        } else {
            in_f32(inputs, |wide| {
                let [x, points] = [wide[0], wide[1]].map(|values| values.as_f32().unwrap_or_default());
                samples(&grid, x, points, &wide[0].shape)
            })
        };
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        if !real::computes(inputs, outputs)? {
            return Err(OpError::new("samples at computed places have no int8 kernel")
                .with_help("compile with --precision f32")
                .into());
        }
        let (x, points) = (&inputs[0].ty.shape, &inputs[1].ty.shape);
        let grid = self.grid(x)?;
        let count: usize = points[1..points.len() - 1].iter().product();
        let record = GridSampleF32 {
            images: movement::fitting(x[0])?,
            channels: movement::fitting(x[1])?,
            extents: grid.extents,
            points: movement::fitting(count)?,
            axes: grid.axes,
            mode: grid.mode,
            padding: grid.padding,
            coordinates: grid.coordinates,
            ..GridSampleF32::default()
        };
        let sources = (0..2).map(|index| Operand::of_input(index, inputs[index]));
        Ok(Lowered::from(KernelCall::new(
            Layer::GridSampleF32(record),
            sources.collect(),
            Vec::new(),
        )))
    }

    fn macs(&self, inputs: &[&TensorType]) -> u64 {
        let (x, grid) = (&inputs[0].shape, inputs[1]);
        let taps: u64 = match self.mode {
            SampleMode::Nearest => 1,
            SampleMode::Linear => 2,
            SampleMode::Cubic => 4,
        };
        let axes = x.len().saturating_sub(2);
        let points = (grid.len() / axes.max(1)) as u64;
        points
            .saturating_mul(x[1] as u64)
            .saturating_mul(taps.saturating_pow(axes as u32))
    }
}

impl GridSample {
    /// The form of it over a tensor of this shape that the runtime shares.
    fn grid(&self, shape: &[usize]) -> Result<Grid, OpError> {
        let spatial = &shape[2..];
        let mut extents = [1; 3];
        for (slot, &extent) in extents[3 - spatial.len()..].iter_mut().zip(spatial) {
            *slot = movement::fitting(extent)?;
        }
        Ok(Grid {
            extents,
            axes: spatial.len() as u8,
            mode: match self.mode {
                SampleMode::Nearest => 0,
                SampleMode::Linear => 1,
                SampleMode::Cubic => 2,
            },
            padding: match self.padding {
                SamplePadding::Zeros => 0,
                SamplePadding::Border => 1,
                SamplePadding::Reflection => 2,
            },
            coordinates: match self.coordinates {
                Coordinates::Corners => 0,
                Coordinates::Edges => 1,
                Coordinates::Elements => 2,
            },
        })
    }
}

/// `[n, c, p]` from `[n, c, d…]` and points `[n, p, axes]`.
fn samples<F: Float>(grid: &Grid, x: &[F], points: &[F], shape: &[usize]) -> Vec<F> {
    let plane: usize = shape[2..].iter().product();
    let axes = shape.len() - 2;
    let each = points.len() / shape[0].max(1);
    let mut y = Vec::with_capacity(shape[1] * points.len() / axes);
    for n in 0..shape[0] {
        for c in 0..shape[1] {
            let plane = &x[(n * shape[1] + c) * plane..][..plane];
            for point in points[n * each..][..each].chunks(axes) {
                let mut at = [F::of(0.0); 3];
                for (slot, &coordinate) in at.iter_mut().rev().zip(point) {
                    *slot = coordinate;
                }
                let sample = grid.sample(at, |index| plane.get(index).copied());
                y.push(sample.expect("samples lie within their plane"));
            }
        }
    }
    y
}
