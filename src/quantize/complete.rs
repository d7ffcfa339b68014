//! Quantized models in which something is not: training tools leave the last output real, a sum, or the input. Samples
//! give what is missing, in the model's own form: a `QuantizeLinear` and a `DequantizeLinear` behind the tensor.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::params::Sources;
use super::precisions::Precisions;
use super::qdq::{self, Grid, Refused};
use super::ranges::Observed;
use super::{Options, Precision, QuantizeError, fresh_name};
use crate::ir::{FloatGraph, FloatTensor, Handle, Node, Progress, QuantGraph, Samples};
use crate::op::quant::QuantParams;
use crate::op::tensor::{DType, Data, TensorType, Values};
use crate::op::{DequantizeLinear, Op, QuantizeLinear};

/// Takes a quantized model; what it lacks comes from samples, if there are any: tensor by tensor from the first on, since
/// what follows from one need not be missing then.
pub(super) fn absorb(
    mut graph: FloatGraph,
    samples: &dyn Samples,
    options: &Options,
    progress: Progress<'_>,
) -> Result<QuantGraph, QuantizeError> {
    let mut params: Option<Vec<Option<QuantParams>>> = None;
    let mut completed = BTreeSet::new();
    loop {
        let Refused { problems, lacking } = match qdq::absorb(&graph, options.precision) {
            Ok(quant) => return Ok(quant),
            Err(refused) => refused,
        };
        let Some((tensor, grid)) = lacking.filter(|_| !samples.is_empty()) else {
            return Err(QuantizeError::Problems(problems));
        };
        if params.is_none() {
            // Handles stay: what is put in comes behind all else.
            let observed = Observed::of(&graph, samples, &[options.calibrator], progress)?;
            let ranges = observed.ranges(options.calibrator);
            let precisions = Precisions::of(&graph, Precision::Int8, &[]);
            params = Some(Sources::of(&graph, &precisions).params(&graph, &ranges));
        }
        let observed = params.as_ref().and_then(|params| *params.get(tensor.index())?);
        let observed = observed.map(|params| Grid {
            params,
            dtype: DType::I8,
        });
        let Some(grid) = grid.or(observed).filter(|_| completed.insert(tensor)) else {
            return Err(QuantizeError::Problems(problems));
        };
        graph.notes.push(format!(
            "`{}` is not quantized in the model, and is by the samples",
            graph.tensors[tensor].name
        ));
        round(&mut graph, tensor, grid);
    }
}

/// Has everything behind a tensor read it rounded.
fn round(graph: &mut FloatGraph, tensor: Handle<FloatTensor>, Grid { params, dtype }: Grid) {
    let mut names: HashSet<String> = graph
        .tensors
        .iter()
        .map(|(_, tensor)| tensor.name.clone())
        .collect();
    let name = graph.tensors[tensor].name.clone();
    let shape = graph.tensors[tensor].ty.shape.clone();
    let mut add = |role: &str, ty: TensorType, data: Option<Data>| {
        let name = fresh_name(&mut names, &format!("{name}/{role}"));
        let data = data.map(|data| Arc::new(Values::new(ty.shape.clone(), data)));
        graph.tensors.push(FloatTensor { name, ty, data })
    };
    let scale = add(
        "scale",
        TensorType::new(DType::F32, []),
        Some(Data::F32(vec![params.scale])),
    );
    // A value of the element type.
    let zero_point = Data::I32(vec![params.zero_point]).cast(dtype);
    let zero_point = add("zero_point", TensorType::new(dtype, []), Some(zero_point));
    let codes = add("codes", TensorType::new(dtype, shape.clone()), None);
    let reals = add("rounded", TensorType::new(DType::F32, shape), None);
    for node in &mut graph.nodes {
        let inputs = node.inputs.iter_mut();
        inputs
            .filter(|input| **input == tensor)
            .for_each(|input| *input = reals);
    }
    let mut is_output = false;
    for output in &mut graph.outputs {
        if *output == tensor {
            *output = reals;
            is_output = true;
        }
    }
    if is_output {
        let rounded = std::mem::take(&mut graph.tensors[reals].name);
        graph.tensors[reals].name = std::mem::replace(&mut graph.tensors[tensor].name, rounded);
    }
    let producer = graph.nodes.iter().position(|node| node.outputs.contains(&tensor));
    let behind = producer.map_or(0, |position| position + 1);
    let node = |name: &str, op: Op, input: Handle<FloatTensor>, output: Handle<FloatTensor>| Node {
        name: format!("{name}/{}", op.name()),
        op,
        inputs: vec![input, scale, zero_point],
        outputs: vec![output],
    };
    let quantize = Op::QuantizeLinear(QuantizeLinear { axis: 0 });
    let dequantize = Op::DequantizeLinear(DequantizeLinear { axis: 0 });
    let pair = [
        node(&name, quantize, tensor, codes),
        node(&name, dequantize, codes, reals),
    ];
    graph.nodes.splice(behind..behind, pair);
}
