//! The models that are measured, with their data and limits.

/// A model of the shared material with its data: paths within that material, or within the folder of cut windows.
pub(super) struct Model {
    pub(super) short: &'static str,
    pub(super) file: &'static str,
    pub(super) calibration: &'static str,
    pub(super) data: &'static str,
    pub(super) labels: Option<&'static str>,
    pub(super) scaling: &'static [&'static str],
    pub(super) metric: &'static str,
    pub(super) float: Option<f64>,
    pub(super) drop: f64,
    /// TFLite Micro's arena on the M4.
    pub(super) arena: f64,
}

pub(super) const MODELS: &[Model] = &[
    Model {
        short: "kws",
        file: "kws_ds_cnn",
        calibration: "data/kws_speech_commands/calib_x_int8.npy",
        data: "data/kws_speech_commands/eval_x_int8.npy",
        labels: Some("data/kws_speech_commands/eval_y.npy"),
        scaling: &["--scale", "0.5847029089927673", "--offset", "83"],
        metric: "top1",
        float: Some(0.9114),
        drop: 0.005,
        arena: 22_820.0,
    },
    Model {
        short: "ic",
        file: "ic_resnet8",
        calibration: "data/ic_cifar10/calib_x.npy",
        data: "data/ic_cifar10/eval_x.npy",
        labels: Some("data/ic_cifar10/eval_y.npy"),
        scaling: &[],
        metric: "top1",
        float: Some(0.8804),
        drop: 0.005,
        arena: 54_996.0,
    },
    Model {
        short: "vww",
        file: "vww_mobilenet_v1_025_96",
        calibration: "data/vww_person/calib_x.npy",
        data: "data/vww_person/eval_x.npy",
        labels: Some("data/vww_person/eval_y.npy"),
        scaling: &["--scale", "0.00392156862745098"],
        metric: "top1",
        float: Some(0.8306),
        drop: 0.005,
        arena: 100_708.0,
    },
    Model {
        short: "ad",
        file: "ad_autoencoder",
        calibration: "windows/ad_calib_x_i16.npy",
        data: "windows/ad_eval_x_i16.npy",
        labels: Some("windows/ad_eval_y.npy"),
        scaling: &["--scale", "0.00390625"],
        metric: "auc",
        float: Some(0.9029),
        drop: 0.005,
        arena: 2_580.0,
    },
    Model {
        short: "sww",
        file: "sww_ds_cnn1d",
        calibration: "data/sww_marvin/calib_x.npy",
        data: "windows/sww_eval_x.npy",
        labels: None,
        scaling: &[],
        metric: "agreement",
        float: None,
        drop: 0.01,
        arena: 16_596.0,
    },
];

pub(super) const BOARDS: &[&str] = &[
    "mps2-an385",
    "mps2-an386",
    "mps2-an500",
    "mps2-an505",
    "mps3-an547",
    "riscv32-virt",
];
