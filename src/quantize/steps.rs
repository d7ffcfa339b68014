//! What may be done so that less is lost, by name.

/// How much time quantizing may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// A few runs of the samples.
    Fast,
    /// Tens of them.
    #[default]
    Normal,
    /// As many as help.
    Max,
}

impl Effort {
    /// Multiply-accumulates of the samples that are looked at more than once.
    pub(super) const fn macs(self) -> u64 {
        match self {
            Self::Fast => 1_000_000_000,
            Self::Normal => 8_000_000_000,
            Self::Max => 64_000_000_000,
        }
    }
}

/// Something that is done to a model, its ranges or its weights so that int8 loses less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes the channels between two layers alike in range: one is multiplied up, the weights that read it down.
    EqualizeChannels,
    /// The same between a layer normalization and the layers that read it: its scale and bias give what their weights take.
    SmoothActivations,
    /// Splits channels that reach far beyond the others into several that carry a part each.
    SplitOutliers,
    /// Moves what a channel never falls below into the biases of the layers that read it.
    AbsorbBias,
    /// Cuts off what a function such as Swish or Softmax hardly sees of its input.
    ClipTails,
    /// Rounds the weights of a layer so that their errors cancel on the inputs it sees.
    ReconstructWeights,
    /// Lets the bias of a layer make up for the mean of its errors.
    CorrectBias,
    /// Joins in reals, at the graph's end, parts whose ranges are far apart, so that each keeps a scale of its own.
    SplitConcats,
}

impl Step {
    /// All steps, in the order they are taken.
    pub const ALL: [Self; 8] = [
        Self::SplitConcats,
        Self::AbsorbBias,
        Self::EqualizeChannels,
        Self::SmoothActivations,
        Self::SplitOutliers,
        Self::ClipTails,
        Self::ReconstructWeights,
        Self::CorrectBias,
    ];

    /// Its name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EqualizeChannels => "equalize-channels",
            Self::SmoothActivations => "smooth-activations",
            Self::SplitOutliers => "split-outliers",
            Self::AbsorbBias => "absorb-bias",
            Self::ClipTails => "clip-tails",
            Self::ReconstructWeights => "reconstruct-weights",
            Self::CorrectBias => "correct-bias",
            Self::SplitConcats => "split-concats",
        }
    }

    /// The least effort that takes it.
    const fn effort(self) -> Effort {
        match self {
            Self::EqualizeChannels
            | Self::SmoothActivations
            | Self::AbsorbBias
            | Self::ClipTails
            | Self::CorrectBias
            | Self::SplitConcats => Effort::Fast,
            Self::ReconstructWeights | Self::SplitOutliers => Effort::Normal,
        }
    }
}

/// A set of steps; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps(u32);

impl Steps {
    /// None of them: plain rounding.
    pub const NONE: Self = Self(0);

    /// Those that an effort takes.
    pub fn of(effort: Effort) -> Self {
        let steps = Step::ALL.into_iter().filter(|step| step.effort() <= effort);
        steps.fold(Self::NONE, |steps, step| steps.with(step, true))
    }

    /// The same with one step on or off.
    #[must_use]
    pub const fn with(self, step: Step, on: bool) -> Self {
        let bit = 1 << step as u32;
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }

    /// Whether a step is among them.
    pub const fn has(self, step: Step) -> bool {
        self.0 >> step as u32 & 1 != 0
    }
}
