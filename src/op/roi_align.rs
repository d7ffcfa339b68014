//! RoiAlign: <https://onnx.ai/onnx/operators/onnx__RoiAlign.html>, channels first.

use serde::{Deserialize, Serialize};

use super::element::in_f32;
use super::lower::{KernelCall, Operand};
use super::quant::{QuantTensor, Quantization};
use super::tensor::{DType, Data, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect, movement};
use crate::target::Target;
use tinsmith_runtime::format::RoiAlignF32;
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::sample::{Float, Regions};

/// `y[r, c, i, j]`: the mean, or the largest, of samples in bin `(i, j)` of the region `rois[r]` of the image
/// `x[indices[r]]`.
///
/// Inputs: `x [n, c, h, w]`, `rois [r, 4]` (x1, y1, x2, y2), `indices [r]` of i64.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoiAlign {
    /// Rows and columns of bins.
    pub bins: [usize; 2],
    /// Samples along each axis of a bin; 0 takes as many as a bin has elements.
    pub sampling: usize,
    /// Elements per unit of the regions' coordinates.
    pub scale: f32,
    /// Whether coordinates are those of elements' edges, half an element from their centres.
    pub half_pixel: bool,
    /// Whether a bin is the largest of its weighted elements, else the mean of its samples.
    pub largest: bool,
}

/// The most samples along an axis of a bin.
const MAX_SAMPLING: usize = 65_535;

impl Operator for RoiAlign {
    const ONNX: &'static [&'static str] = &["RoiAlign"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[Constraint {
        text: "`sampling_ratio` is given",
        holds: |op, _| op.sampling > 0,
    }];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 3..=3)?;
        let (x, rois, indices) = (inputs[0], inputs[1], inputs[2]);
        expect::rank("x", x, 4)?;
        expect::float("x", x)?;
        expect::rank("rois", rois, 2)?;
        expect::dtype("rois", rois, x.dtype)?;
        expect::shape("rois", rois, &[rois.shape[0], 4])?;
        expect::dtype("indices", indices, DType::I64)?;
        expect::shape("indices", indices, &[rois.shape[0]])?;
        if x.shape[2..].contains(&0) || self.bins.contains(&0) || self.sampling > MAX_SAMPLING {
            return Err(OpError::new(format!(
                "elements, bins and at most {MAX_SAMPLING} samples along each axis wanted, {x} and {self:?} found"
            )));
        }
        let [out_h, out_w] = self.bins;
        Ok(vec![TensorType::new(
            x.dtype,
            [rois.shape[0], x.shape[1], out_h, out_w],
        )])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let shape = &inputs[0].shape;
        let regions = self.regions(shape)?;
        let indices = inputs[2].to_i64().expect("the type check asked for integers");
        let images = indices.iter().map(|&index| {
            let image = usize::try_from(index).ok().filter(|&image| image < shape[0]);
            image.ok_or_else(|| {
                OpError::new(format!(
                    "images from 0 up to but not {} wanted, {index} found",
                    shape[0]
                ))
            })
        });
        let images: Vec<usize> = images.collect::<Result<_, _>>()?;
        let data = if ty.dtype == DType::F64 {
            let [x, rois] = [inputs[0].to_f64(), inputs[1].to_f64()];
            Data::F64(aligned(&regions, &x, &rois, &images, shape))
        } else {
            in_f32(&inputs[..2], |wide| {
                let [x, rois] = [wide[0], wide[1]].map(|values| values.as_f32().unwrap_or_default());
                aligned(&regions, x, rois, &images, shape)
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
        let plain = inputs[2].quantization == Quantization::Plain && inputs[2].ty.dtype == DType::I64;
        if !plain || !inputs[0].is_real() || !inputs[1].is_real() || !outputs[0].is_real() {
            return Err(OpError::new("regions of images have a kernel over f32 alone")
                .with_help("compile with --precision f32")
                .into());
        }
        let x = &inputs[0].ty.shape;
        let record = RoiAlignF32 {
            images: movement::fitting(x[0])?,
            channels: movement::fitting(x[1])?,
            height: movement::fitting(x[2])?,
            width: movement::fitting(x[3])?,
            regions: movement::fitting(inputs[1].ty.shape[0])?,
            out_h: movement::fitting(self.bins[0])?,
            out_w: movement::fitting(self.bins[1])?,
            sampling: movement::fitting(self.sampling)?,
            scale: self.scale,
            half_pixel: self.half_pixel.into(),
            largest: self.largest.into(),
            ..RoiAlignF32::default()
        };
        let sources = (0..3).map(|index| Operand::of_input(index, inputs[index]));
        Ok(Lowered::from(KernelCall::new(
            Layer::RoiAlignF32(record),
            sources.collect(),
            Vec::new(),
        )))
    }

    fn macs(&self, inputs: &[&TensorType]) -> u64 {
        let [out_h, out_w] = self.bins;
        let sizes = [inputs[1].shape[0], inputs[0].shape[1], out_h, out_w];
        let bins = sizes.iter().fold(1, |all: u64, &n| all.saturating_mul(n as u64));
        let samples = (self.sampling as u64).max(1);
        bins.saturating_mul(4 * samples.saturating_mul(samples))
    }
}

impl RoiAlign {
    fn regions(&self, shape: &[usize]) -> Result<Regions, OpError> {
        Ok(Regions {
            image: [movement::fitting(shape[2])?, movement::fitting(shape[3])?],
            bins: [movement::fitting(self.bins[0])?, movement::fitting(self.bins[1])?],
            sampling: movement::fitting(self.sampling)?,
            scale: self.scale,
            half_pixel: self.half_pixel,
            largest: self.largest,
        })
    }
}

/// `[r, c, out_h, out_w]` of `x [n, c, h, w]` and regions of these images.
fn aligned<F: Float>(regions: &Regions, x: &[F], rois: &[F], images: &[usize], shape: &[usize]) -> Vec<F> {
    let plane = shape[2] * shape[3];
    let [out_h, out_w] = regions.bins;
    let mut y = Vec::new();
    for (&image, roi) in images.iter().zip(rois.as_chunks::<4>().0) {
        for c in 0..shape[1] {
            let plane = &x[(image * shape[1] + c) * plane..][..plane];
            for bin in (0..out_h).flat_map(|i| (0..out_w).map(move |j| [i, j])) {
                let value = regions.bin(*roi, bin, |index| plane.get(index).copied());
                y.push(value.expect("samples lie within their plane"));
            }
        }
    }
    y
}
