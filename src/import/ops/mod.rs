//! One function per ONNX operator, a file per family: each reads a node's attributes and inputs under its opset and
//! emits the operators inside.

mod activation;
mod attention;
mod blocks;
mod cast;
mod constant;
mod conv;
mod conv_kin;
mod determinant;
mod einsum;
mod elementwise;
mod fake_quantize;
mod finding;
mod fourier;
mod gemm;
mod indexing;
mod integer;
mod linear_attention;
mod linear_models;
mod logic;
mod loss;
mod microsoft;
mod microsoft_attention;
mod movement;
mod neighbours;
mod norm;
mod normalize;
mod one_hot;
mod ordering;
mod packed;
mod pad;
mod pool;
mod pool_norm;
mod post_transform;
mod qlinear;
mod quantize;
mod random;
mod recurrent;
mod reduce;
mod reshape;
mod resize;
mod roi_pool;
mod sample;
mod signal;
mod slice;
mod trees;
mod unpool;
mod vectors;
mod window;

use std::sync::Arc;

use tinsmith_proto::{AttributeProto, NodeProto};

use super::attrs::Attrs;
use super::builder::{Builder, Tensor};
use super::tensors::check_rank;
use crate::op::OpError;
use crate::op::tensor::Values;

/// What an importer gives: a tensor per output, in order; outputs beyond them are not supported.
type Made = Result<Vec<Tensor>, OpError>;

/// How to import one ONNX operator.
pub(super) struct Importer {
    domain: &'static str,
    operator: &'static str,
    pub(super) import: fn(&mut Call<'_>) -> Made,
}

/// An operator of ONNX's own domain.
const fn onnx(operator: &'static str, import: fn(&mut Call<'_>) -> Made) -> Importer {
    of_domain("", operator, import)
}

const fn of_domain(
    domain: &'static str,
    operator: &'static str,
    import: fn(&mut Call<'_>) -> Made,
) -> Importer {
    Importer {
        domain,
        operator,
        import,
    }
}

/// All importers, family by family.
const FAMILIES: &[&[Importer]] = &[
    activation::IMPORTERS,
    cast::IMPORTERS,
    constant::IMPORTERS,
    conv::IMPORTERS,
    conv_kin::IMPORTERS,
    attention::IMPORTERS,
    determinant::IMPORTERS,
    einsum::IMPORTERS,
    elementwise::IMPORTERS,
    fake_quantize::IMPORTERS,
    finding::IMPORTERS,
    gemm::IMPORTERS,
    logic::IMPORTERS,
    integer::IMPORTERS,
    microsoft::IMPORTERS,
    microsoft_attention::IMPORTERS,
    linear_attention::IMPORTERS,
    linear_models::IMPORTERS,
    loss::IMPORTERS,
    movement::IMPORTERS,
    norm::IMPORTERS,
    normalize::IMPORTERS,
    packed::IMPORTERS,
    indexing::IMPORTERS,
    one_hot::IMPORTERS,
    ordering::IMPORTERS,
    pad::IMPORTERS,
    pool::IMPORTERS,
    pool_norm::IMPORTERS,
    qlinear::IMPORTERS,
    quantize::IMPORTERS,
    random::IMPORTERS,
    recurrent::IMPORTERS,
    reduce::IMPORTERS,
    reshape::IMPORTERS,
    resize::IMPORTERS,
    roi_pool::IMPORTERS,
    sample::IMPORTERS,
    signal::IMPORTERS,
    slice::IMPORTERS,
    trees::IMPORTERS,
    unpool::IMPORTERS,
    vectors::IMPORTERS,
];

fn importers() -> impl Iterator<Item = &'static Importer> {
    FAMILIES.iter().copied().flatten()
}

/// How to import an operator of a domain; ONNX's own is empty.
pub(super) fn importer(domain: &str, operator: &str) -> Option<&'static Importer> {
    importers().find(|importer| importer.domain == domain && importer.operator == operator)
}

/// The ONNX operators that can be imported, in alphabetical order, those of other domains as `domain.Operator`.
pub fn operators() -> Vec<String> {
    let name = |importer: &Importer| match importer.domain {
        "" => importer.operator.to_owned(),
        domain => format!("{domain}.{}", importer.operator),
    };
    let is_refused = |name: &str| random::IMPORTERS.iter().any(|refused| refused.operator == name);
    let taken = importers().filter(|importer| !is_refused(importer.operator));
    let of_items = super::node::ITEM_IMPORTERS.into_iter().flatten();
    let of_items = of_items.map(|(operator, _)| (*operator).to_owned());
    let mut names: Vec<String> = taken.map(name).chain(of_items).collect();
    names.sort();
    names
}

/// A node being imported.
pub(super) struct Call<'a> {
    graph: &'a mut Builder,
    attrs: Attrs<'a>,
    /// The opset of its domain.
    version: i64,
    /// `None` for optional ones left out.
    inputs: Vec<Option<Tensor>>,
    /// Names of the outputs; empty for those left out.
    outputs: &'a [String],
}

impl<'a> Call<'a> {
    pub(super) fn new(
        graph: &'a mut Builder,
        node: &'a NodeProto,
        version: i64,
        inputs: Vec<Option<Tensor>>,
    ) -> Self {
        Self {
            graph,
            attrs: Attrs::new(&node.attribute),
            version,
            inputs,
            outputs: &node.output,
        }
    }

