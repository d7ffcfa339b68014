//! Operators of com.microsoft, which ONNX Runtime's optimizer and exporters of transformers write, out of ONNX's own:
//! <https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>.

use tinsmith_proto::AttributeProto;
use tinsmith_proto::attribute_proto::AttributeType;

use super::super::builder::Tensor;
use super::{Call, Importer, Made, of_domain, onnx};
use crate::op::tensor::{DType, Data, Values};
use crate::op::{BinaryKind, CompareKind, Op, OpError, ReduceKind, Transpose};

const fn microsoft(operator: &'static str, import: fn(&mut Call<'_>) -> Made) -> Importer {
    of_domain("com.microsoft", operator, import)
}

pub(super) const IMPORTERS: &[Importer] = &[
    // Written into ONNX's own domain by ONNX Runtime.
    onnx("SimplifiedLayerNormalization", simplified_layer_normalization),
    microsoft("BiasGelu", bias_gelu),
    microsoft("EmbedLayerNormalization", embed_layer_normalization),
    microsoft("FastGelu", fast_gelu),
    microsoft("FusedConv", fused_conv),
    microsoft("FusedGemm", fused_gemm),
    microsoft("FusedMatMul", fused_matmul),
    microsoft("Gelu", gelu),
    microsoft("QuickGelu", quick_gelu),
    microsoft("SimplifiedLayerNormalization", simplified_layer_normalization),
    microsoft("SkipLayerNormalization", skip_layer_normalization),
    microsoft(
        "SkipSimplifiedLayerNormalization",
        skip_simplified_layer_normalization,
    ),
];

/// A float attribute of a part.
fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Float.into(),
        f,
        ..Default::default()
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Int.into(),
        i,
        ..Default::default()
    }
}

fn word(name: &str, s: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::String.into(),
        s: s.as_bytes().to_vec(),
        ..Default::default()
    }
}

fn add(call: &mut Call<'_>, a: Tensor, b: Tensor, role: &str) -> Result<Tensor, OpError> {
    call.graph.binary(BinaryKind::Add, a, b, role)
}

/// One value of the type of another tensor.
fn scalar(call: &mut Call<'_>, value: f32, like: Tensor, role: &str) -> Tensor {
    let dtype = call.graph.ty(like).dtype;
    let data = Data::F32(vec![value]).cast(dtype);
    call.graph.constant(Values::new([], data), role)
}

fn gelu(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    Ok(vec![call.part("Gelu", 20, &[Some(x)], &[])?])
}

fn bias_gelu(call: &mut Call<'_>) -> Made {
    let (x, bias) = (call.input(0)?, call.input(1)?);
    let sum = add(call, x, bias, "biased")?;
    Ok(vec![call.part("Gelu", 20, &[Some(sum)], &[])?])
}

/// The approximation by tanh.
fn fast_gelu(call: &mut Call<'_>) -> Made {
    let mut x = call.input(0)?;
    if let Some(bias) = call.optional(1) {
        x = add(call, x, bias, "biased")?;
    }
    let attributes = [word("approximate", "tanh")];
    Ok(vec![call.part("Gelu", 20, &[Some(x)], &attributes)?])
}

/// `x · sigmoid(alpha · x)`.
fn quick_gelu(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let alpha = call.attrs.float("alpha", 1.702)?;
    let alpha = scalar(call, alpha, x, "alpha");
    let scaled = call.graph.binary(BinaryKind::Mul, x, alpha, "scaled")?;
    let gate = call.part("Sigmoid", 13, &[Some(scaled)], &[])?;
    Ok(vec![call.graph.binary(BinaryKind::Mul, x, gate, "")?])
}

