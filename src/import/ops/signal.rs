//! Windows and transforms of signals.

use std::f64::consts::TAU;

use super::super::builder::Tensor;
use super::super::tensors::dtype;
use super::fourier::Transform;
use super::{Call, Importer, Made, onnx, resolve_axis};
use crate::op::tensor::{Data, Values};
use crate::op::{Gather, Op, OpError};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("BlackmanWindow", blackman),
    onnx("DFT", dft),
    onnx("HammingWindow", hamming),
    onnx("HannWindow", hann),
    onnx("MelWeightMatrix", mel_weights),
    onnx("STFT", stft),
];

/// One integer of input `index`; `None` where it is left out.
fn one_int(call: &Call<'_>, index: usize, what: &str) -> Result<Option<i64>, OpError> {
    match call.constant_ints(index, what)?.as_deref() {
        None => Ok(None),
        Some(&[value]) => Ok(Some(value)),
        Some(values) => Err(OpError::new(format!(
            "one number as {what} wanted, {values:?} found"
        ))),
    }
}

/// Some integer of at least one.
fn positive(value: Option<i64>, what: &str) -> Result<usize, OpError> {
    let found = value.ok_or_else(|| OpError::new(format!("{what} wanted, none found")))?;
    usize::try_from(found)
        .ok()
        .filter(|&value| value > 0)
        .ok_or_else(|| OpError::new(format!("{what} of at least 1 wanted, {found} found")))
}

/// A constant of the element type that `output_datatype` names, f32 by default.
fn typed(call: &mut Call<'_>, shape: &[usize], elements: Vec<f64>) -> Made {
    let number = call.attrs.int("output_datatype", 1)?;
    let to = dtype(i32::try_from(number).unwrap_or(i32::MAX))?;
    call.graph.take_bytes(elements.len() * to.bytes())?;
    let values = Values::new(shape, Data::F64(elements).cast(to));
    Ok(vec![call.graph.constant(values, "")])
}

/// `Σ aₖ · cos(2πkn / N)`, where `N` is the size of a periodic window, and one less for a symmetric one.
fn window(call: &mut Call<'_>, coefficients: &[f64]) -> Made {
    let size = one_int(call, 0, "the size")?;
    let size = size.and_then(|size| usize::try_from(size).ok());
    let size = size.ok_or_else(|| OpError::new("a size of at least 0 wanted"))?;
    call.graph.take_bytes(size.saturating_mul(8))?;
    let periodic = call.attrs.flag("periodic", true)?;
    let length = if periodic { size } else { size.saturating_sub(1) }.max(1);
    let value = |n: usize| {
        let term = |(k, a): (usize, &f64)| a * libm::cos(TAU * (k * n) as f64 / length as f64);
        coefficients.iter().enumerate().map(term).sum()
    };
    typed(call, &[size], (0..size).map(value).collect())
}

fn hann(call: &mut Call<'_>) -> Made {
    window(call, &[0.5, -0.5])
}

fn hamming(call: &mut Call<'_>) -> Made {
    window(call, &[25.0 / 46.0, -21.0 / 46.0])
}

fn blackman(call: &mut Call<'_>) -> Made {
    window(call, &[0.42, -0.5, 0.08])
}

/// Triangles over the bins of a spectrum that are equally wide on the mel scale.
fn mel_weights(call: &mut Call<'_>) -> Made {
    let bands = positive(one_int(call, 0, "the number of bands")?, "a number of bands")?;
    let length = positive(
        one_int(call, 1, "the transform's length")?,
        "a transform's length",
    )?;
    let rate = positive(one_int(call, 2, "the sample rate")?, "a sample rate")?;
    let edge = |index: usize, what: &str| -> Result<f64, OpError> {
        let values = call.constant(index, what)?;
        match values.map(|values| values.to_f64()).as_deref() {
            Some(&[hertz]) => Ok(hertz),
            _ => Err(OpError::new(format!("one number as {what} wanted"))),
        }
    };
    let mel = |hertz: f64| 2595.0 * libm::log10(1.0 + hertz / 700.0);
    let (low, high) = (mel(edge(3, "the lower edge")?), mel(edge(4, "the upper edge")?));
    let step = (high - low) / (bands + 2) as f64;
    let spectrum = length / 2 + 1;
    call.graph
        .take_bytes(spectrum.saturating_mul(bands).saturating_mul(8))?;
    let bin = |index: usize| -> Result<usize, OpError> {
        let hertz = 700.0 * (libm::pow(10.0, (index as f64 * step + low) / 2595.0) - 1.0);
        let bin = ((length + 1) as f64 * hertz / rate as f64).floor();
        if !(0.0..=spectrum as f64).contains(&bin) {
            return Err(OpError::new(format!(
                "edges within the spectrum of {spectrum} bins wanted, bin {bin} found"
            )));
        }
        Ok(bin as usize)
    };
    let mut weights = vec![0.0; spectrum * bands];
    for band in 0..bands {
        let (lower, center, higher) = (bin(band)?, bin(band + 1)?, bin(band + 2)?);
        let mut set = |bin: usize, weight: f64| {
            if bin < spectrum {
                weights[bin * bands + band] = weight;
            }
        };
        if lower == center {
            set(center, 1.0);
        }
        for bin in lower..=center {
            if lower < center {
                set(bin, (bin - lower) as f64 / (center - lower) as f64);
            }
        }
        for bin in center..higher {
            set(bin, (higher - bin) as f64 / (higher - center) as f64);
        }
    }
    typed(call, &[spectrum, bands], weights)
}

