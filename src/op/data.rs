//! The elements of tensors: owned, or read in place from a mapped file.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};
use zerocopy::FromBytes;

use super::dtype::DType;
use super::narrow::Narrow;
use super::runs::Runs;

macro_rules! elements {
    ($($variant:ident $type:ty;)*) => {
        /// Elements in row-major order.
        #[derive(Clone)]
        #[allow(missing_docs, reason = "the names say it")]
        pub enum Data {
            $($variant(Vec<$type>),)*
            /// Codes, one in a byte.
            Narrow(Narrow, Vec<u8>),
            /// Elements of a file, where they lie.
            Mapped(Mapped),
        }

        /// Elements in row-major order, wherever they lie.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[allow(missing_docs, reason = "the names say it")]
        pub enum View<'a> {
            $($variant(&'a [$type]),)*
            /// Codes, one in a byte.
            Narrow(Narrow, &'a [u8]),
        }

        impl Data {
            /// The elements, wherever they lie.
            pub fn view(&self) -> View<'_> {
                match self {
                    $(Self::$variant(v) => View::$variant(v),)*
                    Self::Narrow(narrow, v) => View::Narrow(*narrow, v),
                    Self::Mapped(mapped) => mapped.view(),
                }
            }

            /// No elements of this type.
            pub fn empty(dtype: DType) -> Self {
                match dtype {
                    $(DType::$variant => Self::$variant(Vec::new()),)*
                    DType::Narrow(narrow) => Self::Narrow(narrow, Vec::new()),
                }
            }

            /// `len` elements that are zero.
            pub(super) fn zeros(dtype: DType, len: usize) -> Self {
                match dtype {
                    $(DType::$variant => Self::$variant(vec![<$type>::default(); len]),)*
                    DType::Narrow(narrow) => Self::Narrow(narrow, vec![0; len]),
                }
            }

            /// Puts the elements of `other`, which must have the same type, behind these.
            ///
            /// # Panics
            /// Where the types differ: our own broken invariant.
            pub fn append(&mut self, other: &Self) {
                if let Self::Mapped(mapped) = self {
                    *self = mapped.view().to_data();
                }
                match (self, other.view()) {
                    $((Self::$variant(a), View::$variant(b)) => a.extend_from_slice(b),)*
                    (Self::Narrow(a_type, a), View::Narrow(b_type, b)) if *a_type == b_type => {
                        a.extend_from_slice(b);
                    }
                    (a, _) => panic!("{} appended to {}", other.dtype(), a.dtype()),
                }
            }

            /// The elements at `indices`, in their order. Data movement of any element type.
            pub fn gather(&self, indices: impl Iterator<Item = usize>) -> Self {
                match self.view() {
                    $(View::$variant(v) => Self::$variant(indices.map(|i| v[i]).collect()),)*
                    View::Narrow(narrow, v) => Self::Narrow(narrow, indices.map(|i| v[i]).collect()),
                }
            }

            /// Blocks of `len` elements from each of `starts` on.
            pub(super) fn gather_blocks(&self, starts: impl Iterator<Item = usize>, len: usize) -> Self {
                match self.view() {
                    $(View::$variant(v) => {
                        Self::$variant(starts.flat_map(|start| &v[start..start + len]).copied().collect())
                    })*
                    View::Narrow(narrow, v) => {
                        Self::Narrow(narrow, starts.flat_map(|start| &v[start..start + len]).copied().collect())
                    }
                }
            }

            /// The elements under the runs, the first of which lies at `base`.
            pub(super) fn gather_runs(&self, runs: &Runs<1>, base: usize) -> Self {
                match self.view() {
                    $(View::$variant(v) => Self::$variant(runs.copy(v, base)),)*
                    View::Narrow(narrow, v) => Self::Narrow(narrow, runs.copy(v, base)),
                }
            }

            /// Writes `others` under the runs, the first of which lies at `base`. Same type on both sides.
            ///
            /// # Panics
            /// Where the types differ: our own broken invariant.
            pub(super) fn scatter_runs(&mut self, runs: &Runs<1>, base: usize, others: &Self) {
                if let Self::Mapped(mapped) = self {
                    *self = mapped.view().to_data();
                }
                match (self, others.view()) {
                    $((Self::$variant(a), View::$variant(b)) => runs.put(b, a, base),)*
                    (Self::Narrow(a_type, a), View::Narrow(b_type, b)) if *a_type == b_type => {
                        runs.put(b, a, base);
                    }
                    (a, _) => panic!("{} scattered into {}", others.dtype(), a.dtype()),
                }
            }

            /// The element of `others` in the place of each element; for scattering. Same type on both sides.
            ///
            /// # Panics
            /// Where the types differ or a place is beyond the elements: our own broken invariant.
            pub fn scatter(&mut self, places: impl Iterator<Item = usize>, others: &Self) {
                if let Self::Mapped(mapped) = self {
                    *self = mapped.view().to_data();
                }
                match (self, others.view()) {
                    $((Self::$variant(a), View::$variant(b)) => {
                        places.zip(b).for_each(|(place, &x)| a[place] = x);
                    })*
                    (Self::Narrow(a_type, a), View::Narrow(b_type, b)) if *a_type == b_type => {
                        places.zip(b).for_each(|(place, &x)| a[place] = x);
                    }
                    (a, _) => panic!("{} scattered into {}", others.dtype(), a.dtype()),
                }
            }
        }

        impl View<'_> {
            /// The element type.
            pub fn dtype(self) -> DType {
                match self {
                    $(Self::$variant(_) => DType::$variant,)*
                    Self::Narrow(narrow, _) => DType::Narrow(narrow),
                }
            }

            /// A copy that owns its elements.
            pub fn to_data(self) -> Data {
                match self {
                    $(Self::$variant(v) => Data::$variant(v.to_vec()),)*
                    Self::Narrow(narrow, v) => Data::Narrow(narrow, v.to_vec()),
                }
            }
        }
    };
}

