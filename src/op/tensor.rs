//! The tensors that operators act on: shapes, element types, values.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Extents, outermost first. Rank 0 is a scalar.
pub type Shape = Vec<usize>;

/// The element types that a model may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum DType {
    F32,
    F64,
    I8,
    U8,
    I16,
    I32,
    I64,
    Bool,
}

impl DType {
    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::I16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    /// Whether it holds reals.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::Bool => "bool",
        })
    }
}

/// Shape and element type of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Elements in row-major order.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    Bool(Vec<bool>),
}

impl Data {
    /// The element type.
    pub fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::F64(_) => DType::F64,
            Self::I8(_) => DType::I8,
            Self::U8(_) => DType::U8,
            Self::I16(_) => DType::I16,
            Self::I32(_) => DType::I32,
            Self::I64(_) => DType::I64,
            Self::Bool(_) => DType::Bool,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
            Self::I8(v) => v.len(),
            Self::U8(v) => v.len(),
            Self::I16(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::Bool(v) => v.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts the elements of `other`, which must have the same type, behind these.
    ///
    /// # Panics
    /// Where the types differ: our own broken invariant.
    pub fn append(&mut self, other: &Self) {
        match (self, other) {
            (Self::F32(a), Self::F32(b)) => a.extend_from_slice(b),
            (Self::F64(a), Self::F64(b)) => a.extend_from_slice(b),
            (Self::I8(a), Self::I8(b)) => a.extend_from_slice(b),
            (Self::U8(a), Self::U8(b)) => a.extend_from_slice(b),
            (Self::I16(a), Self::I16(b)) => a.extend_from_slice(b),
            (Self::I32(a), Self::I32(b)) => a.extend_from_slice(b),
            (Self::I64(a), Self::I64(b)) => a.extend_from_slice(b),
            (Self::Bool(a), Self::Bool(b)) => a.extend_from_slice(b),
            (a, b) => panic!("{} appended to {}", b.dtype(), a.dtype()),
        }
    }

    /// The elements' bytes, little-endian, as a blob stores them.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::I8(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::U8(v) => v.clone(),
            Self::I16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::Bool(v) => v.iter().map(|&x| u8::from(x)).collect(),
        }
    }

    /// The elements at `indices`, in their order. Data movement of any element type.
    pub fn gather(&self, indices: impl Iterator<Item = usize>) -> Self {
        match self {
            Self::F32(v) => Self::F32(indices.map(|i| v[i]).collect()),
            Self::F64(v) => Self::F64(indices.map(|i| v[i]).collect()),
            Self::I8(v) => Self::I8(indices.map(|i| v[i]).collect()),
            Self::U8(v) => Self::U8(indices.map(|i| v[i]).collect()),
            Self::I16(v) => Self::I16(indices.map(|i| v[i]).collect()),
            Self::I32(v) => Self::I32(indices.map(|i| v[i]).collect()),
            Self::I64(v) => Self::I64(indices.map(|i| v[i]).collect()),
            Self::Bool(v) => Self::Bool(indices.map(|i| v[i]).collect()),
        }
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
        if let Data::F32(v) = &self.data {
            Some(v)
        } else {
            None
        }
    }

    /// The int8 elements, or `None` of another type.
    pub fn as_i8(&self) -> Option<&[i8]> {
        if let Data::I8(v) = &self.data {
            Some(v)
        } else {
            None
        }
    }

    /// The elements as integers where the type is an integer or Boolean one.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        Some(match &self.data {
            Data::I8(v) => v.iter().map(|&x| x.into()).collect(),
            Data::U8(v) => v.iter().map(|&x| x.into()).collect(),
            Data::I16(v) => v.iter().map(|&x| x.into()).collect(),
            Data::I32(v) => v.iter().map(|&x| x.into()).collect(),
            Data::I64(v) => v.clone(),
            Data::Bool(v) => v.iter().map(|&x| x.into()).collect(),
            Data::F32(_) | Data::F64(_) => return None,
        })
    }

    /// The elements as f64, whatever the type (i64 beyond 2^53 rounds).
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            Data::F32(v) => v.iter().map(|&x| x.into()).collect(),
            Data::F64(v) => v.clone(),
            Data::I8(v) => v.iter().map(|&x| x.into()).collect(),
            Data::U8(v) => v.iter().map(|&x| x.into()).collect(),
            Data::I16(v) => v.iter().map(|&x| x.into()).collect(),
            Data::I32(v) => v.iter().map(|&x| x.into()).collect(),
            Data::I64(v) => v.iter().map(|&x| x as f64).collect(),
            Data::Bool(v) => v.iter().map(|&x| f64::from(u8::from(x))).collect(),
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

/// The element offset in a tensor of `shape` for every index of the broadcast `to`, in row-major order.
pub fn broadcast_indices(shape: &[usize], to: &[usize]) -> Vec<usize> {
    let strides = row_major_strides(shape);
    let lead = to.len() - shape.len();
    let strides: Vec<usize> = (0..to.len())
        .map(|i| {
            if i < lead || shape[i - lead] == 1 {
                0
            } else {
                strides[i - lead]
            }
        })
        .collect();
    strided_indices(to, &strides, 0)
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
