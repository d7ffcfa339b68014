//! The pass `decompose-batch-norm`.

use super::draft::{Draft, Place};
use super::edit::{add_constant, insert, shape};
use super::fold_batch_norm::affine;
use crate::ir::{FloatGraph, Node};
use crate::op::tensor::Values;
use crate::op::{Binary, BinaryKind, Clamp, Conv2d, Op, Window};

/// Replaces a `BatchNormalization` that no layer took: of an image by a depthwise 1×1 `Conv2d`, of other ranks by a
/// multiplication and an addition, because no kernel runs it as it is.
///
/// Refuses parameters that are no f32 constants. The multiply-accumulates of the convolution are counted from here on;
/// the work was there before. Approximate: factor and offset are computed in f64 and rounded to f32 once each.
pub(super) fn decompose_batch_norm(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, |graph, position| {
        let (factors, offsets) = affine(graph, &graph.nodes[position])?;
        decompose(graph, position, &factors, &offsets);
        Some(())
    })
}

fn decompose(graph: &mut Draft, position: Place, factors: &[f64], offsets: &[f64]) {
    let Node {
        name,
        inputs,
        outputs,
        ..
    } = graph.nodes[position].clone();
    let (input, scale, bias) = (inputs[0], inputs[1], inputs[2]);
    let channels = factors.len();
    let rounded = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<_>>();
    let is_image = shape(graph, input).len() == 4;
    let factor_shape = if is_image {
        vec![channels, 1, 1, 1]
    } else {
        vec![channels]
    };
    let (scale_name, bias_name) = (
        graph.tensors[scale].name.clone(),
        graph.tensors[bias].name.clone(),
    );
    let factor = add_constant(graph, &scale_name, Values::f32(factor_shape, rounded(factors)));
    let offset = add_constant(graph, &bias_name, Values::f32([channels], rounded(offsets)));
    if is_image {
        graph.change(position, |node| {
            node.inputs = vec![input, factor, offset];
            node.op = Op::Conv2d(Conv2d {
                window: Window {
                    kernel: [1, 1],
                    strides: [1, 1],
                    dilations: [1, 1],
                    pads: [0; 4],
                },
                groups: channels,
                clamp: Clamp::NONE,
            });
        });
        return;
    }
    let binary = |kind| {
        Op::Binary(Binary {
            kind,
            clamp: Clamp::NONE,
        })
    };
    let product = Node {
        name,
        op: binary(BinaryKind::Mul),
        inputs: vec![input, factor],
        outputs: Vec::new(),
    };
    let (base, ty) = (
        graph.tensors[outputs[0]].name.clone(),
        graph.tensors[input].ty.clone(),
    );
    let product = insert(graph, position, product, &base, ty);
    graph.change(position, |node| {
        node.inputs = vec![product, offset];
        node.op = binary(BinaryKind::Add);
    });
}
