//! What an artifact says of itself: its edge as inputs, its steps as costs.

use tinsmith::data::Input;
use tinsmith::schedule::cost;
use tinsmith::simulate::edge;
use tinsmith::target::Target;
use tinsmith_runtime::blob::Blob;
use tinsmith_runtime::format::metadata::Port;
use tinsmith_runtime::kernels::Layer;

/// A step's work.
pub(super) struct Cost {
    /// Name of the ONNX node, or the step's number where names were stripped.
    pub(super) name: String,
    /// Which kernel.
    pub(super) kernel: &'static str,
    /// Multiply-accumulates.
    pub(super) macs: u64,
    /// Instructions that the target's figures predict.
    pub(super) predicted: Option<u64>,
}

/// The steps of a blob, with predictions for `target` or for the built-in one that it was compiled for.
pub(super) fn costs(blob: &Blob<'_>, target: Option<&Target>) -> Vec<Cost> {
    let own = Target::builtin(blob.target());
    let target = target.or(own.as_ref());
    blob.steps()
        .enumerate()
        .map(|(step, layer)| Cost {
            name: blob
                .step_name(step)
                .map_or_else(|| format!("step {step}"), str::to_owned),
            kernel: layer.name(),
            macs: macs(&layer),
            predicted: target.map(|target| cost::instructions(&target.cost, &layer)),
        })
        .collect()
}

fn macs(layer: &Layer) -> u64 {
    match layer {
        Layer::Conv2d(_)
        | Layer::DepthwiseConv2d(_)
        | Layer::Dense(_)
        | Layer::DenseInt4(_)
        | Layer::Conv2dF32(_)
        | Layer::ConvNd(_)
        | Layer::ConvNdF32(_)
        | Layer::DenseF32(_)
        | Layer::MatMul(_)
        | Layer::Lstm(_)
        | Layer::Conv16(_)
        | Layer::MatMulF32(_)
        | Layer::AttentionF32(_)
        | Layer::RecurrentF32(_) => layer.work().unwrap_or(u64::MAX),
        Layer::Add(_)
        | Layer::Mul(_)
        | Layer::Table(_)
        | Layer::MaxPool(_)
        | Layer::AveragePool(_)
        | Layer::Softmax(_)
        | Layer::StridedCopy(_)
        | Layer::Fill(_)
        | Layer::Delay(_)
        | Layer::Quantize(_)
        | Layer::Dequantize(_)
        | Layer::BinaryF32(_)
        | Layer::UnaryF32(_)
        | Layer::MaxPoolF32(_)
        | Layer::AveragePoolF32(_)
        | Layer::SoftmaxF32(_)
        | Layer::MaxPoolIndicesF32(_)
        | Layer::ResampleF32(_)
        | Layer::GridSampleF32(_)
        | Layer::RoiAlignF32(_)
        | Layer::FillF32(_)
        | Layer::FunctionF32(_)
        | Layer::PowerF32(_)
        | Layer::Compare(_)
        | Layer::BinaryInteger(_)
        | Layer::Select(_)
        | Layer::Convert(_)
        | Layer::MinMax(_)
        | Layer::PRelu(_)
        | Layer::Div(_)
        | Layer::Resample(_)
        | Layer::ReduceF32(_)
        | Layer::LayerNorm(_)
        | Layer::LayerNormF32(_)
        | Layer::GatherRows(_)
        | Layer::GatherElements(_)
        | Layer::Scatter(_)
        | Layer::Rank(_)
        | Layer::CumulateF32(_)
        | Layer::NonMaxSuppressionF32(_)
        | Layer::NonZero(_)
        | Layer::Binary16(_)
        | Layer::Pool16(_)
        | Layer::Rescale16(_)
        | Layer::Function16(_)
        | Layer::Quantize16(_)
        | Layer::Dequantize16(_)
        | Layer::Repeat(_) => 0,
    }
}

/// What people give for these ports: the ONNX model's shapes and element types.
pub(super) fn ports<'a>(ports: impl Iterator<Item = Port<'a>>) -> Vec<Input> {
    ports
        .map(|port| Input {
            name: port.name.to_owned(),
            ty: edge::model_type(&port),
        })
        .collect()
}
