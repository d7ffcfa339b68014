//! Causes of loss, what the figures show of each, and what to do about it.

use std::fmt;

/// Why an input or a layer loses precision.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// Calibration data of an input are scaled or shifted against those of the evaluation.
    WrongNormalisation {
        /// Calibration data times this …
        scale: f64,
        /// … plus this have the evaluation's mean and spread.
        offset: f64,
    },
    /// Calibration data of an input have their channels in the opposite order to those of the evaluation.
    WrongChannelOrder,
    /// Values that calibration has not seen, because it had hardly any samples.
    TooFewSamples {
        /// Samples it had.
        samples: usize,
        /// Share of the values in the evaluation that are cut off.
        share: f64,
    },
    /// Values that calibration has not seen.
    RangeNeverSeen {
        /// The least and the greatest value in calibration.
        calibrated: [f64; 2],
        /// In the evaluation.
        met: [f64; 2],
        /// Share of the values in the evaluation that are cut off.
        share: f64,
    },
    /// Values that calibration has seen are cut off.
    Saturation {
        /// Share of the values in the evaluation that are cut off.
        share: f64,
    },
    /// Values that calibration has seen are far larger than those of the evaluation.
    RangeTooWide {
        /// By how much, in energy's root.
        times: f64,
    },
    /// A few large values stretch the range.
    RareOutliers {
        /// The largest value's size.
        largest: f64,
        /// The size that one value of a thousand exceeds.
        typical: f64,
        /// Whether the evaluation has no such values.
        only_in_calibration: bool,
    },
    /// One channel is far larger than the others and stretches their range.
    OutlierChannel {
        /// Which.
        channel: usize,
        /// How many times as large as the others' median.
        times: f64,
    },
    /// One channel always holds the same large value and stretches the others' range.
    DeadChannel {
        /// Which.
        channel: usize,
        /// The value.
        value: f64,
    },
    /// It shares the scale of a concatenation, whose other parts are far larger.
    SharedScale {
        /// The concatenation.
        concat: String,
        /// How many times as large the shared range is as its own.
        times: f64,
    },
    /// Channels whose bias is so large beside their weights that these were made coarser.
    BiasOverflow {
        /// How many.
        channels: usize,
    },
    /// One weight is far larger than the others that share its scale.
    WeightOutlier {
        /// The output channel.
        channel: usize,
        /// How many times as large as the median of those.
        times: f64,
    },
    /// Nothing in particular: the noise of ordinary rounding, which adds up.
    Accumulated,
}

