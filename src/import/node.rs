//! The nodes of a body, one after the other: each by its importer, as control flow, or by the model's own function.

use tinsmith_proto::NodeProto;

use super::builder::Tensor;
use super::model::Import;
use super::ops::{self, Call};
use super::schema::{self, plain_domain};
use super::scope::{Body, Item, Value, graphs, name};
use super::{control, sequence};
use crate::op::OpError;

/// Nodes that functions, branches and iterations may add in all.
const MOST_INLINED: usize = 1 << 15;

/// What a node makes: a value per output, those beyond them are not supported. `None` where an input is unknown.
pub(super) type Made = Result<Option<Vec<Value>>, OpError>;

/// A node that takes or makes more than tensors: with what it reads and where it stands.
pub(super) struct Node<'a> {
    pub(super) node: &'a NodeProto,
    pub(super) body: &'a Body<'a>,
    /// The opset of its domain.
    pub(super) version: i64,
    pub(super) inputs: Vec<Item>,
    /// Its name and its first output's in the graph.
    pub(super) names: (String, String),
}

impl Node<'_> {
    /// Input `index`, if given.
    pub(super) fn optional(&self, index: usize) -> Option<&Item> {
        match self.inputs.get(index) {
            None | Some(Item::Absent) => None,
            given => given,
        }
    }

    /// The tensor of input `index`; `None` where left out.
    pub(super) fn maybe_tensor(&self, index: usize) -> Result<Option<Tensor>, OpError> {
        self.optional(index).map(tensor).transpose()
    }

    /// The tensor of input `index`, which must be given.
    pub(super) fn tensor(&self, index: usize) -> Result<Tensor, OpError> {
        self.maybe_tensor(index)?
            .ok_or_else(|| OpError::new(format!("input {index} wanted, none found")))
    }
}

/// An item that must be a tensor.
pub(super) fn tensor(item: &Item) -> Result<Tensor, OpError> {
    match item {
        Item::Tensor(tensor) => Ok(*tensor),
        Item::Sequence(_) => Err(OpError::new("a tensor wanted, a sequence found")),
        Item::Absent => Err(OpError::new(
            "a tensor wanted, an optional value without one found",
        )),
    }
}

impl<'m> Import<'m> {
    /// Imports all nodes of a body into the innermost scope.
    pub(super) fn body(&mut self, body: &Body<'_>) {
        for node in body.nodes.iter() {
            let made = match self.node(node, body) {
                Ok(made) => made,
                Err(error) => {
                    self.refuse(&body.path(name(node)), &operator(node), error);
                    None
                }
            };
            self.bind(node, made, body);
        }
    }

    fn node(&mut self, node: &NodeProto, body: &Body<'_>) -> Made {
        if body.prefix.is_some() && !self.take_node(node)? {
            return Ok(None);
        }
        let domain = plain_domain(&node.domain);
        let importer = ops::importer(domain, &node.op_type);
        let of_items = item_importer(&operator(node));
        let function = match (importer, of_items) {
            // A function of the model stands for what is not known here.
            (None, None) => Some(self.function(node).ok_or_else(|| unknown(node))?),
            _ => None,
        };
        let version = match body.opsets.get(domain) {
            Some(&version) => version,
            None if function.is_some() => 0,
            None if domain.is_empty() => return Ok(None), // noted for the model as a whole
            None => {
                return Err(OpError::new(format!(
                    "a version of domain `{domain}` wanted in the model, none found"
                )));
            }
        };
        if function.is_none() {
            schema::check(node, version)?;
        }
        let Some(inputs) = self.inputs_of(node, body)? else {
            return Ok(None);
        };
        let outputs: Vec<String> = node
            .output
            .iter()
            .map(|output| self.value_name(output, body))
            .collect();
        let output = outputs.first().map_or("", String::as_str);
        let node_name = body.path(name(node));
        self.graph.begin(&node_name, output);
        self.graph.note_operator(operator(node));
        let first_new = self.graph.len();
        let passes_items = node.op_type == "Identity" && !matches!(inputs.first(), Some(Item::Tensor(_)));
        let made = if let Some(importer) = importer.filter(|_| !passes_items) {
            let tensors = inputs.iter().map(|item| match item {
                Item::Absent => Ok(None),
                item => tensor(item).map(Some),
            });
            let call = Call::new(&mut self.graph, node, version, tensors.collect::<Result<_, _>>()?);
            let made = call.import(importer.import)?;
            Some(
                made.into_iter()
                    .map(|tensor| Some(Item::Tensor(tensor)))
                    .collect(),
            )
        } else if let Some(function) = function {
            self.call(function, node, inputs, body)?
        } else if passes_items {
            Some(vec![Some(inputs.into_iter().next().unwrap_or(Item::Absent))])
        } else {
            let import = of_items.ok_or_else(|| unknown(node))?;
            let names = (node_name, output.to_owned());
            let call = Node {
                node,
                body,
                version,
                inputs,
                names,
            };
            import(self, &call)?
        };
        // What the node did not make itself, it passed through: that keeps its name.
        for (value, output) in made.iter().flatten().zip(&outputs) {
            if let Some(Item::Tensor(tensor)) = value
                && tensor.index() >= first_new
                && !output.is_empty()
            {
                self.graph.rename(*tensor, output);
            }
        }
        Ok(made)
    }

