//! What is made of convolutions: DeformConv, CausalConvWithState, Col2Im.

use super::super::builder::Tensor;
use super::super::layout::{channels_first, channels_last, conv_weights, from_image, to_image};
use super::conv::{groups, kernel};
use super::pool::reshaped;
use super::window;
use super::{Call, Importer, Made, onnx};
use crate::op::tensor::{DType, Data, Values};
use crate::op::{
    Binary, BinaryKind, Cast, Clamp, Concat, Conv2d, ConvNd, Coordinates, Gather, GridSample, Op, OpError,
    SampleMode, SamplePadding, Slice, Transpose, Unary, UnaryKind, Window, WindowNd,
};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("CausalConvWithState", causal),
    onnx("Col2Im", columns_to_image),
    onnx("DeformConv", deformable),
];

fn binary(
    call: &mut Call<'_>,
    kind: BinaryKind,
    a: Tensor,
    b: Tensor,
    role: &str,
) -> Result<Tensor, OpError> {
    let clamp = Clamp::NONE;
    call.graph.emit(Op::Binary(Binary { kind, clamp }), &[a, b], role)
}

/// A window of one tap.
fn point() -> Window {
    Window {
        kernel: [1, 1],
        strides: [1, 1],
        dilations: [1, 1],
        pads: [0; 4],
    }
}

/// The samples under every tap as channels, then a convolution of one tap.
fn deformable(call: &mut Call<'_>) -> Made {
    let (x, weights, offsets) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let (x_ty, offsets_ty) = (call.graph.ty(x).clone(), call.graph.ty(offsets).clone());
    let weights_shape = call.graph.shape(weights).to_vec();
    let (&[n, c, h, w], 4) = (&x_ty.shape[..], weights_shape.len()) else {
        return Err(OpError::new(format!(
            "an image and weights of rank 4 wanted, {x_ty} and {} found",
            call.graph.ty(weights)
        )));
    };
    let kernel = kernel(call, weights)?;
    let groups = groups(call)?;
    let parts = call.attrs.int("offset_group", 1)?;
    let parts = usize::try_from(parts)
        .ok()
        .filter(|&parts| parts > 0 && c.is_multiple_of(parts))
        .ok_or_else(|| {
            OpError::new(format!(
                "`offset_group` that divides {c} channels wanted, {parts} found"
            ))
        })?;
    let resolved = window::resolve(call, &[h, w], &kernel, false)?;
    let outputs = resolved.outputs(&[h, w])?;
    let (out_h, out_w) = (outputs[0], outputs[1]);
    let (kernel_h, kernel_w) = (resolved.kernel[0], resolved.kernel[1]);
    let taps = kernel_h * kernel_w;
    let wanted = [n, parts * taps * 2, out_h, out_w];
    if offsets_ty.shape != wanted {
        return Err(OpError::new(format!(
            "offsets as {wanted:?} wanted, {offsets_ty} found"
        )));
    }
    // Row and column of every tap, moved by its offset; samples take the column first.
    let moved = reshaped(call, offsets, &[n * parts, taps, 2, out_h * out_w], "offsets")?;
    let turn = Op::Transpose(Transpose {
        perm: vec![0, 1, 3, 2],
    });
    let moved = call.graph.emit(turn, &[moved], "points")?;
    let swap = call
        .graph
        .constant(Values::new([2], Data::I64(vec![1, 0])), "swap");
    let moved = call
        .graph
        .emit(Op::Gather(Gather { axis: 3 }), &[moved, swap], "columns_first")?;
    let mut places = Vec::with_capacity(taps * out_h * out_w * 2);
    let at = |axis: usize, output: usize, tap: usize| {
        let start = (output * resolved.strides[axis] + tap * resolved.dilations[axis]) as f64;
        start - resolved.before[axis] as f64
    };
    for (ky, kx) in (0..kernel_h).flat_map(|ky| (0..kernel_w).map(move |kx| (ky, kx))) {
        for (y, x) in (0..out_h).flat_map(|y| (0..out_w).map(move |x| (y, x))) {
            places.extend([at(1, x, kx), at(0, y, ky)]);
        }
    }
    call.graph.take_bytes(places.len() * offsets_ty.dtype.bytes())?;
    let places = Data::F64(places).cast(offsets_ty.dtype);
    let places = call
        .graph
        .constant(Values::new([1, taps, out_h * out_w, 2], places), "taps");
    let points = binary(call, BinaryKind::Add, moved, places, "places")?;
    let image = reshaped(call, x, &[n * parts, c / parts, h, w], "parts")?;
    let sample = Op::GridSample(GridSample {
        mode: SampleMode::Linear,
        padding: SamplePadding::Zeros,
        coordinates: Coordinates::Elements,
    });
    let mut samples = call.graph.emit(sample, &[image, points], "samples")?;
    if let Some(mask) = call.optional(4) {
        let mask = reshaped(call, mask, &[n * parts, 1, taps, out_h * out_w], "mask")?;
        samples = binary(call, BinaryKind::Mul, samples, mask, "masked")?;
    }
    let patches = reshaped(call, samples, &[n, c * taps, out_h, out_w], "patches")?;
    let each = weights_shape[1] * taps;
    let weights = reshaped(call, weights, &[weights_shape[0], each, 1, 1], "point")?;
    let mut inputs = vec![to_image(call.graph, patches)?, conv_weights(call.graph, weights)?];
    inputs.extend(call.optional(3));
    let op = Op::Conv2d(Conv2d {
        window: point(),
        groups,
        clamp: Clamp::NONE,
    });
    let y = call.graph.emit_as(op, &inputs, "", "image")?;
    Ok(vec![from_image(call.graph, y, 4)?])
}

