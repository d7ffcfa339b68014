//! Parts of reports that several verbs print.

use std::fmt;

use serde_json::{Value, json};
use tinsmith::Artifact;
use tinsmith::ir::{MemoryPlan, Program};

use super::answer::{elided, grouped};

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

impl Sizes {
    pub(super) fn of(artifact: &Artifact) -> Self {
        let stored = artifact.program.stored_bytes();
        Self {
            total: artifact.blob.len(),
            weights: stored.weights,
            channels: stored.channels,
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
        .map(|(name, bytes)| format!("`{}` {}", elided(name), grouped(*bytes)))
        .collect();
    text.push_str(&format!(
        "          peak at `{}`: {}\n",
        elided(&plan.peak_at),
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
