//! Inputs and outputs, of the model's graph and of bodies.

use tinsmith_proto::NodeProto;

use super::message;
use super::order::Order;
use super::writer::{Writer, fresh};
use crate::ir::Handle;
use crate::op::quant::{QuantTensor, Quantization};
use crate::op::tensor::{DType, TensorType};

impl Writer<'_> {
    /// An input of the graph, by the model's name and in its element type.
    pub(super) fn input(&mut self, input: Handle<QuantTensor>) {
        let tensor = self.tensor(input);
        self.scope.clone_from(&tensor.name);
        let ty = TensorType::new(tensor.model_dtype, tensor.ty.shape.clone());
        self.inputs.push(message::value(&tensor.name, &ty));
        let name = tensor.name.clone();
        match &tensor.quantization {
            Quantization::PerTensor(_) if is_code(tensor.model_dtype) => {
                self.forms[input.index()].codes = Some(name.clone());
                let reals = self.dequantized(input, &name);
                self.settle(input, Order::Own, reals);
            }
            Quantization::PerTensor(_)
            | Quantization::PerChannel { .. }
            | Quantization::PerBlock { .. }
            | Quantization::Plain => {
                let wanted = self.dtype(input);
                let reals = self.cast(name, tensor.model_dtype, wanted);
                self.write(input, Order::Own, reals);
            }
        }
    }

    /// An input of a body: the counter and what is carried are its own, all else stands outside under a name.
    pub(super) fn body_input(&mut self, input: Handle<QuantTensor>, outside: Option<&str>) {
        let tensor = self.tensor(input);
        let name = match outside {
            Some(name) => name.to_owned(),
            None => {
                let name = fresh(&mut self.values, &tensor.name);
                self.inputs.push(message::value(&name, &tensor.ty));
                name
            }
        };
        self.settle(input, Order::Own, name);
    }

    /// An input of a body that its graph does not know.
    pub(super) fn extra_input(&mut self, name: &str, ty: &TensorType) -> String {
        let name = fresh(&mut self.values, name);
        self.inputs.push(message::value(&name, ty));
        name
    }

    /// An output of the graph, by the model's name and in its element type.
    pub(super) fn output(&mut self, output: Handle<QuantTensor>) {
        let tensor = self.tensor(output);
        self.scope.clone_from(&tensor.name);
        let ty = TensorType::new(tensor.model_dtype, tensor.ty.shape.clone());
        let is_quantized = matches!(tensor.quantization, Quantization::PerTensor(_));
        let value = if is_quantized && is_code(tensor.model_dtype) {
            self.codes(output)
        } else {
            let reals = self.read(output, Order::Own);
            let found = self.dtype(output);
            self.cast(reals, found, tensor.model_dtype)
        };
        self.give(&value, &tensor.name, &ty);
    }

    /// An output of a body, under any name.
    pub(super) fn body_output(&mut self, output: Handle<QuantTensor>) {
        let value = self.read(output, Order::Own);
        let tensor = self.tensor(output);
        let name = fresh(&mut self.values, &tensor.name);
        self.give(&value, &name, &tensor.ty);
    }

    /// The first output of a loop's body: whether it goes on.
    pub(super) fn body_condition(&mut self, value: &str, ty: &TensorType) {
        let name = fresh(&mut self.values, "goes_on");
        self.give(value, &name, ty);
    }

    /// Makes a value an output of this name.
    fn give(&mut self, value: &str, name: &str, ty: &TensorType) {
        let is_given = self.outputs.iter().any(|output| output.name == value);
        let producer = self
            .nodes
            .iter()
            .any(|node| node.output.iter().any(|made| made == value));
        if producer && !is_given {
            let named = self
                .nodes
                .iter_mut()
                .flat_map(|node| node.input.iter_mut().chain(&mut node.output));
            named
                .filter(|other| *other == value)
                .for_each(|other| *other = name.into());
            let forms = self.forms.iter_mut();
            let known = forms.flat_map(|forms| [&mut forms.own, &mut forms.channels_first, &mut forms.codes]);
            known
                .filter(|known| known.as_deref() == Some(value))
                .for_each(|known| *known = Some(name.into()));
        } else {
            let identity = fresh(&mut self.node_names, &format!("{name}/Identity"));
            self.nodes.push(NodeProto {
                name: identity,
                op_type: "Identity".into(),
                input: vec![value.into()],
                output: vec![name.into()],
                ..NodeProto::default()
            });
        }
        self.outputs.push(message::value(name, ty));
    }

    /// A value in another element type.
    pub(super) fn cast(&mut self, x: String, from: DType, to: DType) -> String {
        if from == to {
            return x;
        }
        self.add("Cast", &[&x], vec![message::int("to", message::number(to))])
    }

    /// Lets readers of a tensor that could not be written find something.
    pub(super) fn give_up(&mut self, tensor: Handle<QuantTensor>) {
        let name = self.tensor(tensor).name.clone();
        self.settle(tensor, Order::Own, name);
    }
}

/// Whether the model itself has codes at a port of this type.
fn is_code(model_dtype: DType) -> bool {
    matches!(model_dtype, DType::I8 | DType::U8 | DType::I16 | DType::U16)
}
