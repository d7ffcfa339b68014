//! FloatGraph → FloatGraph: the same meaning in fewer, larger nodes.
//!
//! One pass is one file. Passes serve float models and QDQ models alike; in the latter, constants stay integers behind
//! their `DequantizeLinear`, and moving data across a `QuantizeLinear` or `DequantizeLinear` is exact.
//!
//! What is not done here: choosing numbers (that is [`crate::quantize`]) and choosing kernels
//! ([`crate::schedule`]).

mod decompose_batch_norm;
mod deduplicate;
mod draft;
mod edit;
mod eliminate_transposes;
mod fold_batch_norm;
mod fold_channel_scale;
mod fold_constants;
mod fold_input_scale;
mod fold_through_moves;
mod fuse_activation;
mod fuse_bias;
mod fuse_pad;
mod join_lstm;
mod layer;
mod limit;
mod matmul_to_dense;
mod merge_resamples;
mod merge_reshapes;
mod read_parts;
mod recognize_attention;
mod recognize_functions;
mod recognize_layer_norm;
mod recognize_softmax;
mod reduce_mean_to_pool;
mod remove_dead;
mod remove_identities;
mod sink_reshapes;
mod stored;
mod widen;

pub use widen::widen;

use crate::ir::FloatGraph;
use crate::ir::verify::{VerifyError, verify};

/// A rewriting of the graph.
pub struct Pass {
    /// Its name: also its file, its `--stop-after` value and its test folder.
    pub name: &'static str,
    /// Rewrites all it can and tells how often it did.
    pub run: fn(&mut FloatGraph) -> usize,
    /// Whether it waits until no other pass finds anything to do.
    pub last_resort: bool,
    /// Whether it makes operators that have no integer kernel, of parts that have one.
    pub for_reals: bool,
    /// Whether it makes operators that have an integer kernel alone, of parts that have one over reals.
    pub for_integers: bool,
}

const fn pass(name: &'static str, run: fn(&mut FloatGraph) -> usize) -> Pass {
    Pass {
        name,
        run,
        last_resort: false,
        for_reals: false,
        for_integers: false,
    }
}

const fn for_reals(name: &'static str, run: fn(&mut FloatGraph) -> usize) -> Pass {
    Pass {
        name,
        run,
        last_resort: false,
        for_reals: true,
        for_integers: false,
    }
}

const fn for_integers(name: &'static str, run: fn(&mut FloatGraph) -> usize) -> Pass {
    Pass {
        name,
        run,
        last_resort: false,
        for_reals: false,
        for_integers: true,
    }
}

const fn last_resort(name: &'static str, run: fn(&mut FloatGraph) -> usize) -> Pass {
    Pass {
        name,
        run,
        last_resort: true,
        for_reals: false,
        for_integers: false,
    }
}

/// The passes in their order. The list is gone through until a whole round changes nothing.
pub const PASSES: &[Pass] = &[
    // Readers are counted by most passes; dead ones must not count.
    pass("remove-dead", remove_dead::remove_dead),
    // Makes constants of what exporters compute from shapes, so that the passes below see them.
    pass("fold-constants", fold_constants::fold_constants),
    // Gives one DequantizeLinear to all readers of a tensor, so that a transpose crosses it once.
    pass("deduplicate", deduplicate::deduplicate),
    pass("remove-identities", remove_identities::remove_identities),
    // Before the folds, which would tear a function's nodes apart.
    pass("recognize-functions", recognize_functions::recognize_functions),
    pass("recognize-softmax", recognize_softmax::recognize_softmax),
    // Behind the softmax in it, and before the reshapes around its products move.
    for_reals("recognize-attention", recognize_attention::recognize_attention),
    // Before the means become pools.
    pass("recognize-layer-norm", recognize_layer_norm::recognize_layer_norm),
    // Before the transposes, which fold into the weights of a Dense but not into a MatMul.
    pass("matmul-to-dense", matmul_to_dense::matmul_to_dense),
    // Before all that looks for neighbours: import puts transposes around every operator with channels.
    pass("eliminate-transposes", eliminate_transposes::eliminate_transposes),
    pass("sink-reshapes", sink_reshapes::sink_reshapes),
    pass("merge-reshapes", merge_reshapes::merge_reshapes),
    // After the transposes, of which there are fewer to look through then.
    pass("read-parts", read_parts::read_parts),
    // After the transposes, too, which put the axes side by side.
    for_integers("merge-resamples", merge_resamples::merge_resamples),
    // Behind what makes a Dense of the products and gives it its bias.
    for_integers("join-lstm", join_lstm::join_lstm),
    // After the transposes, when the spatial axes stand side by side.
    pass("reduce-mean-to-pool", reduce_mean_to_pool::reduce_mean_to_pool),
    // The bias first: a BatchNormalization or a scale behind it then folds into both.
    pass("fuse-bias", fuse_bias::fuse_bias),
    pass("fold-batch-norm", fold_batch_norm::fold_batch_norm),
    pass("fold-channel-scale", fold_channel_scale::fold_channel_scale),
    pass("fold-input-scale", fold_input_scale::fold_input_scale),
    // Behind those that fold into neighbours, whose name the layer then takes.
    pass("fold-through-moves", fold_through_moves::fold_through_moves),
    pass("fuse-pad", fuse_pad::fuse_pad),
    // Behind the folds: nothing folds into a layer that already clamps.
    pass("fuse-activation", fuse_activation::fuse_activation),
    // Only what no convolution takes is worth a layer of its own.
    last_resort("decompose-batch-norm", decompose_batch_norm::decompose_batch_norm),
];

