//! A model as a whole: operator sets, constants, inputs, and its nodes one after the other.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use tinsmith_proto::{FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto};

use super::builder::Builder;
use super::encodings::apply;
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
    let mut notes = Vec::new();
    if let Some(encodings) = &options.encodings {
        let mut external = External::new(options.folder.clone());
        let (problems, found) = apply(encodings, &mut onnx, &mut model.opset_import, &mut external);
        if !problems.is_empty() {
            return Err(ImportError::Problems(problems));
        }
        notes = found;
    }
    let initializers = std::mem::take(&mut onnx.initializer);
    let nodes = std::mem::take(&mut onnx.node);
    let mut import = Import {
        graph: Builder::new(
            &onnx.name,
            file_bytes,
            External::new(options.folder.clone()),
            &options.bounds,
        ),
        values: Scopes::default(),
        problems: Vec::new(),
        functions: BTreeMap::new(),
        calls: Vec::new(),
        depth: 0,
        inlined: 0,
        loops: 0,
        unroll: options.unroll,
        noted: BTreeSet::new(),
    };
    import.graph.graph.metadata = metadata::read(&model, &onnx, &mut notes);
    import.graph.graph.notes = notes;
    if !IR_VERSIONS.contains(&model.ir_version) {
        let (first, last) = (IR_VERSIONS.start(), IR_VERSIONS.end());
        let reason = format!("IR version {first} to {last} wanted, {} found", model.ir_version);
        let help = "save the model with a version of the onnx package that this tool knows";
        import.refuse(&onnx.name, "model", OpError::new(reason).with_help(help));
    }
    import.reserve_names(&onnx, &nodes, &initializers);
    import.functions(&model.functions);
    let opsets = import.opsets(&model.opset_import, &onnx.name, &nodes);
    import.values.open();
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

/// A function's domain, name and overload.
pub(super) type FunctionKey<'a> = (&'a str, &'a str, &'a str);

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
    /// Loops that are steps around this point.
    pub(super) loops: usize,
    /// Whether to unroll all loops that there is room for.
    pub(super) unroll: bool,
    /// Notes given so far: each is given once.
    noted: BTreeSet<String>,
}

impl<'m> Import<'m> {
    pub(super) fn refuse(&mut self, name: &str, what: &str, error: OpError) {
        self.problems.push(problem(name, what, error));
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
}
