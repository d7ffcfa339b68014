//! The sliding window of convolutions over any number of spatial axes, transposed ones included.

use serde::{Deserialize, Serialize};

use super::OpError;
use super::movement::fitting;
use super::tensor::picked_indices;
use super::window::MAX_EXTENT;

/// Padding beyond this is refused, so that positions fit i64.
const MAX_PAD: u64 = 1 << 32;

/// A window over the spatial axes of a channels-last tensor, one number per axis. Tap `k` of output `o` lies at
/// `(o·stride + k·dilation − pad) / spread`, where that is whole and inside the input; all else counts as zero. A
/// spread above 1 is the stride of a transposed convolution: the input with zeros between its elements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowNd {
    /// Taps.
    pub kernel: Vec<usize>,
    /// Elements from one window to the next.
    pub strides: Vec<usize>,
    /// Elements from one tap to the next.
    pub dilations: Vec<usize>,
    /// Elements of the window's grid from one element of the input to the next.
    pub spread: Vec<usize>,
    /// Elements of the window's grid before the input; negative where the first window starts inside.
    pub pads: Vec<i64>,
    /// Outputs.
    pub output: Vec<usize>,
}

/// Outputs whose windows lie on elements of the input with the same taps. All is counted row-major over the axes.
pub(super) struct Alike {
    pub(super) taps: Vec<usize>,
    /// The pixel under each tap, counted from the one under the first.
    pub(super) offsets: Vec<usize>,
    pub(super) outputs: Vec<usize>,
    /// The pixel under the first tap of each output.
    pub(super) pixels: Vec<usize>,
}

/// The same along one axis.
#[derive(Default)]
struct Along {
    taps: Vec<usize>,
    offsets: Vec<usize>,
    outputs: Vec<usize>,
    firsts: Vec<usize>,
}

impl WindowNd {
    /// Number of spatial axes.
    pub fn axes(&self) -> usize {
        self.kernel.len()
    }

    /// Taps of the kernel.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Expects as many numbers as axes everywhere, none of them zero or out of range.
    ///
    /// # Errors
    /// Where one is.
    pub fn check(&self) -> Result<(), OpError> {
        let axes = self.axes();
        for (name, values) in [
            ("kernel", &self.kernel),
            ("strides", &self.strides),
            ("dilations", &self.dilations),
            ("spread", &self.spread),
        ] {
            let fits = |value: &usize| (1..=MAX_EXTENT).contains(value);
            if values.len() != axes || !values.iter().all(fits) {
                return Err(OpError::new(format!(
                    "{name} of {axes} values from 1 to {MAX_EXTENT} wanted, {values:?} found"
                )));
            }
        }
        let fits = |pad: &i64| pad.unsigned_abs() <= MAX_PAD;
        if self.pads.len() != axes || !self.pads.iter().all(fits) {
            return Err(OpError::new(format!(
                "{axes} pads within 2^32 wanted, {:?} found",
                self.pads
            )));
        }
        if self.output.len() != axes || self.output.iter().any(|&extent| extent as u64 > MAX_PAD) {
            return Err(OpError::new(format!(
                "{axes} output extents within 2^32 wanted, {:?} found",
                self.output
            )));
        }
        Ok(())
    }

    /// The element of the input, of `extent` along `axis`, under a tap of an output; `None` where there is none.
    pub fn position(&self, axis: usize, output: usize, tap: usize, extent: usize) -> Option<usize> {
        let start = (output * self.strides[axis] + tap * self.dilations[axis]) as i64;
        let at = usize::try_from(start - self.pads[axis]).ok()?;
        let spread = self.spread[axis];
        (at.is_multiple_of(spread) && at / spread < extent).then_some(at / spread)
    }