    /// Whether the model names output `index`.
    fn wants(&self, index: usize) -> bool {
        self.outputs.get(index).is_some_and(|name| !name.is_empty())
    }

    /// Runs an importer and sees that it asked for every attribute.
    pub(super) fn import(mut self, importer: fn(&mut Call<'_>) -> Made) -> Made {
        let made = importer(&mut self)?;
        self.attrs.finish(self.version)?;
        Ok(made)
    }

    /// The first output of an operator of ONNX's own that is a part of this node, on these inputs and with these
    /// attributes.
    fn part(
        &mut self,
        operator: &str,
        version: i64,
        inputs: &[Option<Tensor>],
        attributes: &[AttributeProto],
    ) -> Result<Tensor, OpError> {
        let first_new = self.graph.len();
        let part = Call {
            graph: self.graph,
            attrs: Attrs::new(attributes),
            version,
            inputs: inputs.to_vec(),
            outputs: &[],
        };
        let made = part.import(part_importer(operator)?)?;
        self.name_part(operator, made, first_new)
    }

    /// [`Call::part`] with the attributes of this node.
    fn part_of_own(
        &mut self,
        operator: &str,
        version: i64,
        inputs: &[Option<Tensor>],
    ) -> Result<Tensor, OpError> {
        let first_new = self.graph.len();
        let own = (
            std::mem::replace(&mut self.version, version),
            std::mem::replace(&mut self.inputs, inputs.to_vec()),
        );
        let made = part_importer(operator)?(self)?;
        (self.version, self.inputs) = own;
        self.name_part(operator, made, first_new)
    }

    /// A part is not the node's output, whose name it took.
    fn name_part(&mut self, operator: &str, made: Vec<Tensor>, first_new: usize) -> Result<Tensor, OpError> {
        let Some(&tensor) = made.first() else {
            return Err(OpError::new(format!(
                "an output of {operator} wanted, none found"
            )));
        };
        if tensor.index() >= first_new {
            self.graph.name_after(tensor, &operator.to_lowercase());
        }
        Ok(tensor)
    }

    /// Input `index`, which must be given.
    fn input(&self, index: usize) -> Result<Tensor, OpError> {
        self.optional(index)
            .ok_or_else(|| OpError::new(format!("input {index} wanted, none found")))
    }

    /// Input `index`, if given.
    fn optional(&self, index: usize) -> Option<Tensor> {
        self.inputs.get(index).copied().flatten()
    }

    /// The values of input `index`, which must be known now; `None` where it is left out.
    fn constant(&self, index: usize, what: &str) -> Result<Option<Arc<Values>>, OpError> {
        let Some(tensor) = self.optional(index) else {
            return Ok(None);
        };
        let values = self.graph.constant_of(tensor).ok_or_else(|| {
            OpError::new(format!("constant {what} wanted, known only when running found"))
                .with_help("export the model with static shapes, or simplify it first")
        })?;
        Ok(Some(Arc::clone(values)))
    }

    /// The integers of input `index`, a vector known now; `None` where it is left out.
    fn constant_ints(&self, index: usize, what: &str) -> Result<Option<Vec<i64>>, OpError> {
        let Some(values) = self.constant(index, what)? else {
            return Ok(None);
        };
        if values.shape.len() > 1 {
            return Err(OpError::new(format!(
                "{what} in a vector wanted, {} found",
                values.ty()
            )));
        }
        let ints = values
            .to_i64()
            .ok_or_else(|| OpError::new(format!("integers for {what} wanted, {} found", values.ty())))?;
        Ok(Some(ints))
    }

    /// Axes: an attribute before opset `since`, input `index` from then on; `None` where not given.
    fn axes(&self, since: i64, index: usize) -> Result<Option<Vec<i64>>, OpError> {
        if self.version < since {
            Ok(self.attrs.maybe_ints("axes")?.map(<[i64]>::to_vec))
        } else {
            self.constant_ints(index, "axes")
        }
    }
}

/// How to import an operator that another is made of.
fn part_importer(operator: &str) -> Result<fn(&mut Call<'_>) -> Made, OpError> {
    let importer = importer("", operator);
    importer
        .map(|importer| importer.import)
        .ok_or_else(|| OpError::new(format!("it is made of {operator}, which is not supported")))
}

/// An axis counted from the front, of a tensor of this rank; negative ones count from the end.
pub(super) fn resolve_axis(axis: i64, rank: usize) -> Result<usize, OpError> {
    let from_end = |axis: i64| usize::try_from(axis.checked_neg()?).ok();
    let resolved = if axis < 0 {
        from_end(axis).and_then(|back| rank.checked_sub(back))
    } else {
        usize::try_from(axis).ok().filter(|&axis| axis < rank)
    };
    resolved.ok_or_else(|| OpError::new(format!("an axis of {rank} wanted, {axis} found")))
}

/// Axes counted from the front, in the given order; none twice.
fn resolve_axes(axes: &[i64], rank: usize) -> Result<Vec<usize>, OpError> {
    check_rank(axes.len())?;
    let mut resolved = Vec::with_capacity(axes.len().min(rank));
    for &axis in axes {
        let axis = resolve_axis(axis, rank)?;
        if resolved.contains(&axis) {
            return Err(OpError::new(format!(
                "each axis once wanted, {axis} found again in {axes:?}"
            )));
        }
        resolved.push(axis);
    }
    Ok(resolved)
}
