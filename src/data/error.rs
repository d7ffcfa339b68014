//! Why data cannot be used: the file, what was wanted, what was found.

use crate::ir::SampleError;
use crate::op::tensor::{Shape, TensorType};

/// Why a data file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct DataError {
    /// The file, with the array's name where it is one of several.
    pub file: String,
    /// What is wrong with it.
    pub problem: DataProblem,
}

/// What is wrong with a data file.
#[derive(Debug, thiserror::Error)]
pub enum DataProblem {
    /// It cannot be opened or read.
    #[error("cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// It is of a kind that is not read.
    #[error("is not a file of a known kind; wanted .npy or .npz")]
    UnknownKind,
    /// It is no NumPy array.
    #[error("is not a NumPy array: {0}")]
    NotAnArray(std::io::Error),
    /// It is no table of comma-separated values.
    #[error("is not a table of comma-separated values: {0}")]
    NotCsv(String),
    /// It is no file of labelled boxes.
    #[error("is not COCO JSON with images, categories and annotations: {0}")]
    NotCoco(String),
    /// A cell of a table is no finite number.
    #[error("line {line}, column {column}: `{found}` is no finite number")]
    NotANumber {
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: usize,
        /// What is there.
        found: String,
    },
    /// An element that should be a class or a group is no whole number.
    #[error("holds {found} at element {element}; whole numbers wanted")]
    NotWhole {
        /// Index of the element.
        element: usize,
        /// The value.
        found: f64,
    },
    /// A row of a table is shorter or longer than the ones before it.
    #[error("line {line} has {found} numbers; the rows before it have {wanted}")]
    Ragged {
        /// The line, from 1.
        line: u64,
        /// Numbers of the row.
        found: usize,
        /// Numbers of the rows before it.
        wanted: usize,
    },
    /// It ends before its header says.
    #[error("ends early; its header promises {wanted_bytes} bytes, {found_bytes} are there")]
    Truncated {
        /// Bytes that the header promises.
        wanted_bytes: u64,
        /// Bytes in the file.
        found_bytes: u64,
    },
    /// It would grow out of all proportion when unpacked, or beyond what it says.
    #[error("would grow from {stored} bytes to {bytes} or more when unpacked, as no array of data does")]
    Bomb {
        /// Bytes that the archive's arrays take up to this one when unpacked.
        bytes: u64,
        /// Bytes of the archive.
        stored: u64,
    },
    /// It is stored in Fortran order.
    #[error("is stored in Fortran order; wanted C order")]
    FortranOrder,
    /// Its element type is not one that can stand for the input's.
    #[error("holds {found} elements; `{wanted_by}` is {wanted}")]
    ElementType {
        /// The element type stored.
        found: String,
        /// Who wants another.
        wanted_by: String,
        /// What it wants.
        wanted: String,
    },
    /// Its shape is neither one sample nor several.
    #[error("has shape {found:?}; `{wanted_by}` is {wanted}, so one sample is {:?} and n samples are [n, …]", .wanted.shape)]
    Shape {
        /// The shape stored.
        found: Shape,
        /// The input.
        wanted_by: String,
        /// Its type.
        wanted: TensorType,
    },
    /// It holds no sample.
    #[error("holds no sample; its shape is {found:?}")]
    Empty {
        /// The shape stored.
        found: Shape,
    },
    /// A sample holds a NaN or an infinity.
    #[error("sample {sample} of `{input}` holds {value} at element {element}")]
    NotFinite {
        /// The input that it is for.
        input: String,
        /// Index of the sample.
        sample: usize,
        /// Index of the element within it.
        element: usize,
        /// The value.
        value: f64,
    },
    /// Another number of samples than the file before it.
    #[error("holds {found} samples; {other} holds {wanted}")]
    Count {
        /// Samples here.
        found: usize,
        /// Samples there.
        wanted: usize,
        /// The other file.
        other: String,
    },
    /// Data for an input that the model has not.
    #[error("is given for `{name}`, but the model's inputs are {inputs}")]
    NoSuchInput {
        /// The name given.
        name: String,
        /// The model's, as a list.
        inputs: String,
    },
    /// An input without data.
    #[error("gives nothing for input `{name}`")]
    Missing {
        /// The input.
        name: String,
    },
    /// More than one file for an input.
    #[error("is a second file for input `{name}`")]
    Twice {
        /// The input.
        name: String,
    },
    /// More files than inputs.
    #[error("is one file too many; the model's inputs are {inputs}")]
    TooMany {
        /// The model's inputs, as a list.
        inputs: String,
    },
}

impl DataProblem {
    /// The same, said of a file.
    pub(super) fn of(self, file: impl Into<String>) -> DataError {
        DataError {
            file: file.into(),
            problem: self,
        }
    }

    /// The way out, if there is one.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::FortranOrder => "save `np.ascontiguousarray(x)`".into(),
            Self::ElementType { wanted, .. } if wanted == "f32" => {
                "save `x.astype(np.float32)`; integers are taken too, as (x − offset) · scale".into()
            }
            Self::ElementType { wanted, .. } => format!("save the array with element type {wanted}"),
            Self::Missing { name } | Self::Twice { name } => {
                format!("give one file per input, in the model's order or as `{name}=FILE.npy`")
            }
            Self::NotFinite { .. } => "look for the sample in the preprocessing that made it".into(),
            Self::Bomb { .. } => "if it is data after all, unpack it and give the .npy files".into(),
            Self::UnknownKind => "save it with `np.save` or `np.savez`".into(),
            Self::Unreadable(_)
            | Self::NotAnArray(_)
            | Self::NotCsv(_)
            | Self::NotCoco(_)
            | Self::NotANumber { .. }
            | Self::NotWhole { .. }
            | Self::Ragged { .. }
            | Self::Truncated { .. }
            | Self::Shape { .. }
            | Self::Empty { .. }
            | Self::Count { .. }
            | Self::NoSuchInput { .. }
            | Self::TooMany { .. } => return None,
        })
    }
}

impl From<DataError> for SampleError {
    fn from(error: DataError) -> Self {
        let help = error.problem.help().map(|help| format!(" ({help})"));
        Self {
            source_name: error.file,
            reason: format!("{}{}", error.problem, help.unwrap_or_default()),
        }
    }
}