elements! {
    F32 f32;
    F64 f64;
    F16 f16;
    BF16 bf16;
    I8 i8;
    U8 u8;
    I16 i16;
    U16 u16;
    I32 i32;
    U32 u32;
    I64 i64;
    U64 u64;
    Bool bool;
}

/// Evaluates `$body` with `$v` bound to the elements as a slice of their own type, whatever that is; narrow elements
/// are codes.
macro_rules! with_elements {
    ($data:expr, $v:ident => $body:expr) => {
        match $data.view() {
            $crate::op::tensor::View::F32($v) => $body,
            $crate::op::tensor::View::F64($v) => $body,
            $crate::op::tensor::View::F16($v) => $body,
            $crate::op::tensor::View::BF16($v) => $body,
            $crate::op::tensor::View::I8($v) => $body,
            $crate::op::tensor::View::U8($v) => $body,
            $crate::op::tensor::View::I16($v) => $body,
            $crate::op::tensor::View::U16($v) => $body,
            $crate::op::tensor::View::I32($v) => $body,
            $crate::op::tensor::View::U32($v) => $body,
            $crate::op::tensor::View::I64($v) => $body,
            $crate::op::tensor::View::U64($v) => $body,
            $crate::op::tensor::View::Bool($v) => $body,
            $crate::op::tensor::View::Narrow(_, $v) => $body,
        }
    };
}

/// Evaluates `$body` with `$v` bound to the elements where their type has arithmetic ([`super::element::Element`]),
/// `$other` where it is Boolean or narrow.
macro_rules! with_numbers {
    ($data:expr, $v:ident => $body:expr, else $other:expr) => {
        match $data.view() {
            $crate::op::tensor::View::F32($v) => $body,
            $crate::op::tensor::View::F64($v) => $body,
            $crate::op::tensor::View::F16($v) => $body,
            $crate::op::tensor::View::BF16($v) => $body,
            $crate::op::tensor::View::I8($v) => $body,
            $crate::op::tensor::View::U8($v) => $body,
            $crate::op::tensor::View::I16($v) => $body,
            $crate::op::tensor::View::U16($v) => $body,
            $crate::op::tensor::View::I32($v) => $body,
            $crate::op::tensor::View::U32($v) => $body,
            $crate::op::tensor::View::I64($v) => $body,
            $crate::op::tensor::View::U64($v) => $body,
            $crate::op::tensor::View::Bool(_) | $crate::op::tensor::View::Narrow(..) => $other,
        }
    };
}

/// Evaluates `$body` with `$v` bound to the elements where they are reals ([`super::element::Real`]), `$other` of any
/// other type.
macro_rules! with_reals {
    ($data:expr, $v:ident => $body:expr, else $other:expr) => {
        match $data.view() {
            $crate::op::tensor::View::F32($v) => $body,
            $crate::op::tensor::View::F64($v) => $body,
            $crate::op::tensor::View::F16($v) => $body,
            $crate::op::tensor::View::BF16($v) => $body,
            $crate::op::tensor::View::I8(_)
            | $crate::op::tensor::View::U8(_)
            | $crate::op::tensor::View::I16(_)
            | $crate::op::tensor::View::U16(_)
            | $crate::op::tensor::View::I32(_)
            | $crate::op::tensor::View::U32(_)
            | $crate::op::tensor::View::I64(_)
            | $crate::op::tensor::View::U64(_)
            | $crate::op::tensor::View::Bool(_)
            | $crate::op::tensor::View::Narrow(..) => $other,
        }
    };
}

/// Evaluates `$body` with `$v` bound to the elements where they are integers ([`super::element::Integer`]), `$other` of
/// any other type.
macro_rules! with_integers {
    ($data:expr, $v:ident => $body:expr, else $other:expr) => {
        match $data.view() {
            $crate::op::tensor::View::I8($v) => $body,
            $crate::op::tensor::View::U8($v) => $body,
            $crate::op::tensor::View::I16($v) => $body,
            $crate::op::tensor::View::U16($v) => $body,
            $crate::op::tensor::View::I32($v) => $body,
            $crate::op::tensor::View::U32($v) => $body,
            $crate::op::tensor::View::I64($v) => $body,
            $crate::op::tensor::View::U64($v) => $body,
            $crate::op::tensor::View::F32(_)
            | $crate::op::tensor::View::F64(_)
            | $crate::op::tensor::View::F16(_)
            | $crate::op::tensor::View::BF16(_)
            | $crate::op::tensor::View::Bool(_)
            | $crate::op::tensor::View::Narrow(..) => $other,
        }
    };
}

