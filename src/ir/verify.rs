//! The verifier. A graph that passes obeys these rules, and the stages rely on them:
//!
//! 1. **Handles**: every tensor that a node, the inputs or the outputs name is in the arena.
//! 2. **Order**: a node stands behind the producers of its inputs.
//! 3. **One producer**: a tensor is an input of the graph, a constant, or the output of exactly one node.
//! 4. **Ends**: every output of the graph is produced, an input or a constant; no tensor is an input twice, and no
//!    input carries data.
//! 5. **Names**: no two tensors of the arena share a name, and none is nameless.
//! 6. **Constants**: the data of a constant has the shape and the element type that its tensor states.
//! 7. **Types**: a node's outputs are as many, of the shapes and of the element types as its operator infers from
//!    its inputs. A quantized tensor counts as the reals it stands for: a node of a
//!    [`QuantGraph`](super::QuantGraph) means `quantize(op(dequantize(inputs)))`.
//! 8. **Quantization**: scales are positive and finite; zero points lie within the element type, which is an
//!    integer one; per-channel scales are as many as their axis has indices.
//!
//! 9. **Bodies**: a node that repeats a body names one of the graph's. The body obeys these rules itself; it takes a
//!    counter and the node's inputs, and gives the node's outputs.
//!
//! It runs after import and after every pass, in release too: its work is linear in nodes, tensors and per-channel
//! scales, and it looks at no other element. It does not judge whether a target can run the graph.

use std::collections::HashSet;

use super::{Graph, Handle, Node, TensorInfo};
use crate::op::quant::Quantization;
use crate::op::tensor::{DType, Narrow, TensorType};
use crate::op::{Op, OpError, Repeat};

/// The rule a graph breaks, where, and what was wanted and found.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in each message")]
pub enum VerifyError {
    /// A handle of another graph, or of an arena that was rebuilt.
    #[error("{place} names tensor {index}, but the graph has {tensors}")]
    ForeignHandle {
        place: String,
        index: usize,
        tensors: usize,
    },
    /// A node stands before the producer of its input, or nothing produces it.
    #[error("{operator} `{node}` reads `{tensor}`, which no node before it produces")]
    ReadBeforeWrite {
        node: String,
        operator: &'static str,
        tensor: String,
    },
    /// A second node writes a tensor, or one writes an input or a constant.
    #[error("{operator} `{node}` writes `{tensor}`, which is {already}")]
    SecondProducer {
        node: String,
        operator: &'static str,
        tensor: String,
        already: &'static str,
    },
    /// An output that comes from nowhere.
    #[error("output `{tensor}` is neither produced by a node nor an input nor a constant")]
    OutputFromNowhere { tensor: String },
    /// A tensor is an input twice.
    #[error("`{tensor}` is an input of the graph twice")]
    RepeatedInput { tensor: String },
    /// An input with elements.
    #[error("`{tensor}` is an input of the graph, but carries the elements of a constant")]
    InputWithData { tensor: String },
    /// Two tensors of one name.
    #[error("two tensors are named `{name}`")]
    RepeatedName { name: String },
    /// A tensor without a name.
    #[error("tensor {index} has no name")]
    Nameless { index: usize },
    /// A constant whose elements are of another type.
    #[error("constant `{tensor}` is stated as {wanted}, but its elements are {found}")]
    ConstantType {
        tensor: String,
        wanted: String,
        found: String,
    },
    /// The operator refuses its inputs.
    #[error("{operator} `{node}`: {source}")]
    Operator {
        node: String,
        operator: &'static str,
        source: OpError,
    },
    /// More or fewer outputs than the operator has.
    #[error("{operator} `{node}` has {wanted} outputs, but names {found}")]
    OutputCount {
        node: String,
        operator: &'static str,
        wanted: usize,
        found: usize,
    },
    /// An output whose stated type is not the inferred one.
    #[error("{operator} `{node}` gives `{tensor}` as {wanted}, but it is stated as {found}")]
    OutputType {
        node: String,
        operator: &'static str,
        tensor: String,
        wanted: String,
        found: String,
    },
    /// A scale that no quantization can have.
    #[error("`{tensor}` has the scale {scale}; scales are positive and finite")]
    Scale { tensor: String, scale: f32 },
    /// A zero point that the element type cannot hold.
    #[error("`{tensor}` has the zero point {zero_point}, which {dtype} cannot hold")]
    ZeroPoint {
        tensor: String,
        zero_point: i32,
        dtype: DType,
    },
    /// Scales that do not match their axis.
    #[error("`{tensor}` ({ty}) has {found} scales along axis {axis}, wanted one per index")]
    ScaleCount {
        tensor: String,
        ty: TensorType,
        axis: usize,
        found: usize,
    },
    /// Blocks of weights that do not cover them, or a factor of zero.
    #[error("`{tensor}` ({ty}) has {found} factors above 0 for blocks of {block}, wanted {wanted}")]
    Blocks {
        tensor: String,
        ty: TensorType,
        block: usize,
        wanted: usize,
        found: usize,
    },
    /// A body that is not there, or not of its node's types.
    #[error("{operator} `{node}` repeats body {body}: {reason}")]
    Body {
        node: String,
        operator: &'static str,
        body: usize,
        reason: String,
    },
    /// A quantized tensor of reals.
    #[error("`{tensor}` is quantized, but its element type is {dtype}")]
    QuantizedReals { tensor: String, dtype: DType },
}

