//! Pools.

use super::super::builder::Tensor;
use super::super::layout::{from_image, to_image};
use super::window::{self, Resolved};
use super::{Call, Importer, Made, onnx};
use crate::op::{AveragePool, Clamp, MaxPool, Op, OpError, Window};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("AveragePool", average),
    onnx("GlobalAveragePool", global_average),
    onnx("MaxPool", max),
];

/// The input, and its extents along one or two spatial axes.
fn input(call: &Call<'_>) -> Result<(Tensor, Vec<usize>), OpError> {
    let x = call.input(0)?;
    let ty = call.graph.ty(x);
    if !(3..=4).contains(&ty.shape.len()) {
        return Err(OpError::new(format!(
            "an input of rank 3 or 4 wanted, {ty} found"
        )));
    }
    Ok((x, ty.shape[2..].to_vec()))
}

/// The window of a pool that names its own kernel.
fn resolve(call: &Call<'_>, extents: &[usize]) -> Result<Resolved, OpError> {
    let kernel = call
        .attrs
        .maybe_ints("kernel_shape")?
        .ok_or_else(|| OpError::new("`kernel_shape` wanted, none found"))?;
    let ceil_mode = call.version >= 10 && call.attrs.flag("ceil_mode", false)?;
    window::resolve(call, extents, kernel, ceil_mode)
}

/// Wraps a pool over images into ONNX's layout.
fn emit(call: &mut Call<'_>, x: Tensor, op: Op) -> Made {
    let rank = call.graph.shape(x).len();
    let image = to_image(call.graph, x)?;
    let y = call.graph.emit_as(op, &[image], "", "image")?;
    Ok(vec![from_image(call.graph, y, rank)?])
}

/// The order of storage concerns only the indices, a second output that is not supported.
fn max(call: &mut Call<'_>) -> Made {
    let (x, extents) = input(call)?;
    call.attrs.ignore(&["storage_order"]);
    let window = resolve(call, &extents)?.window;
    let clamp = Clamp::NONE;
    emit(call, x, Op::MaxPool(MaxPool { window, clamp }))
}

fn average(call: &mut Call<'_>) -> Made {
    let (x, extents) = input(call)?;
    let count_include_pad = call.attrs.flag("count_include_pad", false)?;
    let Resolved { window, overhang } = resolve(call, &extents)?;
    let op = Op::AveragePool(AveragePool {
        window,
        count_include_pad,
        ceil_pads: overhang,
        clamp: Clamp::NONE,
    });
    emit(call, x, op)
}

/// One window over everything.
fn global_average(call: &mut Call<'_>) -> Made {
    let (x, extents) = input(call)?;
    let kernel = match extents[..] {
        [rows, columns] => [rows, columns],
        [columns] => [1, columns],
        _ => unreachable!("one or two spatial axes"),
    };
    let op = Op::AveragePool(AveragePool {
        window: Window {
            kernel,
            strides: [1, 1],
            dilations: [1, 1],
            pads: [0; 4],
        },
        count_include_pad: false,
        ceil_pads: [0, 0],
        clamp: Clamp::NONE,
    });
    emit(call, x, op)
}
