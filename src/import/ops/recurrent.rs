//! RNN, GRU and LSTM: a dense layer for the products with the inputs, and the recurrence, per direction.

use super::super::builder::Tensor;
use super::super::layout::transpose_constant;
use super::{Call, Importer, Made, onnx};
use crate::op::tensor::{Data, Values};
use crate::op::{
    Activation, Binary, BinaryKind, Cell, Clamp, Concat, Function, MatMul, Op, OpError, Recurrent, Reshape,
    Slice, Transpose,
};

pub(super) const IMPORTERS: &[Importer] = &[onnx("GRU", gru), onnx("LSTM", lstm), onnx("RNN", rnn)];

fn rnn(call: &mut Call<'_>) -> Made {
    layer(call, Cell::Rnn, &[Function::Tanh])
}

fn gru(call: &mut Call<'_>) -> Made {
    let linear_before_reset = call.attrs.flag("linear_before_reset", false)?;
    let cell = Cell::Gru { linear_before_reset };
    layer(call, cell, &[Function::Sigmoid, Function::Tanh])
}

fn lstm(call: &mut Call<'_>) -> Made {
    let input_forget = call.attrs.flag("input_forget", false)?;
    let cell = Cell::Lstm { input_forget };
    layer(call, cell, &[Function::Sigmoid, Function::Tanh, Function::Tanh])
}

/// Extents of a layer.
struct Extents {
    steps: usize,
    batch: usize,
    directions: usize,
    hidden: usize,
}

fn layer(call: &mut Call<'_>, cell: Cell, defaults: &[Function]) -> Made {
    let directions: &[bool] = match call.attrs.word("direction", "forward")? {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        other => {
            return Err(OpError::new(format!(
                "a direction forward, reverse or bidirectional wanted, `{other}` found"
            )));
        }
    };
    let batch_first = call.version >= 14 && call.attrs.flag("layout", false)?;
    // Opset 1 could leave the first output out, which callers see for themselves.
    if call.version < 7 {
        call.attrs.flag("output_sequence", false)?;
    }
    let clip = match call.attrs.maybe_float("clip")? {
        Some(clip) if clip.is_nan() || clip < 0.0 => {
            return Err(OpError::new(format!("a clip of at least 0 wanted, {clip} found")));
        }
        Some(clip) if clip > 0.0 => Some(clip),
        // 0 stands for none in old exports.
        _ => None,
    };
    let activations = activations(call, defaults, directions.len())?;
    let (x, weights, recurrence) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let x = if batch_first { swap_batch(call, x)? } else { x };
    let (x_shape, r_shape) = (
        call.graph.shape(x).to_vec(),
        call.graph.shape(recurrence).to_vec(),
    );
    let (&[steps, batch, features], &[_, _, hidden]) = (x_shape.as_slice(), r_shape.as_slice()) else {
        return Err(OpError::new(format!(
            "an input and recurrent weights of rank 3 wanted, {x_shape:?} and {r_shape:?} found"
        )));
    };
    if let Some(stated) = call.attrs.maybe_int("hidden_size")?
        && usize::try_from(stated) != Ok(hidden)
    {
        return Err(OpError::new(format!(
            "hidden_size {hidden} of the weights wanted, {stated} found"
        )));
    }
    let extents = Extents {
        steps,
        batch,
        directions: directions.len(),
        hidden,
    };
    let rows = cell.gates() * hidden;
    let state = if batch_first {
        [batch, extents.directions, hidden]
    } else {
        [extents.directions, batch, hidden]
    };
    let given = [
        (weights, "W", vec![extents.directions, rows, features]),
        (recurrence, "R", vec![extents.directions, rows, hidden]),
    ];
    let given = given.into_iter().chain(
        [
            (3, "B", vec![extents.directions, 2 * rows]),
            (4, "sequence_lens", vec![batch]),
            (5, "initial_h", state.to_vec()),
            (6, "initial_c", state.to_vec()),
            (7, "P", vec![extents.directions, 3 * hidden]),
        ]
        .into_iter()
        .filter_map(|(index, name, shape)| Some((call.optional(index)?, name, shape))),
    );
    for (tensor, name, wanted) in given {
        if call.graph.shape(tensor) != wanted {
            return Err(OpError::new(format!(
                "{name} of shape {wanted:?} wanted, {} found",
                call.graph.ty(tensor)
            )));
        }
    }
    let mut made = Vec::with_capacity(directions.len());
    for (direction, &backward) in directions.iter().enumerate() {
        let projected = projection(call, cell, x, direction, &extents)?;
        let recurrence = part(call, recurrence, 0, direction, "recurrence")?;
        let side = side(call, cell, direction, &extents, batch_first)?;
        let op = Op::Recurrent(Recurrent {
            cell,
            activations: activations[direction],
            clip,
            backward,
        });
        let mut inputs = vec![projected, recurrence, side];
        inputs.extend(lengths(call, steps)?);
        made.push(call.graph.emit(op, &inputs, "recurrence_of_state")?);
    }
    outputs(call, cell, &made, &extents, batch_first)
}

