//! The model's own functions, inlined where they are called.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tinsmith_proto::{AttributeProto, FunctionProto, GraphProto, Message, NodeProto};

use super::model::{FunctionKey, Import};
use super::node::Made;
use super::schema::plain_domain;
use super::scope::{Body, Item, Value, graphs, name};
use crate::op::OpError;

/// Functions, branches and iterations within each other, at most: each takes a part of the stack.
pub(super) const MOST_DEPTH: usize = 32;

/// Values of a function's attributes, by name.
type Arguments<'a> = BTreeMap<&'a str, &'a AttributeProto>;

impl<'m> Import<'m> {
    /// The model's function that a node calls.
    pub(super) fn function(&self, node: &NodeProto) -> Option<&'m FunctionProto> {
        let key = (
            plain_domain(&node.domain),
            node.op_type.as_str(),
            node.overload.as_str(),
        );
        self.functions.get(&key).copied()
    }

    /// Takes a level of nesting, which the caller gives back.
    pub(super) fn enter(&mut self) -> Result<(), OpError> {
        if self.depth >= MOST_DEPTH {
            let reason =
                format!("at most {MOST_DEPTH} functions and subgraphs within each other wanted, more found");
            return Err(OpError::new(reason).with_help("inline them: onnx.inliner.inline_local_functions"));
        }
        self.depth += 1;
        Ok(())
    }

    /// Imports a function's nodes in place of a call. It sees nothing but its inputs and attributes.
    pub(super) fn call(
        &mut self,
        function: &'m FunctionProto,
        node: &NodeProto,
        inputs: Vec<Item>,
        body: &Body<'_>,
    ) -> Made {
        let key: FunctionKey<'m> = (plain_domain(&function.domain), &function.name, &function.overload);
        if let Some(first) = self.calls.iter().position(|&call| call == key) {
            let way: Vec<String> = self.calls[first..].iter().chain([&key]).map(full_name).collect();
            return Err(OpError::new(format!(
                "a function that does not call itself wanted, {} found",
                way.join(" → ")
            )));
        }
        if inputs.len() > function.input.len() || node.output.len() > function.output.len() {
            return Err(OpError::new(format!(
                "at most {} inputs and {} outputs of function `{}` wanted, {} and {} found",
                function.input.len(),
                function.output.len(),
                full_name(&key),
                inputs.len(),
                node.output.len()
            )));
        }
        let arguments = arguments(function, node)?;
        let nodes = if function.node.iter().any(refers) {
            // The copy is room that the file does not justify.
            self.graph.take_bytes(function.encoded_len())?;
            Cow::Owned(
                function
                    .node
                    .iter()
                    .map(|node| resolved(node, &arguments))
                    .collect(),
            )
        } else {
            Cow::Borrowed(function.node.as_slice())
        };
        self.enter()?;
        let opsets = self.opsets(&function.opset_import, &full_name(&key), &nodes);
        let wanted = node.output.iter().zip(&function.output);
        let wanted = wanted
            .filter(|(given, _)| !given.is_empty())
            .map(|(_, own)| own.clone());
        let prefix = format!("{}/", body.path(name(node)));
        let inner = Body::new(nodes, wanted, &opsets, Some(prefix), None);
        self.calls.push(key);
        let caller = self.values.open_function();
        let mut given = inputs.into_iter();
        for name in &function.input {
            self.values
                .insert(name, Some(given.next().unwrap_or(Item::Absent)));
        }
        self.body(&inner);
        let outputs: Result<Vec<Value>, OpError> = node
            .output
            .iter()
            .zip(&function.output)
            .map(|(given, own)| match self.values.find(own) {
                Some(value) => Ok(value.clone()),
                None if given.is_empty() => Ok(None),
                None => Err(OpError::new(format!(
                    "output `{own}` of function `{}` wanted, which nothing makes",
                    full_name(&key)
                ))),
            })
            .collect();
        self.values.close_function(caller);
        self.calls.pop();
        self.depth -= 1;
        outputs.map(Some)
    }
}

fn full_name(&(domain, name, overload): &FunctionKey<'_>) -> String {
    let name = match domain {
        "" => name.to_owned(),
        domain => format!("{domain}.{name}"),
    };
    match overload {
        "" => name,
        overload => format!("{name}:{overload}"),
    }
}

/// The function's attributes: as given, or their defaults.
fn arguments<'a>(function: &'a FunctionProto, node: &'a NodeProto) -> Result<Arguments<'a>, OpError> {
    let defaults = function.attribute_proto.iter();
    let mut arguments: Arguments<'_> = defaults.map(|default| (default.name.as_str(), default)).collect();
    for attribute in &node.attribute {
        let name = attribute.name.as_str();
        if !arguments.contains_key(name) && !function.attribute.contains(&attribute.name) {
            return Err(OpError::new(format!(
                "attributes of function `{}` wanted, `{name}` found",
                function.name
            )));
        }
        arguments.insert(name, attribute);
    }
    Ok(arguments)
}

/// Whether a node has an attribute that is the function's, or a node in the graphs of its attributes has.
fn refers(node: &NodeProto) -> bool {
    let inside = |attribute| graphs(attribute).flat_map(|graph| &graph.node).any(refers);
    let mut attributes = node.attribute.iter();
    attributes.any(|attribute| !attribute.ref_attr_name.is_empty() || inside(attribute))
}

/// The node with the values of the function's attributes; those that are not given are left out.
fn resolved(node: &NodeProto, arguments: &Arguments<'_>) -> NodeProto {
    let of_graph = |graph: &GraphProto| GraphProto {
        node: graph.node.iter().map(|node| resolved(node, arguments)).collect(),
        ..graph.clone()
    };
    let of_attribute = |attribute: &AttributeProto| {
        if attribute.ref_attr_name.is_empty() {
            let mut own = attribute.clone();
            own.g = attribute.g.as_ref().map(of_graph);
            own.graphs = attribute.graphs.iter().map(of_graph).collect();
            return Some(own);
        }
        let argument = arguments.get(attribute.ref_attr_name.as_str())?;
        Some(AttributeProto {
            name: attribute.name.clone(),
            ..AttributeProto::clone(argument)
        })
    };
    NodeProto {
        attribute: node.attribute.iter().filter_map(of_attribute).collect(),
        ..node.clone()
    }
}
