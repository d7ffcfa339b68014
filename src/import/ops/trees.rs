//! Ensembles of decision trees over numbers.

use tinsmith_proto::TensorProto;

use super::super::builder::{Builder, Tensor};
use super::linear_models::{Rest, both};
use super::post_transform::{Transform, label_above, label_of_greatest, labels};
use super::{Call, Importer, Made, of_domain};
use crate::op::tensor::DType;
use crate::op::{Aggregate, Op, OpError, Test, TreeEnsemble, TreeNode};

pub(super) const IMPORTERS: &[Importer] = &[
    of_domain("ai.onnx.ml", "TreeEnsemble", tree_ensemble),
    of_domain("ai.onnx.ml", "TreeEnsembleClassifier", classifier),
    of_domain("ai.onnx.ml", "TreeEnsembleRegressor", regressor),
];

fn misfit(what: &str) -> OpError {
    OpError::new(format!("trees with all their nodes wanted, {what} found"))
}

fn index(number: i64) -> Result<usize, OpError> {
    usize::try_from(number).map_err(|_| misfit(&format!("the number {number}")))
}

/// The reals of a tensor that must be there.
fn reals(graph: &mut Builder, tensor: Option<&TensorProto>, what: &str) -> Result<Vec<f64>, OpError> {
    let tensor = tensor.ok_or_else(|| misfit(&format!("no {what}")))?;
    Ok(graph.values(tensor)?.to_f64())
}

/// Puts nodes in an order in which branches lead on: from the roots down, each node once for every way to it.
///
/// # Errors
/// Where a way leads back, or out of the list, or there are more ways than `most` nodes.
fn in_order(roots: &[usize], nodes: &[TreeNode]) -> Result<(Vec<usize>, Vec<TreeNode>), OpError> {
    let mut ordered: Vec<TreeNode> = Vec::new();
    let mut starts = Vec::with_capacity(roots.len());
    // Nodes to come: where it stands in the list, and what it is.
    let mut queue: Vec<(Option<(usize, usize)>, usize)> = Vec::new();
    for &root in roots {
        queue.push((None, root));
        while let Some((from, at)) = queue.pop() {
            // In a tree there is one way to each node, so more than there are nodes is a circle.
            if ordered.len() > nodes.len() {
                return Err(misfit("a branch that leads back or two that meet"));
            }
            let place = ordered.len();
            match from {
                None => starts.push(place),
                Some((parent, side)) => {
                    if let Some(TreeNode::Branch { next, .. }) = ordered.get_mut(parent) {
                        next[side] = place;
                    }
                }
            }
            let node = nodes
                .get(at)
                .ok_or_else(|| misfit(&format!("a way to node {at}")))?;
            ordered.push(node.clone());
            if let TreeNode::Branch { next, .. } = node {
                queue.push((Some((place, 1)), next[1]));
                queue.push((Some((place, 0)), next[0]));
            }
        }
    }
    Ok((starts, ordered))
}

