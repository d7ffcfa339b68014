//! Graphs: nodes in topological order over an arena of tensors. The tensor type says which stage we are in.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Metadata;
use crate::op::quant::{QuantTensor, Quantization};
use crate::op::tensor::{DType, TensorType, Values};
use crate::op::{Op, Repeat};

/// An index that knows what it indexes.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle<T> {
    index: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Handle<T> {
    /// The position in its arena.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Handle<T> {}
impl<T> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index
    }
}
impl<T> Eq for Handle<T> {}
impl<T> PartialOrd for Handle<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Handle<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.index.cmp(&other.index)
    }
}
impl<T> Hash for Handle<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.index.hash(state);
    }
}
impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.index)
    }
}

/// Things addressed by handles that stay valid as it grows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arena<T>(Vec<T>);

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Arena<T> {
    /// Adds an item.
    ///
    /// # Panics
    /// Beyond 2^32 items, which no model reaches.
    pub fn push(&mut self, item: T) -> Handle<T> {
        let index = u32::try_from(self.0.len()).expect("fewer than 2^32 tensors");
        self.0.push(item);
        Handle {
            index,
            of: PhantomData,
        }
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Items with their handles, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Handle<T>, &T)> {
        self.0.iter().enumerate().map(|(i, item)| {
            (
                Handle {
                    index: i as u32,
                    of: PhantomData,
                },
                item,
            )
        })
    }

    /// All handles, in order.
    pub fn handles(&self) -> impl DoubleEndedIterator<Item = Handle<T>> + use<T> {
        (0..self.0.len() as u32).map(|index| Handle {
            index,
            of: PhantomData,
        })
    }
}

impl<T> IntoIterator for Arena<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    /// The items in order, without their handles.
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<T> Index<Handle<T>> for Arena<T> {
    type Output = T;
    fn index(&self, handle: Handle<T>) -> &T {
        &self.0[handle.index()]
    }
}
impl<T> IndexMut<Handle<T>> for Arena<T> {
    fn index_mut(&mut self, handle: Handle<T>) -> &mut T {
        &mut self.0[handle.index()]
    }
}

/// What every kind of tensor can tell.
pub trait TensorInfo {
    /// Name of the ONNX value it came from; unique within its graph.
    fn name(&self) -> &str;
    /// Shape and element type.
    fn ty(&self) -> &TensorType;
    /// The elements of a constant.
    fn data(&self) -> Option<&Arc<Values>>;
    /// The same, to be changed.
    fn data_mut(&mut self) -> &mut Option<Arc<Values>>;
    /// The type as the operators' meaning sees it: f32 where stored integers stand for reals. What
    /// [`Op::output_types`] takes and gives.
    fn real_type(&self) -> TensorType;
    /// How its numbers stand for reals; `None` where tensors of this kind carry no quantization.
    fn quantization(&self) -> Option<&Quantization>;
}

/// A tensor of a [`FloatGraph`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FloatTensor {
    /// Name of the ONNX value it came from.
    pub name: String,
    /// Shape and element type.
    pub ty: TensorType,
    /// The elements of a constant.
    pub data: Option<Arc<Values>>,
}

impl TensorInfo for FloatTensor {
    fn name(&self) -> &str {
        &self.name
    }
    fn ty(&self) -> &TensorType {
        &self.ty
    }
    fn data(&self) -> Option<&Arc<Values>> {
        self.data.as_ref()
    }
    fn data_mut(&mut self) -> &mut Option<Arc<Values>> {
        &mut self.data
    }
    fn real_type(&self) -> TensorType {
        self.ty.clone()
    }
    fn quantization(&self) -> Option<&Quantization> {
        None
    }
}

impl TensorInfo for QuantTensor {
    fn name(&self) -> &str {
        &self.name
    }
    fn ty(&self) -> &TensorType {
        &self.ty
    }
    fn data(&self) -> Option<&Arc<Values>> {
        self.data.as_ref()
    }
    fn data_mut(&mut self) -> &mut Option<Arc<Values>> {
        &mut self.data
    }
    fn real_type(&self) -> TensorType {
        let dtype = match self.quantization {
            Quantization::Plain => self.ty.dtype,
            Quantization::PerTensor(_) | Quantization::PerChannel { .. } | Quantization::PerBlock { .. } => {
                DType::F32
            }
        };
        TensorType::new(dtype, self.ty.shape.clone())
    }
    fn quantization(&self) -> Option<&Quantization> {
        Some(&self.quantization)
    }
}

/// An operator instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node<T> {
    /// Name of the ONNX node (or of the one it was split off from).
    pub name: String,
    /// What it does.
    pub op: Op,
    /// Its inputs; optional trailing ones may be missing.
    pub inputs: Vec<Handle<T>>,
    /// Its outputs; at least one.
    pub outputs: Vec<Handle<T>>,
}

