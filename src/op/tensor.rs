//! The tensors that operators act on: shapes, element types, values.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use super::data::{Data, Mapped, View};
pub use super::dtype::DType;
pub use super::narrow::Narrow;

/// Extents, outermost first. Rank 0 is a scalar.
pub type Shape = Vec<usize>;

/// Shape and element type of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorType {
    /// Extents.
    pub shape: Shape,
    /// Element type.
    pub dtype: DType,
}

impl TensorType {
    /// A type of these parts.
    pub fn new(dtype: DType, shape: impl Into<Shape>) -> Self {
        Self {
            shape: shape.into(),
            dtype,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all elements.
    pub fn bytes(&self) -> usize {
        self.len() * self.dtype.bytes()
    }
}

impl fmt::Display for TensorType {
    /// `f32[1,8,8,3]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (i, extent) in self.shape.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{extent}")?;
        }
        f.write_str("]")
    }
}

/// A tensor's elements with their shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// Extents; their product is the number of elements.
    pub shape: Shape,
    /// The elements, row-major.
    pub data: Data,
}

impl Values {
    /// Values of this shape.
    ///
    /// # Panics
    /// Where the element count is not the shape's product: our own broken invariant.
    pub fn new(shape: impl Into<Shape>, data: Data) -> Self {
        let shape = shape.into();
        assert_eq!(
            shape.iter().product::<usize>(),
            data.len(),
            "element count of {shape:?}"
        );
        Self { shape, data }
    }

    /// f32 values of this shape.
    pub fn f32(shape: impl Into<Shape>, data: Vec<f32>) -> Self {
        Self::new(shape, Data::F32(data))
    }

    /// Shape and element type.
    pub fn ty(&self) -> TensorType {
        TensorType {
            shape: self.shape.clone(),
            dtype: self.data.dtype(),
        }
    }

    /// The f32 elements, or `None` of another type.
    pub fn as_f32(&self) -> Option<&[f32]> {
        if let View::F32(v) = self.data.view() {
            Some(v)
        } else {
            None
        }
    }

    /// The int8 elements, or `None` of another type.
    pub fn as_i8(&self) -> Option<&[i8]> {
        if let View::I8(v) = self.data.view() {
            Some(v)
        } else {
            None
        }
    }

    /// The elements as integers where the type is an integer or Boolean one; u64 beyond 2^63 saturates.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        Some(match self.data.view() {
            View::I8(v) => v.iter().map(|&x| x.into()).collect(),
            View::U8(v) => v.iter().map(|&x| x.into()).collect(),
            View::I16(v) => v.iter().map(|&x| x.into()).collect(),
            View::U16(v) => v.iter().map(|&x| x.into()).collect(),
            View::I32(v) => v.iter().map(|&x| x.into()).collect(),
            View::U32(v) => v.iter().map(|&x| x.into()).collect(),
            View::I64(v) => v.to_vec(),
            View::U64(v) => v.iter().map(|&x| i64::try_from(x).unwrap_or(i64::MAX)).collect(),
            View::Bool(v) => v.iter().map(|&x| x.into()).collect(),
            View::Narrow(narrow, v) => {
                let integers = v.iter().map(|&code| narrow.to_integer(code).map(i64::from));
                return integers.collect();
            }
            View::F32(_) | View::F64(_) | View::F16(_) | View::BF16(_) => return None,
        })
    }

    /// The elements as f64, whatever the type (i64 and u64 beyond 2^53 round).
    pub fn to_f64(&self) -> Vec<f64> {
        match self.data.view() {
            View::F32(v) => v.iter().map(|&x| x.into()).collect(),
            View::F64(v) => v.to_vec(),
            View::F16(v) => v.iter().map(|&x| x.into()).collect(),
            View::BF16(v) => v.iter().map(|&x| x.into()).collect(),
            View::I8(v) => v.iter().map(|&x| x.into()).collect(),
            View::U8(v) => v.iter().map(|&x| x.into()).collect(),
            View::I16(v) => v.iter().map(|&x| x.into()).collect(),
            View::U16(v) => v.iter().map(|&x| x.into()).collect(),
            View::I32(v) => v.iter().map(|&x| x.into()).collect(),
            View::U32(v) => v.iter().map(|&x| x.into()).collect(),
            View::I64(v) => v.iter().map(|&x| x as f64).collect(),
            View::U64(v) => v.iter().map(|&x| x as f64).collect(),
            View::Bool(v) => v.iter().map(|&x| f64::from(u8::from(x))).collect(),
            View::Narrow(narrow, v) => v.iter().map(|&code| narrow.decode(code).into()).collect(),
        }
    }

    /// The same elements under another shape of equal size.
    pub fn reshaped(&self, shape: impl Into<Shape>) -> Self {
        Self::new(shape, self.data.clone())
    }
}

/// Elements from one index to the next, per dimension, of a row-major tensor.
pub fn row_major_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// NumPy broadcasting of two shapes; `None` where they do not fit.
pub fn broadcast_shape(a: &[usize], b: &[usize]) -> Option<Shape> {
    let rank = a.len().max(b.len());
    let extent = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |k| s[k]);
    (0..rank)
        .map(|i| match (extent(a, i), extent(b, i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

/// Elements from one index of `to` to the next in a row-major tensor of `shape`; 0 where it is broadcast.
pub(super) fn broadcast_strides(shape: &[usize], to: &[usize]) -> Vec<usize> {
    let strides = row_major_strides(shape);
    let lead = to.len() - shape.len();
    let own = shape
        .iter()
        .zip(strides)
        .map(|(&extent, stride)| if extent == 1 { 0 } else { stride });
    std::iter::repeat_n(0, lead).chain(own).collect()
}

/// The element offset in a tensor of `shape` for every index of the broadcast `to`, in row-major order.
pub fn broadcast_indices(shape: &[usize], to: &[usize]) -> Vec<usize> {
    strided_indices(to, &broadcast_strides(shape, to), 0)
}

/// `base + Σ indexᵢ·stridesᵢ` for every index of `dims`, in row-major order.
pub fn strided_indices(dims: &[usize], strides: &[usize], base: usize) -> Vec<usize> {
    let mut offsets = vec![base];
    for (&extent, &stride) in dims.iter().zip(strides) {
        offsets = offsets
            .iter()
            .flat_map(|&o| (0..extent).map(move |i| o + i * stride))
            .collect();
    }
    offsets
}

/// The offset in a row-major tensor of `shape` of every combination of one of `picks[axis]` per axis, the last axis
/// running fastest.
pub fn picked_indices(shape: &[usize], picks: &[Vec<usize>]) -> Vec<usize> {
    let mut offsets = vec![0];
    for (stride, picks) in row_major_strides(shape).into_iter().zip(picks) {
        offsets = offsets
            .iter()
            .flat_map(|&offset| picks.iter().map(move |&pick| offset + pick * stride))
            .collect();
    }
    offsets
}
