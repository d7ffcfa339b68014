//! Values of the model that stand in files beside it: ONNX's external data. Nothing is read here: a [`Folder`] hands
//! out files, mapped into memory, and elements stay where they lie.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use tinsmith_proto::TensorProto;
use tinsmith_proto::tensor_proto::DataLocation;

use super::tensors::raw;
use crate::op::OpError;
use crate::op::tensor::{DType, Data, Mapped, Shape, Values};

/// The bytes of a file; mapped into memory, so that only what is looked at takes any.
pub type FileBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// The folder that the model stands in.
pub trait Folder: fmt::Debug + Send + Sync {
    /// The file at a path relative to the folder, as the model writes it.
    ///
    /// # Errors
    /// Where there is no such file, or where it may not be read because it is not inside the folder. What the model
    /// says is not to be trusted.
    fn open(&self, location: &str) -> Result<FileBytes, OpError>;
}

/// Values may be copied out of a file where they cannot be read in place, but not much more often than once: a small
/// model that names the same bytes again and again gets no large constants. Packed values grow by this much.
const COPIES_PER_FILE: usize = 4;

/// The files beside a model, as far as they are open.
#[derive(Default)]
pub(super) struct External {
    folder: Option<Arc<dyn Folder>>,
    opened: BTreeMap<String, Result<FileBytes, OpError>>,
    copies: Copies,
}

/// What had to be copied out of files.
#[derive(Default)]
pub(super) struct Copies {
    tensors: usize,
    bytes: usize,
    room: usize,
}

impl Copies {
    /// Takes note of a file from which something may be copied.
    pub(super) fn allow(&mut self, file: &FileBytes) {
        let bytes = (**file).as_ref().len();
        self.room = self.room.saturating_add(bytes.saturating_mul(COPIES_PER_FILE));
    }

    /// A tensor of a file: read in place, or copied where it is packed, not aligned, or Boolean.
    pub(super) fn values(
        &mut self,
        file: &FileBytes,
        range: Range<usize>,
        dtype: DType,
        shape: Shape,
    ) -> Result<Values, OpError> {
        let count = shape.iter().product();
        let data = match Mapped::new(dtype, Arc::clone(file), range.clone()) {
            Some(mapped) => Data::Mapped(mapped),
            None => {
                let bytes = (**file).as_ref().get(range).unwrap_or_default();
                let whole: usize = count * dtype.bytes();
                self.room = self.room.checked_sub(whole).ok_or_else(|| {
                    OpError::new("external data that each tensor has for itself wanted, shared data found")
                })?;
                self.tensors += 1;
                self.bytes += whole;
                raw(bytes, dtype, count)?
            }
        };
        if data.len() != count {
            return Err(OpError::new(format!(
                "{count} values for shape {shape:?} wanted, {} found",
                data.len()
            )));
        }
        Ok(Values::new(shape, data))
    }

    /// What the user should know of it.
    pub(super) fn note(&self) -> Option<String> {
        (self.tensors > 0).then(|| {
            format!(
                "{} tensors in other files ({} bytes) were copied, because they are packed, Boolean or not aligned",
                self.tensors, self.bytes
            )
        })
    }
}

/// Whether a tensor's values stand in another file.
pub(super) fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == DataLocation::External as i32 || !tensor.external_data.is_empty()
}

impl External {
    pub(super) fn new(folder: Option<Arc<dyn Folder>>) -> Self {
        Self {
            folder,
            ..Self::default()
        }
    }

    pub(super) fn note(&self) -> Option<String> {
        self.copies.note()
    }

    /// The values of a tensor of this type whose data stand in another file.
    pub(super) fn values(
        &mut self,
        tensor: &TensorProto,
        dtype: DType,
        shape: Shape,
    ) -> Result<Values, OpError> {
        let entry = |key: &str| -> Result<Option<&str>, OpError> {
            let mut found = tensor.external_data.iter().filter(|entry| entry.key == key);
            let value = found.next().map(|entry| entry.value.as_str());
            if found.next().is_some() {
                return Err(OpError::new(format!(
                    "external data with one `{key}` wanted, several found"
                )));
            }
            Ok(value)
        };
        // A checksum (of SHA-1) is not looked at: it would read all of the file.
        let location = entry("location")?.filter(|location| !location.is_empty());
        let location = location.ok_or_else(|| {
            OpError::new("external data with a `location` wanted, none found")
                .with_help("save the model again: its file is incomplete")
        })?;
        if !tensor.raw_data.is_empty() {
            return Err(OpError::new(format!(
                "values in one place wanted, found inside the model and in `{location}`"
            )));
        }
        let number = |key: &str| -> Result<Option<u64>, OpError> {
            let Some(text) = entry(key)? else {
                return Ok(None);
            };
            let number = text.parse().map_err(|_| {
                OpError::new(format!(
                    "external data with a number of bytes as `{key}` wanted, `{text}` found"
                ))
            })?;
            Ok(Some(number))
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let file = self.open(location)?;
        let size = (*file).as_ref().len() as u64;
        let end = match length {
            Some(length) => offset.checked_add(length),
            None => Some(size.max(offset)),
        };
        let end = end.filter(|&end| end <= size).ok_or_else(|| {
            let length = length.map_or_else(String::new, |length| format!(" and {length} bytes behind it"));
            OpError::new(format!(
                "external data inside `{location}` of {size} bytes wanted, offset {offset}{length} found"
            ))
            .with_help("the file is damaged, or belongs to another model")
        })?;
        // Below the file's size, which fits memory.
        let range = offset as usize..end as usize;
        let wanted = stored_bytes(dtype, shape.iter().product());
        if range.len() != wanted {
            return Err(OpError::new(format!(
                "{wanted} bytes for {dtype}{shape:?} wanted, {} found in `{location}`",
                range.len()
            )));
        }
        self.copies.values(&file, range, dtype, shape)
    }

    fn open(&mut self, location: &str) -> Result<FileBytes, OpError> {
        if let Some(opened) = self.opened.get(location) {
            return opened.clone();
        }
        let opened = match &self.folder {
            Some(folder) => folder.open(location),
            None => Err(
                OpError::new(format!("values inside the model wanted, found in `{location}`"))
                    .with_help("save the model in one file, without external data"),
            ),
        };
        if let Ok(file) = &opened {
            self.copies.allow(file);
        }
        self.opened.insert(location.to_owned(), opened.clone());
        opened
    }
}

/// Bytes that elements take in a file.
fn stored_bytes(dtype: DType, count: usize) -> usize {
    match dtype {
        DType::Narrow(narrow) => count.div_ceil(8 / narrow.bits()),
        dtype => count * dtype.bytes(),
    }
}
