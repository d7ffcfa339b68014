//! The pass `fuse-bias`.

use super::draft::{Draft, Place};
use super::edit::{absorb, shape};
use super::layer::{broadcasts_along_channels, open_layer, per_channel, scaled};
use super::stored::StoredConstant;
use crate::ir::FloatGraph;
use crate::op::{BinaryKind, Op};

/// Makes an addition of one constant per channel, or of one for all, the bias of the `Conv2d` or `Dense` before it.
/// The constant may be integers behind a `DequantizeLinear`.
///
/// Where there is a bias already, the constant is added to it if both are reals. Refuses a layer that clamps or whose
/// sum something else reads. Exact without a former bias; else the two are added in f64 and rounded once, so a result
/// moves by at most one f32 rounding of the bias.
pub(super) fn fuse_bias(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, fuse)
}

fn fuse(graph: &mut Draft, position: Place) -> Option<()> {
    let node = &graph.nodes[position];
    let Op::Binary(add) = &node.op else {
        return None;
    };
    let (kind, clamp) = (add.kind, add.clamp);
    if kind != BinaryKind::Add {
        return None;
    }
    let output = shape(graph, node.outputs[0]).to_vec();
    let (layer, sum, addend) = [(0, 1), (1, 0)].into_iter().find_map(|(sum, addend)| {
        let (sum, addend) = (node.inputs[sum], node.inputs[addend]);
        open_layer(graph, sum).map(|layer| (layer, sum, addend))
    })?;
    let channels = *output.last()?;
    if shape(graph, sum) != output || !broadcasts_along_channels(shape(graph, addend), &output) {
        return None;
    }
    let mut merged = if graph.nodes[layer].inputs.len() == 2 {
        let constant = StoredConstant::find(graph, addend)?;
        let bias = if constant.shape() == [channels] {
            addend
        } else {
            constant.spread_to(channels)?.add_to(graph, position)
        };
        let mut merged = graph.nodes[layer].clone();
        merged.inputs.push(bias);
        merged
    } else {
        let offsets = per_channel(graph, addend, &output)?;
        scaled(graph, layer, &vec![1.0; channels], &offsets)?
    };
    if let Some(fused) = super::layer::clamp(&mut merged.op) {
        *fused = clamp;
    }
    absorb(graph, layer, position, merged);
    Some(())
}
