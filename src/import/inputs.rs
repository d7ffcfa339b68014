//! Inputs of the model, and numbers for the dimensions it leaves open.

use std::collections::{BTreeMap, BTreeSet};

use tinsmith_proto::ValueInfoProto;
use tinsmith_proto::tensor_shape_proto::dimension;
use tinsmith_proto::type_proto;

use super::Options;
use super::tensors::{check_rank, dtype, elements};
use crate::ir::Problem;
use crate::op::OpError;
use crate::op::tensor::{Shape, TensorType, Values};

/// One extent as the model gives it.
enum Extent<'a> {
    Number(usize),
    /// A name, empty where there is none.
    Open(&'a str),
}

/// The tensor type of a value as far as the model tells.
struct Declared<'a> {
    element: i32,
    /// `None` where even the rank is open.
    shape: Option<Vec<Extent<'a>>>,
}

impl<'a> Declared<'a> {
    fn of(info: &'a ValueInfoProto) -> Result<Self, OpError> {
        let value = info.r#type.as_ref().and_then(|ty| ty.value.as_ref());
        let tensor = match value {
            Some(type_proto::Value::TensorType(tensor)) => tensor,
            Some(_) => return Err(OpError::new("a dense tensor wanted, another kind of value found")),
            None => return Err(OpError::new("a type wanted, none found")),
        };
        let shape = tensor.shape.as_ref().map(|shape| {
            let extents = shape.dim.iter().map(|dim| match &dim.value {
                // Some exporters write −1 for what is open.
                Some(dimension::Value::DimValue(n)) => {
                    usize::try_from(*n).map_or(Extent::Open(""), Extent::Number)
                }
                // Others write the same `?` for any number of dimensions: no name either.
                Some(dimension::Value::DimParam(name)) if name == "?" => Extent::Open(""),
                Some(dimension::Value::DimParam(name)) => Extent::Open(name),
                None => Extent::Open(""),
            });
            extents.collect()
        });
        Ok(Self {
            element: tensor.elem_type,
            shape,
        })
    }
}

/// Gives numbers to what the model's inputs leave open.
pub(super) struct Resolver<'a> {
    options: &'a Options,
    /// Numbers of named dimensions: given ones, and those of first axes.
    dims: BTreeMap<&'a str, usize>,
    /// Every name that the inputs' dimensions have.
    names: BTreeSet<&'a str>,
    /// Names of the inputs.
    inputs: BTreeSet<&'a str>,
    pub(super) notes: Vec<String>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Resolver<'a> {
    /// Looks through all inputs, because a name on the first axis of one may stand elsewhere in another.
    pub(super) fn new(inputs: &[&'a ValueInfoProto], options: &'a Options) -> Self {
        let mut resolver = Self {
            options,
            dims: BTreeMap::new(),
            names: BTreeSet::new(),
            inputs: inputs.iter().map(|info| info.name.as_str()).collect(),
            notes: Vec::new(),
            problems: Vec::new(),
        };
        for info in inputs {
            let shape = Declared::of(info).ok().and_then(|declared| declared.shape);
            for (axis, extent) in shape.iter().flatten().enumerate() {
                if let &Extent::Open(name) = extent
                    && !name.is_empty()
                {
                    resolver.names.insert(name);
                    if axis == 0 {
                        resolver.dims.insert(name, 1);
                    }
                }
            }
        }
        for (name, &extent) in &options.dims {
            if extent == 0 {
                resolver.refuse(name, "dimension", OpError::new("at least 1 wanted, 0 given"));
            }
            if resolver.names.contains(name.as_str()) {
                resolver.dims.insert(name, extent.max(1));
            } else {
                let known: Vec<String> = resolver.names.iter().map(|name| format!("`{name}`")).collect();
                let known = if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                };
                let reason = format!("a symbolic dimension of an input wanted; the model has {known}");
                resolver.refuse(name, "dimension", OpError::new(reason));
            }
        }
        for name in options.shapes.keys() {
            if !inputs.iter().any(|info| info.name == *name) {
                let known: Vec<String> = inputs.iter().map(|info| format!("`{}`", info.name)).collect();
                let reason = format!(
                    "a shape was given for an input that the model has not; it has {}",
                    known.join(", ")
                );
                resolver.refuse(name, "input", OpError::new(reason));
            }
        }
        resolver
    }

    fn refuse(&mut self, name: &str, what: &str, error: OpError) {
        self.problems.push(problem(name, what, error));
    }

    /// Notes values given for inputs that the model has not.
    pub(super) fn check_values(&mut self) {
        for name in self.options.values.keys() {
            if !self.inputs.contains(name.as_str()) {
                let known: Vec<String> = self.inputs.iter().map(|name| format!("`{name}`")).collect();
                let reason = format!(
                    "a value was given for an input that the model has not; it has {}",
                    known.join(", ")
                );
                self.refuse(name, "input", OpError::new(reason));
            }
        }
    }

    /// The type of an input; what stands in the way is noted, all of it.
    pub(super) fn resolve(&mut self, info: &'a ValueInfoProto) -> Option<TensorType> {
        let declared = match Declared::of(info) {
            Ok(declared) => declared,
            Err(error) => {
                self.refuse(&info.name, "input", error);
                return None;
            }
        };
        let element = dtype(declared.element);
        let value = self.options.values.get(&info.name).map(Values::ty);
        if let (Some(value), Ok(dtype)) = (&value, &element)
            && value.dtype != *dtype
        {
            let reason = format!("a value of the declared type {dtype} wanted, {value} given");
            self.refuse(&info.name, "input", OpError::new(reason));
        }
        let given = value.map(|ty| ty.shape);
        let shape = match given.as_ref().or(self.options.shapes.get(&info.name)) {
            Some(given) => agree(&declared, given).map_err(|error| vec![error]),
            None => self.fill(&info.name, &declared),
        };
        match (element, shape) {
            (Ok(dtype), Ok(shape)) => Some(TensorType { shape, dtype }),
            (element, shape) => {
                let errors = element.err().into_iter().chain(shape.err().into_iter().flatten());
                for error in errors {
                    self.refuse(&info.name, "input", error);
                }
                None
            }
        }
    }

    /// The declared shape with numbers for open dimensions.
    fn fill(&mut self, input: &str, declared: &Declared<'_>) -> Result<Shape, Vec<OpError>> {
        let Some(declared) = &declared.shape else {
            let error = OpError::new("a shape wanted, none found in the model");
            return Err(vec![error.with_help(format!("give it: --shape {input}=…"))]);
        };
        check_rank(declared.len()).map_err(|error| vec![error])?;
        let mut shape = Shape::with_capacity(declared.len());
        let mut errors = Vec::new();
        for (axis, extent) in declared.iter().enumerate() {
            let name = match *extent {
                Extent::Number(n) => {
                    shape.push(n);
                    continue;
                }
                Extent::Open(name) => name,
            };
            let named = if name.is_empty() {
                String::new()
            } else {
                format!(" `{name}`")
            };
            if let Some(&n) = self.dims.get(name) {
                shape.push(n);
            } else if axis == 0 {
                shape.push(1);
            } else {
                let help = if name.is_empty() {
                    format!("give the shape: --shape {input}=…")
                } else {
                    format!("give it: --dim {name}=…")
                };
                let reason = format!("a number for axis {axis} wanted, the symbolic dimension{named} found");
                errors.push(OpError::new(reason).with_help(help));
                continue;
            }
            if axis == 0 && !self.options.dims.contains_key(name) {
                self.notes.push(format!(
                    "input `{input}`: its first axis, the symbolic dimension{named}, is taken as 1"
                ));
            }
        }
        if errors.is_empty() {
            elements(&shape).map_err(|error| vec![error])?;
            return Ok(shape);
        }
        Err(errors)
    }
}