/// Operators over tensors `T`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graph<T> {
    /// The model's name.
    pub name: String,
    /// Operators, each after the producers of its inputs.
    pub nodes: Vec<Node<T>>,
    /// All tensors; ones that no node names any more may linger.
    pub tensors: Arena<T>,
    /// What the caller gives, in the model's order.
    pub inputs: Vec<Handle<T>>,
    /// What the caller gets, in the model's order.
    pub outputs: Vec<Handle<T>>,
    /// What the graph's [`Repeat`](crate::op::Repeat) nodes run, by its place here; those that no node names any more
    /// may linger. They see nothing of this graph.
    pub bodies: Vec<Self>,
    /// Things the user should know: a symbolic dimension that was set, say.
    pub notes: Vec<String>,
    /// What the model says of itself. Import fills it in, and the artifact gets it; no stage between looks at it.
    pub metadata: Metadata,
}

/// A graph of the reference executor's numbers; may hold `QuantizeLinear` and `DequantizeLinear` nodes.
pub type FloatGraph = Graph<FloatTensor>;
/// A graph of quantized tensors: every node means `quantize(op(dequantize(inputs)))`.
pub type QuantGraph = Graph<QuantTensor>;

impl<T> Graph<T> {
    /// A graph without nodes.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            nodes: Vec::new(),
            tensors: Arena::default(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            bodies: Vec::new(),
            notes: Vec::new(),
            metadata: Metadata::default(),
        }
    }

    /// Position of the node that produces `tensor`; `None` for inputs and constants. Walks over the nodes: whoever asks
    /// for many tensors asks [`Graph::neighbours`].
    pub fn producer(&self, tensor: Handle<T>) -> Option<usize> {
        self.nodes.iter().position(|node| node.outputs.contains(&tensor))
    }

    /// Positions of the nodes that read `tensor`, each once. Walks over the nodes.
    pub fn readers(&self, tensor: Handle<T>) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|&i| self.nodes[i].inputs.contains(&tensor))
            .collect()
    }

    /// What stands around each tensor, by the tensors' indices, found in one walk.
    pub fn neighbours(&self) -> Vec<Neighbours> {
        let mut neighbours = vec![Neighbours::default(); self.tensors.len()];
        for (position, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                neighbours[input.index()].reads += 1;
            }
            for output in &node.outputs {
                neighbours[output.index()].producer = Some(position);
            }
        }
        for input in &self.inputs {
            neighbours[input.index()].is_input = true;
        }
        for output in &self.outputs {
            neighbours[output.index()].is_output = true;
        }
        neighbours
    }
}

/// What stands around a tensor of a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// Position of the node that produces it; `None` for inputs and constants.
    pub producer: Option<usize>,
    /// How many inputs of nodes it is.
    pub reads: usize,
    /// Whether it is an input of the graph.
    pub is_input: bool,
    /// Whether it is an output of the graph.
    pub is_output: bool,
}

impl Neighbours {
    /// Whether it is read by exactly one node input and is no output of the graph.
    pub fn has_one_reader(self) -> bool {
        self.reads == 1 && !self.is_output
    }
}

impl<T: TensorInfo> Graph<T> {
    /// The types of a node's inputs.
    pub fn input_types(&self, node: &Node<T>) -> Vec<&TensorType> {
        node.inputs
            .iter()
            .map(|&input| self.tensors[input].ty())
            .collect()
    }

    /// The body of a node that repeats one; `None` for every other node.
    pub fn body<'a>(&'a self, node: &'a Node<T>) -> Option<(&'a Repeat, &'a Self)> {
        match &node.op {
            Op::Repeat(repeat) => Some((repeat, self.bodies.get(repeat.body)?)),
            _ => None,
        }
    }

    /// Multiply-accumulates of one inference, loops at their longest.
    pub fn macs(&self) -> u64 {
        let of_nodes = self.nodes.iter().map(|node| self.node_macs(node));
        of_nodes.fold(0, u64::saturating_add)
    }

    /// Multiply-accumulates of a node, loops at their longest.
    pub fn node_macs(&self, node: &Node<T>) -> u64 {
        match self.body(node) {
            Some((repeat, body)) => body.macs().saturating_mul(repeat.trips as u64),
            None => node.op.macs(&self.input_types(node)),
        }
    }

    /// Elements of all constants that nodes read, those of bodies too.
    pub fn parameters(&self) -> u64 {
        let mut seen = vec![false; self.tensors.len()];
        let bodies = self.nodes.iter().filter_map(|node| self.body(node));
        let mut count = bodies.map(|(_, body)| body.parameters()).sum();
        for &input in self.nodes.iter().flat_map(|node| &node.inputs) {
            let tensor = &self.tensors[input];
            if tensor.data().is_some() && !std::mem::replace(&mut seen[input.index()], true) {
                count += tensor.ty().len() as u64;
            }
        }
        count
    }
}
