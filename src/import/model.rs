//! A model as a whole: operator sets, constants, inputs, and its nodes one after the other.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use tinsmith_proto::{FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto};

use super::builder::Builder;
use super::external::{External, is_external};
use super::inputs::{Resolver, problem};
use super::schema::plain_domain;
use super::scope::{Body, Item, Opsets, Scopes};
use super::weights::Given;
use super::{ImportError, Options, metadata, outputs, tensors};
use crate::ir::{FloatGraph, Problem};
use crate::op::OpError;
use crate::op::tensor::Values;

/// The versions of the file format that are known: <https://onnx.ai/onnx/repo-docs/Versioning.html>.
const IR_VERSIONS: std::ops::RangeInclusive<i64> = 1..=14;
/// Problems that are listed; nobody reads more.
const LISTED: usize = 256;
/// The versions of ONNX's own operators whose meaning is known.
const OPSETS: std::ops::RangeInclusive<i64> = 1..=27;

/// A decoded model, built into a graph.
pub(super) fn import(
    mut model: ModelProto,
    file_bytes: usize,
    options: &Options,
) -> Result<FloatGraph, ImportError> {
    let mut onnx = model.graph.take().ok_or(ImportError::NoGraph)?;
    let initializers = std::mem::take(&mut onnx.initializer);
    let nodes = std::mem::take(&mut onnx.node);
    let mut import = Import {
        graph: Builder::new(
            &onnx.name,
            file_bytes,
            External::new(options.folder.clone()),
            &options.bounds,
        ),
        values: BTreeMap::new(),
        problems: Vec::new(),
        functions: BTreeMap::new(),
        calls: Vec::new(),
        depth: 0,
        inlined: 0,
        noted: BTreeSet::new(),
    };
    let mut notes = Vec::new();
    import.graph.graph.metadata = metadata::read(&model, &onnx, &mut notes);
    import.graph.graph.notes = notes;
    if !IR_VERSIONS.contains(&model.ir_version) {
        let (first, last) = (IR_VERSIONS.start(), IR_VERSIONS.end());
        let reason = format!("IR version {first} to {last} wanted, {} found", model.ir_version);
        let help = "save the model with a version of the onnx package that this tool knows";
        import.refuse(&onnx.name, "model", OpError::new(reason).with_help(help));
    }
    import.reserve_names(&onnx, &initializers);
    let opsets = import.opsets(&model.opset_import, &onnx);
    let mut given = Given::read(&options.weights, &mut import.problems);
    import.initializers(initializers, &onnx, &mut given);
    let options = import.given_inputs(&onnx, options, &mut given);
    given.finish(&mut import.problems);
    import.inputs(&onnx, &options);
    let read = onnx.output.iter().map(|info| info.name.clone());
    let body = Body::new(Cow::Owned(nodes), read, &opsets, None, None);
    import.body(&body);
    let notes = import.graph.external.note().into_iter().chain(given.note());
    import.graph.graph.notes.extend(notes.collect::<Vec<_>>());
    import.check_bounds();
    let outputs = outputs::outputs(&onnx, &import.values, &mut import.problems);
    if import.problems.is_empty() {
        match outputs::finish(import.graph, outputs) {
            Ok(graph) => return Ok(with_labels(graph)),
            Err(problems) => import.problems = problems,
        }
    }
    let more = import.problems.len().saturating_sub(LISTED);
    if more > 0 {
        import.problems.truncate(LISTED);
        let reason = format!("{more} problems more");
        import
            .problems
            .push(problem(&onnx.name, "model", OpError::new(reason)));
    }
    Err(ImportError::Problems(import.problems))
}

/// Says where the model's labels are not those of an output.
fn with_labels(mut graph: FloatGraph) -> FloatGraph {
    let labels = graph.metadata.labels.len();
    if labels > 0 && !graph.has_classes(labels) {
        graph.notes.push(format!(
            "the model brings {labels} class labels, but no output has as many classes"
        ));
    }
    graph
}

/// What a name of the model stands for: a tensor, or something unknown because of a problem that is already noted.
pub(super) type Value = Option<Tensor>;

