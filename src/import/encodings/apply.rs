//! Encodings become `QuantizeLinear` and `DequantizeLinear` nodes in the file's own graph, before anything else reads it:
//! from there on it is a quantized model, taken as it stands.

use std::collections::{HashMap, HashSet};

use tinsmith_proto::attribute_proto::AttributeType;
use tinsmith_proto::tensor_proto::DataType;
use tinsmith_proto::{AttributeProto, GraphProto, NodeProto, OperatorSetIdProto, TensorProto};

use super::super::external::External;
use super::super::tensors;
use super::{Encodings, Entry};
use crate::ir::Problem;
use crate::op::OpError;
use crate::op::tensor::Values;

/// The operator set of the inserted nodes: its forms have axes, whatever the version of ONNX's own.
const DOMAIN: &str = "com.microsoft";

/// Inserts nodes for all encodings; gives what is in the way, all of it, and what the user should know.
pub(in crate::import) fn apply(
    encodings: &Encodings,
    graph: &mut GraphProto,
    opsets: &mut Vec<OperatorSetIdProto>,
    external: &mut External,
) -> (Vec<Problem>, Vec<String>) {
    let mut insertion = Insertion::new(graph);
    insertion.refuse_second_quantization();
    for entry in &encodings.activations {
        let done = insertion.activation(entry);
        insertion.note(entry, done);
    }
    for entry in &encodings.parameters {
        let done = insertion.parameter(entry, external);
        insertion.note(entry, done);
    }
    for entry in &encodings.tensors {
        let done = if insertion.stored(&entry.name).is_some() {
            insertion.parameter(entry, external)
        } else {
            insertion.activation(entry)
        };
        insertion.note(entry, done);
    }
    let Insertion {
        problems,
        wide,
        front,
        mut behind,
        initializers,
        ..
    } = insertion;
    let nodes = std::mem::take(&mut graph.node);
    graph.node = front;
    for (position, node) in nodes.into_iter().enumerate() {
        graph.node.push(node);
        graph.node.extend(behind.remove(&position).unwrap_or_default());
    }
    graph.initializer.extend(initializers);
    if !opsets.iter().any(|opset| opset.domain == DOMAIN) {
        opsets.push(OperatorSetIdProto {
            domain: DOMAIN.into(),
            version: 1,
        });
    }
    let mut notes = Vec::new();
    if wide > 0 {
        notes.push(format!(
            "encodings of 32 bits, {wide} of them, are not read: biases have steps of input scale times weight scale"
        ));
    }
    (problems, notes)
}

/// Where nodes go, and what is known of the graph.
struct Insertion<'g> {
    graph: &'g mut GraphProto,
    /// The node that makes each value.
    producers: HashMap<String, usize>,
    /// Names of the graph's own tensors.
    names: HashSet<String>,
    /// Names that no new tensor may have: those, the ones within branches and bodies, and those of new tensors.
    taken: HashSet<String>,
    /// Tensors that have an encoding already.
    encoded: HashSet<String>,
    problems: Vec<Problem>,
    /// Encodings of 32 bits.
    wide: usize,
    /// New nodes in front of all others, and behind each.
    front: Vec<NodeProto>,
    behind: HashMap<usize, Vec<NodeProto>>,
    initializers: Vec<TensorProto>,
}

impl<'g> Insertion<'g> {
    fn new(graph: &'g mut GraphProto) -> Self {
        let mut producers = HashMap::new();
        for (position, node) in graph.node.iter().enumerate() {
            producers.extend(node.output.iter().map(|output| (output.clone(), position)));
        }
        let initializers = graph.initializer.iter().map(|tensor| &tensor.name);
        let inputs = graph.input.iter().map(|info| &info.name);
        let names: HashSet<String> = producers
            .keys()
            .chain(initializers)
            .chain(inputs)
            .cloned()
            .collect();
        let mut taken = names.clone();
        take_names(&graph.node, &mut taken);
        Self {
            graph,
            producers,
            names,
            taken,
            encoded: HashSet::new(),
            problems: Vec::new(),
            wide: 0,
            front: Vec::new(),
            behind: HashMap::new(),
            initializers: Vec::new(),
        }
    }

    fn note(&mut self, entry: &Entry, done: Result<(), OpError>) {
        if let Err(error) = done {
            self.problems.push(Problem {
                node: entry.name.clone(),
                operator: "encoding".into(),
                reason: error.reason,
                help: error.help,
            });
        }
    }

    /// A model that brings its own quantization takes no other.
    fn refuse_second_quantization(&mut self) {
        let own = self
            .graph
            .node
            .iter()
            .find(|node| node.op_type == "QuantizeLinear");
        self.problems.extend(own.map(|node| Problem {
            node: node.output.first().cloned().unwrap_or_default(),
            operator: node.op_type.clone(),
            reason: "a float model wanted beside encodings, one with its own quantization found".into(),
            help: Some("give the model without encodings, or the float model they were made for".into()),
        }));
    }

