//! Moving elements: what transposes, concatenations, slices, pads and gathers lower to.

use tinsmith_runtime::format::{StridedCopy, Table};
use tinsmith_runtime::kernels::Layer;

use super::lower::{KernelCall, LowerError, Lowered, Operand, View};
use super::quant::{QuantTensor, Quantization};
use super::tensor::row_major_strides;
use super::wide::Rescale;
use super::{Clamp, OpError};
use super::{real, rescale};

/// Dimensions of the runtime's strided copy.
const MAX_DIMS: usize = 5;

/// The most copies that one node turns into.
pub(super) const MAX_CALLS: usize = 64;

/// `to[to_offset + Σ dᵢ·to_stridesᵢ] = from[from_offset + Σ dᵢ·from_stridesᵢ]`, in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Move {
    /// Elements per dimension, outermost first.
    pub(super) dims: Vec<usize>,
    /// Elements from one index to the next in the source.
    pub(super) from_strides: Vec<i64>,
    /// First element read.
    pub(super) from_offset: usize,
    /// Elements from one index to the next in the output.
    pub(super) to_strides: Vec<usize>,
    /// First element written.
    pub(super) to_offset: usize,
}

impl Move {
    /// All of a row-major tensor into another of the same shape, from their first bytes on.
    pub(super) fn all(shape: &[usize]) -> Self {
        let strides = row_major_strides(shape);
        Self {
            dims: shape.to_vec(),
            from_strides: strides.iter().map(|&stride| stride as i64).collect(),
            from_offset: 0,
            to_strides: strides,
            to_offset: 0,
        }
    }

    /// The same move over as few dimensions as it takes: extents of one fall away, neighbours that run on are one.
    fn collapsed(&self) -> Self {
        let mut out = Self {
            dims: Vec::new(),
            from_strides: Vec::new(),
            to_strides: Vec::new(),
            ..*self
        };
        for i in 0..self.dims.len() {
            let (extent, from, to) = (self.dims[i], self.from_strides[i], self.to_strides[i]);
            if extent == 1 {
                continue;
            }
            let runs_on = out.dims.last().is_some()
                && out.from_strides.last() == Some(&(from * extent as i64))
                && out.to_strides.last() == Some(&(to * extent));
            if runs_on {
                let last = out.dims.len() - 1;
                out.dims[last] *= extent;
                out.from_strides[last] = from;
                out.to_strides[last] = to;
            } else {
                out.dims.push(extent);
                out.from_strides.push(from);
                out.to_strides.push(to);
            }
        }
        if out.dims.is_empty() {
            out.dims.push(1);
            out.from_strides.push(1);
            out.to_strides.push(1);
        }
        out
    }

    /// Whether it reads one run of bytes in order and writes one in order.
    pub(super) fn is_one_run(&self) -> bool {
        let collapsed = self.collapsed();
        collapsed.dims.len() == 1 && collapsed.from_strides == [1] && collapsed.to_strides == [1]
    }

    /// The kernel calls that do it, with `change` on the way where one is given: one, or where more dimensions are left than the
    /// runtime's copy has, one per index of the shortest of them.
    ///
    /// # Errors
    /// Where that takes more than [`MAX_CALLS`], or an extent does not fit its record.
    pub(super) fn calls(
        &self,
        source: Operand,
        change: Option<Change>,
        width: usize,
    ) -> Result<Vec<KernelCall>, OpError> {
        let mut parts = vec![self.collapsed()];
        while parts[0].dims.len() > MAX_DIMS {
            let dims = &parts[0].dims;
            let shortest = (0..dims.len()).min_by_key(|&axis| dims[axis]).unwrap_or(0);
            if parts.len() * dims[shortest] > MAX_CALLS {
                return Err(OpError::new(format!(
                    "moves data along {} dimensions that do not run on, in more than {MAX_CALLS} copies of {MAX_DIMS} each",
                    dims.len()
                ))
                .with_help("split it into two steps of fewer dimensions each"));
            }
            parts = parts.iter().flat_map(|part| part.along(shortest)).collect();
        }
        parts
            .iter()
            .map(|part| part.call(source.clone(), change.clone(), width))
            .collect()
    }

    /// One move per index of an axis, each without it.
    fn along(&self, axis: usize) -> impl Iterator<Item = Self> {
        (0..self.dims[axis]).map(move |index| {
            let mut part = self.clone();
            part.dims.remove(axis);
            let from = part.from_strides.remove(axis) * index as i64;
            part.from_offset = part.from_offset.wrapping_add_signed(from as isize);
            part.to_offset += part.to_strides.remove(axis) * index;
            part
        })
    }

