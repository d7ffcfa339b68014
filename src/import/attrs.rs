//! Typed access to a node's attributes, which notes what nobody asked for: a new opset cannot be half understood.

use std::cell::Cell;

use tinsmith_proto::attribute_proto::AttributeType;
use tinsmith_proto::{AttributeProto, GraphProto, SparseTensorProto, TensorProto};

use crate::op::OpError;

/// The attributes of one node.
pub(super) struct Attrs<'a> {
    attributes: &'a [AttributeProto],
    asked: Vec<Cell<bool>>,
}

impl<'a> Attrs<'a> {
    pub(super) fn new(attributes: &'a [AttributeProto]) -> Self {
        Self {
            attributes,
            asked: vec![Cell::new(false); attributes.len()],
        }
    }

    /// The attribute of this name, which must be of this type.
    fn find(&self, name: &str, wanted: AttributeType) -> Result<Option<&'a AttributeProto>, OpError> {
        let Some(index) = self.attributes.iter().position(|a| a.name == name) else {
            return Ok(None);
        };
        self.asked[index].set(true);
        let attribute = &self.attributes[index];
        if !attribute.ref_attr_name.is_empty() {
            return Err(OpError::new(format!(
                "attribute `{name}` refers to a function's argument, outside of any function"
            )));
        }
        // Files of the first IR version leave the type out.
        if attribute.r#type != wanted as i32 && attribute.r#type != AttributeType::Undefined as i32 {
            let found = AttributeType::try_from(attribute.r#type)
                .map_or_else(|_| attribute.r#type.to_string(), |ty| ty.as_str_name().to_owned());
            return Err(OpError::new(format!(
                "attribute `{name}` of type {} wanted, {found} found",
                wanted.as_str_name()
            )));
        }
        Ok(Some(attribute))
    }

    /// Whether an attribute of this name is given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|attribute| attribute.name == name)
    }

    /// An integer, if given.
    pub(super) fn maybe_int(&self, name: &str) -> Result<Option<i64>, OpError> {
        Ok(self.find(name, AttributeType::Int)?.map(|a| a.i))
    }

    /// An integer.
    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, OpError> {
        Ok(self.maybe_int(name)?.unwrap_or(default))
    }

    /// An integer that must be given.
    pub(super) fn required_int(&self, name: &str) -> Result<i64, OpError> {
        self.maybe_int(name)?
            .ok_or_else(|| OpError::new(format!("attribute `{name}` wanted, none found")))
    }

    /// An integer that stands for false or true.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, OpError> {
        match self.maybe_int(name)? {
            None => Ok(default),
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            Some(other) => Err(OpError::new(format!(
                "attribute `{name}` of 0 or 1 wanted, {other} found"
            ))),
        }
    }

    /// Integers, if given.
    pub(super) fn maybe_ints(&self, name: &str) -> Result<Option<&'a [i64]>, OpError> {
        Ok(self.find(name, AttributeType::Ints)?.map(|a| a.ints.as_slice()))
    }

    /// A real number, if given.
    pub(super) fn maybe_float(&self, name: &str) -> Result<Option<f32>, OpError> {
        Ok(self.find(name, AttributeType::Float)?.map(|a| a.f))
    }

    /// A real number.
    pub(super) fn float(&self, name: &str, default: f32) -> Result<f32, OpError> {
        Ok(self.maybe_float(name)?.unwrap_or(default))
    }

    /// Real numbers, if given.
    pub(super) fn maybe_floats(&self, name: &str) -> Result<Option<&'a [f32]>, OpError> {
        Ok(self
            .find(name, AttributeType::Floats)?
            .map(|a| a.floats.as_slice()))
    }

    /// A word.
    pub(super) fn word(&self, name: &str, default: &'a str) -> Result<&'a str, OpError> {
        match self.find(name, AttributeType::String)? {
            None => Ok(default),
            Some(attribute) => std::str::from_utf8(&attribute.s)
                .map_err(|_| OpError::new(format!("attribute `{name}` in UTF-8 wanted"))),
        }
    }

    /// Words, none unless given.
    pub(super) fn words(&self, name: &str) -> Result<Vec<&'a str>, OpError> {
        let found = self.find(name, AttributeType::Strings)?;
        let words = found.iter().flat_map(|attribute| &attribute.strings);
        words
            .map(|word| {
                std::str::from_utf8(word)
                    .map_err(|_| OpError::new(format!("attribute `{name}` in UTF-8 wanted")))
            })
            .collect()
    }

    /// A tensor, if given.
    pub(super) fn maybe_tensor(&self, name: &str) -> Result<Option<&'a TensorProto>, OpError> {
        Ok(self.find(name, AttributeType::Tensor)?.and_then(|a| a.t.as_ref()))
    }

    /// A graph, if given.
    pub(super) fn maybe_graph(&self, name: &str) -> Result<Option<&'a GraphProto>, OpError> {
        Ok(self.find(name, AttributeType::Graph)?.and_then(|a| a.g.as_ref()))
    }

    /// A graph, which must be given.
    pub(super) fn graph(&self, name: &str) -> Result<&'a GraphProto, OpError> {
        self.maybe_graph(name)?
            .ok_or_else(|| OpError::new(format!("attribute `{name}` wanted, none found")))
    }

    /// A tensor of few values apart from zero, if given.
    pub(super) fn maybe_sparse(&self, name: &str) -> Result<Option<&'a SparseTensorProto>, OpError> {
        let found = self.find(name, AttributeType::SparseTensor)?;
        Ok(found.and_then(|a| a.sparse_tensor.as_ref()))
    }

    /// Takes note of attributes that change nothing here, whatever their type.
    pub(super) fn ignore(&self, names: &[&str]) {
        for (attribute, asked) in self.attributes.iter().zip(&self.asked) {
            if names.contains(&attribute.name.as_str()) {
                asked.set(true);
            }
        }
    }

    /// Fails with the names of attributes that nobody asked for.
    pub(super) fn finish(&self, version: i64) -> Result<(), OpError> {
        let left: Vec<String> = self
            .attributes
            .iter()
            .zip(&self.asked)
            .filter(|(_, asked)| !asked.get())
            .map(|(attribute, _)| format!("`{}`", attribute.name))
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(OpError::new(format!(
            "attributes of opset {version}, each once, wanted, {} found",
            left.join(", ")
        )))
    }
}