/// A model being imported.
pub(super) struct Import<'m> {
    pub(super) graph: Builder,
    pub(super) values: Scopes,
    pub(super) problems: Vec<Problem>,
    pub(super) functions: BTreeMap<FunctionKey<'m>, &'m FunctionProto>,
    /// The functions being inlined, outermost first.
    pub(super) calls: Vec<FunctionKey<'m>>,
    /// Bodies within bodies at this point.
    pub(super) depth: usize,
    /// Nodes of bodies other than the model's graph, so far.
    pub(super) inlined: usize,
    /// Notes given so far: each is given once.
    noted: BTreeSet<String>,
}

impl<'m> Import<'m> {
    pub(super) fn refuse(&mut self, name: &str, what: &str, error: OpError) {
        self.problems.push(problem(name, what, error));
    }

    /// Tells the user something once.
    pub(super) fn note(&mut self, note: String) {
        if self.noted.insert(note.clone()) {
            self.graph.graph.notes.push(note);
        }
    }

    /// Keeps the model's names for the model's values, before helpers take any.
    fn reserve_names(&mut self, onnx: &GraphProto, nodes: &[NodeProto], initializers: &[TensorProto]) {
        let inputs = onnx.input.iter().map(|info| &info.name);
        let constants = initializers.iter().map(|tensor| &tensor.name);
        let outputs = nodes.iter().flat_map(|node| &node.output);
        let names: BTreeSet<&String> = inputs.chain(constants).chain(outputs).collect();
        for name in names {
            self.graph.reserve(name);
        }
    }

    /// The model's own functions.
    fn functions(&mut self, functions: &'m [FunctionProto]) {
        for function in functions {
            let key = (
                plain_domain(&function.domain),
                function.name.as_str(),
                function.overload.as_str(),
            );
            if self.functions.insert(key, function).is_some() {
                let error = OpError::new("a name of its own wanted, none found");
                self.refuse(&function.name, "function", error);
            }
        }
    }