/// Checks every rule; the first one broken is the error.
///
/// # Errors
/// The broken rule with the node and the tensor.
pub fn verify<T: TensorInfo>(graph: &Graph<T>) -> Result<(), VerifyError> {
    check_handles(graph)?;
    check_tensors(graph)?;
    // What is known about a tensor so far: `None` until something gives it a value.
    let mut source: Vec<Option<&'static str>> = graph
        .tensors
        .iter()
        .map(|(_, tensor)| tensor.data().map(|_| "a constant"))
        .collect();
    for &input in &graph.inputs {
        let tensor = &graph.tensors[input];
        if tensor.data().is_some() {
            return Err(VerifyError::InputWithData {
                tensor: tensor.name().into(),
            });
        }
        if source[input.index()].replace("an input of the graph").is_some() {
            return Err(VerifyError::RepeatedInput {
                tensor: tensor.name().into(),
            });
        }
    }
    graph.bodies.iter().try_for_each(verify)?;
    for node in &graph.nodes {
        check_node(graph, node, &mut source)?;
        check_body(graph, node)?;
    }
    match graph
        .outputs
        .iter()
        .find(|output| source[output.index()].is_none())
    {
        Some(&output) => Err(VerifyError::OutputFromNowhere {
            tensor: graph.tensors[output].name().into(),
        }),
        None => Ok(()),
    }
}

/// Rule 9.
fn check_body<T: TensorInfo>(graph: &Graph<T>, node: &Node<T>) -> Result<(), VerifyError> {
    let Op::Repeat(repeat) = &node.op else {
        return Ok(());
    };
    let wrong = |reason: String| VerifyError::Body {
        node: node.name.clone(),
        operator: node.op.name(),
        body: repeat.body,
        reason,
    };
    let Some((_, body)) = graph.body(node) else {
        return Err(wrong(format!("the graph has {}", graph.bodies.len())));
    };
    let types = |graph: &Graph<T>, handles: &[Handle<T>]| -> Vec<TensorType> {
        handles.iter().map(|&h| graph.tensors[h].ty().clone()).collect()
    };
    let mut wanted = vec![Repeat::counter()];
    wanted.extend(types(graph, &node.inputs));
    for (end, wanted, found) in [
        ("inputs", wanted, types(body, &body.inputs)),
        ("outputs", types(graph, &node.outputs), types(body, &body.outputs)),
    ] {
        if wanted != found {
            let list = |types: &[TensorType]| -> String {
                let types: Vec<String> = types.iter().map(ToString::to_string).collect();
                types.join(", ")
            };
            return Err(wrong(format!(
                "{end} {} wanted, {} found",
                list(&wanted),
                list(&found)
            )));
        }
    }
    Ok(())
}

fn check_handles<T: TensorInfo>(graph: &Graph<T>) -> Result<(), VerifyError> {
    let tensors = graph.tensors.len();
    let check = |handles: &[Handle<T>], place: &dyn Fn() -> String| match handles
        .iter()
        .find(|handle| handle.index() >= tensors)
    {
        Some(handle) => Err(VerifyError::ForeignHandle {
            place: place(),
            index: handle.index(),
            tensors,
        }),
        None => Ok(()),
    };
    check(&graph.inputs, &|| "the list of inputs".into())?;
    check(&graph.outputs, &|| "the list of outputs".into())?;
    graph.nodes.iter().try_for_each(|node| {
        let place = || format!("{} `{}`", node.op.name(), node.name);
        check(&node.inputs, &place)?;
        check(&node.outputs, &place)
    })
}

fn check_tensors<T: TensorInfo>(graph: &Graph<T>) -> Result<(), VerifyError> {
    let mut names = HashSet::with_capacity(graph.tensors.len());
    for (handle, tensor) in graph.tensors.iter() {
        if tensor.name().is_empty() {
            return Err(VerifyError::Nameless {
                index: handle.index(),
            });
        }
        if !names.insert(tensor.name()) {
            return Err(VerifyError::RepeatedName {
                name: tensor.name().into(),
            });
        }
        if let Some(data) = tensor.data()
            && (data.shape != tensor.ty().shape
                || data.data.dtype() != tensor.ty().dtype
                || data.data.len() != tensor.ty().len())
        {
            return Err(VerifyError::ConstantType {
                tensor: tensor.name().into(),
                wanted: tensor.ty().to_string(),
                found: data.ty().to_string(),
            });
        }
        if let Some(quantization) = tensor.quantization() {
            check_quantization(tensor.name(), tensor.ty(), quantization)?;
        }
    }
    Ok(())
}

