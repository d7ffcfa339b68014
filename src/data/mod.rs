//! Samples from files: `.npy` arrays and `.npz` archives, read one sample at a time.
//!
//! An array of the input's own shape is one sample; `[n, …shape]`, or `[n, …rest]` where the input's first axis is a
//! batch of 1, is n samples; a missing batch axis of 1 is added. Elements are the input's own type, or integers for
//! a float input, which become `(data − offset) · scale`.

pub mod coco;
pub mod csv;
mod error;
pub mod npy;
mod npz;

use std::path::{Path, PathBuf};

pub use error::{DataError, DataProblem};
use npy::Array;

use crate::ir::{SampleError, Samples};

use crate::op::data::with_reals;
use crate::op::element::Real;
use crate::op::tensor::{DType, Data, Shape, TensorType, Values};

/// What a model wants at one of its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The ONNX name.
    pub name: String,
    /// Shape and element type in the ONNX model.
    pub ty: TensorType,
}

/// A file, and the input it is for; the next one in the model's order where none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The input's name.
    pub input: Option<String>,
    /// The file.
    pub path: PathBuf,
}

impl Source {
    /// Reads `NAME=PATH` or `PATH`. A text that names an existing file is a path, whatever signs it holds.
    pub fn parse(text: &str) -> Self {
        match text.rsplit_once('=') {
            Some((name, path)) if !Path::new(text).exists() => Self {
                input: Some(name.to_owned()),
                path: path.into(),
            },
            _ => Self {
                input: None,
                path: text.into(),
            },
        }
    }
}

/// How integer data for a float input becomes reals: `(data − offset) · scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerScale {
    /// Real units of one step.
    pub scale: f64,
    /// The step that means zero.
    pub offset: f64,
}

impl Default for IntegerScale {
    fn default() -> Self {
        Self {
            scale: 1.0,
            offset: 0.0,
        }
    }
}

/// Samples in files.
#[derive(Debug)]
pub struct Files {
    /// One array per input, in the model's order.
    arrays: Vec<(Input, Array)>,
    /// Number of samples.
    count: usize,
    integers: IntegerScale,
}

/// Opens the files that hold samples for `inputs`.
///
/// # Errors
/// Where a file is missing, is no array, or does not fit its input; where an input has no file, or two.
pub fn open(inputs: &[Input], sources: &[Source], integers: IntegerScale) -> Result<Files, DataError> {
    let mut arrays = Vec::new();
    for source in sources {
        arrays.extend(open_source(source)?);
    }
    from_arrays(inputs, arrays, integers)
}

/// Samples from opened arrays, each with the name of the input it is for, or for the next one.
///
/// # Errors
/// Where an array does not fit its input; where an input has no array, or two.
pub fn from_arrays(
    inputs: &[Input],
    opened: Vec<(Option<String>, Array)>,
    integers: IntegerScale,
) -> Result<Files, DataError> {
    let listed = || {
        let names: Vec<String> = inputs.iter().map(|input| format!("`{}`", input.name)).collect();
        names.join(", ")
    };
    let mut slots: Vec<Option<Array>> = inputs.iter().map(|_| None).collect();
    let given: Vec<String> = opened.iter().map(|(_, array)| array.name.clone()).collect();
    for (name, array) in opened {
        let index = match name {
            Some(name) => match inputs.iter().position(|input| input.name == name) {
                Some(index) => index,
                None => {
                    return Err(DataProblem::NoSuchInput {
                        name,
                        inputs: listed(),
                    }
                    .of(array.name));
                }
            },
            None => match slots.iter().position(Option::is_none) {
                Some(index) => index,
                None => return Err(DataProblem::TooMany { inputs: listed() }.of(array.name)),
            },
        };
        if slots[index].is_some() {
            let name = inputs[index].name.clone();
            return Err(DataProblem::Twice { name }.of(array.name));
        }
        slots[index] = Some(array);
    }
    let mut arrays: Vec<(Input, Array)> = Vec::new();
    let mut count = 0;
    for (input, slot) in inputs.iter().zip(slots) {
        let Some(array) = slot else {
            let name = input.name.clone();
            return Err(DataProblem::Missing { name }.of(given.join(", ")));
        };
        check_element(input, &array)?;
        let found = count_samples(input, &array)?;
        if let Some((_, first)) = arrays.first()
            && found != count
        {
            let other = first.name.clone();
            return Err(DataProblem::Count {
                found,
                wanted: count,
                other,
            }
            .of(array.name));
        }
        count = found;
        arrays.push((input.clone(), array));
    }
    Ok(Files {
        arrays,
        count,
        integers,
    })
}