    /// What a tensor must be to have an encoding here at all. `None` where it stays as it is.
    fn bits(&mut self, entry: &Entry) -> Result<Option<u32>, OpError> {
        if !self.names.contains(&entry.name) {
            return Err(OpError::new("the model has no tensor of this name")
                .with_help("take the ONNX file that was exported together with the encodings"));
        }
        if !self.encoded.insert(entry.name.clone()) {
            return Err(OpError::new("one encoding for the tensor wanted, two found"));
        }
        if entry.bits == Some(32) {
            self.wide += 1;
            return Ok(None);
        }
        Ok(entry.bits)
    }

    /// Rounds an activation where it is made.
    fn activation(&mut self, entry: &Entry) -> Result<(), OpError> {
        let Some(bits) = self.bits(entry)? else {
            return Ok(());
        };
        let (8, &[(scale, offset)]) = (bits, &entry.steps[..]) else {
            return Err(OpError::new(format!(
                "an activation of 8 bits and one scale wanted, {bits} bits and {} found",
                entry.steps.len()
            ))
            .with_help("there are no kernels for others: quantize activations to 8 bits, per tensor"));
        };
        let zero_point = u8::try_from(-offset)
            .map_err(|_| OpError::new(format!("an offset from -255 to 0 wanted, {offset} found")))?;
        let scale = self.constant(
            &entry.name,
            "scale",
            DataType::Float,
            &[],
            scale.to_le_bytes().into(),
        );
        let zero_point = self.constant(&entry.name, "zero_point", DataType::Uint8, &[], vec![zero_point]);
        let parameters = [scale, zero_point];
        let codes = fresh(&mut self.taken, &entry.name, "codes");
        let rounded = |from: &str, to: &str| {
            let quantize = node("QuantizeLinear", from, &parameters, &codes, None);
            [quantize, node("DequantizeLinear", &codes, &parameters, to, None)]
        };
        let name = entry.name.as_str();
        match self.producers.get(name) {
            Some(&position) => {
                let exact = fresh(&mut self.taken, name, "unrounded");
                let outputs = self.graph.node[position].output.iter_mut();
                outputs
                    .filter(|output| *output == name)
                    .for_each(|output| *output = exact.clone());
                self.behind
                    .entry(position)
                    .or_default()
                    .extend(rounded(&exact, name));
            }
            None => {
                let reals = fresh(&mut self.taken, name, "rounded");
                redirect(&mut self.graph.node, name, &reals);
                self.front.extend(rounded(name, &reals));
            }
        }
        Ok(())
    }

    /// Stores a parameter as its codes.
    fn parameter(&mut self, entry: &Entry, external: &mut External) -> Result<(), OpError> {
        let Some(bits) = self.bits(entry)? else {
            return Ok(());
        };
        if bits > 8 {
            return Err(
                OpError::new(format!("parameters of at most 8 bits wanted, {bits} found"))
                    .with_help("there are no kernels for wider ones"),
            );
        }
        let stored = self.stored(&entry.name).ok_or_else(|| {
            OpError::new("a constant of the model wanted, a computed value found")
                .with_help("move the encoding to the activations, or fold the model's constants")
        })?;
        let values = tensors::values(&stored, external)?;
        let reals = values
            .as_f32()
            .ok_or_else(|| OpError::new(format!("f32 values in the model wanted, {} found", values.ty())))?;
        let axis = if entry.steps.len() == 1 {
            0
        } else {
            self.channel_axis(entry, &values.shape)?
        };
        let inner: usize = values.shape.iter().skip(axis + 1).product();
        let half = 1_i64 << (bits - 1);
        let codes = reals.iter().enumerate().map(|(i, &real)| {
            let channel = if entry.steps.len() == 1 {
                0
            } else {
                i / inner % entry.steps.len()
            };
            let (scale, offset) = entry.steps[channel];
            // A float saturates as it becomes an integer; bytes around the middle of the range are int8.
            let step = libm::rintf(real / scale) as i64;
            (step.clamp(offset, offset + 2 * half - 1) - offset - half) as i8
        });
        let codes: Vec<i8> = codes.collect();
        let zero_points: Option<Vec<i8>> = entry
            .steps
            .iter()
            .map(|(_, offset)| i8::try_from(-offset - half).ok())
            .collect();
        let zero_points = zero_points.ok_or_else(|| {
            OpError::new(format!("offsets within the {} codes wanted", 2 * half))
                .with_help("0 must be one of the steps")
        })?;
        self.store(entry, &values, &codes, &zero_points, axis);
        Ok(())
    }

    /// Has all readers of a parameter read its codes behind `DequantizeLinear`.
    fn store(&mut self, entry: &Entry, values: &Values, codes: &[i8], zero_points: &[i8], axis: usize) {
        let name = entry.name.as_str();
        let bytes = |codes: &[i8]| codes.iter().map(|&code| code as u8).collect::<Vec<u8>>();
        let dims: Vec<i64> = values.shape.iter().map(|&extent| extent as i64).collect();
        let count = [entry.steps.len() as i64];
        let extents: &[i64] = if entry.steps.len() == 1 { &[] } else { &count };
        let scales = entry
            .steps
            .iter()
            .flat_map(|(scale, _)| scale.to_le_bytes())
            .collect();
        let codes = self.constant(name, "codes", DataType::Int8, &dims, bytes(codes));
        let scales = self.constant(name, "scale", DataType::Float, extents, scales);
        let zero_points = self.constant(name, "zero_point", DataType::Int8, extents, bytes(zero_points));
        let reals = fresh(&mut self.taken, name, "dequantized");
        redirect(&mut self.graph.node, name, &reals);
        let parameters = [scales, zero_points];
        self.front
            .push(node("DequantizeLinear", &codes, &parameters, &reals, Some(axis)));
    }