/// The state and the input side by side, convolved channel by channel; the last of both is the next state.
fn causal(call: &mut Call<'_>) -> Made {
    let (x, weights) = (call.input(0)?, call.input(1)?);
    let (x_ty, weights_ty) = (call.graph.ty(x).clone(), call.graph.ty(weights).clone());
    let (&[n, c, length], &[out_c, 1, taps]) = (&x_ty.shape[..], &weights_ty.shape[..]) else {
        return Err(OpError::new(format!(
            "an input [n, c, length] and weights [c, 1, k] wanted, {x_ty} and {weights_ty} found"
        )));
    };
    let swish = match call.attrs.word("activation", "none")? {
        "none" => false,
        "silu" | "swish" => true,
        other => {
            return Err(OpError::new(format!(
                "activation none, silu or swish wanted, {other} found"
            )));
        }
    };
    if out_c != c || taps == 0 {
        return Err(OpError::new(format!(
            "a kernel for each of {c} channels wanted, {weights_ty} found"
        )));
    }
    let kept = taps - 1;
    let state = match call.optional(3) {
        Some(state) if call.graph.shape(state) == [n, c, kept] => state,
        Some(state) => {
            return Err(OpError::new(format!(
                "a state as [{n}, {c}, {kept}] wanted, {} found",
                call.graph.ty(state)
            )));
        }
        None => {
            let zeros = Data::F32(vec![0.0; n * c * kept]).cast(x_ty.dtype);
            call.graph.take_bytes(zeros.len() * x_ty.dtype.bytes())?;
            call.graph.constant(Values::new([n, c, kept], zeros), "zeros")
        }
    };
    let padded = if kept > 0 {
        call.graph
            .emit(Op::Concat(Concat { axis: 2 }), &[state, x], "padded")?
    } else {
        x
    };
    let mut inputs = vec![to_image(call.graph, padded)?, conv_weights(call.graph, weights)?];
    inputs.extend(call.optional(2));
    let op = Op::Conv2d(Conv2d {
        window: Window {
            kernel: [1, taps],
            ..point()
        },
        groups: c,
        clamp: Clamp::NONE,
    });
    let mut image = call.graph.emit_as(op, &inputs, "", "sum")?;
    if swish {
        image = activated(call, image, x_ty.dtype)?;
    }
    let y = from_image(call.graph, image, 3)?;
    let mut made = vec![y];
    if call.wants(1) {
        let last = Op::Slice(Slice {
            starts: vec![0, 0, length],
            steps: vec![1; 3],
            shape: vec![n, c, kept],
        });
        made.push(call.graph.emit(last, &[padded], "state")?);
    }
    Ok(made)
}