/// Which passes run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Stop behind the first run of this pass.
    pub stop_after: Option<String>,
    /// Stop after this many runs of passes, for bisecting.
    pub pass_limit: Option<usize>,
    /// Whether the graph will be computed in integers: operators without an integer kernel stay written out then.
    pub integers: bool,
}

/// Why a graph cannot be optimized: always an error in the caller's options or in a pass, never in the model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OptimizeError {
    /// `stop_after` names no pass.
    #[error("no pass is named `{name}`; the passes are {}", names())]
    UnknownPass {
        /// The name given.
        name: String,
    },
    /// The graph was broken before the first pass.
    #[error("before the first pass: {0}")]
    Input(Box<VerifyError>),
    /// A pass broke the graph.
    #[error("pass `{pass}` broke the graph: {source}")]
    Broken {
        /// The pass.
        pass: &'static str,
        /// The rule it broke.
        source: Box<VerifyError>,
    },
    /// Passes undo each other's work.
    #[error("pass `{pass}` still finds work after {rounds} rounds")]
    NoFixedPoint {
        /// The last pass that changed something.
        pass: &'static str,
        /// Rounds made.
        rounds: usize,
    },
}

fn names() -> String {
    PASSES.iter().map(|pass| pass.name).collect::<Vec<_>>().join(", ")
}

/// Runs the passes until none finds anything to do, verifying after each.
///
/// # Errors
/// Where the options name no pass, the graph is broken, or a pass breaks it; the error names the pass.
pub fn run(mut graph: FloatGraph, options: &Options) -> Result<FloatGraph, OptimizeError> {
    if let Some(name) = &options.stop_after
        && !PASSES.iter().any(|pass| pass.name == name)
    {
        return Err(OptimizeError::UnknownPass { name: name.clone() });
    }
    verify(&graph).map_err(|error| OptimizeError::Input(Box::new(error)))?;
    // A body keeps its ends, so that the graph around it does not notice.
    let bodies = std::mem::take(&mut graph.bodies).into_iter();
    graph.bodies = bodies.map(|body| run(body, options)).collect::<Result<_, _>>()?;
    // Every rewrite makes the graph smaller or moves it toward its normal form, so the rounds needed grow with the
    // graph's depth at worst.
    let max_rounds = 8 + graph.nodes.len();
    let mut runs = 0;
    let mut changed = Some("");
    for _ in 0..max_rounds {
        let quiet = changed.is_none();
        changed = None;
        let due = |pass: &&Pass| {
            let is_for_others = if options.integers {
                pass.for_reals
            } else {
                pass.for_integers
            };
            pass.last_resort == quiet && !is_for_others
        };
        for pass in PASSES.iter().filter(due) {
            if options.pass_limit.is_some_and(|limit| runs >= limit) {
                return Ok(graph);
            }
            runs += 1;
            if apply(pass, &mut graph)? > 0 {
                changed = Some(pass.name);
            }
            if options.stop_after.as_deref() == Some(pass.name) {
                return Ok(graph);
            }
        }
        if quiet && changed.is_none() {
            return Ok(graph);
        }
    }
    Err(OptimizeError::NoFixedPoint {
        pass: changed.unwrap_or("none"),
        rounds: max_rounds,
    })
}

/// Runs one pass, drops what it left without readers, and verifies the graph; tells how often it rewrote.
///
/// # Errors
/// Where the pass breaks the graph.
pub fn apply(pass: &Pass, graph: &mut FloatGraph) -> Result<usize, OptimizeError> {
    let rewrites = (pass.run)(graph);
    if rewrites > 0 {
        remove_dead::remove_dead(graph);
        verify(graph).map_err(|source| OptimizeError::Broken {
            pass: pass.name,
            source: Box::new(source),
        })?;
    }
    Ok(rewrites)
}