impl Cause {
    /// The word for it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::WrongNormalisation { .. } => "wrong_normalisation",
            Self::WrongChannelOrder => "wrong_channel_order",
            Self::TooFewSamples { .. } => "too_few_samples",
            Self::RangeNeverSeen { .. } => "range_never_seen",
            Self::Saturation { .. } => "saturation",
            Self::RangeTooWide { .. } => "range_too_wide",
            Self::RareOutliers { .. } => "rare_outliers",
            Self::OutlierChannel { .. } => "outlier_channel",
            Self::DeadChannel { .. } => "dead_channel",
            Self::SharedScale { .. } => "shared_scale",
            Self::BiasOverflow { .. } => "bias_overflow",
            Self::WeightOutlier { .. } => "weight_outlier",
            Self::Accumulated => "accumulated",
        }
    }

    /// Whether the calibration data are to blame, so that it may be seen in every tensor that follows from them.
    pub(super) const fn is_of_data(&self) -> bool {
        match self {
            Self::WrongNormalisation { .. }
            | Self::WrongChannelOrder
            | Self::TooFewSamples { .. }
            | Self::RangeNeverSeen { .. }
            | Self::RangeTooWide { .. } => true,
            Self::Saturation { .. }
            | Self::RareOutliers { .. }
            | Self::OutlierChannel { .. }
            | Self::DeadChannel { .. }
            | Self::SharedScale { .. }
            | Self::BiasOverflow { .. }
            | Self::WeightOutlier { .. }
            | Self::Accumulated => false,
        }
    }

    /// Options of `compile` and `evaluate` that do something about it, to be pasted behind the others; `None` where the
    /// calibration data have to change.
    pub const fn options(&self) -> Option<&'static str> {
        match self {
            Self::WrongNormalisation { .. }
            | Self::WrongChannelOrder
            | Self::TooFewSamples { .. }
            | Self::RangeNeverSeen { .. }
            | Self::RangeTooWide { .. }
            | Self::RareOutliers {
                only_in_calibration: true,
                ..
            } => None,
            Self::Saturation { .. } => Some("--calibrator minmax"),
            Self::RareOutliers { .. } => Some("--calibrator percentile=99.9"),
            Self::DeadChannel { .. } => Some("--step absorb-bias=on --step equalize-channels=on"),
            Self::SharedScale { .. } => Some("--step split-concats=on"),
            Self::BiasOverflow { .. } => Some("--step absorb-bias=on"),
            // What equalization takes from one side it gives to the other, whose rounding then counts.
            Self::OutlierChannel { .. } | Self::WeightOutlier { .. } => {
                Some("--step equalize-channels=on --step reconstruct-weights=on --step correct-bias=on")
            }
            Self::Accumulated => Some("--calibrator auto --effort max"),
        }
    }

    /// What to do about it: the options, or what to do with the data; and what else helps.
    pub fn cure(&self) -> String {
        match self.options() {
            Some(options) => format!("compile with `{options}`; {}", self.otherwise()),
            None => self.otherwise(),
        }
    }

    /// What to do about it in the data or in the model.
    fn otherwise(&self) -> String {
        match self {
            Self::WrongNormalisation { scale, offset } => format!(
                "prepare the data of `--calibration` as those of `--data`: here x · {scale:.4} + {offset:.4} fits"
            ),
            Self::WrongChannelOrder => {
                "prepare the data of `--calibration` as those of `--data`: turn the channels' order round".to_owned()
            }
            Self::TooFewSamples { .. } => "give `--calibration` a hundred samples or more".to_owned(),
            Self::RangeNeverSeen { .. } => {
                "add samples like those of `--data` to `--calibration`; the report tells which ones lie outside".to_owned()
            }
            Self::Saturation { .. } => "else give `--calibration` samples without such values".to_owned(),
            Self::RangeTooWide { .. } => {
                "give `--calibration` samples like those of `--data`, and none that reach farther".to_owned()
            }
            Self::RareOutliers {
                typical,
                only_in_calibration: true,
                ..
            } => format!(
                "take the samples with values beyond {:.4} out of `--calibration`",
                2.0 * typical
            ),
            Self::RareOutliers { .. } => "`--calibrator mse` cuts off less".to_owned(),
            Self::OutlierChannel { channel, .. } => format!(
                "or scale channel {channel} down in the model, by its layer's weights, and its readers' weights up as much"
            ),
            Self::DeadChannel { .. } => {
                "or take that channel out of the model: add its value times its readers' weights to their bias".to_owned()
            }
            Self::SharedScale { .. } => {
                "or let the model give the parts as outputs of their own, without the concatenation".to_owned()
            }
            Self::BiasOverflow { .. } => {
                "or scale the layer's input up and its weights down in the model".to_owned()
            }
            Self::WeightOutlier { .. } => "else train with weight decay, or clip that weight".to_owned(),
            Self::Accumulated => "else quantize with training in the loop, or take `--precision f32`".to_owned(),
        }
    }
}

/// A share in percent.
fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongNormalisation { .. } => {
                write!(
                    f,
                    "the calibration data are scaled or shifted against those of the evaluation"
                )
            }
            Self::WrongChannelOrder => write!(
                f,
                "the calibration data have their channels in the opposite order to those of the evaluation"
            ),
            Self::TooFewSamples { samples, share } => write!(
                f,
                "{} of the values lie beyond what the {samples} calibration samples showed",
                percent(*share)
            ),
            Self::RangeNeverSeen {
                calibrated,
                met,
                share,
            } => write!(
                f,
                "values from {:.4} to {:.4} are met, calibration saw {:.4} to {:.4}: {} are cut off",
                met[0],
                met[1],
                calibrated[0],
                calibrated[1],
                percent(*share)
            ),
            Self::Saturation { share } => write!(
                f,
                "{} of the values are cut off, as they were in calibration",
                percent(*share)
            ),
            Self::RangeTooWide { times } => {
                write!(f, "calibration saw values {times:.1} times as large as are met")
            }
            Self::RareOutliers { largest, typical, .. } => write!(
                f,
                "a few values up to {largest:.4} stretch the range; 999 of 1000 are below {typical:.4}"
            ),
            Self::OutlierChannel { channel, times } => write!(
                f,
                "channel {channel} is {times:.1} times as large as the others and stretches their range"
            ),
            Self::DeadChannel { channel, value } => write!(
                f,
                "channel {channel} always holds {value:.4} and stretches the others' range"
            ),
            Self::SharedScale { concat, times } => write!(
                f,
                "it shares the scale of concatenation `{concat}`, whose range is {times:.1} times its own"
            ),
            Self::BiasOverflow { channels } => write!(
                f,
                "the bias of {channels} channels is so large beside their weights that these were made coarser"
            ),
            Self::WeightOutlier { channel, times } => write!(
                f,
                "a weight of output channel {channel} is {times:.1} times as large as the median of those that share its scale"
            ),
            Self::Accumulated => write!(f, "no single cause: the noise of rounding adds up"),
        }
    }
}