/// The activation of a fused operator, by its name; parameters as ONNX orders its attributes.
fn activated(call: &mut Call<'_>, y: Tensor, name: &str, parameters: &[f32]) -> Result<Tensor, OpError> {
    let parameter = |at: usize, default: f32| parameters.get(at).copied().unwrap_or(default);
    let (version, attributes) = match name {
        "" => return Ok(y),
        "Relu" | "Sigmoid" | "Tanh" => (13, vec![]),
        "LeakyRelu" => (16, vec![float("alpha", parameter(0, 0.01))]),
        "Clip" => (
            6,
            vec![
                float("min", parameter(0, f32::MIN)),
                float("max", parameter(1, f32::MAX)),
            ],
        ),
        "HardSigmoid" => (
            6,
            vec![
                float("alpha", parameter(0, 0.2)),
                float("beta", parameter(1, 0.5)),
            ],
        ),
        other => {
            return Err(OpError::new(format!(
                "an activation of Relu, Sigmoid, Tanh, LeakyRelu, Clip or HardSigmoid wanted, {other} found"
            )));
        }
    };
    call.part(name, version, &[Some(y)], &attributes)
}

/// `activation(conv(x, w, b) + z)`.
fn fused_conv(call: &mut Call<'_>) -> Made {
    let name = call.attrs.word("activation", "")?;
    let parameters = call.attrs.maybe_floats("activation_params")?.unwrap_or_default();
    let (inputs, z) = (
        [call.optional(0), call.optional(1), call.optional(2)],
        call.optional(3),
    );
    call.input(1)?;
    let mut y = call.part_of_own("Conv", 11, &inputs)?;
    if let Some(z) = z {
        y = add(call, y, z, "sum")?;
    }
    Ok(vec![activated(call, y, name, parameters)?])
}

fn fused_gemm(call: &mut Call<'_>) -> Made {
    let name = call.attrs.word("activation", "")?;
    let mut parameters = Vec::new();
    for attribute in ["activation_alpha", "activation_beta", "activation_gamma"] {
        parameters.extend(call.attrs.maybe_float(attribute)?);
    }
    let inputs = [call.optional(0), call.optional(1), call.optional(2)];
    let y = call.part_of_own("Gemm", 13, &inputs)?;
    Ok(vec![activated(call, y, name, &parameters)?])
}

/// `alpha · a' · b'`, where the last two axes of each may be exchanged.
fn fused_matmul(call: &mut Call<'_>) -> Made {
    for attribute in ["transBatchA", "transBatchB"] {
        if call.attrs.flag(attribute, false)? {
            return Err(OpError::new(format!("{attribute}=0 wanted, 1 found")));
        }
    }
    let alpha = call.attrs.float("alpha", 1.0)?;
    let mut inputs = Vec::new();
    for (index, attribute) in ["transA", "transB"].into_iter().enumerate() {
        let x = call.input(index)?;
        let rank = call.graph.shape(x).len();
        let exchanged = call.attrs.flag(attribute, false)? && rank > 1;
        inputs.push(if exchanged {
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.swap(rank - 2, rank - 1);
            call.graph
                .emit(Op::Transpose(Transpose { perm }), &[x], attribute)?
        } else {
            x
        });
    }
    let y = call.part("MatMul", 13, &[Some(inputs[0]), Some(inputs[1])], &[])?;
    if alpha == 1.0 {
        return Ok(vec![y]);
    }
    let alpha = scalar(call, alpha, y, "alpha");
    Ok(vec![call.graph.binary(BinaryKind::Mul, y, alpha, "")?])
}

/// Root mean square normalization from an axis on.
fn simplified_layer_normalization(call: &mut Call<'_>) -> Made {
    call.attrs.ignore(&["stash_type"]);
    let (x, scale) = (call.input(0)?, call.input(1)?);
    let attributes = [
        int("axis", call.attrs.int("axis", -1)?),
        float("epsilon", call.attrs.float("epsilon", 1e-5)?),
    ];
    let y = call.part("RMSNormalization", 23, &[Some(x), Some(scale)], &attributes)?;
    Ok(vec![y])
}

/// `norm(input + skip + bias) · gamma + beta`; output 3 is the sum.
fn skip_layer_normalization(call: &mut Call<'_>) -> Made {
    let sum = skipped(call, 4)?;
    let (gamma, beta) = (call.input(2)?, call.optional(3));
    let attributes = [
        int("axis", -1),
        float("epsilon", call.attrs.float("epsilon", 1e-12)?),
    ];
    let inputs = [Some(sum), Some(gamma), beta];
    let y = call.part("LayerNormalization", 17, &inputs, &attributes)?;
    with_sum(call, y, sum)
}