    /// Room for a node of a function, a branch or an iteration; false where there was none before, which is noted.
    fn take_node(&mut self, node: &NodeProto) -> Result<bool, OpError> {
        if self.inlined > MOST_INLINED {
            return Ok(false);
        }
        self.inlined += 1;
        if self.inlined > MOST_INLINED {
            return Err(OpError::new(format!(
                "at most {MOST_INLINED} nodes of functions, branches and iterations wanted, more found"
            )));
        }
        // Constants among its attributes are there once per node.
        let bytes = node.attribute.iter().filter_map(|attribute| attribute.t.as_ref());
        let bytes = bytes.map(|tensor| tensor.raw_data.len()).sum();
        self.graph.take_bytes(bytes)?;
        Ok(true)
    }

    /// Nodes that may still be inlined.
    pub(super) fn room(&self) -> usize {
        MOST_INLINED.saturating_sub(self.inlined)
    }

    /// Counts what an iteration takes besides its nodes.
    pub(super) fn take_room(&mut self, count: usize) {
        self.inlined = self.inlined.saturating_add(count).min(MOST_INLINED);
    }

    /// What a node reads, without what is left out at its end; `None` where something is unknown.
    fn inputs_of(&self, node: &NodeProto, body: &Body<'_>) -> Result<Option<Vec<Item>>, OpError> {
        let mut inputs = Vec::with_capacity(node.input.len());
        let mut known = true;
        for name in &node.input {
            match self.values.find(name) {
                _ if name.is_empty() => inputs.push(Item::Absent),
                Some(Some(item)) => inputs.push(item.clone()),
                Some(None) => known = false,
                None => return Err(missing(name, body)),
            }
        }
        while let Some(Item::Absent) = inputs.last() {
            inputs.pop();
        }
        Ok(known.then_some(inputs))
    }

    /// What a value is called in the graph: names of the model's own graph are kept for it.
    pub(super) fn value_name(&mut self, name: &str, body: &Body<'_>) -> String {
        if name.is_empty() || body.prefix.is_none() {
            name.to_owned()
        } else {
            self.graph.fresh_name(&body.path(name))
        }
    }

    /// Gives a node's outputs their names.
    fn bind(&mut self, node: &NodeProto, made: Option<Vec<Value>>, body: &Body<'_>) {
        for (index, output) in node.output.iter().enumerate() {
            if output.is_empty() {
                continue;
            }
            let value = made.as_ref().and_then(|made| made.get(index));
            if self.values.find_here(output).is_some() {
                let reason = format!("outputs that nothing else makes wanted, `{output}` found");
                self.refuse(&body.path(name(node)), &operator(node), OpError::new(reason));
                continue;
            }
            if made.is_some() && value.is_none() && body.reads(output) {
                let reason = format!("outputs that are supported here wanted, `{output}` is read too");
                self.refuse(&body.path(name(node)), &operator(node), OpError::new(reason));
            }
            self.values.insert(output, value.cloned().flatten());
        }
    }
}

/// Why a value cannot be read: nothing makes it, or only a later node does.
fn missing(value: &str, body: &Body<'_>) -> OpError {
    match body.maker(value) {
        Some(later) => OpError::new(format!(
            "nodes in the order of the data wanted; `{value}` is made later, by {} `{}`, or in a cycle",
            later.op_type,
            name(later)
        )),
        None => OpError::new(format!("input `{value}` wanted, which nothing makes")),
    }
}

/// Why an operator is refused that has no importer.
fn unknown(node: &NodeProto) -> OpError {
    if node
        .attribute
        .iter()
        .any(|attribute| graphs(attribute).next().is_some())
    {
        OpError::new("an operator with a subgraph, which is not supported")
            .with_help("export the model without it: of control flow, If, Loop and Scan are supported")
    } else {
        OpError::new("unknown operator").with_help("`tinsmith ops` lists the supported ones")
    }
}

/// A node's operator with its domain, where that is not ONNX's own.
pub(super) fn operator(node: &NodeProto) -> String {
    match plain_domain(&node.domain) {
        "" => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    }
}

/// Importers of nodes that take or make more than tensors.
pub(super) type ItemImporter = fn(&mut Import<'_>, &Node<'_>) -> Made;

fn item_importer(operator: &str) -> Option<ItemImporter> {
    let mut all = ITEM_IMPORTERS.into_iter().flatten();
    let found = all.find(|(name, _)| *name == operator)?;
    Some(found.1)
}

/// All of them, by operator, with its domain where that is not ONNX's own.
pub(super) const ITEM_IMPORTERS: [&[(&str, ItemImporter)]; 2] = [control::IMPORTERS, sequence::IMPORTERS];