    /// The version of each set of operators by its domain; those without a known one are left out.
    pub(super) fn opsets<'a>(
        &mut self,
        imports: &'a [OperatorSetIdProto],
        owner: &str,
        nodes: &[NodeProto],
    ) -> Opsets<'a> {
        let mut opsets = BTreeMap::new();
        for OperatorSetIdProto { domain, version } in imports {
            if opsets
                .insert(plain_domain(domain), *version)
                .is_some_and(|other| other != *version)
            {
                let reason = format!("one version of domain `{domain}` wanted, two found");
                self.refuse(owner, "model", OpError::new(reason));
            }
        }
        let uses_onnx = nodes.iter().any(|node| plain_domain(&node.domain).is_empty());
        let range = format!("opset {} to {}", OPSETS.start(), OPSETS.end());
        match opsets.get("") {
            None if uses_onnx => {
                let reason = format!("{range} of ONNX's operators wanted, none found");
                self.refuse(owner, "model", OpError::new(reason));
            }
            Some(version) if uses_onnx && !OPSETS.contains(version) => {
                let error = OpError::new(format!("{range} wanted, {version} found"));
                let help = "convert the model with onnx.version_converter, or export it with another opset";
                self.refuse(owner, "model", error.with_help(help));
                opsets.remove("");
            }
            _ => {}
        }
        opsets
    }

    fn initializers(&mut self, initializers: Vec<TensorProto>, onnx: &GraphProto, given: &mut Given<'_>) {
        // One at a time, so that the file's bytes and the values do not stand beside each other.
        for tensor in initializers {
            let name = tensor.name.clone();
            let value = match self.initializer(&tensor, given) {
                Ok(values) => {
                    drop(tensor);
                    let tensor = self.graph.tensor(name.clone(), values.ty(), Some(values));
                    Some(Item::Tensor(tensor))
                }
                Err(error) => {
                    self.refuse(&name, "initializer", error);
                    None
                }
            };
            if !self.values.insert(&name, value) || name.is_empty() {
                self.refuse(
                    &name,
                    "initializer",
                    OpError::new("a name of its own wanted, none found"),
                );
            }
        }
        self.sparse_initializers(onnx);
    }

    /// Refuses sparse constants.
    pub(super) fn sparse_initializers(&mut self, onnx: &GraphProto) {
        for sparse in &onnx.sparse_initializer {
            let name = sparse.values.as_ref().map_or("", |tensor| tensor.name.as_str());
            let error = OpError::new("a dense tensor wanted, a sparse one found");
            self.refuse(name, "initializer", error);
            self.values.insert(name, None);
        }
    }

    /// An initializer's values: those given for its name, or the model's own.
    fn initializer(&mut self, tensor: &TensorProto, given: &mut Given<'_>) -> Result<Values, OpError> {
        if !given.is_any() {
            return self.graph.values(tensor);
        }
        let declared = tensors::declared(tensor)?;
        if let Some(values) = given.values(&tensor.name, Some(&declared)) {
            return values;
        }
        if !is_external(tensor) && tensors::is_without_values(tensor) {
            return Err(OpError::new(format!(
                "{declared} in the weights wanted, none found"
            )));
        }
        self.graph.values(tensor)
    }

    /// The options with the given weights as values of the inputs of their names.
    fn given_inputs(&mut self, onnx: &GraphProto, options: &Options, given: &mut Given<'_>) -> Options {
        let mut options = options.clone();
        for info in &onnx.input {
            if self.values.find_here(&info.name).is_some() {
                continue;
            }
            match given.values(&info.name, None) {
                Some(Ok(values)) => {
                    options.values.entry(info.name.clone()).or_insert(values);
                }
                Some(Err(error)) => self.refuse(&info.name, "input", error),
                None => {}
            }
        }
        options
    }

    fn inputs(&mut self, onnx: &GraphProto, options: &Options) {
        // Up to IR version 3 constants are listed as inputs as well.
        let constants: BTreeSet<&str> = self.values.names_here().collect();
        let inputs: Vec<_> = onnx
            .input
            .iter()
            .filter(|info| !constants.contains(info.name.as_str()))
            .collect();
        let mut resolver = Resolver::new(&inputs, options);
        let mut resolved = Vec::new();
        for info in inputs {
            resolved.push((&info.name, resolver.resolve(info)));
        }
        resolver.check_values();
        self.graph.graph.notes.append(&mut resolver.notes);
        self.problems.append(&mut resolver.problems);
        for (name, ty) in resolved {
            let given = options.values.get(name);
            let tensor = ty.map(|ty| self.graph.tensor(name.clone(), ty, given.cloned()));
            if given.is_none() {
                self.graph.graph.inputs.extend(tensor);
            }
            if !self.values.insert(name, tensor.map(Item::Tensor)) || name.is_empty() {
                self.refuse(
                    name,
                    "input",
                    OpError::new("a name of its own wanted, none found"),
                );
            }
        }
    }

    fn nodes(&mut self, onnx: &GraphProto, model: &ModelProto, opsets: &BTreeMap<&str, i64>) {
        let makers = makers(onnx);
        let read: BTreeSet<&str> = onnx
            .node
            .iter()
            .flat_map(|node| &node.input)
            .chain(onnx.output.iter().map(|info| &info.name))
            .map(String::as_str)
            .collect();
        for node in &onnx.node {
            let made = match self.node(node, model, opsets, &makers) {
                Ok(made) => made,
                Err(error) => {
                    let operator = operator(node);
                    self.refuse(name(node), &operator, error);
                    None
                }
            };
            self.bind(node, made, &read);
        }
    }

    /// Notes bounds that no node asked for.
    fn check_bounds(&mut self) {
        let unused: Vec<String> = self.graph.unused_bounds().map(str::to_owned).collect();
        // A node that was passed over could not ask.
        if !self.problems.is_empty() {
            return;
        }
        for node in unused {
            let reason = "a bound was given for a node that is not there or finds no elements";
            self.refuse(&node, "node", OpError::new(reason));
        }
    }

    /// The tensors a node makes; `None` where an input is unknown.
    fn node(
        &mut self,
        node: &NodeProto,
        model: &ModelProto,
        opsets: &BTreeMap<&str, i64>,
        makers: &BTreeMap<&str, &NodeProto>,
    ) -> Result<Option<Vec<Tensor>>, OpError> {
        let domain = plain_domain(&node.domain);
        let Some(importer) = ops::importer(domain, &node.op_type) else {
            return Err(unknown(node, model));
        };
        let Some(&version) = opsets.get(domain) else {
            if domain.is_empty() {
                return Ok(None); // noted for the model as a whole
            }
            return Err(OpError::new(format!(
                "a version of domain `{domain}` wanted in the model, none found"
            )));
        };
        schema::check(node, version)?;
        let mut inputs = Vec::with_capacity(node.input.len());
        let mut known = true;
        for name in &node.input {
            match self.values.get(name) {
                _ if name.is_empty() => inputs.push(None),
                Some(Some(tensor)) => inputs.push(Some(*tensor)),
                Some(None) => known = false,
                None => return Err(missing(name, makers)),
            }
        }
        if !known {
            return Ok(None);
        }
        while let Some(None) = inputs.last() {
            inputs.pop();
        }
        let output = node.output.first().map_or("", String::as_str);
        self.graph.begin(name(node), output);
        let first_new = self.graph.len();
        let call = Call::new(&mut self.graph, node, version, inputs);
        let made = call.import(importer.import)?;
        // What the node did not make itself, it passed through: that keeps its name.
        for (&tensor, output) in made.iter().zip(&node.output) {
            if tensor.index() >= first_new && !output.is_empty() {
                self.graph.rename(tensor, output);
            }
        }
        Ok(Some(made))
    }

    /// Gives a node's outputs their names.
    fn bind(&mut self, node: &NodeProto, made: Option<Vec<Tensor>>, read: &BTreeSet<&str>) {
        for (index, output) in node.output.iter().enumerate() {
            if output.is_empty() {
                continue;
            }
            let tensor = made.as_ref().and_then(|made| made.get(index).copied());
            if self.values.contains_key(output) {
                let reason = format!("outputs that nothing else makes wanted, `{output}` found");
                self.refuse(name(node), &operator(node), OpError::new(reason));
                continue;
            }
            if made.is_some() && tensor.is_none() && read.contains(output.as_str()) {
                let reason = format!("outputs that are supported here wanted, `{output}` is read too");
                self.refuse(name(node), &operator(node), OpError::new(reason));
            }
            self.values.insert(output.clone(), tensor);
        }
    }
}