/// The lengths, unless all of them are known to be the whole.
fn lengths(call: &Call<'_>, steps: usize) -> Result<Option<Tensor>, OpError> {
    let Some(lengths) = call.optional(4) else {
        return Ok(None);
    };
    let known = call
        .graph
        .constant_of(lengths)
        .and_then(|lengths| lengths.to_i64());
    match known {
        Some(known) if known.iter().all(|&length| length == steps as i64) => Ok(None),
        Some(known) if !known.iter().all(|length| (0..=steps as i64).contains(length)) => Err(OpError::new(
            format!("lengths from 0 to {steps} wanted, {known:?} found"),
        )),
        _ => Ok(Some(lengths)),
    }
}

/// `x·Wᵀ` with both biases: those of a GRU's hidden gate stay apart where the reset comes between them.
fn projection(
    call: &mut Call<'_>,
    cell: Cell,
    x: Tensor,
    direction: usize,
    extents: &Extents,
) -> Result<Tensor, OpError> {
    let weights = call.input(1)?;
    let weights = part(call, weights, 0, direction, "weights")?;
    let weights = transpose_constant(call.graph, weights, &[1, 0])?;
    let product = call
        .graph
        .emit(Op::MatMul(MatMul {}), &[x, weights], "projection")?;
    let Some(bias) = call.optional(3) else {
        return Ok(product);
    };
    let rows = cell.gates() * extents.hidden;
    let bias = part(call, bias, 0, direction, "bias")?;
    let own = run(call, bias, 0, rows, "input_bias")?;
    let of_state = run(call, bias, rows, rows, "state_bias")?;
    let bias = if keeps_bias(cell) {
        let gates = 2 * extents.hidden;
        let [own_gates, of_gates] = [
            run(call, own, 0, gates, "part")?,
            run(call, of_state, 0, gates, "part")?,
        ];
        let gates_bias = sum(call, own_gates, of_gates)?;
        let rest = run(call, own, gates, extents.hidden, "part")?;
        call.graph
            .emit(Op::Concat(Concat { axis: 0 }), &[gates_bias, rest], "bias")?
    } else {
        sum(call, own, of_state)?
    };
    sum(call, product, bias)
}

/// Whether the hidden gate's recurrent bias is inside the reset.
fn keeps_bias(cell: Cell) -> bool {
    matches!(
        cell,
        Cell::Gru {
            linear_before_reset: true
        }
    )
}

