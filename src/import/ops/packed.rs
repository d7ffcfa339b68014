//! Products with weights of few bits in blocks, as com.microsoft packs them.

use super::super::builder::Tensor;
use super::{Call, Importer, Made, of_domain};
use crate::op::tensor::{Data, Narrow, Values, View};
use crate::op::{Binary, BinaryKind, Cast, Clamp, DequantizeTo, Op, OpError, Reshape, Slice, Transpose};

pub(super) const IMPORTERS: &[Importer] = &[of_domain("com.microsoft", "MatMulNBits", matmul)];

/// `a · b' + bias`, where `b [N, K]` is packed: per row and block of columns one scale and one zero point, the middle of
/// the range without one. The weights become constant reals.
fn matmul(call: &mut Call<'_>) -> Made {
    call.attrs.ignore(&["accuracy_level"]);
    let extent = |name: &str| {
        let value = call.attrs.required_int(name)?;
        usize::try_from(value)
            .ok()
            .filter(|value| (1..=1 << 24).contains(value))
            .ok_or_else(|| OpError::new(format!("`{name}` from 1 to 2^24 wanted, {value} found")))
    };
    let (rows, columns, block) = (extent("N")?, extent("K")?, extent("block_size")?);
    let (bits, narrow) = match call.attrs.int("bits", 4)? {
        2 => (2, Some(Narrow::U2)),
        4 => (4, Some(Narrow::U4)),
        8 => (8, None),
        other => return Err(OpError::new(format!("`bits` of 2, 4 or 8 wanted, {other} found"))),
    };
    if call.attrs.int("weight_prepacked", 0)? != 0 {
        return Err(
            OpError::new("weights that are not prepacked wanted, prepacked ones found")
                .with_help("take the model before ONNX Runtime optimized it"),
        );
    }
    if call.optional(4).is_some() {
        return Err(OpError::new("weights in their order wanted, `g_idx` found")
            .with_help("quantize the model without reordering its weights"));
    }
    let blocks = columns.div_ceil(block);
    let weights = codes(call, 1, "the weights", rows * blocks, block, bits)?;
    call.graph.take_bytes(weights.len())?;
    let stored = |codes: Vec<u8>| match narrow {
        Some(narrow) => Data::Narrow(narrow, codes),
        None => Data::U8(codes),
    };
    let shape = [rows, blocks * block];
    let weights = call
        .graph
        .constant(Values::new(shape, stored(weights)), "weights");
    let scale = call.input(2)?;
    let to = call.graph.ty(scale).dtype;
    let scale = reshaped(call, scale, vec![rows, blocks], "scales")?;
    let is_real = call
        .optional(3)
        .is_some_and(|zeros| call.graph.ty(zeros).dtype.is_float());
    let mut inputs = vec![weights, scale];
    if !is_real {
        let middle = 1_u8 << (bits - 1);
        let zeros = match call.optional(3) {
            Some(_) => codes(call, 3, "the zero points", rows, blocks, bits)?,
            None => vec![middle; rows * blocks],
        };
        let zeros = Values::new([rows, blocks], stored(zeros));
        inputs.push(call.graph.constant(zeros, "zero_points"));
    }
    let dequantize = Op::DequantizeTo(DequantizeTo {
        to,
        axis: 1,
        block_size: block,
    });
    let mut weights = call.graph.emit(dequantize, &inputs, "reals")?;
    if let (true, Some(zeros)) = (is_real, call.optional(3)) {
        // Zero points in reals: what they stand for is taken off afterwards.
        let zeros = reshaped(call, zeros, vec![rows, blocks], "zero_points")?;
        let zeros = call
            .graph
            .emit(Op::Cast(Cast { to }), &[zeros], "real_zero_points")?;
        let offsets = binary(call, BinaryKind::Mul, zeros, scale, "offsets")?;
        let offsets = reshaped(call, offsets, vec![rows, blocks, 1], "offset_columns")?;
        let parts = reshaped(call, weights, vec![rows, blocks, block], "blocks")?;
        let parts = binary(call, BinaryKind::Sub, parts, offsets, "centred")?;
        weights = reshaped(call, parts, vec![rows, blocks * block], "centred_rows")?;
    }
    if blocks * block != columns {
        let slice = Op::Slice(Slice {
            starts: vec![0, 0],
            steps: vec![1, 1],
            shape: vec![rows, columns],
        });
        weights = call.graph.emit(slice, &[weights], "columns")?;
    }
    let transpose = Op::Transpose(Transpose { perm: vec![1, 0] });
    let weights = call.graph.emit(transpose, &[weights], "transposed")?;
    let x = call.input(0)?;
    let y = call.part("MatMul", 13, &[Some(x), Some(weights)], &[])?;
    match call.optional(5) {
        Some(bias) => Ok(vec![binary(call, BinaryKind::Add, y, bias, "")?]),
        None => Ok(vec![y]),
    }
}

/// `rows · count` codes of a constant, of which every row begins in a new byte, the first code in the lowest bits.
fn codes(
    call: &Call<'_>,
    index: usize,
    what: &str,
    rows: usize,
    count: usize,
    bits: usize,
) -> Result<Vec<u8>, OpError> {
    let values = call
        .constant(index, what)?
        .ok_or_else(|| OpError::new(format!("{what} wanted, none found")))?;
    let View::U8(bytes) = values.data.view() else {
        return Err(OpError::new(format!(
            "{what} packed in u8 wanted, {} found",
            values.ty()
        )));
    };
    let per_byte = 8 / bits;
    let row_bytes = count.div_ceil(per_byte);
    if bytes.len() != rows * row_bytes {
        return Err(OpError::new(format!(
            "{what} in {} bytes wanted, {} found",
            rows * row_bytes,
            values.ty()
        )));
    }
    let mask = ((1_u16 << bits) - 1) as u8;
    let code = |row: &[u8], i: usize| row[i / per_byte] >> (i % per_byte * bits) & mask;
    Ok(bytes
        .chunks_exact(row_bytes)
        .flat_map(|row| (0..count).map(move |i| code(row, i)))
        .collect())
}

fn reshaped(call: &mut Call<'_>, x: Tensor, shape: Vec<usize>, role: &str) -> Result<Tensor, OpError> {
    call.graph.emit(Op::Reshape(Reshape { shape }), &[x], role)
}

fn binary(
    call: &mut Call<'_>,
    kind: BinaryKind,
    a: Tensor,
    b: Tensor,
    role: &str,
) -> Result<Tensor, OpError> {
    let op = Op::Binary(Binary {
        kind,
        clamp: Clamp::NONE,
    });
    call.graph.emit(op, &[a, b], role)
}