fn check_quantization(name: &str, ty: &TensorType, quantization: &Quantization) -> Result<(), VerifyError> {
    let scale = |scale: f32| {
        if scale > 0.0 && scale.is_finite() {
            Ok(())
        } else {
            Err(VerifyError::Scale {
                tensor: name.into(),
                scale,
            })
        }
    };
    let Some((least, greatest)) = integer_range(ty.dtype) else {
        return match quantization {
            Quantization::Plain => Ok(()),
            Quantization::PerTensor(_) | Quantization::PerChannel { .. } | Quantization::PerBlock { .. } => {
                Err(VerifyError::QuantizedReals {
                    tensor: name.into(),
                    dtype: ty.dtype,
                })
            }
        };
    };
    match quantization {
        Quantization::Plain => Ok(()),
        Quantization::PerTensor(params) => {
            scale(params.scale)?;
            if (least..=greatest).contains(&params.zero_point.into()) {
                Ok(())
            } else {
                Err(VerifyError::ZeroPoint {
                    tensor: name.into(),
                    zero_point: params.zero_point,
                    dtype: ty.dtype,
                })
            }
        }
        Quantization::PerChannel { axis, scales } => {
            if ty.shape.get(*axis) != Some(&scales.len()) {
                return Err(VerifyError::ScaleCount {
                    tensor: name.into(),
                    ty: ty.clone(),
                    axis: *axis,
                    found: scales.len(),
                });
            }
            scales.iter().try_for_each(|&s| scale(s))
        }
        Quantization::PerBlock {
            scales,
            block,
            factors,
        } => {
            let (channels, row) = (ty.shape.first().copied(), ty.shape.last().copied().unwrap_or(1));
            let is_one_row = ty.shape.iter().skip(1).product::<usize>() == row;
            if channels != Some(scales.len()) {
                return Err(VerifyError::ScaleCount {
                    tensor: name.into(),
                    ty: ty.clone(),
                    axis: 0,
                    found: scales.len(),
                });
            }
            let wanted = scales.len() * usize::div_ceil(row, (*block).max(1));
            if *block == 0 || !is_one_row || factors.len() != wanted || factors.contains(&0) {
                return Err(VerifyError::Blocks {
                    tensor: name.into(),
                    ty: ty.clone(),
                    block: *block,
                    wanted,
                    found: factors.iter().filter(|&&factor| factor > 0).count(),
                });
            }
            scales.iter().try_for_each(|&s| scale(s))
        }
    }
}

/// The values of an integer element type; `None` for reals and Booleans.
fn integer_range(dtype: DType) -> Option<(i64, i64)> {
    match dtype {
        DType::I8 => Some((i8::MIN.into(), i8::MAX.into())),
        DType::U8 => Some((0, u8::MAX.into())),
        DType::I16 => Some((i16::MIN.into(), i16::MAX.into())),
        DType::I32 => Some((i32::MIN.into(), i32::MAX.into())),
        DType::I64 => Some((i64::MIN, i64::MAX)),
        DType::U16 => Some((0, u16::MAX.into())),
        DType::U32 => Some((0, u32::MAX.into())),
        DType::U64 => Some((0, i64::MAX)),
        DType::Narrow(Narrow::I4) => Some((-8, 7)),
        DType::Narrow(Narrow::U4) => Some((0, 15)),
        DType::Narrow(Narrow::I2) => Some((-2, 1)),
        DType::Narrow(Narrow::U2) => Some((0, 3)),
        DType::F32 | DType::F64 | DType::F16 | DType::BF16 | DType::Bool | DType::Narrow(_) => None,
    }
}

fn check_node<T: TensorInfo>(
    graph: &Graph<T>,
    node: &Node<T>,
    source: &mut [Option<&'static str>],
) -> Result<(), VerifyError> {
    let operator = node.op.name();
    if let Some(&input) = node.inputs.iter().find(|input| source[input.index()].is_none()) {
        return Err(VerifyError::ReadBeforeWrite {
            node: node.name.clone(),
            operator,
            tensor: graph.tensors[input].name().into(),
        });
    }
    for &output in &node.outputs {
        if let Some(already) = source[output.index()].replace("written by a node before it") {
            return Err(VerifyError::SecondProducer {
                node: node.name.clone(),
                operator,
                tensor: graph.tensors[output].name().into(),
                already,
            });
        }
    }
    let inputs: Vec<TensorType> = node
        .inputs
        .iter()
        .map(|&input| graph.tensors[input].real_type())
        .collect();
    let wanted = node
        .op
        .output_types(&inputs.iter().collect::<Vec<_>>())
        .map_err(|source| VerifyError::Operator {
            node: node.name.clone(),
            operator,
            source,
        })?;
    if wanted.len() != node.outputs.len() {
        return Err(VerifyError::OutputCount {
            node: node.name.clone(),
            operator,
            wanted: wanted.len(),
            found: node.outputs.len(),
        });
    }
    for (wanted, &output) in wanted.into_iter().zip(&node.outputs) {
        let tensor = &graph.tensors[output];
        if tensor.real_type() != wanted {
            return Err(VerifyError::OutputType {
                node: node.name.clone(),
                operator,
                tensor: tensor.name().into(),
                wanted: wanted.to_string(),
                found: tensor.ty().to_string(),
            });
        }
    }
    Ok(())
}