/// First states, the bias inside a reset, peepholes: see [`Recurrent`].
fn side(
    call: &mut Call<'_>,
    cell: Cell,
    direction: usize,
    extents: &Extents,
    batch_first: bool,
) -> Result<Tensor, OpError> {
    let (batch, hidden) = (extents.batch, extents.hidden);
    let mut parts = Vec::with_capacity(4);
    for index in [5, 6] {
        parts.push(match call.optional(index) {
            Some(state) => {
                let state = part(call, state, usize::from(batch_first), direction, "state")?;
                flat(call, state)?
            }
            None => zeros(call, batch * hidden)?,
        });
    }
    parts.push(match call.optional(3).filter(|_| keeps_bias(cell)) {
        Some(bias) => {
            let bias = part(call, bias, 0, direction, "bias")?;
            run(call, bias, 5 * hidden, hidden, "reset_bias")?
        }
        None => zeros(call, hidden)?,
    });
    parts.push(match call.optional(7) {
        Some(peepholes) => part(call, peepholes, 0, direction, "peepholes")?,
        None => zeros(call, 3 * hidden)?,
    });
    call.graph.emit(Op::Concat(Concat { axis: 0 }), &parts, "side")
}

/// `Y`, `Y_h` and, of an LSTM, `Y_c`.
fn outputs(call: &mut Call<'_>, cell: Cell, made: &[Tensor], extents: &Extents, batch_first: bool) -> Made {
    let (batch, hidden) = (extents.batch, extents.hidden);
    let mut outputs = Vec::with_capacity(3);
    let states = match cell {
        Cell::Lstm { .. } => 2,
        Cell::Rnn | Cell::Gru { .. } => 1,
    };
    for output in 0..=states {
        if !call.wants(output) && output > 0 {
            continue;
        }
        // The sequence has its direction behind the time, a state in front.
        let (first, count) = match output {
            0 => (0, extents.steps),
            state => (extents.steps + state - 1, 1),
        };
        let mut each = Vec::with_capacity(made.len());
        for &packed in made {
            let op = Op::Slice(Slice {
                starts: vec![first, 0, 0],
                steps: vec![1; 3],
                shape: vec![count, batch, hidden],
            });
            let slice = call.graph.emit(op, &[packed], "part_of_state")?;
            let shape = match output {
                0 => vec![count, 1, batch, hidden],
                _ => vec![1, batch, hidden],
            };
            each.push(
                call.graph
                    .emit(Op::Reshape(Reshape { shape }), &[slice], "of_direction")?,
            );
        }
        let axis = usize::from(output == 0);
        let joined = match each.as_slice() {
            &[one] => one,
            several => call
                .graph
                .emit(Op::Concat(Concat { axis }), several, "directions")?,
        };
        outputs.push(if batch_first {
            // [steps, directions, batch, hidden] or [directions, batch, hidden]
            let perm = if output == 0 {
                vec![2, 0, 1, 3]
            } else {
                vec![1, 0, 2]
            };
            call.graph
                .emit(Op::Transpose(Transpose { perm }), &[joined], "batch_first")?
        } else {
            joined
        });
    }
    Ok(outputs)
}

/// Exchanges batch and time.
fn swap_batch(call: &mut Call<'_>, x: Tensor) -> Result<Tensor, OpError> {
    if call.graph.shape(x).len() != 3 {
        return Err(OpError::new(format!(
            "an input of rank 3 wanted, {} found",
            call.graph.ty(x)
        )));
    }
    let op = Op::Transpose(Transpose { perm: vec![1, 0, 2] });
    call.graph.emit(op, &[x], "time_first")
}

/// Index `at` of an axis, which is dropped.
fn part(call: &mut Call<'_>, x: Tensor, axis: usize, at: usize, role: &str) -> Result<Tensor, OpError> {
    let mut shape = call.graph.shape(x).to_vec();
    let mut starts = vec![0; shape.len()];
    let mut kept = shape.clone();
    kept.remove(axis);
    let x = if shape[axis] == 1 {
        x
    } else {
        (starts[axis], shape[axis]) = (at, 1);
        let steps = vec![1; shape.len()];
        call.graph
            .emit(Op::Slice(Slice { starts, steps, shape }), &[x], role)?
    };
    call.graph.emit(Op::Reshape(Reshape { shape: kept }), &[x], role)
}

/// `count` elements of a vector.
fn run(call: &mut Call<'_>, x: Tensor, start: usize, count: usize, role: &str) -> Result<Tensor, OpError> {
    let op = Op::Slice(Slice {
        starts: vec![start],
        steps: vec![1],
        shape: vec![count],
    });
    call.graph.emit(op, &[x], role)
}

