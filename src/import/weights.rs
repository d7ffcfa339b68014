//! Weights that are given beside the model, by name: safetensors files.
//!
//! A file's values take the place of the initializer of the same name, or make a constant of the input of that name,
//! whatever the model itself has there. Element type and shape must be those that the model declares.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use safetensors::{Dtype, SafeTensors};

use super::external::{Copies, FileBytes};
use super::inputs::problem;
use super::tensors::elements;
use crate::ir::Problem;
use crate::op::OpError;
use crate::op::tensor::{DType, Narrow, Shape, TensorType, Values};

/// A safetensors file.
#[derive(Clone)]
pub struct Weights {
    /// Its name, for messages.
    pub name: String,
    /// Its bytes, mapped into memory.
    pub bytes: FileBytes,
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} bytes", self.name, (*self.bytes).as_ref().len())
    }
}

/// A tensor in a file.
struct Entry {
    file: usize,
    /// `None` of types that ONNX has not.
    dtype: Option<DType>,
    shape: Shape,
    range: Range<usize>,
    used: bool,
}

/// The tensors of all files, by name.
pub(super) struct Given<'a> {
    files: &'a [Weights],
    entries: BTreeMap<String, Entry>,
    copies: Copies,
}

impl<'a> Given<'a> {
    /// Reads the files' headers; what is wrong with them is noted.
    pub(super) fn read(files: &'a [Weights], problems: &mut Vec<Problem>) -> Self {
        let mut given = Self {
            files,
            entries: BTreeMap::new(),
            copies: Copies::default(),
        };
        for (index, file) in files.iter().enumerate() {
            given.copies.allow(&file.bytes);
            if let Err(error) = given.read_file(index, problems) {
                problems.push(problem(&file.name, "weights", error));
            }
        }
        given
    }

    fn read_file(&mut self, index: usize, problems: &mut Vec<Problem>) -> Result<(), OpError> {
        let file = &self.files[index];
        let bytes = (*file.bytes).as_ref();
        let (header, metadata) = SafeTensors::read_metadata(bytes)
            .map_err(|error| OpError::new(format!("a safetensors file wanted; {error}")))?;
        let start = header + size_of::<u64>();
        let tensors: BTreeMap<String, _> = metadata.tensors().into_iter().collect();
        for (name, info) in tensors {
            let (from, to) = info.data_offsets;
            let entry = Entry {
                file: index,
                dtype: dtype(info.dtype),
                shape: info.shape.clone(),
                range: start + from..start + to,
                used: false,
            };
            if let Some(other) = self.entries.get(&name) {
                let reason = format!(
                    "a tensor in one file wanted, found in `{}` too",
                    self.files[other.file].name
                );
                problems.push(problem(&name, &file.name, OpError::new(reason)));
            }
            self.entries.insert(name, entry);
        }
        Ok(())
    }

    /// Whether there are any files.
    pub(super) fn is_any(&self) -> bool {
        !self.files.is_empty()
    }

    /// The values for a name, which must be of this type where the model says one; `None` where no file has it.
    pub(super) fn values(
        &mut self,
        name: &str,
        wanted: Option<&TensorType>,
    ) -> Option<Result<Values, OpError>> {
        let entry = self.entries.get_mut(name)?;
        entry.used = true;
        let file = &self.files[entry.file];
        let found = match entry.dtype {
            Some(dtype) => TensorType::new(dtype, entry.shape.clone()),
            None => {
                let reason = format!(
                    "numbers or Booleans wanted, another type found in `{}`",
                    file.name
                );
                return Some(Err(OpError::new(reason)));
            }
        };
        if let Some(wanted) = wanted.filter(|&wanted| *wanted != found) {
            let reason = format!("{wanted} wanted, {found} found in `{}`", file.name);
            let help = "give the weights that the model was exported with";
            return Some(Err(OpError::new(reason).with_help(help)));
        }
        if let Err(error) = elements(&found.shape) {
            return Some(Err(error));
        }
        let bytes = Arc::clone(&file.bytes);
        let range = entry.range.clone();
        Some(self.copies.values(&bytes, range, found.dtype, found.shape))
    }

    /// Notes names that the model has not.
    pub(super) fn finish(&self, problems: &mut Vec<Problem>) {
        for (index, file) in self.files.iter().enumerate() {
            let left: Vec<String> = self
                .entries
                .iter()
                .filter(|(_, entry)| entry.file == index && !entry.used)
                .map(|(name, _)| format!("`{name}`"))
                .collect();
            if !left.is_empty() {
                let reason = format!(
                    "names of the model's initializers wanted, {} found",
                    left.join(", ")
                );
                let error = OpError::new(reason).with_help(
                    "the names must be those in the ONNX file; exporters that fold or rename weights break the match",
                );
                problems.push(problem(&file.name, "weights", error));
            }
        }
    }

    /// What the user should know.
    pub(super) fn note(&self) -> Option<String> {
        self.copies.note()
    }
}

/// The element type of a safetensors type.
fn dtype(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::BOOL => DType::Bool,
        Dtype::U8 => DType::U8,
        Dtype::I8 => DType::I8,
        Dtype::I16 => DType::I16,
        Dtype::U16 => DType::U16,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I32 => DType::I32,
        Dtype::U32 => DType::U32,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::I64 => DType::I64,
        Dtype::U64 => DType::U64,
        Dtype::F4 => DType::Narrow(Narrow::F4E2M1),
        Dtype::F8_E5M2 => DType::Narrow(Narrow::F8E5M2),
        Dtype::F8_E4M3 => DType::Narrow(Narrow::F8E4M3Fn),
        Dtype::F8_E8M0 => DType::Narrow(Narrow::F8E8M0),
        Dtype::F8_E4M3FNUZ => DType::Narrow(Narrow::F8E4M3FnUz),
        Dtype::F8_E5M2FNUZ => DType::Narrow(Narrow::F8E5M2FnUz),
        // Complex numbers and 6-bit floats, and whatever is added later.
        _ => return None,
    })
}