    /// The kernel call of a move over few enough dimensions.
    fn call(&self, source: Operand, change: Option<Change>, width: usize) -> Result<KernelCall, OpError> {
        let missing = MAX_DIMS - self.dims.len();
        let to_width = width;
        let width = change.as_ref().map_or(width, |change| change.source_bytes());
        let mut record = StridedCopy {
            dims: [1; MAX_DIMS],
            element_bytes: fitting(width)?,
            ..StridedCopy::default()
        };
        for (i, &extent) in self.dims.iter().enumerate() {
            let at = i + missing;
            record.dims[at] = fitting(extent)?;
            record.ifm_strides[at] = fitting(self.from_strides[i])?;
            record.ofm_strides[at] = fitting(self.to_strides[i])?;
        }
        let source = match source {
            Operand::Input { index, byte_offset } => Operand::Input {
                index,
                byte_offset: byte_offset + self.from_offset * width,
            },
            // A block of constants is read from its first byte on.
            Operand::Constant(_)
                if self.from_offset > 0 && self.from_strides.iter().any(|&step| step < 0) =>
            {
                return Err(OpError::new("reads a constant backwards"));
            }
            Operand::Constant(mut bytes) => {
                bytes.drain(..(self.from_offset * width).min(bytes.len()));
                Operand::Constant(bytes)
            }
            Operand::Output => source,
        };
        let (layer, table) = match change {
            None => (Layer::StridedCopy(record), Vec::new()),
            Some(Change::Table(table)) => {
                record.use_table = 1;
                (Layer::StridedCopy(record), table)
            }
            Some(Change::Rescale(rescale)) => {
                let layer = rescale.record(record.dims, record.ifm_strides, record.ofm_strides);
                (layer, Vec::new())
            }
        };
        Ok(KernelCall {
            ofm_byte_offset: self.to_offset * to_width,
            ..KernelCall::new(layer, vec![source], table)
        })
    }
}

/// A number in the type of a record's field.
pub(super) fn fitting<N: Copy + std::fmt::Display, T: TryFrom<N>>(number: N) -> Result<T, OpError> {
    T::try_from(number).map_err(|_| OpError::new(format!("{number} is beyond what a step's record can hold")))
}

/// What elements become on their way from one tensor to another.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// int8 codes by their table.
    Table(Vec<u8>),
    /// int16 codes on one side at least.
    Rescale(Rescale),
}

impl Change {
    /// Bytes of an element of the source.
    fn source_bytes(&self) -> usize {
        match self {
            Self::Table(_) => 1,
            Self::Rescale(rescale) => rescale.source_bytes(),
        }
    }

    /// The call over `count` elements that lie side by side.
    pub(super) fn call(self, source: Operand, count: usize) -> Result<KernelCall, OpError> {
        match self {
            Self::Table(table) => table_call(source, table, count),
            Self::Rescale(rescale) => rescale.call(source, count),
        }
    }
}

/// The change between two tensors' parameters; `None` where they are the same.
pub(super) fn change_between(x: &QuantTensor, y: &QuantTensor) -> Result<Option<Change>, OpError> {
    let are_plain = [x, y].map(|tensor| tensor.quantization == Quantization::Plain);
    if are_plain == [true, true] && x.ty.dtype == y.ty.dtype {
        return Ok(None);
    }
    if x.is_wide() || y.is_wide() {
        if x.ty.dtype == y.ty.dtype && x.params() == y.params() {
            return Ok(None);
        }
        return Rescale::between(x, y, Clamp::NONE).map(|rescale| Some(Change::Rescale(rescale)));
    }
    let (from, to) = (
        rescale::activation(Some(x), "input")?,
        rescale::activation(Some(y), "output")?,
    );
    Ok((from != to).then(|| Change::Table(rescale::requantize(from, to, Clamp::NONE))))
}

/// The call that sends `count` bytes through a table; it may work in place.
pub(super) fn table_call(source: Operand, table: Vec<u8>, count: usize) -> Result<KernelCall, OpError> {
    let record = Table {
        count: fitting(count)?,
        ..Table::default()
    };
    Ok(KernelCall {
        in_place: vec![0],
        ..KernelCall::new(Layer::Table(record), vec![source], table)
    })
}

/// A node that is one [`Move`] of its first input: a view where its bytes lie in order already.
pub(super) fn lower_move(
    moved: &Move,
    inputs: &[&QuantTensor],
    outputs: &[&QuantTensor],
) -> Result<Lowered, LowerError> {
    let (x, y) = (inputs[0], outputs[0]);
    if moved.is_one_run()
        && moved.from_offset == 0
        && let Some(cast) = real::cast(x, y)?
    {
        return Ok(cast);
    }
    let change = change_between(x, y)?;
    let width = y.ty.dtype.bytes();
    let source = Operand::of_input(0, x);
    let one_run = moved.is_one_run();
    let view = (one_run && change.is_none() && x.data.is_none()).then_some(View::OfInput {
        byte_offset: moved.from_offset * width,
    });
    let calls = match change {
        Some(change) if one_run && moved.from_offset == 0 && x.data.is_none() => {
            vec![change.call(source, y.ty.len())?]
        }
        change => moved.calls(source, change, width)?,
    };
    Ok(Lowered {
        calls,
        view,
        ..Lowered::default()
    })
}