/// `x · sigmoid(x)`, in f32 for narrower reals.
fn activated(call: &mut Call<'_>, x: Tensor, dtype: DType) -> Result<Tensor, OpError> {
    let narrow = matches!(dtype, DType::F16 | DType::BF16);
    let cast = |call: &mut Call<'_>, x: Tensor, to: DType, role: &str| {
        if narrow {
            call.graph.emit(Op::Cast(Cast { to }), &[x], role)
        } else {
            Ok(x)
        }
    };
    let wide = cast(call, x, DType::F32, "wide")?;
    let kind = UnaryKind::Sigmoid;
    let gate = call.graph.emit(Op::Unary(Unary { kind }), &[wide], "sigmoid")?;
    let y = binary(call, BinaryKind::Mul, wide, gate, "swish")?;
    cast(call, y, dtype, "narrow")
}

/// A transposed convolution whose weights put every element of a column in its place. What is not finite spreads as
/// far as its block.
fn columns_to_image(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let ty = call.graph.ty(x).clone();
    let extents = |call: &Call<'_>, index: usize, what: &str| {
        let values = call.constant_ints(index, what)?.unwrap_or_default();
        let fits = |&value: &i64| (1..=window::MOST).contains(&value);
        if values.is_empty() || !values.iter().all(fits) {
            return Err(OpError::new(format!(
                "{what} from 1 to {} wanted, {values:?} found",
                window::MOST
            )));
        }
        Ok(values)
    };
    let image = extents(call, 1, "the image's shape")?;
    let block = extents(call, 2, "the block's shape")?;
    let axes = image.len();
    if block.len() != axes {
        return Err(OpError::new(format!(
            "a block of {axes} axes wanted, {block:?} found"
        )));
    }
    let image: Vec<usize> = image.iter().map(|&extent| extent as usize).collect();
    let given = window::resolve(call, &image, &block, false)?;
    let columns = given.outputs(&image)?;
    let taps = given
        .kernel
        .iter()
        .try_fold(1usize, |taps, &extent| taps.checked_mul(extent))
        .filter(|&taps| taps <= 1 << 20)
        .ok_or_else(|| {
            OpError::new(format!(
                "a block of at most 2^20 elements wanted, {block:?} found"
            ))
        })?;
    let places: usize = columns.iter().product();
    let &[n, depth, length] = &ty.shape[..] else {
        return Err(OpError::new(format!("an input of rank 3 wanted, {ty} found")));
    };
    if !depth.is_multiple_of(taps) || length != places {
        return Err(OpError::new(format!(
            "columns of {taps} elements at {places} places wanted, {ty} found"
        )));
    }
    let channels = depth / taps;
    let mut shape = vec![n, depth];
    shape.extend(&columns);
    let apart = reshaped(call, x, &shape, "places")?;
    let last = channels_last(call.graph, apart)?;
    // Tap k of the turned kernel reads element K − 1 − k of a block.
    let mut ones = vec![0.0; taps * taps];
    for tap in 0..taps {
        ones[tap * taps + taps - 1 - tap] = 1.0;
    }
    let bytes = depth
        .checked_mul(taps)
        .and_then(|all| all.checked_mul(ty.dtype.bytes()));
    let bytes = bytes.ok_or_else(|| OpError::new("weights that fit memory wanted"))?;
    call.graph.take_bytes(bytes)?;
    let mut shape = vec![channels];
    shape.extend(&given.kernel);
    shape.push(taps);
    let weights = Values::new(shape, Data::F32(ones.repeat(channels)).cast(ty.dtype));
    let weights = call.graph.constant(weights, "places");
    let pads = (0..axes).map(|axis| given.span(axis) as i64 - 1 - given.before[axis] as i64);
    let op = Op::ConvNd(ConvNd {
        window: WindowNd {
            pads: pads.collect(),
            kernel: given.kernel.clone(),
            strides: vec![1; axes],
            dilations: given.dilations.clone(),
            spread: given.strides.clone(),
            output: image,
        },
        groups: channels,
        clamp: Clamp::NONE,
    });
    let y = call.graph.emit_as(op, &[last, weights], "", "channels_last")?;
    Ok(vec![channels_first(call.graph, y)?])
}