pub(crate) use {with_elements, with_integers, with_numbers, with_reals};

impl Data {
    /// The element type.
    pub fn dtype(&self) -> DType {
        self.view().dtype()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        with_elements!(self, v => v.len())
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements in another type, as [`super::Cast`] has it.
    pub fn cast(&self, to: DType) -> Self {
        super::cast::convert(self, to)
    }

    /// The elements' bytes, little-endian, as a blob stores them.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match self.view() {
            View::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            View::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            View::F16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            View::BF16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            View::I8(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            View::U8(v) | View::Narrow(_, v) => v.to_vec(),
            View::I16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            View::U16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            View::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            View::U32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            View::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            View::U64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            View::Bool(v) => v.iter().map(|&x| u8::from(x)).collect(),
        }
    }

    /// Elements from little-endian bytes; bytes that make no whole element are left out. Narrow elements are not
    /// packed, and any byte but 0 is true.
    pub fn from_le_bytes(dtype: DType, bytes: &[u8]) -> Self {
        fn each<const N: usize, T>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
            bytes.as_chunks().0.iter().map(|&chunk| from(chunk)).collect()
        }
        match dtype {
            DType::F32 => Self::F32(each(bytes, f32::from_le_bytes)),
            DType::F64 => Self::F64(each(bytes, f64::from_le_bytes)),
            DType::F16 => Self::F16(each(bytes, f16::from_le_bytes)),
            DType::BF16 => Self::BF16(each(bytes, bf16::from_le_bytes)),
            DType::I8 => Self::I8(each(bytes, i8::from_le_bytes)),
            DType::U8 => Self::U8(bytes.to_vec()),
            DType::I16 => Self::I16(each(bytes, i16::from_le_bytes)),
            DType::U16 => Self::U16(each(bytes, u16::from_le_bytes)),
            DType::I32 => Self::I32(each(bytes, i32::from_le_bytes)),
            DType::U32 => Self::U32(each(bytes, u32::from_le_bytes)),
            DType::I64 => Self::I64(each(bytes, i64::from_le_bytes)),
            DType::U64 => Self::U64(each(bytes, u64::from_le_bytes)),
            DType::Bool => Self::Bool(bytes.iter().map(|&byte| byte != 0).collect()),
            DType::Narrow(narrow) => {
                let mask = ((1_u16 << narrow.bits()) - 1) as u8;
                Self::Narrow(narrow, bytes.iter().map(|byte| byte & mask).collect())
            }
        }
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        self.view() == other.view()
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// Elements that lie in a file mapped into memory: little-endian, aligned, read in place.
#[derive(Clone)]
pub struct Mapped {
    dtype: DType,
    file: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Mapped {
    /// The elements of `file` in `range`; `None` where they cannot be read in place: of a type that is not stored as it
    /// is computed with, not aligned for it, not whole, beyond the file, or on a big-endian host.
    pub fn new(dtype: DType, file: Arc<dyn AsRef<[u8]> + Send + Sync>, range: Range<usize>) -> Option<Self> {
        let bytes = (*file).as_ref().get(range.clone())?;
        let fits = !matches!(dtype, DType::Bool | DType::Narrow(_))
            && cfg!(target_endian = "little")
            && bytes.len().is_multiple_of(dtype.bytes())
            && bytes.as_ptr().addr().is_multiple_of(dtype.bytes());
        fits.then_some(Self { dtype, file, range })
    }

    /// The elements.
    pub fn view(&self) -> View<'_> {
        fn cast<T: FromBytes + zerocopy::Immutable>(bytes: &[u8]) -> &[T] {
            <[T]>::ref_from_bytes(bytes).expect("length and alignment were checked")
        }
        let bytes = &(*self.file).as_ref()[self.range.clone()];
        match self.dtype {
            DType::F32 => View::F32(cast(bytes)),
            DType::F64 => View::F64(cast(bytes)),
            DType::F16 => View::F16(cast(bytes)),
            DType::BF16 => View::BF16(cast(bytes)),
            DType::I8 => View::I8(cast(bytes)),
            DType::U8 => View::U8(bytes),
            DType::I16 => View::I16(cast(bytes)),
            DType::U16 => View::U16(cast(bytes)),
            DType::I32 => View::I32(cast(bytes)),
            DType::U32 => View::U32(cast(bytes)),
            DType::I64 => View::I64(cast(bytes)),
            DType::U64 => View::U64(cast(bytes)),
            DType::Bool | DType::Narrow(_) => unreachable!("refused when mapped"),
        }
    }
}