/// A shape given by the user, where it fits the declared one.
fn agree(declared: &Declared<'_>, given: &[usize]) -> Result<Shape, OpError> {
    let fits = declared.shape.as_ref().is_none_or(|declared| {
        declared.len() == given.len()
            && declared.iter().zip(given).all(|(extent, &given)| match extent {
                Extent::Number(n) => *n == given,
                Extent::Open(_) => true,
            })
    });
    if !fits {
        let wanted: Vec<String> = declared
            .shape
            .iter()
            .flatten()
            .map(|extent| match extent {
                Extent::Number(n) => n.to_string(),
                Extent::Open("") => "?".to_owned(),
                Extent::Open(name) => (*name).to_owned(),
            })
            .collect();
        return Err(OpError::new(format!(
            "a shape like [{}] wanted, {given:?} given",
            wanted.join(", ")
        )));
    }
    elements(given)?;
    Ok(given.to_vec())
}

/// The declared type of a value, where all of it is declared.
pub(super) fn declared_type(info: &ValueInfoProto) -> Option<TensorType> {
    let declared = Declared::of(info).ok()?;
    let extents = declared.shape?.into_iter().map(|extent| match extent {
        Extent::Number(n) => Some(n),
        Extent::Open(_) => None,
    });
    let shape = extents.collect::<Option<Shape>>()?;
    elements(&shape).ok()?;
    Some(TensorType {
        shape,
        dtype: dtype(declared.element).ok()?,
    })
}

/// Refuses an output whose declared type is no dense tensor's; none declared is fine.
pub(super) fn check_dense(info: &ValueInfoProto) -> Result<(), OpError> {
    if info.r#type.as_ref().is_some_and(|ty| ty.value.is_some()) {
        Declared::of(info)?;
    }
    Ok(())
}

/// The declared element type of an output, where there is one.
pub(super) fn declared_element(info: &ValueInfoProto) -> Option<i32> {
    let declared = Declared::of(info).ok()?;
    (declared.element != 0).then_some(declared.element)
}

/// A problem of something that is no node.
pub(super) fn problem(name: &str, what: &str, error: OpError) -> Problem {
    Problem {
        node: name.to_owned(),
        operator: what.to_owned(),
        reason: error.reason,
        help: error.help,
    }
}