/// Version 5: interior nodes and leaves in lists of their own, modes and splits as tensors.
fn tree_ensemble(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let attrs = &call.attrs;
    attrs.ignore(&["nodes_hitrates"]);
    if attrs.int("post_transform", 0)? != 0 {
        return Err(OpError::new("no transform of the targets wanted, one found"));
    }
    let aggregate = match attrs.int("aggregate_function", 1)? {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => return Err(misfit(&format!("the aggregate function {other}"))),
    };
    let ints = |name: &str| Ok::<_, OpError>(attrs.maybe_ints(name)?.unwrap_or_default());
    let modes = reals(call.graph, attrs.maybe_tensor("nodes_modes")?, "modes")?;
    let splits = reals(call.graph, attrs.maybe_tensor("nodes_splits")?, "splits")?;
    let members = match attrs.maybe_tensor("membership_values")? {
        Some(tensor) => call.graph.values(tensor)?.to_f64(),
        None => Vec::new(),
    };
    // The values of one node end with NaN.
    let mut members = members.split(|value| value.is_nan());
    let features = ints("nodes_featureids")?;
    let missing = ints("nodes_missing_value_tracks_true")?;
    let sides = [
        (ints("nodes_truenodeids")?, ints("nodes_trueleafs")?),
        (ints("nodes_falsenodeids")?, ints("nodes_falseleafs")?),
    ];
    let count = features.len();
    let whole = modes.len() == count
        && splits.len() == count
        && (missing.is_empty() || missing.len() == count)
        && sides
            .iter()
            .all(|(ids, leaves)| ids.len() == count && leaves.len() == count);
    if !whole {
        return Err(misfit("lists of different lengths"));
    }
    let mut nodes = Vec::with_capacity(count);
    for i in 0..count {
        let split = splits[i];
        let test = match modes[i] as i64 {
            0 => Test::AtMost(split),
            1 => Test::Below(split),
            2 => Test::AtLeast(split),
            3 => Test::Above(split),
            4 => Test::Equal(split),
            5 => Test::NotEqual(split),
            6 => Test::Among(members.next().unwrap_or_default().to_vec()),
            other => return Err(misfit(&format!("the mode {other}"))),
        };
        let side = |(ids, leaves): &(&[i64], &[i64])| {
            let id = index(ids[i])?;
            Ok::<_, OpError>(if leaves[i] != 0 {
                count.saturating_add(id)
            } else {
                id
            })
        };
        nodes.push(TreeNode::Branch {
            feature: index(features[i])?,
            test,
            missing_holds: missing.get(i).is_some_and(|&holds| holds != 0),
            next: [side(&sides[0])?, side(&sides[1])?],
        });
    }
    let weights = attrs.maybe_tensor("leaf_weights")?;
    let (targets, weights) = (ints("leaf_targetids")?, reals(call.graph, weights, "weights")?);
    if targets.len() != weights.len() {
        return Err(misfit("lists of different lengths"));
    }
    for (&target, &weight) in targets.iter().zip(&weights) {
        nodes.push(TreeNode::Leaf(vec![(index(target)?, weight)]));
    }
    let roots: Result<Vec<usize>, OpError> = ints("tree_roots")?.iter().map(|&root| index(root)).collect();
    let (roots, nodes) = in_order(&roots?, &nodes)?;
    let op = TreeEnsemble {
        roots,
        nodes,
        base: vec![0.0; targets_count(attrs.int("n_targets", 1)?)?],
        aggregate,
        dtype: call.graph.ty(x).dtype,
    };
    Ok(vec![call.graph.emit(Op::TreeEnsemble(op), &[x], "")?])
}

fn targets_count(number: i64) -> Result<usize, OpError> {
    let count = index(number)?;
    if (1..=1 << 20).contains(&count) {
        return Ok(count);
    }
    Err(misfit(&format!("{count} targets")))
}

/// Versions 1 and 3: nodes named by tree and number, leaves among them; version 3 may have numbers as tensors.
fn regressor(call: &mut Call<'_>) -> Made {
    let transform = Transform::read(call)?;
    let aggregate = match call.attrs.word("aggregate_function", "SUM")? {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        other => return Err(misfit(&format!("the aggregate function {other}"))),
    };
    let count = targets_count(call.attrs.int("n_targets", 1)?)?;
    let mut trees = named(call, "target", count)?;
    trees.aggregate = aggregate;
    let y = emit(call, trees)?;
    if count == 1 {
        transform.none_of_one()?;
        return Ok(vec![y]);
    }
    Ok(vec![transform.apply(call, y)?])
}

/// The label of the greatest score, and the scores of all classes.
///
/// Weights for the first of two classes alone are scores of the second, as converters write classifiers of two
/// classes: its label where they are above 0.5, or above 0 where some weights are negative. ONNX Runtime gives the
/// second of two labels wherever that class has any score, even the lesser one; this follows ONNX.
fn classifier(call: &mut Call<'_>) -> Made {
    let labels = labels(call, "classlabels_int64s", "classlabels_strings")?;
    let transform = Transform::read(call)?;
    let ids = call.attrs.maybe_ints("class_ids")?.unwrap_or_default();
    let one_for_two = labels.len() == 2 && ids.iter().all(|&id| id == ids[0]);
    if !one_for_two {
        if labels.len() == 1 {
            return Err(misfit("one class"));
        }
        let trees = named(call, "class", labels.len())?;
        let scores = emit(call, trees)?;
        let label = label_of_greatest(call, scores, &labels)?;
        return Ok(vec![label, transform.apply(call, scores)?]);
    }
    if ids.iter().any(|&id| id != 0) {
        return Err(OpError::new(
            "weights for the first of two classes, or for both, wanted, for the second alone found",
        )
        .with_help("export the model with class_ids of 0: runtimes differ on these"));
    }
    let trees = named(call, "class", 1)?;
    let is_negative = |node: &TreeNode| matches!(node, TreeNode::Leaf(weights) if weights.iter().any(|&(_, weight)| weight < 0.0));
    let (limit, rest) = if trees.nodes.iter().any(is_negative) {
        (0.0, Rest::Negative)
    } else {
        (0.5, Rest::ToOne)
    };
    let score = emit(call, trees)?;
    let label = label_above(call, score, limit, &labels)?;
    Ok(vec![label, both(call, score, transform, rest)?])
}

