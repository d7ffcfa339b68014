//! Weights around another number than zero: less it, they take nine bits, and become sums of two int8 parts. A layer
//! that reads its input twice, and both parts side by side, sums what the model says.

use super::Absorber;
use crate::ir::{FloatTensor, Handle, Node};
use crate::op::quant::{QuantTensor, Quantization};
use crate::op::tensor::{DType, Data, Values};
use crate::op::{Concat, Gather, Op};
use crate::quantize::fresh_name;

impl Absorber<'_> {
    /// The input of a layer with each group's channels twice. `None` where it has no channels.
    pub(super) fn twice(
        &mut self,
        node: &Node<FloatTensor>,
        x: Handle<QuantTensor>,
    ) -> Option<Handle<QuantTensor>> {
        let groups = match &node.op {
            Op::Conv2d(conv) => conv.groups,
            Op::ConvNd(conv) => conv.groups,
            _ => 1,
        };
        self.out.notes.push(format!(
            "{} `{}`: its weights lie around another number than zero, and are computed with as sums of two int8 parts, \
             which doubles their size and work",
            node.op.name(),
            node.name
        ));
        let mut doubled = self.out.tensors[x].clone();
        doubled.name = fresh_name(&mut self.names, &doubled.name);
        let axis = doubled.ty.shape.len().checked_sub(1)?;
        let channels = doubled.ty.shape[axis];
        doubled.ty.shape[axis] = 2 * channels;
        let name = doubled.name.clone();
        let (op, inputs) = if groups == 1 {
            (Op::Concat(Concat { axis }), vec![x, x])
        } else {
            let of_group = channels / groups.max(1);
            let places = (0..2 * channels).map(|place| {
                let group = place / (2 * of_group).max(1);
                (group * of_group + place % of_group.max(1)) as i64
            });
            let places = Values::new([2 * channels], Data::I64(places.collect()));
            let indices = QuantTensor {
                name: fresh_name(&mut self.names, &format!("{name}/channels")),
                ty: places.ty(),
                quantization: Quantization::Plain,
                model_dtype: DType::I64,
                data: Some(places.into()),
            };
            let indices = self.out.tensors.push(indices);
            (Op::Gather(Gather { axis }), vec![x, indices])
        };
        let doubled = self.out.tensors.push(doubled);
        self.out.nodes.push(Node {
            name,
            op,
            inputs,
            outputs: vec![doubled],
        });
        Some(doubled)
    }
}