/// Every array of a file, with the name of the input it is for.
///
/// # Errors
/// Where the file is missing or holds no arrays.
pub fn open_source(source: &Source) -> Result<Vec<(Option<String>, Array)>, DataError> {
    let extension = source.path.extension().and_then(|extension| extension.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("npz") => npz::open(&source.path, source.input.as_deref()),
        Some("npy") => Ok(vec![(source.input.clone(), Array::open(&source.path)?)]),
        _ => Err(unknown_kind(&source.path)),
    }
}

/// A path that is neither kind: missing where nothing is there, else unknown.
fn unknown_kind(path: &Path) -> DataError {
    let problem = match path.metadata() {
        Ok(_) => DataProblem::UnknownKind,
        Err(error) => DataProblem::Unreadable(error),
    };
    problem.of(path.display().to_string())
}

/// Whether the array's elements can stand for the input's.
fn check_element(input: &Input, array: &Array) -> Result<(), DataError> {
    let wanted = input.ty.dtype;
    let found = array.element;
    // Half precision widens exactly; integers are scaled.
    let fits = found == wanted || wanted.is_float() && (!found.is_float() || found == DType::F16);
    if fits {
        Ok(())
    } else {
        Err(DataProblem::ElementType {
            found: array.element.name().into(),
            wanted_by: input.name.clone(),
            wanted: wanted.to_string(),
        }
        .of(&array.name))
    }
}

/// How many samples of `input` the array holds.
fn count_samples(input: &Input, array: &Array) -> Result<usize, DataError> {
    let found = &array.shape;
    let wanted = &input.ty.shape;
    // What one sample may look like: the input's shape, with or without its batch of 1.
    let mut samples: Vec<&[usize]> = vec![wanted];
    if let [1, rest @ ..] = wanted.as_slice() {
        samples.push(rest);
    }
    let is_one = samples.iter().any(|sample| sample == found);
    let is_many = |(_, rest): &(&usize, &[usize])| samples.contains(rest);
    let count = match found.split_first().filter(is_many) {
        _ if is_one => 1,
        Some((&n, _)) => n,
        None => {
            return Err(DataProblem::Shape {
                found: found.clone(),
                wanted_by: input.name.clone(),
                wanted: input.ty.clone(),
            }
            .of(&array.name));
        }
    };
    if count == 0 {
        let found: Shape = found.clone();
        return Err(DataProblem::Empty { found }.of(&array.name));
    }
    Ok(count)
}

impl Samples for Files {
    fn len(&self) -> usize {
        self.count
    }

    fn get(&self, index: usize) -> Result<Vec<Values>, SampleError> {
        self.arrays
            .iter()
            .map(|(input, array)| {
                let elements = input.ty.len();
                let data = array.read(index * elements, elements)?;
                let data = convert(data, input.ty.dtype, self.integers);
                match first_not_finite(&data) {
                    Some((element, value)) => Err(DataProblem::NotFinite {
                        input: input.name.clone(),
                        sample: index,
                        element,
                        value,
                    }
                    .of(&array.name)
                    .into()),
                    None => Ok(Values::new(input.ty.shape.clone(), data)),
                }
            })
            .collect()
    }
}

/// The elements in the input's type; integers for a float input are scaled, in f64 with one rounding at the end.
fn convert(data: Data, wanted: DType, integers: IntegerScale) -> Data {
    if data.dtype().is_float() || !wanted.is_float() {
        return if data.dtype() == wanted {
            data
        } else {
            data.cast(wanted)
        };
    }
    let steps = Values::new([data.len()], data).to_f64();
    let reals = steps
        .into_iter()
        .map(|step| (step - integers.offset) * integers.scale);
    Data::F64(reals.collect()).cast(wanted)
}

fn first_not_finite(data: &Data) -> Option<(usize, f64)> {
    let not_finite = |(_, value): &(usize, f64)| !value.is_finite();
    let reals = with_reals!(data, v => v.iter().map(|x| x.to_f64()).collect::<Vec<f64>>(), else return None);
    reals.into_iter().enumerate().find(not_finite)
}
