//! The attributes of sliding windows: `auto_pad` and `ceil_mode` become plain padding.

use super::Call;
use crate::op::{OpError, Window};

/// No window of a model for small devices comes near this; products of what is below it cannot overflow.
pub(super) const MOST: i64 = 65_535;

/// A window over spatial axes, one value per axis.
pub(super) struct Resolved {
    pub(super) kernel: Vec<usize>,
    pub(super) strides: Vec<usize>,
    pub(super) dilations: Vec<usize>,
    pub(super) before: Vec<usize>,
    pub(super) after: Vec<usize>,
    /// How far `ceil_mode` made it reach beyond the padding behind that the model gives.
    pub(super) overhang: Vec<usize>,
}

/// Reads strides, dilations and padding for a kernel over `extents`.
pub(super) fn resolve(
    call: &Call<'_>,
    extents: &[usize],
    kernel: &[i64],
    ceil_mode: bool,
) -> Result<Resolved, OpError> {
    let mut given = plain(call, kernel, extents.len())?;
    let auto = auto_pad(call)?;
    let pads = || given.before.iter().chain(&given.after);
    if auto != AutoPad::NotSet && pads().any(|&pad| pad != 0) {
        return Err(OpError::new(format!(
            "pads or auto_pad wanted, {:?} and {} found",
            pads().collect::<Vec<_>>(),
            call.attrs.word("auto_pad", "NOTSET")?
        )));
    }
    for (axis, &extent) in extents.iter().enumerate() {
        match auto {
            AutoPad::NotSet if ceil_mode => given.overhang[axis] = given.round_up(axis, extent),
            // With whole windows only, rounding up finds none further.
            AutoPad::NotSet | AutoPad::Valid => {}
            AutoPad::SameUpper => given.same(axis, extent, false),
            AutoPad::SameLower => given.same(axis, extent, true),
        }
    }
    Ok(given)
}

/// The attributes as they stand, without `auto_pad`.
pub(super) fn plain(call: &Call<'_>, kernel: &[i64], axes: usize) -> Result<Resolved, OpError> {
    let pads = list(call, "pads", 2 * axes, 0)?;
    Ok(Resolved {
        kernel: within("kernel_shape", kernel, axes, 1)?,
        strides: list(call, "strides", axes, 1)?,
        dilations: list(call, "dilations", axes, 1)?,
        before: pads[..axes].to_vec(),
        after: pads[axes..].to_vec(),
        overhang: vec![0; axes],
    })
}

/// How `auto_pad` asks for padding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AutoPad {
    NotSet,
    Valid,
    SameUpper,
    SameLower,
}

pub(super) fn auto_pad(call: &Call<'_>) -> Result<AutoPad, OpError> {
    Ok(match call.attrs.word("auto_pad", "NOTSET")? {
        "NOTSET" | "" => AutoPad::NotSet,
        "VALID" => AutoPad::Valid,
        "SAME_UPPER" => AutoPad::SameUpper,
        "SAME_LOWER" => AutoPad::SameLower,
        other => {
            return Err(OpError::new(format!(
                "auto_pad NOTSET, VALID, SAME_UPPER or SAME_LOWER wanted, {other} found"
            )));
        }
    })
}

impl Resolved {
    /// Elements from the first tap to the last, inclusive.
    pub(super) fn span(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilations[axis] + 1
    }

    /// As many outputs as strides begin in the input; the odd element of padding goes to the end, or the start.
    fn same(&mut self, axis: usize, extent: usize, odd_first: bool) {
        let stride = self.strides[axis];
        let outputs = extent.div_ceil(stride);
        let total = (outputs.saturating_sub(1) * stride + self.span(axis)).saturating_sub(extent);
        self.before[axis] = if odd_first { total.div_ceil(2) } else { total / 2 };
        self.after[axis] = total - self.before[axis];
    }

    /// One more output where the last stride begins in the input or the padding before it. Gives how far its window
    /// reaches beyond the padding given.
    fn round_up(&mut self, axis: usize, extent: usize) -> usize {
        let (stride, span, given) = (self.strides[axis], self.span(axis), self.after[axis]);
        let start = extent + self.before[axis];
        let Some(free) = (start + given).checked_sub(span) else {
            return 0; // refused as too large a window
        };
        let mut last = free.div_ceil(stride);
        if last * stride >= start {
            last -= 1;
        }
        let needed = (last * stride + span).saturating_sub(start);
        self.after[axis] = needed;
        needed.saturating_sub(given)
    }

    /// The outputs along each axis over an input of these extents.
    pub(super) fn outputs(&self, extents: &[usize]) -> Result<Vec<usize>, OpError> {
        let along = |(axis, &extent): (usize, &usize)| {
            let padded = extent + self.before[axis] + self.after[axis];
            let free = padded.checked_sub(self.span(axis)).ok_or_else(|| {
                OpError::new(format!(
                    "an input that holds the window wanted: axis {axis} of {extent} padded to {padded}, the window \
                     spans {}",
                    self.span(axis)
                ))
            })?;
            Ok(free / self.strides[axis] + 1)
        };
        extents.iter().enumerate().map(along).collect()
    }

    /// The window along two of its axes, or along one as that of the columns.
    pub(super) fn image(&self, axes: &[usize]) -> Window {
        let pair = |values: &[usize], rows: usize| match *axes {
            [row, column] => [values[row], values[column]],
            [column] => [rows, values[column]],
            _ => unreachable!("one or two axes of an image"),
        };
        let (before, after) = (pair(&self.before, 0), pair(&self.after, 0));
        Window {
            kernel: pair(&self.kernel, 1),
            strides: pair(&self.strides, 1),
            dilations: pair(&self.dilations, 1),
            pads: [before[0], before[1], after[0], after[1]],
        }
    }

    /// The overhang along the axes of such a window.
    pub(super) fn image_overhang(&self, axes: &[usize]) -> [usize; 2] {
        match *axes {
            [row, column] => [self.overhang[row], self.overhang[column]],
            [column] => [0, self.overhang[column]],
            _ => unreachable!("one or two axes of an image"),
        }
    }
}

/// An attribute with one value per axis, or `least` for each.
pub(super) fn list(call: &Call<'_>, name: &str, count: usize, least: i64) -> Result<Vec<usize>, OpError> {
    match call.attrs.maybe_ints(name)? {
        Some(values) => within(name, values, count, least),
        None => Ok(vec![least as usize; count]),
    }
}

fn within(name: &str, values: &[i64], count: usize, least: i64) -> Result<Vec<usize>, OpError> {
    if values.len() != count || values.iter().any(|value| !(least..=MOST).contains(value)) {
        return Err(OpError::new(format!(
            "`{name}` of {count} values from {least} to {MOST} wanted, {values:?} found"
        )));
    }
    Ok(values.iter().map(|&value| value as usize).collect())
}
