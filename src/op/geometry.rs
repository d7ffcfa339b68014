//! Where the elements of broadcast operands lie.

use tinsmith_runtime::format::Pair;
use tinsmith_runtime::kernels::Layer;

use super::lower::{KernelCall, Operand};
use super::quant::QuantTensor;
use super::runs::Runs;
use super::tensor::strided_indices;
use super::{OpError, movement};

/// Dimensions of the runtime's elementwise records.
const MAX_DIMS: usize = 4;

/// The most kernel calls that one node may become.
const MAX_CALLS: usize = 1024;

/// `N` operands over the dimensions of the output that do not run on. A record has the last four of them; there is a
/// call for every index of the others.
pub(super) struct Geometry<const N: usize>(Runs<N>);

impl<const N: usize> Geometry<N> {
    /// Shapes broadcast to that of the output.
    pub(super) fn new(shapes: [&[usize]; N], to: &[usize]) -> Result<Self, OpError> {
        let geometry = Self(Runs::broadcast(shapes, to));
        let (outer, _) = geometry.0.dims.split_at(geometry.outer());
        let calls: usize = outer.iter().product();
        if calls > MAX_CALLS {
            return Err(OpError::new(format!(
                "broadcasting alternates between {} groups of axes; {MAX_DIMS} take one kernel call, these take {calls}, \
                 at most {MAX_CALLS} are possible",
                geometry.0.dims.len()
            ))
            .with_help("order the axes so that those which are broadcast lie side by side"));
        }
        Ok(geometry)
    }

    /// The same, for records that are called once.
    pub(super) fn in_one_call(self) -> Result<Self, OpError> {
        if self.outer() == 0 {
            return Ok(self);
        }
        Err(OpError::new(format!(
            "broadcasting alternates between {} groups of axes; at most {MAX_DIMS} are possible",
            self.0.dims.len()
        )))
    }

    /// Dimensions beyond those of a record.
    fn outer(&self) -> usize {
        self.0.dims.len().saturating_sub(MAX_DIMS)
    }

    /// The output's extents as a record holds them.
    pub(super) fn dims(&self) -> Result<[u32; MAX_DIMS], OpError> {
        field(&self.0.dims[self.outer()..], 1)
    }

    /// The strides of one operand as a record holds them.
    pub(super) fn strides(&self, side: usize) -> Result<[u32; MAX_DIMS], OpError> {
        field(&self.0.strides[side][self.outer()..], 0)
    }

    /// The strides of one operand whose elements are blocks of so many.
    pub(super) fn strides_of_blocks(&self, side: usize, elements: usize) -> Result<[u32; MAX_DIMS], OpError> {
        let elements: u32 = movement::fitting(elements)?;
        let mut strides = self.strides(side)?;
        for stride in &mut strides {
            *stride = stride
                .checked_mul(elements)
                .ok_or_else(|| OpError::new("matrices of at most 4 GiB wanted"))?;
        }
        Ok(strides)
    }

    /// The calls of a record that computes `y` from its operands.
    pub(super) fn calls(&self, layer: Layer, inputs: &[&QuantTensor], y: &QuantTensor) -> Vec<KernelCall> {
        if self.outer() == 0 {
            let sources = (0..N).map(|index| Operand::of_input(index, inputs[index]));
            // An element may take the place of an operand's that is read in step with the output.
            let in_step = |&index: &usize| {
                let input = inputs[index];
                input.data.is_none()
                    && input.ty.len() == y.ty.len()
                    && input.ty.dtype.bytes() == y.ty.dtype.bytes()
            };
            return vec![KernelCall {
                in_place: (0..N).filter(in_step).collect(),
                ..KernelCall::new(layer, sources.collect(), Vec::new())
            }];
        }
        let (outer, inner) = self.0.dims.split_at(self.outer());
        let firsts: [Vec<usize>; N] =
            std::array::from_fn(|side| strided_indices(outer, &self.0.strides[side][..outer.len()], 0));
        let elements: usize = inner.iter().product();
        let calls = (0..outer.iter().product()).map(|call| {
            let sources = (0..N).map(|side| {
                let width = inputs[side].ty.dtype.bytes();
                let first = firsts[side][call] * width;
                let last: usize = inner
                    .iter()
                    .zip(&self.0.strides[side][outer.len()..])
                    .map(|(&extent, &stride)| (extent - 1) * stride)
                    .sum();
                match Operand::of_input(side, inputs[side]) {
                    Operand::Constant(bytes) => {
                        Operand::Constant(bytes[first..first + (last + 1) * width].to_vec())
                    }
                    Operand::Input { index, byte_offset } => Operand::Input {
                        index,
                        byte_offset: byte_offset + first,
                    },
                    Operand::Output => Operand::Output,
                }
            });
            KernelCall {
                ofm_byte_offset: call * elements * y.ty.dtype.bytes(),
                ..KernelCall::new(layer, sources.collect(), Vec::new())
            }
        });
        calls.collect()
    }
}

impl Geometry<2> {
    /// Both operands as a record holds them; where they lie is still to be bound.
    pub(super) fn pair(&self) -> Result<Pair, OpError> {
        Ok(Pair {
            dims: self.dims()?,
            a_strides: self.strides(0)?,
            b_strides: self.strides(1)?,
            ..Pair::default()
        })
    }
}

/// Extents or strides as a record holds them, outermost first.
fn field(numbers: &[usize], missing: u32) -> Result<[u32; MAX_DIMS], OpError> {
    let mut field = [missing; MAX_DIMS];
    let first = MAX_DIMS - numbers.len();
    for (slot, &number) in field[first..].iter_mut().zip(numbers) {
        *slot = movement::fitting(number)?;
    }
    Ok(field)
}