    /// The taps of one output that lie on elements of an input of these extents: index of the tap and of the pixel,
    /// both counted row-major, in the order of the taps.
    pub(super) fn live(&self, output: &[usize], extents: &[usize]) -> Vec<(usize, usize)> {
        let mut live = vec![(0, 0)];
        for (axis, &extent) in extents.iter().enumerate() {
            let along: Vec<(usize, usize)> = (0..self.kernel[axis])
                .filter_map(|tap| Some((tap, self.position(axis, output[axis], tap, extent)?)))
                .collect();
            let kernel = self.kernel[axis];
            live = live
                .iter()
                .flat_map(|&(tap, pixel)| {
                    let next = along.iter();
                    next.map(move |&(k, at)| (tap * kernel + k, pixel * extent + at))
                })
                .collect();
        }
        live
    }

    /// All outputs over an input of these extents, those together whose windows lie on elements with the same taps.
    pub(super) fn alike(&self, extents: &[usize]) -> Vec<Alike> {
        let axes: Vec<Vec<Along>> = (0..self.axes())
            .map(|axis| self.along(axis, extents[axis]))
            .collect();
        let picks: Vec<Vec<usize>> = axes.iter().map(|along| (0..along.len()).collect()).collect();
        let counts: Vec<usize> = axes.iter().map(Vec::len).collect();
        let mut all = Vec::new();
        for mut choice in picked_indices(&counts, &picks) {
            let mut chosen: Vec<&Along> = Vec::with_capacity(axes.len());
            for along in axes.iter().rev() {
                chosen.push(&along[choice % along.len()]);
                choice /= along.len();
            }
            chosen.reverse();
            let over = |shape: &[usize], of: fn(&Along) -> &Vec<usize>| {
                let picks: Vec<Vec<usize>> = chosen.iter().map(|along| of(along).clone()).collect();
                picked_indices(shape, &picks)
            };
            all.push(Alike {
                taps: over(&self.kernel, |along| &along.taps),
                offsets: over(extents, |along| &along.offsets),
                outputs: over(&self.output, |along| &along.outputs),
                pixels: over(extents, |along| &along.firsts),
            });
        }
        all
    }

    /// The outputs along one axis, those together whose windows lie on elements with the same taps.
    fn along(&self, axis: usize, extent: usize) -> Vec<Along> {
        let mut all: Vec<Along> = Vec::new();
        for output in 0..self.output[axis] {
            let (taps, elements): (Vec<usize>, Vec<usize>) = (0..self.kernel[axis])
                .filter_map(|tap| Some((tap, self.position(axis, output, tap, extent)?)))
                .unzip();
            let first = elements.first().copied().unwrap_or(0);
            let index = all
                .iter()
                .position(|along| along.taps == taps)
                .unwrap_or_else(|| {
                    all.push(Along {
                        taps,
                        offsets: elements.iter().map(|element| element - first).collect(),
                        ..Along::default()
                    });
                    all.len() - 1
                });
            all[index].outputs.push(output);
            all[index].firsts.push(first);
        }
        all
    }

    /// The runtime's record of it, over an input of these extents.
    ///
    /// # Errors
    /// Where there are more than three axes, or a number does not fit.
    pub(super) fn record(&self, extents: &[usize]) -> Result<tinsmith_runtime::format::Window3, OpError> {
        let missing = 3usize
            .checked_sub(self.axes())
            .ok_or_else(|| OpError::new(format!("at most 3 spatial axes wanted, {} found", self.axes())))?;
        let field = |values: &[usize]| {
            let mut field = [1; 3];
            for (slot, &value) in field[missing..].iter_mut().zip(values) {
                *slot = fitting(value)?;
            }
            Ok::<_, OpError>(field)
        };
        let mut pads = [0; 3];
        for (slot, &pad) in pads[missing..].iter_mut().zip(&self.pads) {
            *slot = fitting(pad)?;
        }
        Ok(tinsmith_runtime::format::Window3 {
            ifm: field(extents)?,
            ofm: field(&self.output)?,
            kernel: field(&self.kernel)?,
            strides: field(&self.strides)?,
            dilations: field(&self.dilations)?,
            spread: field(&self.spread)?,
            pads,
        })
    }
}
