//! NumPy arrays in files: read in pieces, so that memory does not grow with the array; written whole.

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use npyz::{Endianness, NpyHeader, Order, TypeChar, WriterBuilder};

use super::error::{DataError, DataProblem};
use crate::op::tensor::{DType, Data, Shape, Values};

/// The element types of files. Wider than [`crate::op::tensor::DType`]: data may be stored in more types than
/// models compute in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F16,
    F32,
    F64,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    Bool,
}

impl Element {
    fn of(kind: TypeChar, size: u64) -> Option<Self> {
        Some(match (kind, size) {
            (TypeChar::Float, 2) => Self::F16,
            (TypeChar::Float, 4) => Self::F32,
            (TypeChar::Float, 8) => Self::F64,
            (TypeChar::Int, 1) => Self::I8,
            (TypeChar::Uint, 1) => Self::U8,
            (TypeChar::Int, 2) => Self::I16,
            (TypeChar::Uint, 2) => Self::U16,
            (TypeChar::Int, 4) => Self::I32,
            (TypeChar::Uint, 4) => Self::U32,
            (TypeChar::Int, 8) => Self::I64,
            (TypeChar::Bool, 1) => Self::Bool,
            _ => return None,
        })
    }

    const fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    /// The same type among those that models compute in.
    pub(super) const fn model_type(self) -> Option<DType> {
        Some(match self {
            Self::F32 => DType::F32,
            Self::F64 => DType::F64,
            Self::I8 => DType::I8,
            Self::U8 => DType::U8,
            Self::I16 => DType::I16,
            Self::I32 => DType::I32,
            Self::I64 => DType::I64,
            Self::Bool => DType::Bool,
            Self::F16 | Self::U16 | Self::U32 => return None,
        })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I16 => "i16",
            Self::U16 => "u16",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::I64 => "i64",
            Self::Bool => "bool",
        }
    }
}

/// An array in a file, of which any run of elements can be read.
pub struct Array {
    /// The file, with the array's name where it is one of several: for messages.
    pub name: String,
    /// Extents.
    pub shape: Shape,
    pub(super) element: Element,
    big_endian: bool,
    data_start: u64,
    // Behind a lock, because reading moves the file's position; readers on several threads take turns.
    bytes: Mutex<Box<dyn ReadSeek>>,
}

/// Where an array's bytes are.
pub(super) trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{:?}", self.name, self.element.name(), self.shape)
    }
}

