//! Grows the graph: names, types, limits, and evaluation of what is constant.

mod outline;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tinsmith_proto::TensorProto;

use super::external::External;
use super::tensors::{self, elements};
use crate::ir::{FloatGraph, FloatTensor, Handle, Node};
use crate::op::tensor::{Data, TensorType, Values};
use crate::op::{Op, OpError};

pub(super) use outline::{Carried, Mark};

/// A tensor of the graph.
pub(super) type Tensor = Handle<FloatTensor>;

/// Multiply-accumulates (or elements, if more) that constants may cost in all. Shapes and layouts need far less; what
/// is left over stays a node.
const FOLD_MACS: u64 = 1 << 28;
/// Bytes that evaluated constants may take in all, beyond [`FOLD_BYTES_PER_FILE_BYTE`].
const FOLD_BYTES: usize = 16 << 20;
/// Weights may be transposed, cast and reshaped; a small file still cannot ask for large constants.
const FOLD_BYTES_PER_FILE_BYTE: usize = 8;

/// The graph as far as it is built.
pub(super) struct Builder {
    pub(super) graph: FloatGraph,
    /// By tensor: its producer's position in the graph.
    producers: Vec<Option<usize>>,
    /// By tensor: what operators of one input made of it, for those that need be applied only once.
    derived: BTreeMap<Tensor, Vec<(Op, Tensor)>>,
    tensor_names: Names,
    node_names: Names,
    /// The ONNX node being imported, and its first output.
    node: String,
    value: String,
    bytes_left: usize,
    macs_left: u64,
    /// The files beside the model.
    pub(super) external: External,
    /// By node: the most elements that it may find.
    bounds: BTreeMap<String, usize>,
    /// Which of them nobody asked for yet.
    unused_bounds: BTreeSet<String>,
    /// Outputs beside those that the model names.
    pub(super) further_outputs: Vec<(String, Tensor)>,
}

impl Builder {
    /// A graph for a file of this many bytes, with the most elements that nodes may find.
    pub(super) fn new(
        name: &str,
        file_bytes: usize,
        external: External,
        bounds: &BTreeMap<String, usize>,
    ) -> Self {
        Self {
            graph: FloatGraph::new(name),
            producers: Vec::new(),
            derived: BTreeMap::new(),
            tensor_names: Names::default(),
            node_names: Names::default(),
            node: String::new(),
            value: String::new(),
            bytes_left: FOLD_BYTES.saturating_add(file_bytes.saturating_mul(FOLD_BYTES_PER_FILE_BYTE)),
            macs_left: FOLD_MACS,
            external,
            bounds: bounds.clone(),
            unused_bounds: bounds.keys().cloned().collect(),
            further_outputs: Vec::new(),
        }
    }

    /// The name of the ONNX node being imported.
    pub(super) fn node_name(&self) -> &str {
        &self.node
    }

    /// The most elements that the current node may find, if the user said so.
    pub(super) fn bound(&mut self) -> Option<usize> {
        self.unused_bounds.remove(&self.node);
        self.bounds.get(&self.node).copied()
    }

    /// Nodes with a bound that did not ask for it, or are not there.
    pub(super) fn unused_bounds(&self) -> impl Iterator<Item = &str> {
        self.unused_bounds.iter().map(String::as_str)
    }

    /// Makes a tensor an output of the model, named after the current node.
    pub(super) fn add_output(&mut self, role: &str, tensor: Tensor) {
        let name = self.tensor_names.unique(&with_role(&self.node, role));
        self.further_outputs.push((name, tensor));
    }

    /// Keeps the names of the model's values from helpers' tensors.
    pub(super) fn reserve(&mut self, value: &str) {
        self.tensor_names.unique(value);
    }

    /// A name like this that no other tensor has or will have.
    pub(super) fn fresh_name(&mut self, like: &str) -> String {
        self.tensor_names.unique(like)
    }

    /// Names what follows after an ONNX node and its first output, if that has a name.
    pub(super) fn begin(&mut self, node: &str, value: &str) {
        self.node = node.to_owned();
        self.value = if value.is_empty() {
            self.tensor_names.unique(node)
        } else {
            value.to_owned()
        };
    }

