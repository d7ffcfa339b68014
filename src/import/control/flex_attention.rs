//! FlexAttention: <https://onnx.ai/onnx/operators/onnx_aionnxpreview_FlexAttention.html>.

use tinsmith_proto::GraphProto;

use super::super::attrs::Attrs;
use super::super::builder::Tensor;
use super::super::heads::default_scale;
use super::super::model::Import;
use super::super::node::{self, Made, Node};
use super::super::scope::Item;
use super::super::tensors::dtype;
use crate::op::OpError;
use crate::op::tensor::DType;

/// `prob_mod(softmax(score_mod(Q·Kᵀ·scale)))·V`, with the graphs of both attributes in place of their calls.
pub(super) fn import(import: &mut Import<'_>, call: &Node<'_>) -> Made {
    let attrs = Attrs::new(&call.node.attribute);
    let modifiers = [attrs.maybe_graph("score_mod")?, attrs.maybe_graph("prob_mod")?];
    let scale = attrs.maybe_float("scale")?;
    let precision = attrs.maybe_int("softmax_precision")?;
    attrs.finish(call.version)?;
    let (q, k, v) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    for (what, x) in [("Q", q), ("K", k), ("V", v)] {
        if import.graph.rank(x) != 4 {
            return Err(OpError::new(format!(
                "`{what}` of rank 4 wanted, {} found",
                import.graph.ty(x)
            )));
        }
    }
    let own = import.graph.ty(q).dtype;
    let precision = match precision {
        Some(number) => dtype(i32::try_from(number).unwrap_or(i32::MAX))?,
        None if own == DType::F64 => DType::F64,
        None => DType::F32,
    };
    let scale = scale.map_or_else(|| default_scale(import.graph.shape(q)[3]), f64::from);
    let scores = import.graph.scores(q, k, scale)?;
    let scores = import.graph.cast(scores, precision, "precise")?;
    let Some(scores) = modified(import, call, modifiers[0], scores)? else {
        return Ok(None);
    };
    let weights = import.graph.softmax(scores, 3, "weights")?;
    let Some(weights) = modified(import, call, modifiers[1], weights)? else {
        return Ok(None);
    };
    let values = import.graph.cast(v, precision, "precise_value")?;
    let mixed = import.graph.mix_values(weights, values)?;
    let y = import.graph.cast(mixed, own, "attended")?;
    Ok(Some(vec![Some(Item::Tensor(y))]))
}

/// What a graph makes of a tensor, which keeps its type; the tensor itself without a graph. `None` where the graph has
/// a problem that is noted.
fn modified(
    import: &mut Import<'_>,
    call: &Node<'_>,
    graph: Option<&GraphProto>,
    x: Tensor,
) -> Result<Option<Tensor>, OpError> {
    let Some(graph) = graph else {
        return Ok(Some(x));
    };
    if graph.output.len() != 1 {
        return Err(OpError::new(format!(
            "a graph of one output wanted, `{}` with {} found",
            graph.name,
            graph.output.len()
        )));
    }
    let inner = import.open_graph(graph, call)?;
    let outputs = import.evaluate(&inner, vec![Item::Tensor(x)]);
    import.close_graph();
    import.name_after(call);
    let Some(outputs) = outputs? else {
        return Ok(None);
    };
    let y = node::tensor(&outputs[0])?;
    let (wanted, found) = (import.graph.ty(x), import.graph.ty(y));
    if wanted != found {
        return Err(OpError::new(format!(
            "a graph that keeps {wanted} wanted, `{}` that makes {found} of it found",
            graph.name
        )));
    }
    Ok(Some(y))
}
