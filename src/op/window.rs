//! The sliding window that convolutions and pools share.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::OpError;
use super::WindowNd;
use super::lower::{KernelCall, Lowered, Operand};
use super::movement::fitting;
use super::quant::QuantTensor;
use super::tensor::TensorType;

/// A window over rows and columns of a channels-last tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Rows and columns from one window to the next.
    pub strides: [usize; 2],
    /// Rows and columns from one tap to the next.
    pub dilations: [usize; 2],
    /// Padding: top, left, bottom, right. `auto_pad` and `ceil_mode` were resolved at import.
    pub pads: [usize; 4],
}

impl Window {
    /// Rows and columns from the first tap to the last, inclusive.
    pub fn span(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let gaps = self.kernel[axis].saturating_sub(1);
            gaps.saturating_mul(self.dilations[axis]).saturating_add(1)
        })
    }

    /// Rows and columns of the output over `input` rows and columns.
    ///
    /// # Errors
    /// Where the window is empty, does not advance, or is larger than the padded input.
    pub fn output_extents(&self, input: [usize; 2]) -> Result<[usize; 2], OpError> {
        for (name, values) in [
            ("kernel", self.kernel),
            ("strides", self.strides),
            ("dilations", self.dilations),
        ] {
            if values.contains(&0) {
                return Err(OpError::new(format!(
                    "{name} of at least 1 wanted, {values:?} found"
                )));
            }
        }
        let span = self.span();
        let mut output = [0; 2];
        for axis in 0..2 {
            let padded = input[axis]
                .saturating_add(self.pads[axis])
                .saturating_add(self.pads[axis + 2]);
            // What saturated is no size: nothing below may overflow.
            let fits = padded < usize::MAX;
            let Some(free) = padded.checked_sub(span[axis]).filter(|_| fits) else {
                return Err(OpError::new(format!(
                    "an input that holds the window wanted: {} {} padded to {padded}, the window spans {}",
                    input[axis],
                    ["rows", "columns"][axis],
                    span[axis]
                )));
            };
            output[axis] = free / self.strides[axis] + 1;
        }
        Ok(output)
    }

    /// The taps of window `output` along `axis` (0 rows, 1 columns) that lie inside `extent` rows or columns:
    /// a range of kernel indices, empty where all lie in the padding.
    pub fn taps(&self, axis: usize, output: usize, extent: usize) -> Range<usize> {
        let (pad, dilation) = (self.pads[axis], self.dilations[axis]);
        let start = output * self.strides[axis];
        // Tap k lies at start + k·dilation − pad.
        let first = pad
            .saturating_sub(start)
            .div_ceil(dilation)
            .min(self.kernel[axis]);
        let end = (extent + pad).saturating_sub(start).div_ceil(dilation);
        first..end.min(self.kernel[axis]).max(first)
    }

    /// The windows along `axis`, of `outputs`, all of whose taps lie inside `extent` rows or columns.
    pub(super) fn inner(&self, axis: usize, outputs: usize, extent: usize) -> Range<usize> {
        let (pad, stride) = (self.pads[axis], self.strides[axis]);
        let first = pad.div_ceil(stride).min(outputs);
        let end = match (extent + pad).checked_sub(self.span()[axis]) {
            Some(free) => (free / stride + 1).min(outputs),
            None => first,
        };
        first..end.max(first)
    }

    /// The row or column of the input under tap `tap` of window `output`, which must be one of [`Window::taps`].
    pub fn position(&self, axis: usize, output: usize, tap: usize) -> usize {
        output * self.strides[axis] + tap * self.dilations[axis] - self.pads[axis]
    }
}

impl Window {
    /// The same window in the form for any number of axes, with `output` rows and columns.
    pub(super) fn general(&self, output: [usize; 2]) -> WindowNd {
        WindowNd {
            kernel: self.kernel.to_vec(),
            strides: self.strides.to_vec(),
            dilations: self.dilations.to_vec(),
            spread: vec![1; 2],
            pads: self.pads[..2].iter().map(|&pad| pad as i64).collect(),
            output: output.to_vec(),
        }
    }

    /// The runtime's record of it, over `input` and `output` rows and columns.
    ///
    /// # Errors
    /// Where a number is beyond 65535.
    pub(super) fn record(
        &self,
        input: [usize; 2],
        output: [usize; 2],
    ) -> Result<tinsmith_runtime::format::Window, OpError> {
        Ok(tinsmith_runtime::format::Window {
            in_h: fitting(input[0])?,
            in_w: fitting(input[1])?,
            out_h: fitting(output[0])?,
            out_w: fitting(output[1])?,
            kernel_h: fitting(self.kernel[0])?,
            kernel_w: fitting(self.kernel[1])?,
            pad_top: fitting(self.pads[0])?,
            pad_left: fitting(self.pads[1])?,
            stride_h: fitting(self.strides[0])?,
            stride_w: fitting(self.strides[1])?,
            dilation_h: fitting(self.dilations[0])?,
            dilation_w: fitting(self.dilations[1])?,
        })
    }

    /// Whether every number of it fits the record.
    pub(super) fn fits_record(&self) -> bool {
        let mut numbers = [self.kernel, self.strides, self.dilations]
            .into_iter()
            .flatten()
            .chain(self.pads);
        numbers.all(|number| number <= MAX_EXTENT)
    }
}

/// The greatest extent of a record over rows, columns and channels.
pub(super) const MAX_EXTENT: usize = u16::MAX as usize;

/// Whether the extents of a channels-last tensor fit a record.
pub(super) fn extents_fit(ty: &TensorType) -> bool {
    ty.shape.iter().all(|&extent| extent <= MAX_EXTENT)
}

/// The most images of a batch: each is a step of its own.
const MAX_IMAGES: usize = 256;

/// Whether a channels-last tensor holds no more images than there may be steps for.
pub(super) fn is_small_batch(ty: &TensorType) -> bool {
    ty.shape.first().is_some_and(|&images| images <= MAX_IMAGES)
}

/// A call over one image, made once for every image of its node's first input.
pub(super) fn per_image(call: KernelCall, x: &QuantTensor, y: &QuantTensor) -> Lowered {
    let images = x.ty.shape.first().copied().unwrap_or(0);
    let bytes = |tensor: &QuantTensor| tensor.ty.bytes() / images.max(1);
    let of_image = |image: usize| {
        let sources = call.sources.iter().map(|source| match source {
            Operand::Input {
                index: 0,
                byte_offset,
            } => Operand::Input {
                index: 0,
                byte_offset: byte_offset + image * bytes(x),
            },
            Operand::Input { .. } | Operand::Output | Operand::Constant(_) => source.clone(),
        });
        KernelCall {
            sources: sources.collect(),
            ofm_byte_offset: call.ofm_byte_offset + image * bytes(y),
            ..call.clone()
        }
    };
    Lowered {
        calls: (0..images).map(of_image).collect(),
        ..Lowered::default()
    }
}

/// The output of a pool over `x [n, h, w, c]`.
pub(super) fn pooled(window: &Window, x: &TensorType) -> Result<Vec<TensorType>, OpError> {
    let [out_h, out_w] = window.output_extents([x.shape[1], x.shape[2]])?;
    Ok(vec![TensorType::new(
        x.dtype,
        [x.shape[0], out_h, out_w, x.shape[3]],
    )])
}

/// Image, row and column of a pixel counted through `[n, h, w, c]`.
pub(super) fn unravel(pixel: usize, shape: &[usize]) -> (usize, usize, usize) {
    let (row, x) = (pixel / shape[2], pixel % shape[2]);
    (row / shape[1], row % shape[1], x)
}