    /// Remembers what the current node's operator is in ONNX.
    pub(super) fn note_operator(&mut self, operator: String) {
        let operators = &mut self.graph.metadata.operators;
        operators.entry(self.node.clone()).or_insert(operator);
    }

    /// Number of tensors so far: handles at or beyond it are new later on.
    pub(super) fn len(&self) -> usize {
        self.graph.tensors.len()
    }

    pub(super) fn ty(&self, tensor: Tensor) -> &TensorType {
        &self.graph.tensors[tensor].ty
    }

    pub(super) fn shape(&self, tensor: Tensor) -> &[usize] {
        &self.graph.tensors[tensor].ty.shape
    }

    /// The elements of a constant.
    pub(super) fn constant_of(&self, tensor: Tensor) -> Option<&Arc<Values>> {
        self.graph.tensors[tensor].data.as_ref()
    }

    /// The node that makes a tensor.
    pub(super) fn producer(&self, tensor: Tensor) -> Option<&Node<FloatTensor>> {
        self.producers[tensor.index()].map(|index| &self.graph.nodes[index])
    }

    /// Adds a tensor under exactly this name, which the caller has reserved.
    pub(super) fn tensor(&mut self, name: String, ty: TensorType, data: Option<Values>) -> Tensor {
        self.producers.push(None);
        self.graph.tensors.push(FloatTensor {
            name,
            ty,
            data: data.map(Arc::new),
        })
    }

    /// The values of a tensor of the model, wherever they stand.
    pub(super) fn values(&mut self, tensor: &TensorProto) -> Result<Values, OpError> {
        tensors::values(tensor, &mut self.external)
    }

    /// Adds a constant named after the current node's output.
    pub(super) fn constant(&mut self, values: Values, role: &str) -> Tensor {
        let name = self.tensor_name(role);
        self.tensor(name, values.ty(), Some(values))
    }

    /// Gives a tensor of the current node the name of a value of the model.
    pub(super) fn rename(&mut self, tensor: Tensor, value: &str) {
        self.graph.tensors[tensor].name = value.to_owned();
    }

    /// Gives a tensor a name like this that no other has.
    pub(super) fn rename_fresh(&mut self, tensor: Tensor, like: &str) {
        self.graph.tensors[tensor].name = self.tensor_names.unique(like);
    }

    /// Names a tensor after the current node's output, with a role behind.
    pub(super) fn name_after(&mut self, tensor: Tensor, role: &str) {
        self.graph.tensors[tensor].name = self.tensor_name(role);
    }

