//! What a quantized graph means, in f64: `quantize(op(dequantize(inputs)))`, node by node. Shares only the operators'
//! `eval` with the compiler; no rescale, no table, no kernel.

use tinsmith::ir::QuantGraph;
use tinsmith::op::quant::{QuantTensor, Quantization};
use tinsmith::op::tensor::{DType, Data, Values};

/// The reals that a tensor's numbers stand for.
fn dequantize(tensor: &QuantTensor, values: &Values, bias_steps: Option<&[f64]>) -> Values {
    let codes = || values.to_i64().unwrap();
    let reals = match &tensor.quantization {
        Quantization::Plain if values.as_f32().is_none() => return values.clone(),
        Quantization::Plain => values.to_f64(),
        Quantization::PerTensor(params) => {
            let zero = i64::from(params.zero_point);
            codes()
                .iter()
                .map(|code| (code - zero) as f64 * f64::from(params.scale))
                .collect()
        }
        Quantization::PerChannel { scales, .. } => {
            let row = values.data.len() / scales.len();
            let step = |channel: usize| bias_steps.map_or(f64::from(scales[channel]), |steps| steps[channel]);
            codes()
                .iter()
                .enumerate()
                .map(|(i, &code)| code as f64 * step(i / row))
                .collect()
        }
        Quantization::PerBlock {
            scales,
            block,
            factors,
        } => {
            let row = values.data.len() / scales.len();
            let step = |i: usize| {
                let factor = factors[i / row * row.div_ceil(*block) + i % row / block];
                f64::from(scales[i / row]) * f64::from(factor)
            };
            let codes = codes().into_iter().enumerate();
            codes.map(|(i, code)| code as f64 * step(i)).collect()
        }
    };
    Values::new(values.shape.clone(), Data::F64(reals))
}

/// Runs the graph on codes; gives the codes of every tensor that came about.
pub(crate) fn run(graph: &QuantGraph, inputs: &[Values]) -> Vec<Option<Values>> {
    let mut codes: Vec<Option<Values>> = graph
        .tensors
        .iter()
        .map(|(_, tensor)| tensor.data.as_deref().cloned())
        .collect();
    for (input, values) in graph.inputs.iter().zip(inputs) {
        codes[input.index()] = Some(values.clone());
    }
    for node in &graph.nodes {
        // A bias counts in steps of exactly the input's scale times the weights'.
        let bias_steps: Option<Vec<f64>> = node.inputs.get(1).and_then(|&weights| {
            let scales = graph.tensors[weights].quantization.channel_scales()?;
            let input = f64::from(graph.tensors[node.inputs[0]].params().unwrap().scale);
            Some(scales.iter().map(|&scale| input * f64::from(scale)).collect())
        });
        let operands: Vec<Values> = node
            .inputs
            .iter()
            .enumerate()
            .map(|(position, &input)| {
                let values = codes[input.index()].as_ref().unwrap();
                let steps = bias_steps.as_deref().filter(|_| position == 2);
                dequantize(&graph.tensors[input], values, steps)
            })
            .collect();
        let outputs = node.op.eval(&operands.iter().collect::<Vec<_>>()).unwrap();
        for (&output, reals) in node.outputs.iter().zip(outputs) {
            let tensor = &graph.tensors[output];
            let Some(params) = tensor.params() else {
                // Indices and truths are what they are.
                let plain = Values::new(reals.shape.clone(), reals.data.cast(tensor.ty.dtype));
                codes[output.index()] = Some(plain);
                continue;
            };
            let reals_f64 = reals.to_f64();
            let quantized = reals_f64.iter().map(|real| {
                // What is no number is zero.
                let real = if real.is_nan() { 0.0 } else { *real };
                let steps = (real / f64::from(params.scale)).round_ties_even();
                steps + f64::from(params.zero_point)
            });
            // A float saturates as it becomes an integer.
            let quantized = match tensor.ty.dtype {
                DType::I16 => Data::I16(quantized.map(|code| code as i16).collect()),
                _ => Data::I8(quantized.map(|code| code as i8).collect()),
            };
            codes[output.index()] = Some(Values::new(reals.shape, quantized));
        }
    }
    codes
}

/// The codes of the graph's outputs.
pub(crate) fn outputs(graph: &QuantGraph, inputs: &[Values]) -> Vec<Values> {
    let codes = run(graph, inputs);
    graph
        .outputs
        .iter()
        .map(|output| codes[output.index()].clone().unwrap())
        .collect()
}