    /// The constant of a name, from the model's list or a node of its own.
    fn stored(&self, name: &str) -> Option<TensorProto> {
        let listed = self.graph.initializer.iter().find(|tensor| tensor.name == name);
        if let Some(tensor) = listed {
            return Some(tensor.clone());
        }
        let node = &self.graph.node[*self.producers.get(name)?];
        let value = node
            .attribute
            .iter()
            .find(|attribute| attribute.name == "value")?;
        (node.op_type == "Constant").then(|| value.t.clone())?
    }

    /// The axis of a parameter's output channels, which its reader decides where the file does not say.
    fn channel_axis(&self, entry: &Entry, shape: &[usize]) -> Result<usize, OpError> {
        let (name, channels) = (&entry.name, entry.steps.len());
        let mut readers = self.graph.node.iter().filter(|node| node.input.contains(name));
        let flag = |node: &NodeProto, name: &str| {
            node.attribute
                .iter()
                .any(|attribute| attribute.name == name && attribute.i != 0)
        };
        let of_reader = readers.find_map(|node| match node.op_type.as_str() {
            "Conv" => Some(0),
            "ConvTranspose" => Some(1),
            "Gemm" => Some(usize::from(!flag(node, "transB"))),
            "MatMul" => shape.len().checked_sub(1),
            _ => None,
        });
        let first = || shape.iter().position(|&extent| extent == channels);
        let said = entry.axis.map(|axis| {
            let back = axis.checked_add(shape.len() as i64).filter(|_| axis < 0);
            usize::try_from(back.unwrap_or(axis)).unwrap_or(usize::MAX)
        });
        let axis = said
            .or(of_reader)
            .or_else(first)
            .filter(|&axis| shape.get(axis) == Some(&channels));
        axis.ok_or_else(|| {
            OpError::new(format!(
                "a scale for the tensor or for each of its output channels wanted, {channels} found for {shape:?}"
            ))
        })
    }

    /// A constant for a tensor's encoding.
    fn constant(
        &mut self,
        name: &str,
        role: &str,
        dtype: DataType,
        dims: &[i64],
        raw_data: Vec<u8>,
    ) -> String {
        let name = fresh(&mut self.taken, name, role);
        self.initializers.push(TensorProto {
            name: name.clone(),
            dims: dims.to_vec(),
            data_type: dtype.into(),
            raw_data,
            ..TensorProto::default()
        });
        name
    }
}

/// A name for a part of a tensor's encoding that nothing has yet; takes it.
fn fresh(taken: &mut HashSet<String>, name: &str, role: &str) -> String {
    let base = format!("{name}/{role}");
    let numbered = (1..).map(|i| format!("{base}_{i}"));
    let fresh = std::iter::once(base.clone())
        .chain(numbered)
        .find(|candidate| !taken.contains(candidate))
        .expect("one of endlessly many names is free");
    taken.insert(fresh.clone());
    fresh
}

/// Takes the names of what nodes make, within branches and bodies too.
fn take_names(nodes: &[NodeProto], taken: &mut HashSet<String>) {
    for node in nodes {
        taken.extend(node.output.iter().cloned());
        for attribute in &node.attribute {
            for graph in attribute.g.iter().chain(&attribute.graphs) {
                taken.extend(graph.initializer.iter().map(|tensor| tensor.name.clone()));
                taken.extend(graph.input.iter().map(|input| input.name.clone()));
                take_names(&graph.node, taken);
            }
        }
    }
}

/// A node with a tensor, its scale and zero point, named after what it makes.
fn node(op_type: &str, x: &str, parameters: &[String; 2], y: &str, axis: Option<usize>) -> NodeProto {
    let [scale, zero_point] = parameters;
    let axis = axis.map(|axis| AttributeProto {
        name: "axis".into(),
        i: axis as i64,
        r#type: AttributeType::Int.into(),
        ..AttributeProto::default()
    });
    NodeProto {
        name: format!("{y}/{op_type}"),
        op_type: op_type.into(),
        domain: DOMAIN.into(),
        input: vec![x.into(), scale.clone(), zero_point.clone()],
        output: vec![y.into()],
        attribute: axis.into_iter().collect(),
        ..NodeProto::default()
    }
}

/// Has all nodes that read a value read another, those of branches and bodies too.
fn redirect(nodes: &mut [NodeProto], from: &str, to: &str) {
    for node in nodes {
        let inputs = node.input.iter_mut();
        inputs
            .filter(|input| *input == from)
            .for_each(|input| *input = to.into());
        for attribute in &mut node.attribute {
            for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                redirect(&mut graph.node, from, to);
            }
        }
    }
}