fn expect_reals(call: &Call<'_>, x: Tensor) -> Result<(), OpError> {
    let ty = call.graph.ty(x);
    if ty.dtype.is_float() {
        Ok(())
    } else {
        Err(OpError::new(format!("a signal of reals wanted, {ty} found")))
    }
}

/// Opset 20 has the axis as an input, which may count from the end.
fn dft(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    expect_reals(call, x)?;
    let shape = call.graph.shape(x).to_vec();
    let axis = if call.version < 20 {
        call.attrs.int("axis", 1)?
    } else {
        one_int(call, 2, "the axis")?.unwrap_or(-2)
    };
    let axis = resolve_axis(axis, shape.len())?;
    let last = shape.len() - 1;
    if axis == last || !(1..=2).contains(&shape[last]) {
        return Err(OpError::new(format!(
            "a signal with one or two components on its last axis and another axis to transform wanted, axis {axis} of {shape:?} found"
        )));
    }
    let inverse = call.attrs.flag("inverse", false)?;
    let onesided = call.attrs.flag("onesided", false)?;
    let whole = if inverse && onesided {
        2 * shape[axis].saturating_sub(1)
    } else {
        shape[axis]
    };
    let given = one_int(call, 1, "the transform's length")?;
    let length = positive(given.or(Some(whole as i64)), "a transform's length")?;
    let transform = Transform {
        length,
        inverse,
        onesided,
    };
    // The axis next to the components, and back.
    let mut perm: Vec<usize> = (0..shape.len()).collect();
    perm[axis..last].rotate_left(1);
    let moved = call.graph.transpose(x, &perm, "axis_last")?;
    let outer: usize = (0..last)
        .filter(|&other| other != axis)
        .map(|axis| shape[axis])
        .product();
    let flat = call
        .graph
        .reshape(moved, [outer, shape[axis], shape[last]], "signals")?;
    let y = transform.apply(call, flat)?;
    let (outputs, parts) = (call.graph.shape(y)[1], call.graph.shape(y)[2]);
    let mut extents: Vec<usize> = perm.iter().map(|&axis| shape[axis]).collect();
    extents[last - 1] = outputs;
    extents[last] = parts;
    let y = call.graph.reshape(y, extents, "spectra")?;
    let mut back: Vec<usize> = (0..shape.len()).collect();
    back[axis..last].rotate_right(1);
    Ok(vec![call.graph.transpose(y, &back, "axis_back")?])
}

/// Transforms of frames of a signal, each weighted by a window.
fn stft(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    expect_reals(call, x)?;
    let shape = call.graph.shape(x).to_vec();
    let (batch, samples, components) = match shape[..] {
        [batch, samples] => (batch, samples, 1),
        [batch, samples, components @ 1..=2] => (batch, samples, components),
        _ => {
            return Err(OpError::new(format!(
                "signals with one or two components wanted, {shape:?} found"
            )));
        }
    };
    let onesided = call.attrs.flag("onesided", true)?;
    if onesided && components == 2 {
        return Err(OpError::new(
            "real signals wanted for onesided=1, complex ones found",
        ));
    }
    let step = positive(one_int(call, 1, "the frames' step")?, "a step of the frames")?;
    let window = call.optional(2);
    let length = match (one_int(call, 3, "the frames' length")?, window) {
        (None, Some(window)) => call.graph.ty(window).len(),
        (given, _) => positive(given, "a length of the frames")?,
    };
    let room = samples.checked_sub(length).filter(|_| length > 0);
    let room =
        room.ok_or_else(|| OpError::new(format!("frames within {samples} samples wanted, {length} found")))?;
    let frames = room / step + 1;
    call.graph
        .take_bytes(frames.saturating_mul(length).saturating_mul(8))?;
    let indices = (0..frames).flat_map(|frame| (0..length).map(move |i| (frame * step + i) as i64));
    let indices = Values::new([frames, length], Data::I64(indices.collect()));
    let indices = call.graph.constant(indices, "frames");
    let signal = call.graph.reshape(x, [batch, samples, components], "samples")?;
    let mut framed = call
        .graph
        .emit(Op::Gather(Gather { axis: 1 }), &[signal, indices], "framed")?;
    if let Some(window) = window {
        let column = call.graph.reshape(window, [length, 1], "window")?;
        framed = call.graph.mul(framed, column, "weighted")?;
    }
    let flat = call
        .graph
        .reshape(framed, [batch * frames, length, components], "signals")?;
    let transform = Transform {
        length,
        inverse: false,
        onesided,
    };
    let y = transform.apply(call, flat)?;
    Ok(vec![call.graph.reshape(
        y,
        [batch, frames, transform.outputs(), 2],
        "spectra",
    )?])
}