/// The trees on the node's input.
fn emit(call: &mut Call<'_>, trees: TreeEnsemble) -> Result<Tensor, OpError> {
    let x = call.input(0)?;
    call.graph.emit(Op::TreeEnsemble(trees), &[x], "trees")
}

/// The trees of versions 1 and 3, whose leaves have weights for `count` targets in attributes that begin with `what`;
/// their weights are summed.
fn named(call: &mut Call<'_>, what: &str, count: usize) -> Result<TreeEnsemble, OpError> {
    let attrs = &call.attrs;
    attrs.ignore(&["nodes_hitrates", "nodes_hitrates_as_tensor"]);
    let ints = |name: &str| Ok::<_, OpError>(attrs.maybe_ints(name)?.unwrap_or_default());
    let own = |name: &str| format!("{what}_{name}");
    let mut numbers = |name: &str| -> Result<Vec<f64>, OpError> {
        if let Some(tensor) = attrs.maybe_tensor(&format!("{name}_as_tensor"))? {
            return Ok(call.graph.values(tensor)?.to_f64());
        }
        let floats = attrs.maybe_floats(name)?.unwrap_or_default();
        Ok(floats.iter().map(|&x| x.into()).collect())
    };
    let names: Vec<(i64, i64)> = {
        let (trees, own) = (ints("nodes_treeids")?, ints("nodes_nodeids")?);
        trees.iter().copied().zip(own.iter().copied()).collect()
    };
    let by_name: std::collections::BTreeMap<(i64, i64), usize> = names.iter().copied().zip(0..).collect();
    let (features, splits) = (ints("nodes_featureids")?, numbers("nodes_values")?);
    let (holds, fails) = (ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?);
    let missing = ints("nodes_missing_value_tracks_true")?;
    let modes = attrs.words("nodes_modes")?;
    let node_count = names.len();
    let lengths = [
        features.len(),
        splits.len(),
        holds.len(),
        fails.len(),
        modes.len(),
    ];
    if lengths.iter().any(|&length| length != node_count) || by_name.len() != node_count {
        return Err(misfit("lists of different lengths, or two nodes of one name"));
    }
    let mut nodes = Vec::with_capacity(node_count);
    for i in 0..node_count {
        let split = splits[i];
        let test = match modes[i] {
            "LEAF" => {
                nodes.push(TreeNode::Leaf(Vec::new()));
                continue;
            }
            "BRANCH_LEQ" => Test::AtMost(split),
            "BRANCH_LT" => Test::Below(split),
            "BRANCH_GTE" => Test::AtLeast(split),
            "BRANCH_GT" => Test::Above(split),
            "BRANCH_EQ" => Test::Equal(split),
            "BRANCH_NEQ" => Test::NotEqual(split),
            other => return Err(misfit(&format!("the mode {other}"))),
        };
        let place = |number: i64| {
            let found = by_name.get(&(names[i].0, number)).copied();
            found.ok_or_else(|| misfit(&format!("no node {number} of tree {}", names[i].0)))
        };
        nodes.push(TreeNode::Branch {
            feature: index(features[i])?,
            test,
            missing_holds: missing.get(i).is_some_and(|&holds| holds != 0),
            next: [place(holds[i])?, place(fails[i])?],
        });
    }
    let (trees, of_trees) = (ints(&own("treeids"))?, ints(&own("nodeids"))?);
    let (targets, weights) = (ints(&own("ids"))?, numbers(&own("weights"))?);
    if [trees.len(), of_trees.len(), targets.len()] != [weights.len(); 3] {
        return Err(misfit("lists of different lengths"));
    }
    for (i, &weight) in weights.iter().enumerate() {
        let place = by_name.get(&(trees[i], of_trees[i]));
        match place.and_then(|&place| nodes.get_mut(place)) {
            Some(TreeNode::Leaf(leaf)) => leaf.push((index(targets[i])?, weight)),
            _ => return Err(misfit("a weight of no leaf")),
        }
    }
    // A tree's root is its first node.
    let mut roots: Vec<usize> = Vec::new();
    for (place, name) in names.iter().enumerate() {
        if roots.iter().all(|&root| names[root].0 != name.0) {
            roots.push(place);
        }
    }
    let (roots, nodes) = in_order(&roots, &nodes)?;
    let mut base = numbers("base_values")?;
    if base.is_empty() {
        base = vec![0.0; count];
    }
    if base.len() != count {
        return Err(misfit("base values of another number of targets"));
    }
    Ok(TreeEnsemble {
        roots,
        nodes,
        base,
        aggregate: Aggregate::Sum,
        dtype: DType::F32,
    })
}