fn flat(call: &mut Call<'_>, x: Tensor) -> Result<Tensor, OpError> {
    let shape = vec![call.graph.ty(x).len()];
    call.graph.emit(Op::Reshape(Reshape { shape }), &[x], "flat")
}

fn sum(call: &mut Call<'_>, a: Tensor, b: Tensor) -> Result<Tensor, OpError> {
    let op = Op::Binary(Binary {
        kind: BinaryKind::Add,
        clamp: Clamp::NONE,
    });
    call.graph.emit(op, &[a, b], "biased")
}

fn zeros(call: &mut Call<'_>, count: usize) -> Result<Tensor, OpError> {
    let dtype = call.graph.ty(call.input(0)?).dtype;
    call.graph.take_bytes(count.saturating_mul(dtype.bytes()))?;
    let zeros = Data::I8(vec![0; count]).cast(dtype);
    Ok(call.graph.constant(Values::new([count], zeros), "zeros"))
}

/// The functions of each direction. Parameters are taken by the functions that have them, in order.
fn activations(
    call: &Call<'_>,
    defaults: &[Function],
    directions: usize,
) -> Result<Vec<[Activation; 3]>, OpError> {
    let words = call.attrs.words("activations")?;
    let functions: Vec<Function> = if words.is_empty() {
        defaults.repeat(directions)
    } else {
        words.into_iter().map(function).collect::<Result<_, _>>()?
    };
    if functions.len() != defaults.len() * directions {
        return Err(OpError::new(format!(
            "{} activations wanted, {} found",
            defaults.len() * directions,
            functions.len()
        )));
    }
    let mut alphas = call
        .attrs
        .maybe_floats("activation_alpha")?
        .unwrap_or_default()
        .iter()
        .copied();
    let mut betas = call
        .attrs
        .maybe_floats("activation_beta")?
        .unwrap_or_default()
        .iter()
        .copied();
    let mut with_parameters = |function: Function| {
        let (alpha, beta) = parameters(function);
        Activation {
            function,
            alpha: alpha.map_or(0.0, |default| alphas.next().unwrap_or(default)),
            beta: beta.map_or(0.0, |default| betas.next().unwrap_or(default)),
        }
    };
    let all: Vec<Activation> = functions.into_iter().map(&mut with_parameters).collect();
    let of_direction = |own: &[Activation]| {
        let at = |index: usize| own[index.min(own.len() - 1)];
        [at(0), at(1), at(2)]
    };
    Ok(all.chunks_exact(defaults.len()).map(of_direction).collect())
}

fn function(name: &str) -> Result<Function, OpError> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "relu" => Function::Relu,
        "tanh" => Function::Tanh,
        "sigmoid" => Function::Sigmoid,
        "affine" => Function::Affine,
        "leakyrelu" => Function::LeakyRelu,
        "thresholdedrelu" => Function::ThresholdedRelu,
        "scaledtanh" => Function::ScaledTanh,
        "hardsigmoid" => Function::HardSigmoid,
        "elu" => Function::Elu,
        "softsign" => Function::Softsign,
        "softplus" => Function::Softplus,
        _ => {
            return Err(OpError::new(format!(
                "an activation of ONNX's list wanted, `{name}` found"
            )));
        }
    })
}

/// Defaults of the parameters that a function has: those of ONNX's operators.
fn parameters(function: Function) -> (Option<f32>, Option<f32>) {
    match function {
        Function::Affine => (Some(1.0), Some(0.0)),
        Function::ScaledTanh => (Some(1.0), Some(1.0)),
        Function::LeakyRelu => (Some(0.01), None),
        Function::ThresholdedRelu | Function::Elu => (Some(1.0), None),
        Function::HardSigmoid => (Some(0.2), Some(0.5)),
        Function::Relu | Function::Tanh | Function::Sigmoid | Function::Softsign | Function::Softplus => {
            (None, None)
        }
    }
}
