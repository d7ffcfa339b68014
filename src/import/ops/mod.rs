//! One function per ONNX operator, a file per family: each reads a node's attributes and inputs under its opset and
//! emits the operators inside.

mod constant;
mod conv;
mod elementwise;
mod gemm;
mod movement;
mod normalize;
mod pad;
mod pool;
mod quantize;
mod recurrent;
mod reduce;
mod reshape;
mod slice;
mod window;

use std::sync::Arc;

use tinsmith_proto::NodeProto;

use super::attrs::Attrs;
use super::builder::{Builder, Tensor};
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
    constant::IMPORTERS,
    conv::IMPORTERS,
    elementwise::IMPORTERS,
    gemm::IMPORTERS,
    movement::IMPORTERS,
    normalize::IMPORTERS,
    pad::IMPORTERS,
    pool::IMPORTERS,
    quantize::IMPORTERS,
    recurrent::IMPORTERS,
    reduce::IMPORTERS,
    reshape::IMPORTERS,
    slice::IMPORTERS,
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
    let of_items = super::node::ITEM_IMPORTERS.into_iter().flatten();
    let of_items = of_items.map(|(operator, _)| (*operator).to_owned());
    let mut names: Vec<String> = importers().map(name).chain(of_items).collect();
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
    #[allow(dead_code, reason = "see `wants`")]
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
    #[allow(dead_code, reason = "asked by operators with optional outputs")]
    fn wants(&self, index: usize) -> bool {
        self.outputs.get(index).is_some_and(|name| !name.is_empty())
    }

    /// Runs an importer and sees that it asked for every attribute.
    pub(super) fn import(mut self, importer: fn(&mut Call<'_>) -> Made) -> Made {
        let made = importer(&mut self)?;
        self.attrs.finish(self.version)?;
        Ok(made)
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