/// By name: the first node that makes a value.
fn makers(onnx: &GraphProto) -> BTreeMap<&str, &NodeProto> {
    let mut makers = BTreeMap::new();
    for node in &onnx.node {
        for output in &node.output {
            makers.entry(output.as_str()).or_insert(node);
        }
    }
    makers
}

/// Why a value cannot be read: nothing makes it, or only a later node does.
fn missing(value: &str, makers: &BTreeMap<&str, &NodeProto>) -> OpError {
    match makers.get(value) {
        Some(later) => OpError::new(format!(
            "nodes in the order of the data wanted; `{value}` is made later, by {} `{}`, or in a cycle",
            later.op_type,
            name(later)
        )),
        None => OpError::new(format!("input `{value}` wanted, which nothing makes")),
    }
}

/// Why an operator is refused that has no importer.
fn unknown(node: &NodeProto, model: &ModelProto) -> OpError {
    let function = model.functions.iter().any(|function| {
        function.name == node.op_type && plain_domain(&function.domain) == plain_domain(&node.domain)
    });
    let subgraph = node
        .attribute
        .iter()
        .any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty());
    if function {
        OpError::new("a function of the model, which is not supported")
            .with_help("inline the model's functions: onnx.inliner.inline_local_functions")
    } else if subgraph {
        OpError::new("an operator with a subgraph, which is not supported")
            .with_help("export the model without control flow")
    } else {
        OpError::new("unknown operator").with_help("`tinsmith ops` lists the supported ones")
    }
}

/// A node's name, or its first output's.
fn name(node: &NodeProto) -> &str {
    if node.name.is_empty() {
        node.output.first().map_or("", String::as_str)
    } else {
        &node.name
    }
}

/// A node's operator with its domain, where that is not ONNX's own.
fn operator(node: &NodeProto) -> String {
    match plain_domain(&node.domain) {
        "" => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    }
}