impl Array {
    /// Opens an `.npy` file.
    ///
    /// # Errors
    /// Where it is missing, no array, shorter than its header says, in Fortran order or of an unknown element type.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Self::from_reader(&name, file),
            Err(error) => Err(DataProblem::Unreadable(error).of(name)),
        }
    }

    /// The array that the bytes of an `.npy` file hold, called `name` in messages.
    ///
    /// # Errors
    /// As [`Array::open`].
    pub fn in_memory(name: &str, bytes: &'static [u8]) -> Result<Self, DataError> {
        Self::from_reader(name, Cursor::new(bytes))
    }

    /// The array that `bytes` hold, called `name` in messages.
    pub(super) fn from_reader(name: &str, bytes: impl ReadSeek + 'static) -> Result<Self, DataError> {
        Self::read_header(name.to_owned(), bytes).map_err(|problem| problem.of(name))
    }

    fn read_header(name: String, mut bytes: impl ReadSeek + 'static) -> Result<Self, DataProblem> {
        let header = NpyHeader::from_reader(&mut bytes).map_err(DataProblem::NotAnArray)?;
        let npyz::DType::Plain(kind) = header.dtype() else {
            return Err(unknown_element("record".into()));
        };
        let element = Element::of(kind.type_char(), kind.size_field())
            .ok_or_else(|| unknown_element(format!("`{kind}`")))?;
        let shape: Shape = header.shape().iter().map(|&extent| extent as usize).collect();
        if header.order() == Order::Fortran && shape.iter().filter(|&&extent| extent > 1).count() > 1 {
            return Err(DataProblem::FortranOrder);
        }
        let data_start = bytes.stream_position().map_err(DataProblem::Unreadable)?;
        let end = bytes.seek(SeekFrom::End(0)).map_err(DataProblem::Unreadable)?;
        let found_bytes = end.saturating_sub(data_start);
        let wanted_bytes = shape
            .iter()
            .try_fold(element.bytes() as u64, |bytes, &extent| {
                bytes.checked_mul(extent as u64)
            })
            .unwrap_or(u64::MAX);
        if found_bytes < wanted_bytes {
            return Err(DataProblem::Truncated {
                wanted_bytes,
                found_bytes,
            });
        }
        Ok(Self {
            name,
            shape,
            element,
            big_endian: kind.endianness() == Endianness::Big,
            data_start,
            bytes: Mutex::new(Box::new(bytes)),
        })
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All elements as reals.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn read_f64(&self) -> Result<Vec<f64>, DataError> {
        Ok(Values::new([self.len()], self.read(0, self.len())?).to_f64())
    }

    /// Elements `first..first + count`.
    pub(crate) fn read(&self, first: usize, count: usize) -> Result<Data, DataError> {
        let size = self.element.bytes();
        let mut bytes = vec![0; count * size];
        // A poisoned lock only means that another reader panicked; every read seeks first, so nothing is amiss.
        let mut stored = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        stored
            .seek(SeekFrom::Start(self.data_start + (first * size) as u64))
            .and_then(|_| stored.read_exact(&mut bytes))
            .map_err(|error| DataProblem::Unreadable(error).of(&self.name))?;
        drop(stored);
        if self.big_endian {
            bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        Ok(decode(self.element, &bytes))
    }
}

fn unknown_element(found: String) -> DataProblem {
    DataProblem::ElementType {
        found,
        wanted_by: "every input".into(),
        wanted: "of numbers".into(),
    }
}

/// Little-endian elements; those of types that no model computes in are widened without loss.
fn decode(element: Element, bytes: &[u8]) -> Data {
    fn each<const N: usize, T>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks().0.iter().map(|&chunk| from(chunk)).collect()
    }
    match element {
        Element::F16 => Data::F32(each(bytes, |chunk| half::f16::from_le_bytes(chunk).to_f32())),
        Element::F32 => Data::F32(each(bytes, f32::from_le_bytes)),
        Element::F64 => Data::F64(each(bytes, f64::from_le_bytes)),
        Element::I8 => Data::I8(each(bytes, i8::from_le_bytes)),
        Element::U8 => Data::U8(bytes.to_vec()),
        Element::I16 => Data::I16(each(bytes, i16::from_le_bytes)),
        Element::U16 => Data::I64(each(bytes, |chunk| u16::from_le_bytes(chunk).into())),
        Element::I32 => Data::I32(each(bytes, i32::from_le_bytes)),
        Element::U32 => Data::I64(each(bytes, |chunk| u32::from_le_bytes(chunk).into())),
        Element::I64 => Data::I64(each(bytes, i64::from_le_bytes)),
        Element::Bool => Data::Bool(bytes.iter().map(|&byte| byte != 0).collect()),
    }
}

/// The bytes of an `.npy` file with these elements.
///
/// # Panics
/// Never for memory that holds them: writing to memory does not fail.
pub fn encode(shape: &[usize], data: &Data) -> Vec<u8> {
    fn write<T: npyz::AutoSerialize + npyz::Serialize + Copy>(
        shape: &[u64],
        elements: &[T],
    ) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .shape(shape)
            .writer(&mut bytes)
            .begin_nd()?;
        writer.extend(elements.iter().copied())?;
        writer.finish()?;
        Ok(bytes)
    }
    let shape: Vec<u64> = shape.iter().map(|&extent| extent as u64).collect();
    match data {
        Data::F32(v) => write(&shape, v),
        Data::F64(v) => write(&shape, v),
        Data::I8(v) => write(&shape, v),
        Data::U8(v) => write(&shape, v),
        Data::I16(v) => write(&shape, v),
        Data::I32(v) => write(&shape, v),
        Data::I64(v) => write(&shape, v),
        Data::Bool(v) => write(&shape, v),
    }
    .expect("writing to memory does not fail")
}
