//! TreeEnsemble, TreeEnsembleClassifier and TreeEnsembleRegressor: <https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsemble.html>.

use serde::{Deserialize, Serialize};

use super::quant::QuantTensor;
use super::tensor::{DType, Data, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect};
use crate::target::Target;

/// What a branch asks of its feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Test {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
    Above(f64),
    Equal(f64),
    NotEqual(f64),
    Among(Vec<f64>),
}

/// A node of a tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TreeNode {
    /// Goes on to one of two nodes behind it in the list.
    Branch {
        /// The feature asked.
        feature: usize,
        /// What is asked.
        test: Test,
        /// Whether NaN goes where the test holds.
        missing_holds: bool,
        /// The node where the test holds, and where not.
        next: [usize; 2],
    },
    /// Ends with weights for targets.
    Leaf(Vec<(usize, f64)>),
}

/// How the weights of all trees become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// For every row of features `[rows, features]`, the weights of the leaves that its trees end in, aggregated in f64 and
/// rounded once: `[rows, targets]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TreeEnsemble {
    /// The first node of each tree.
    pub roots: Vec<usize>,
    /// All nodes. A branch leads only to nodes behind it.
    pub nodes: Vec<TreeNode>,
    /// Added to the targets; as many as targets.
    pub base: Vec<f64>,
    /// How the trees' weights become one.
    pub aggregate: Aggregate,
    /// Element type of the output: f32 or f64.
    pub dtype: DType,
}

impl Operator for TreeEnsemble {
    const ONNX: &'static [&'static str] = &[
        "ai.onnx.ml.TreeEnsemble",
        "ai.onnx.ml.TreeEnsembleClassifier",
        "ai.onnx.ml.TreeEnsembleRegressor",
    ];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        let x = inputs[0];
        expect::rank("x", x, 2)?;
        expect::number("x", x)?;
        for (index, node) in self.nodes.iter().enumerate() {
            let sound = match node {
                TreeNode::Branch { feature, next, .. } => {
                    let on = |&next: &usize| next > index && next < self.nodes.len();
                    *feature < x.shape[1] && next.iter().all(on)
                }
                TreeNode::Leaf(weights) => weights.iter().all(|&(target, _)| target < self.base.len()),
            };
            if !sound {
                return Err(OpError::new(format!(
                    "trees of features of {x} and of {} targets wanted, node {index} is of none",
                    self.base.len()
                )));
            }
        }
        if let Some(root) = self.roots.iter().find(|&&root| root >= self.nodes.len()) {
            return Err(OpError::new(format!(
                "roots among the nodes wanted, {root} found"
            )));
        }
        if !matches!(self.dtype, DType::F32 | DType::F64) {
            return Err(OpError::new(format!("f32 or f64 wanted, {} found", self.dtype)));
        }
        Ok(vec![TensorType::new(self.dtype, [x.shape[0], self.base.len()])])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let features = inputs[0].to_f64();
        let count = inputs[0].shape[1];
        let rows = (0..ty.shape[0]).flat_map(|row| self.row(&features[row * count..(row + 1) * count]));
        let data = Data::F64(rows.collect()).cast(self.dtype);
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn lower(
        &self,
        _target: &Target,
        _inputs: &[&QuantTensor],
        _outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        Err(OpError::new("trees of decisions have no kernel")
            .with_help("compile the trees with a tool of their own")
            .into())
    }

    fn macs(&self, inputs: &[&TensorType]) -> u64 {
        let rows = inputs
            .first()
            .map_or(0, |x| x.shape.first().copied().unwrap_or(0));
        (rows as u64).saturating_mul(self.nodes.len() as u64)
    }
}

impl TreeEnsemble {
    /// The targets of one row.
    fn row(&self, features: &[f64]) -> Vec<f64> {
        let mut sums: Vec<Option<f64>> = vec![None; self.base.len()];
        for &root in &self.roots {
            for &(target, weight) in self.leaf(root, features) {
                sums[target] = Some(match (sums[target], self.aggregate) {
                    (None, _) => weight,
                    (Some(sum), Aggregate::Sum | Aggregate::Average) => sum + weight,
                    (Some(least), Aggregate::Min) => least.min(weight),
                    (Some(most), Aggregate::Max) => most.max(weight),
                });
            }
        }
        let trees = self.roots.len().max(1) as f64;
        let targets = sums.iter().zip(&self.base).map(|(sum, base)| {
            let sum = sum.unwrap_or(0.0);
            let sum = if self.aggregate == Aggregate::Average {
                sum / trees
            } else {
                sum
            };
            sum + base
        });
        targets.collect()
    }

    /// The leaf that a row ends in. Every step leads on in the list, so there is an end.
    fn leaf(&self, root: usize, features: &[f64]) -> &[(usize, f64)] {
        let mut at = root;
        loop {
            match &self.nodes[at] {
                TreeNode::Leaf(weights) => return weights,
                TreeNode::Branch {
                    feature,
                    test,
                    missing_holds,
                    next: [holds, fails],
                } => {
                    let x = features[*feature];
                    let does = if x.is_nan() { *missing_holds } else { test.holds(x) };
                    at = if does { *holds } else { *fails };
                }
            }
        }
    }
}

impl Test {
    fn holds(&self, x: f64) -> bool {
        match self {
            Self::AtMost(split) => x <= *split,
            Self::Below(split) => x < *split,
            Self::AtLeast(split) => x >= *split,
            Self::Above(split) => x > *split,
            Self::Equal(split) => x == *split,
            Self::NotEqual(split) => x != *split,
            Self::Among(values) => values.contains(&x),
        }
    }
}
