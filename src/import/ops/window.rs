//! The attributes of sliding windows: `auto_pad` and `ceil_mode` become plain padding.

use super::Call;
use crate::op::{OpError, Window};

/// No window of a model for small devices comes near this; products of what is below it cannot overflow.
const MOST: i64 = 65_535;

/// A window as an operator takes it.
pub(super) struct Resolved {
    pub(super) window: Window,
    /// How far `ceil_mode` made it reach beyond the bottom and right padding that the model gives.
    pub(super) overhang: [usize; 2],
}

/// Attributes of a window over spatial axes, one value per axis.
struct Axes {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    before: Vec<usize>,
    after: Vec<usize>,
}

/// Reads strides, dilations and padding for a kernel over `extents`.
pub(super) fn resolve(
    call: &Call<'_>,
    extents: &[usize],
    kernel: &[i64],
    ceil_mode: bool,
) -> Result<Resolved, OpError> {
    let axes = extents.len();
    let pads = list(call, "pads", 2 * axes, 0)?;
    let mut given = Axes {
        kernel: within("kernel_shape", kernel, axes, 1)?,
        strides: list(call, "strides", axes, 1)?,
        dilations: list(call, "dilations", axes, 1)?,
        before: pads[..axes].to_vec(),
        after: pads[axes..].to_vec(),
    };
    let auto = call.attrs.word("auto_pad", "NOTSET")?;
    if auto != "NOTSET" && pads.iter().any(|&pad| pad != 0) {
        return Err(OpError::new(format!(
            "pads or auto_pad wanted, {pads:?} and {auto} found"
        )));
    }
    let mut overhang = vec![0; axes];
    for (axis, &extent) in extents.iter().enumerate() {
        match auto {
            "NOTSET" if ceil_mode => overhang[axis] = given.round_up(axis, extent),
            // With whole windows only, rounding up finds none further.
            "NOTSET" | "VALID" => {}
            "SAME_UPPER" => given.same(axis, extent, false),
            "SAME_LOWER" => given.same(axis, extent, true),
            other => {
                return Err(OpError::new(format!(
                    "auto_pad NOTSET, VALID, SAME_UPPER or SAME_LOWER wanted, {other} found"
                )));
            }
        }
    }
    let window = given.over_images();
    let overhang = pair(&overhang, 0);
    Ok(Resolved { window, overhang })
}

impl Axes {
    fn span(&self, axis: usize) -> usize {
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

    /// The window over rows and columns; a single axis is that of the columns.
    fn over_images(&self) -> Window {
        let (before, after) = (pair(&self.before, 0), pair(&self.after, 0));
        Window {
            kernel: pair(&self.kernel, 1),
            strides: pair(&self.strides, 1),
            dilations: pair(&self.dilations, 1),
            pads: [before[0], before[1], after[0], after[1]],
        }
    }
}

/// Values of rows and columns; a single axis is that of the columns, and the rows have the value given for them.
fn pair(values: &[usize], rows: usize) -> [usize; 2] {
    match *values {
        [rows, columns] => [rows, columns],
        [columns] => [rows, columns],
        _ => unreachable!("one or two spatial axes"),
    }
}

/// An attribute with one value per axis, or `least` for each.
fn list(call: &Call<'_>, name: &str, count: usize, least: i64) -> Result<Vec<usize>, OpError> {
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
