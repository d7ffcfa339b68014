//! The order of axes: the graph's own, in which channels come last, and ONNX's.

use crate::op::tensor::{Shape, Values, picked_indices, row_major_strides, strided_indices};

/// The order of a tensor's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The graph's own; of operators with channels, these come last.
    Own,
    /// The last axis second.
    ChannelsFirst,
}

/// `[n, …, c]` to `[n, c, …]`.
pub(super) fn to_channels_first(rank: usize) -> Vec<usize> {
    std::iter::once(0).chain([rank - 1]).chain(1..rank - 1).collect()
}

/// `[n, c, …]` to `[n, …, c]`.
pub(super) fn to_channels_last(rank: usize) -> Vec<usize> {
    std::iter::once(0).chain(2..rank).chain([1]).collect()
}

/// Where an axis of a tensor lies in an order.
pub(super) fn axis_in(order: Order, axis: usize, rank: usize) -> usize {
    match order {
        Order::ChannelsFirst if rank > 2 && axis > 0 => {
            if axis + 1 == rank {
                1
            } else {
                axis + 1
            }
        }
        Order::Own | Order::ChannelsFirst => axis,
    }
}

/// One entry per axis, in an order.
pub(super) fn axes_in<T: Clone>(order: Order, entries: &[T]) -> Vec<T> {
    match order {
        Order::ChannelsFirst if entries.len() > 2 => {
            let perm = to_channels_first(entries.len());
            perm.into_iter().map(|axis| entries[axis].clone()).collect()
        }
        Order::Own | Order::ChannelsFirst => entries.to_vec(),
    }
}

/// Values with their axes in another order.
pub(super) fn transposed(values: &Values, perm: &[usize]) -> Values {
    let strides = row_major_strides(&values.shape);
    let shape: Shape = perm.iter().map(|&axis| values.shape[axis]).collect();
    let strides: Vec<usize> = perm.iter().map(|&axis| strides[axis]).collect();
    let places = strided_indices(&shape, &strides, 0);
    Values::new(shape, values.data.gather(places.into_iter()))
}

/// Values with some axes the other way round.
pub(super) fn reversed(values: &Values, axes: std::ops::Range<usize>) -> Values {
    let picks: Vec<Vec<usize>> = (0..values.shape.len())
        .map(|axis| {
            let all = 0..values.shape[axis];
            if axes.contains(&axis) {
                all.rev().collect()
            } else {
                all.collect()
            }
        })
        .collect();
    let places = picked_indices(&values.shape, &picks);
    Values::new(values.shape.clone(), values.data.gather(places.into_iter()))
}