fn skip_simplified_layer_normalization(call: &mut Call<'_>) -> Made {
    let sum = skipped(call, 3)?;
    let gamma = call.input(2)?;
    let attributes = [
        int("axis", -1),
        float("epsilon", call.attrs.float("epsilon", 1e-12)?),
    ];
    let y = call.part("RMSNormalization", 23, &[Some(sum), Some(gamma)], &attributes)?;
    with_sum(call, y, sum)
}

/// `input + skip`, with the bias that is this input, if given.
fn skipped(call: &mut Call<'_>, bias: usize) -> Result<Tensor, OpError> {
    let (input, skip) = (call.input(0)?, call.input(1)?);
    let sum = add(call, input, skip, "skipped")?;
    match call.optional(bias) {
        Some(bias) => add(call, sum, bias, "biased"),
        None => Ok(sum),
    }
}

/// The output and, as the fourth, the sum that was normalized. Mean and deviation are for training.
fn with_sum(call: &Call<'_>, y: Tensor, sum: Tensor) -> Made {
    if !call.wants(3) {
        return Ok(vec![y]);
    }
    if call.wants(1) || call.wants(2) {
        return Err(OpError::new(
            "outputs 0 and 3 wanted, the statistics of training found",
        ));
    }
    Ok(vec![y, sum, sum, sum])
}

/// Words, their positions and their segments, looked up, summed and normalized.
fn embed_layer_normalization(call: &mut Call<'_>) -> Made {
    call.attrs.ignore(&["mask_index_type"]);
    let ids = call.input(0)?;
    let [batch, length] = *call.graph.shape(ids) else {
        return Err(OpError::new(format!(
            "`input_ids` of rank 2 wanted, {} found",
            call.graph.ty(ids)
        )));
    };
    let positions = match call.optional(8) {
        Some(positions) => positions,
        None => {
            let count = (0..length as i64).collect();
            let positions = Values::new([1, length], Data::I64(count));
            call.graph.constant(positions, "positions")
        }
    };
    let mut sum = None;
    for (table, indices) in [(2, Some(ids)), (3, Some(positions)), (4, call.optional(1))] {
        let (Some(table), Some(indices)) = (call.optional(table), indices) else {
            continue;
        };
        let rows = call.part("Gather", 13, &[Some(table), Some(indices)], &[])?;
        sum = Some(match sum {
            None => rows,
            Some(sum) => add(call, sum, rows, "embedded")?,
        });
    }
    let sum = sum.ok_or_else(|| OpError::new("`word_embedding` wanted, none found"))?;
    let attributes = [
        int("axis", -1),
        float("epsilon", call.attrs.float("epsilon", 1e-12)?),
    ];
    let inputs = [Some(sum), Some(call.input(5)?), Some(call.input(6)?)];
    let y = call.part("LayerNormalization", 17, &inputs, &attributes)?;
    let kept = match call.optional(7) {
        Some(mask) if call.wants(1) => kept(call, mask, batch)?,
        _ => {
            let nothing = Values::new([batch], Data::I32(vec![0; batch]));
            call.graph.constant(nothing, "mask_index")
        }
    };
    Ok(vec![y, kept, sum])
}

/// How many words of each sample the mask keeps: `[batch]` of i32.
fn kept(call: &mut Call<'_>, mask: Tensor, batch: usize) -> Result<Tensor, OpError> {
    let one = call.graph.scalar_like(mask, 1.0, "kept_word");
    let kept = call.graph.compare(CompareKind::Equal, mask, one, "kept_words")?;
    let kept = call.graph.cast(kept, DType::I32, "kept_numbers")?;
    let count = call.graph.reduce(ReduceKind::Sum, kept, &[1], "kept_sum")?;
    call.graph.reshape(count, [batch], "mask_index")
}
