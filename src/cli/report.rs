//! Parts of reports that several verbs print.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};
use tinsmith::Artifact;
use tinsmith::ir::{MemoryPlan, Program};
use tinsmith_runtime::kernels::Layer;

use super::answer::grouped;

/// Where the bytes of a blob go.
pub(super) struct Sizes {
    total: usize,
    /// Weights.
    pub(super) weights: usize,
    /// Bias, multiplier and shift of every output channel.
    pub(super) channels: usize,
    /// Alignment and packing.
    pub(super) padding: usize,
}

/// Bytes of bias, multiplier and shift.
const BYTES_PER_CHANNEL: usize = 9;

impl Sizes {
    pub(super) fn of(artifact: &Artifact) -> Self {
        // Two steps may share a block.
        let mut seen = BTreeSet::new();
        let (mut weights, mut channels) = (0, 0);
        for step in &artifact.program.steps {
            let (block, in_each, outputs) = match &step.layer {
                Layer::Conv2d(r) => {
                    let taps = usize::from(r.window.kernel_h) * usize::from(r.window.kernel_w);
                    (
                        r.constants,
                        taps * usize::from(r.in_c / r.groups),
                        usize::from(r.out_c),
                    )
                }
                Layer::DepthwiseConv2d(r) => {
                    let taps = usize::from(r.0.window.kernel_h) * usize::from(r.0.window.kernel_w);
                    (r.0.constants, taps, usize::from(r.0.out_c))
                }
                Layer::Dense(r) => (r.constants, r.in_features as usize, r.out_features as usize),
                Layer::Add(_)
                | Layer::Mul(_)
                | Layer::Table(_)
                | Layer::MaxPool(_)
                | Layer::AveragePool(_)
                | Layer::Softmax(_)
                | Layer::StridedCopy(_)
                | Layer::Fill(_)
                | Layer::Delay(_) => continue,
            };
            if seen.insert(block) {
                weights += in_each * outputs;
                channels += BYTES_PER_CHANNEL * outputs;
            }
        }
        Self {
            total: artifact.blob.len(),
            weights,
            channels,
            padding: artifact.program.padding_bytes,
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = self
            .total
            .saturating_sub(self.weights + self.channels + self.padding);
        write!(
            f,
            "{} bytes: {} weights, {} biases and scales, {} padding, {} program, tables and metadata",
            grouped(self.total as u64),
            grouped(self.weights as u64),
            grouped(self.channels as u64),
            grouped(self.padding as u64),
            grouped(rest as u64),
        )
    }
}

/// The memory plan and its argument, in two lines or more.
pub(super) fn memory(plan: &MemoryPlan) -> String {
    let gap = plan.arena_bytes - plan.lower_bound_bytes.min(plan.arena_bytes);
    let bound = if plan.all_orders {
        "no plan"
    } else {
        "no plan in this order"
    };
    let mut text = format!(
        "{} bytes; {bound} can need less than {} (gap {:.1} %)\n",
        grouped(plan.arena_bytes),
        grouped(plan.lower_bound_bytes),
        100.0 * f64::from(gap) / f64::from(plan.lower_bound_bytes.max(1)),
    );
    let at_peak: Vec<String> = plan
        .at_peak
        .iter()
        .map(|(name, bytes)| format!("`{name}` {}", grouped(*bytes)))
        .collect();
    text.push_str(&format!(
        "          peak at `{}`: {}\n",
        plan.peak_at,
        at_peak.join(", ")
    ));
    text
}

/// How many channels are proven exact, by which form.
pub(super) struct Proofs {
    up: usize,
    even: usize,
    moved: usize,
    inexact: Vec<(String, usize)>,
}

impl Proofs {
    pub(super) fn of(program: &Program) -> Self {
        let sum =
            |of: fn(&tinsmith::op::Proof) -> usize| program.proofs.iter().map(|(_, proof)| of(proof)).sum();
        let inexact = program
            .proofs
            .iter()
            .filter(|(_, proof)| !proof.inexact.is_empty());
        Self {
            up: sum(|proof| proof.up),
            even: sum(|proof| proof.even),
            moved: sum(|proof| proof.moved),
            inexact: inexact
                .map(|(node, proof)| (node.clone(), proof.inexact.len()))
                .collect(),
        }
    }

    pub(super) fn json(&self) -> Value {
        let inexact: Vec<Value> = self
            .inexact
            .iter()
            .map(|(node, channels)| json!({ "node": node, "channels": channels }))
            .collect();
        json!({ "up": self.up, "even": self.even, "moved": self.moved, "inexact": inexact })
    }
}

impl fmt::Display for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} channels exact: {} with ties upward, {} with ties to even; {} took another multiplier than the nearest",
            self.up + self.even,
            self.up,
            self.even,
            self.moved
        )?;
        for (node, channels) in &self.inexact {
            write!(f, "\n          inexact: {channels} channels of `{node}`")?;
        }
        Ok(())
    }
}
