//! If: <https://onnx.ai/onnx/operators/onnx__If.html>.

use tinsmith_proto::GraphProto;

use super::super::attrs::Attrs;
use super::super::builder::Tensor;
use super::super::model::Import;
use super::super::node::{Made, Node};
use super::super::scope::Item;
use crate::op::OpError;

/// The branch that a known condition takes, in place of the node; the user is told that the other one is gone. Both
/// where the condition is known only when running.
pub(super) fn import(import: &mut Import<'_>, call: &Node<'_>) -> Made {
    let attrs = Attrs::new(&call.node.attribute);
    let branches = [attrs.graph("then_branch")?, attrs.graph("else_branch")?];
    attrs.finish(call.version)?;
    let condition = call.tensor(0)?;
    let Some(known) = import.known_number(condition, "the condition")? else {
        return both(import, call, condition, branches);
    };
    let (graph, taken, left) = match known {
        0 => (branches[1], "else_branch", "then_branch"),
        _ => (branches[0], "then_branch", "else_branch"),
    };
    import.note(format!(
        "If `{}`: its condition is always {}, so only {taken} is compiled and {left} is not",
        call.names.0,
        known != 0
    ));
    let outputs = evaluate(import, call, graph)?;
    Ok(outputs.map(|outputs| outputs.into_iter().map(Some).collect()))
}

/// What a branch gives, once for every output of the node.
fn evaluate(
    import: &mut Import<'_>,
    call: &Node<'_>,
    graph: &GraphProto,
) -> Result<Option<Vec<Item>>, OpError> {
    if graph.output.len() < call.node.output.len() {
        return Err(OpError::new(format!(
            "branches with {} outputs wanted, `{}` with {} found",
            call.node.output.len(),
            graph.name,
            graph.output.len()
        )));
    }
    let inner = import.open_graph(graph, call)?;
    let outputs = import.evaluate(&inner, Vec::new());
    import.close_graph();
    outputs
}

/// Both branches, and a choice between what they give.
fn both(import: &mut Import<'_>, call: &Node<'_>, condition: Tensor, branches: [&GraphProto; 2]) -> Made {
    let sides = [
        evaluate(import, call, branches[0])?,
        evaluate(import, call, branches[1])?,
    ];
    let [Some(then), Some(other)] = sides else {
        return Ok(None);
    };
    import.name_after(call);
    import.note(format!(
        "If `{}`: its condition is known only when running, so both branches are compiled, and the one it chooses runs",
        call.names.0
    ));
    let mut made = Vec::with_capacity(then.len());
    for (then, other) in then.iter().zip(&other) {
        made.push(Some(import.choose(condition, then, other)?));
    }
    Ok(Some(made))
}
