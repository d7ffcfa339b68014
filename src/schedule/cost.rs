//! Predicted instructions of a kernel call, from the target's cost figures. Integer, so that it is the same on every
//! host.

use tinsmith_runtime::kernels::Layer;

use crate::target::Cost;

/// Instructions that one run of `layer` is predicted to take.
pub fn instructions(cost: &Cost, layer: &Layer) -> u64 {
    let work = layer.work().unwrap_or(u64::MAX);
    let output = layer
        .extents()
        .map_or(0, |extents| u64::from(extents.output.bytes));
    let (per_work, per_output) = match layer {
        Layer::Conv2d(_) => (cost.conv_mac_q8, cost.rescale_q8),
        Layer::DepthwiseConv2d(_) => (cost.depthwise_mac_q8, cost.rescale_q8),
        Layer::Dense(_) => (cost.dense_mac_q8, cost.rescale_q8),
        Layer::MaxPool(_) | Layer::AveragePool(_) => (cost.pool_tap_q8, cost.element_q8),
        Layer::Softmax(_) => (cost.softmax_q8, 0),
        Layer::Add(_) | Layer::Mul(_) | Layer::Table(_) => (cost.element_q8, 0),
        Layer::StridedCopy(_) | Layer::Fill(_) | Layer::Delay(_) => (cost.element_q8, 0),
    };
    let q8 = work
        .saturating_mul(per_work.into())
        .saturating_add(output.saturating_mul(per_output.into()));
    q8 >> 8
}
