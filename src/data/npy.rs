//! NumPy arrays in files: read in pieces, so that memory does not grow with the array; written whole.

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use npyz::{Endianness, NpyHeader, Order, TypeChar, WriterBuilder};

use super::error::{DataError, DataProblem};
use crate::op::tensor::{DType, Data, Shape, Values, View};

/// The element type of a NumPy type's kind and bytes.
fn dtype_of(kind: TypeChar, bytes: u64) -> Option<DType> {
    Some(match (kind, bytes) {
        (TypeChar::Float, 2) => DType::F16,
        (TypeChar::Float, 4) => DType::F32,
        (TypeChar::Float, 8) => DType::F64,
        (TypeChar::Int, 1) => DType::I8,
        (TypeChar::Uint, 1) => DType::U8,
        (TypeChar::Int, 2) => DType::I16,
        (TypeChar::Uint, 2) => DType::U16,
        (TypeChar::Int, 4) => DType::I32,
        (TypeChar::Uint, 4) => DType::U32,
        (TypeChar::Int, 8) => DType::I64,
        (TypeChar::Uint, 8) => DType::U64,
        (TypeChar::Bool, 1) => DType::Bool,
        _ => return None,
    })
}

/// An array in a file, of which any run of elements can be read.
pub struct Array {
    /// The file, with the array's name where it is one of several: for messages.
    pub name: String,
    /// Extents.
    pub shape: Shape,
    pub(super) element: DType,
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

    /// [`Array::in_memory`] of bytes that were made for it.
    ///
    /// # Errors
    /// As [`Array::open`].
    pub fn owned(name: &str, bytes: Vec<u8>) -> Result<Self, DataError> {
        Self::from_reader(name, Cursor::new(bytes))
    }

    /// The array that `bytes` hold, called `name` in messages.
    pub(super) fn from_reader(name: &str, bytes: impl ReadSeek + 'static) -> Result<Self, DataError> {
        Self::read_header(name.to_owned(), bytes).map_err(|problem| problem.of(name))
    }

    fn read_header(name: String, mut bytes: impl ReadSeek + 'static) -> Result<Self, DataProblem> {
        check_header(&mut bytes).map_err(DataProblem::NotAnArray)?;
        let header = NpyHeader::from_reader(&mut bytes).map_err(DataProblem::NotAnArray)?;
        let npyz::DType::Plain(kind) = header.dtype() else {
            return Err(unknown_element("record".into()));
        };
        let element = dtype_of(kind.type_char(), kind.size_field())
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

    /// All elements as whole numbers: classes, groups.
    ///
    /// # Errors
    /// Where the file cannot be read, or an element is no whole number.
    pub fn read_integers(&self) -> Result<Vec<i64>, DataError> {
        self.integers(0, self.len())
    }

    /// Elements `first..first + count` as whole numbers.
    pub(crate) fn integers(&self, first: usize, count: usize) -> Result<Vec<i64>, DataError> {
        let values = Values::new([count], self.read(first, count)?);
        if let Some(integers) = values.to_i64() {
            return Ok(integers);
        }
        let whole = |(place, real): (usize, f64)| {
            let whole = real as i64;
            let problem = DataProblem::NotWhole {
                element: first + place,
                found: real,
            };
            (whole as f64 == real)
                .then_some(whole)
                .ok_or_else(|| problem.of(&self.name))
        };
        values.to_f64().into_iter().enumerate().map(whole).collect()
    }

    /// All of it.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn read_values(&self) -> Result<Values, DataError> {
        Ok(Values::new(self.shape.clone(), self.read(0, self.len())?))
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
        Ok(Data::from_le_bytes(self.element, &bytes))
    }
}

/// Refuses headers that are longer than any shape needs, before memory is taken for them.
fn check_header(bytes: &mut (impl Read + Seek)) -> io::Result<()> {
    const MOST: u32 = 1 << 16;
    let mut start = Vec::new();
    bytes.by_ref().take(12).read_to_end(&mut start)?;
    bytes.rewind()?;
    // Behind `\x93NUMPY`: the version, then the length, which has four bytes from version 2 on.
    if let [_, _, _, _, _, _, version, _, length @ ..] = start.as_slice()
        && *version >= 2
        && let Ok(length) = <[u8; 4]>::try_from(length)
        && u32::from_le_bytes(length) > MOST
    {
        let found = u32::from_le_bytes(length);
        return Err(io::Error::other(format!(
            "a header of at most {MOST} bytes wanted, {found} found"
        )));
    }
    Ok(())
}

fn unknown_element(found: String) -> DataProblem {
    DataProblem::ElementType {
        found,
        wanted_by: "every input".into(),
        wanted: "of numbers".into(),
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
    match data.view() {
        View::F32(v) => write(&shape, v),
        View::F64(v) => write(&shape, v),
        View::I8(v) => write(&shape, v),
        View::U8(v) => write(&shape, v),
        View::I16(v) => write(&shape, v),
        View::U16(v) => write(&shape, v),
        View::I32(v) => write(&shape, v),
        View::U32(v) => write(&shape, v),
        View::I64(v) => write(&shape, v),
        View::U64(v) => write(&shape, v),
        View::Bool(v) => write(&shape, v),
        // NumPy has no such types, or npyz does not write them.
        View::F16(v) => write(&shape, &v.iter().map(|x| x.to_f32()).collect::<Vec<f32>>()),
        View::BF16(v) => write(&shape, &v.iter().map(|x| x.to_f32()).collect::<Vec<f32>>()),
        View::Narrow(narrow, v) => write(
            &shape,
            &v.iter().map(|&code| narrow.decode(code)).collect::<Vec<f32>>(),
        ),
    }
    .expect("writing to memory does not fail")
}