    /// Room for a constant that is not in the file.
    pub(super) fn take_bytes(&mut self, bytes: usize) -> Result<(), OpError> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or_else(|| {
            OpError::new(format!(
                "constants in proportion to the file wanted, {bytes} bytes found"
            ))
        })?;
        Ok(())
    }

    /// Applies an operator. The node is named after the ONNX node and the tensor after its first output, each with
    /// `/role` behind it where the role is not empty. Without a variable input, the result is a constant and there is
    /// no node.
    pub(super) fn emit(&mut self, op: Op, inputs: &[Tensor], role: &str) -> Result<Tensor, OpError> {
        self.emit_as(op, inputs, role, role)
    }

    /// [`Builder::emit`] with different roles of node and tensor.
    pub(super) fn emit_as(
        &mut self,
        op: Op,
        inputs: &[Tensor],
        node_role: &str,
        tensor_role: &str,
    ) -> Result<Tensor, OpError> {
        let name = self.tensor_name(tensor_role);
        self.emit_named(op, inputs, node_role, name)
    }

    fn emit_named(
        &mut self,
        op: Op,
        inputs: &[Tensor],
        node_role: &str,
        name: String,
    ) -> Result<Tensor, OpError> {
        let types: Vec<&TensorType> = inputs.iter().map(|&input| self.ty(input)).collect();
        let mut output_types = op.output_types(&types)?;
        let ty = output_types.pop().expect("every operator has an output");
        assert!(output_types.is_empty(), "operators here have one output");
        let count = elements(&ty.shape)?;
        let macs = op.macs(&types).max(count as u64);
        if let Some(values) = self.fold(&op, inputs, ty.bytes(), macs)? {
            debug_assert_eq!(values.ty(), ty, "{op:?} evaluates to what it infers");
            return Ok(self.tensor(name, ty, Some(values)));
        }
        if count == 0 {
            let nothing = Values::new(ty.shape.clone(), Data::empty(ty.dtype));
            return Ok(self.tensor(name, ty, Some(nothing)));
        }
        let output = self.tensor(name, ty, None);
        self.producers[output.index()] = Some(self.graph.nodes.len());
        let name = self.node_names.unique(&with_role(&self.node, node_role));
        self.graph.nodes.push(Node {
            name,
            op,
            inputs: inputs.to_vec(),
            outputs: vec![output],
        });
        Ok(output)
    }

    /// Applies an operator of one input that moves data, once for all who ask for it.
    pub(super) fn derive(
        &mut self,
        input: Tensor,
        op: Op,
        node_role: &str,
        tensor_role: &str,
    ) -> Result<Tensor, OpError> {
        if let Some(known) = self.find_derived(input, &op) {
            return Ok(known);
        }
        // The result is named after what it moves, because it serves other nodes too.
        let name = self
            .tensor_names
            .unique(&with_role(&self.graph.tensors[input].name, tensor_role));
        let output = self.emit_named(op.clone(), &[input], node_role, name)?;
        self.note_derived(input, op, output);
        Ok(output)
    }

    /// What an operator has already made of a tensor.
    pub(super) fn find_derived(&self, input: Tensor, op: &Op) -> Option<Tensor> {
        let known = self.derived.get(&input)?;
        known.iter().find(|(made_by, _)| made_by == op).map(|&(_, t)| t)
    }

    /// Says that `op` of `input` is `output`, which need not be computed again.
    pub(super) fn note_derived(&mut self, input: Tensor, op: Op, output: Tensor) {
        self.derived.entry(input).or_default().push((op, output));
    }

    /// The operator's value where all inputs are constant and it is cheap enough.
    fn fold(
        &mut self,
        op: &Op,
        inputs: &[Tensor],
        bytes: usize,
        macs: u64,
    ) -> Result<Option<Values>, OpError> {
        // Dequantization says how a constant is stored; a delay's first output is not its input.
        let says_how_stored = match op {
            Op::DequantizeLinear(_) => true,
            Op::DequantizeTo(op) => op.block_size == 0,
            _ => false,
        };
        if says_how_stored || matches!(op, Op::Delay(_)) {
            return Ok(None);
        }
        let constants: Option<Vec<&Values>> = inputs
            .iter()
            .map(|&input| self.constant_of(input).map(Arc::as_ref))
            .collect();
        // The same bytes in another shape, wherever they lie.
        if let (Op::Reshape(reshape), Some([values])) = (op, constants.as_deref())
            && let Data::Mapped(_) = values.data
        {
            return Ok(Some(values.reshaped(reshape.shape.clone())));
        }
        let (Some(constants), Some(bytes_left), Some(macs_left)) = (
            constants,
            self.bytes_left.checked_sub(bytes),
            self.macs_left.checked_sub(macs),
        ) else {
            return Ok(None);
        };
        let value = op.eval(&constants)?.pop();
        self.bytes_left = bytes_left;
        self.macs_left = macs_left;
        Ok(value)
    }

    /// A tensor's name: that of the current node's first output itself only without a role.
    fn tensor_name(&mut self, role: &str) -> String {
        if role.is_empty() {
            self.value.clone()
        } else {
            self.tensor_names.unique(&with_role(&self.value, role))
        }
    }
}

fn with_role(name: &str, role: &str) -> String {
    if role.is_empty() {
        name.to_owned()
    } else {
        format!("{name}/{role}")
    }
}

/// Names given so far, each with the next number to tell a further one apart.
#[derive(Default)]
struct Names(BTreeMap<String, usize>);

impl Names {
    fn unique(&mut self, name: &str) -> String {
        let Some(mut number) = self.0.get(name).copied() else {
            self.0.insert(name.to_owned(), 2);
            return name.to_owned();
        };
        loop {
            let numbered = format!("{name}/{number}");
            number += 1;
            if !self.0.contains_key(&numbered) {
                self.0.insert(name.to_owned(), number);
                self.0.insert(numbered.clone(), 2);
                return numbered;
            }
        }
    }
}
