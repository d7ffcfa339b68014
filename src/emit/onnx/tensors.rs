//! Under which names tensors are to be had: as reals, in either order, and as codes.

use super::order::{Order, axis_in, to_channels_first, to_channels_last, transposed};
use super::writer::{Writer, fresh};
use super::{NEWEST_OPSET, message};
use crate::ir::Handle;
use crate::op::quant::{QuantParams, QuantTensor, Quantization};
use crate::op::tensor::{DType, Data, Shape, Values};

/// The version of the operators that quantizes to 16 bits.
const WIDE_OPSET: i64 = 21;

/// The names under which a tensor is to be had.
#[derive(Clone, Debug, Default)]
pub(super) struct Forms {
    /// Its reals, or what is not quantized.
    pub(super) own: Option<String>,
    /// The same, channels first.
    pub(super) channels_first: Option<String>,
    /// Its codes, in the graph's own order.
    pub(super) codes: Option<String>,
    /// Scale and zero point of its codes.
    parameters: Option<[String; 2]>,
}

impl Writer<'_> {
    /// Whether a tensor is a constant.
    pub(super) fn is_constant(&self, tensor: Handle<QuantTensor>) -> bool {
        self.tensor(tensor).data.is_some()
    }

    /// The order that costs the fewest transposes where an operator takes its inputs in either: channels first where
    /// all that are computed are to be had so, and one is not yet in the graph's own.
    pub(super) fn order_of(&self, inputs: &[Handle<QuantTensor>], rank: usize) -> Order {
        let computed = || inputs.iter().filter(|&&input| !self.is_constant(input));
        let forms = |input: &Handle<QuantTensor>| &self.forms[input.index()];
        let all_first =
            computed().all(|input| self.shape(*input).len() == rank && forms(input).channels_first.is_some());
        if rank > 2 && all_first && computed().any(|input| forms(input).own.is_none()) {
            Order::ChannelsFirst
        } else {
            Order::Own
        }
    }

    /// The name of a tensor's reals, or of what is not quantized, in an order.
    pub(super) fn read(&mut self, tensor: Handle<QuantTensor>, order: Order) -> String {
        let rank = self.shape(tensor).len();
        self.read_as(tensor, order, rank)
    }

    /// The same, of a constant with so many axes, in front of its own.
    pub(super) fn read_as(&mut self, tensor: Handle<QuantTensor>, order: Order, rank: usize) -> String {
        let info = self.tensor(tensor);
        if let Some(values) = &info.data
            && rank > info.ty.shape.len()
        {
            let own = &values.shape;
            let shape: Shape = std::iter::repeat_n(1, rank - own.len())
                .chain(own.iter().copied())
                .collect();
            // A single number goes with anything.
            let is_one = values.data.len() == 1;
            let values = if is_one {
                values.as_ref().clone()
            } else {
                values.reshaped(shape)
            };
            return self.stored(tensor, &values, order);
        }
        let forms = &self.forms[tensor.index()];
        let found = match order {
            Order::Own => &forms.own,
            Order::ChannelsFirst => &forms.channels_first,
        };
        if let Some(name) = found {
            return name.clone();
        }
        let name = match &info.data {
            Some(values) => self.stored(tensor, values, order),
            None => self.turned(tensor, order),
        };
        self.settle(tensor, order, name.clone());
        name
    }

    /// A computed tensor in an order that it is not yet to be had in.
    fn turned(&mut self, tensor: Handle<QuantTensor>, order: Order) -> String {
        let rank = self.shape(tensor).len();
        let forms = &self.forms[tensor.index()];
        let (source, perm) = match order {
            Order::Own => (&forms.channels_first, to_channels_last(rank)),
            Order::ChannelsFirst => (&forms.own, to_channels_first(rank)),
        };
        let source = source
            .clone()
            .expect("nodes come behind those that make their inputs");
        self.permuted(&source, &perm)
    }

    /// Notes that a tensor is to be had under a name.
    pub(super) fn settle(&mut self, tensor: Handle<QuantTensor>, order: Order, name: String) {
        let rank = self.shape(tensor).len();
        let forms = &mut self.forms[tensor.index()];
        if rank <= 2 || order == Order::Own {
            forms.own = Some(name.clone());
        }
        if rank <= 2 || order == Order::ChannelsFirst {
            forms.channels_first = Some(name);
        }
    }

    /// Rounds what was computed for a tensor where it is quantized, and notes the name.
    pub(super) fn write(&mut self, tensor: Handle<QuantTensor>, order: Order, computed: String) {
        let info = self.tensor(tensor);
        if !matches!(info.quantization, Quantization::PerTensor(_)) {
            self.settle(tensor, order, computed);
            return;
        }
        let codes = self.quantized(tensor, &computed);
        if order == Order::Own || info.ty.shape.len() <= 2 {
            self.forms[tensor.index()].codes = Some(codes.clone());
        }
        let reals = self.dequantized(tensor, &codes);
        self.settle(tensor, order, reals);
    }

    /// Makes a tensor another name of one with the same elements and the same parameters; `false` where it is not.
    pub(super) fn alias(&mut self, tensor: Handle<QuantTensor>, of: Handle<QuantTensor>) -> bool {
        let (to, from) = (self.tensor(tensor), self.tensor(of));
        let is_same = to.ty == from.ty
            && to.quantization == from.quantization
            && to.model_dtype == from.model_dtype
            && from.data.is_none();
        if is_same {
            self.forms[tensor.index()] = self.forms[of.index()].clone();
        }
        is_same
    }

    /// The codes of a tensor in the graph's own order.
    pub(super) fn codes(&mut self, tensor: Handle<QuantTensor>) -> String {
        if let Some(codes) = &self.forms[tensor.index()].codes {
            return codes.clone();
        }
        let reals = self.read(tensor, Order::Own);
        self.quantized(tensor, &reals)
    }

    pub(super) fn quantized(&mut self, tensor: Handle<QuantTensor>, reals: &str) -> String {
        let [scale, zero_point] = self.parameters(tensor);
        self.add("QuantizeLinear", &[reals, &scale, &zero_point], Vec::new())
    }

    pub(super) fn dequantized(&mut self, tensor: Handle<QuantTensor>, codes: &str) -> String {
        let [scale, zero_point] = self.parameters(tensor);
        self.add("DequantizeLinear", &[codes, &scale, &zero_point], Vec::new())
    }

    /// Scale and zero point of an activation.
    fn parameters(&mut self, tensor: Handle<QuantTensor>) -> [String; 2] {
        if let Some(parameters) = &self.forms[tensor.index()].parameters {
            return parameters.clone();
        }
        let info = self.tensor(tensor);
        let QuantParams { scale, zero_point } = info.params().expect("only activations have codes");
        let zero_point = match (info.ty.dtype, info.model_dtype, &info.data) {
            (DType::I16, DType::U16, None) => Data::U16(vec![(zero_point + 32768) as u16]), // −32768 to 32767
            (DType::I16, _, _) => Data::I16(vec![zero_point as i16]),
            (_, DType::U8, None) => Data::U8(vec![(zero_point + 128) as u8]), // −128 to 127
            _ => Data::I8(vec![zero_point as i8]),
        };
        if info.ty.dtype == DType::I16 {
            self.need(WIDE_OPSET);
        }
        let scale = self.constant("scale", &Values::f32([], vec![scale]));
        let parameters = [scale, self.constant("zero_point", &Values::new([], zero_point))];
        self.forms[tensor.index()].parameters = Some(parameters.clone());
        parameters
    }

    /// A constant in an order: its integers behind `DequantizeLinear` where it is quantized.
    fn stored(&mut self, tensor: Handle<QuantTensor>, values: &Values, order: Order) -> String {
        let info = self.tensor(tensor);
        let scope = std::mem::replace(&mut self.scope, info.name.clone());
        let rank = values.shape.len();
        let values = match order {
            Order::ChannelsFirst if rank > 2 => &transposed(values, &to_channels_first(rank)),
            Order::Own | Order::ChannelsFirst => values,
        };
        let name = match &info.quantization {
            Quantization::Plain => {
                let name = fresh(&mut self.values, &info.name);
                self.initializers.push(message::tensor(&name, values));
                name
            }
            Quantization::PerTensor(_) => {
                let codes = self.constant("codes", values);
                self.dequantized(tensor, &codes)
            }
            Quantization::PerChannel { axis, scales } => {
                let axis = axis_in(order, *axis, rank);
                let codes = self.constant("codes", values);
                if matches!(values.data.dtype(), DType::Narrow(_)) {
                    self.need(NEWEST_OPSET);
                }
                self.per_channel(&codes, scales, axis)
            }
            Quantization::PerBlock {
                scales,
                block,
                factors,
            } => {
                let codes = self.constant("codes", values);
                let axis = axis_in(order, rank - 1, rank);
                let blocks = factors.len() / scales.len().max(1);
                let steps = factors.iter().enumerate();
                let steps = steps.map(|(i, &factor)| scales[i / blocks.max(1)] * f32::from(factor));
                let mut shape = values.shape.clone();
                shape[axis] = blocks;
                let steps = self.constant("scales", &Values::f32(shape, steps.collect()));
                self.need(NEWEST_OPSET);
                let attributes = vec![message::count("axis", axis), message::count("block_size", *block)];
                self.add("DequantizeLinear", &[&codes, &steps], attributes)
            }
        };
        self.scope = scope;
        name
    }

    /// Integers around zero with a scale per index of an axis.
    pub(super) fn per_channel(&mut self, codes: &str, scales: &[f32], axis: usize) -> String {
        let scales = self.constant("scales", &Values::f32([scales.len()], scales.to_vec()));
        let axis = message::count("axis", axis);
        self.add("DequantizeLinear", &[codes, &scales], vec![axis])
    }
}
