//! Ways to break a network or its calibration data, each with the place and the cause that must be found.

use tinsmith::evaluate::{Cause, Options, Report};
use tinsmith::quantize::{Calibrator, Step, Steps, WeightForm};

use super::net::{Head, Net, Random, SIDE, pictures};
use crate::evaluate::{Rows, measure_with};

/// Networks of several depths and widths.
pub(super) const NETS: [&[usize]; 6] = [
    &[8, 8],
    &[12, 16, 8],
    &[8, 10, 12, 14],
    &[16, 8],
    &[8, 8, 8],
    &[10, 12, 9, 8],
];

/// A network with data and how it is quantized, whole or broken, and where and why it loses.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) seed: u32,
    pub(super) net: Net,
    pub(super) calibration: Vec<Vec<f32>>,
    calibrator: Calibrator,
    steps: Steps,
    pub(super) weights: WeightForm,
    /// The tensors that may be named.
    pub(super) places: Vec<String>,
    pub(super) cause: &'static str,
}

/// Pictures as the model takes them.
fn rows(rows: &[Vec<f32>]) -> Rows {
    Rows {
        shape: vec![1, 3, SIDE, SIDE],
        rows: rows.to_vec(),
    }
}

impl Case {
    /// Nothing is wrong with it.
    pub(super) fn whole(seed: u32, widths: &[usize]) -> Self {
        let mut random = Random(seed);
        Self {
            seed,
            net: Net::new(widths, &mut random),
            calibration: pictures(24, &mut random).rows,
            calibrator: Calibrator::MinMax,
            steps: Steps::NONE,
            weights: WeightForm::default(),
            places: Vec::new(),
            cause: "",
        }
    }

    fn change(mut self, f: impl Fn(f32) -> f32) -> Self {
        self.calibration.iter_mut().flatten().for_each(|x| *x = f(*x));
        self
    }

    fn named(mut self, place: impl Into<String>, cause: &'static str) -> Self {
        self.places = vec![place.into()];
        self.cause = cause;
        self
    }

    pub(super) fn report(&self, diagnose: bool) -> Report {
        let mut compile = tinsmith::Options::default();
        compile.quantize.calibrator = self.calibrator;
        compile.quantize.steps = self.steps;
        compile.quantize.weights = self.weights;
        let options = Options {
            layer_samples: 8,
            diagnose,
            ..Options::default()
        };
        let model = self.net.onnx(&mut Random(self.seed + 100));
        let evaluation = pictures(24, &mut Random(self.seed + 300));
        measure_with(&compile, &model, &rows(&self.calibration), &evaluation, &options).unwrap()
    }

    /// Signal to noise at the output, or at the worst of its parts, in decibels.
    pub(super) fn decibels(&self) -> f64 {
        let report = self.report(false);
        let of = |name: &str| {
            report
                .layers
                .iter()
                .find(|layer| layer.tensor == name)
                .unwrap()
                .sqnr_db
        };
        match self.net.head {
            Head::One => of("y"),
            Head::Apart | Head::Joined => of("boxes").min(of("scores")),
        }
    }

    /// Does what the cure of a cause says: the options it prints, or what it says of the data. Samples like those of the
    /// evaluation are the `sound` ones.
    pub(super) fn cure(&mut self, cause: &Cause, sound: &Self) {
        if let Some(options) = cause.options() {
            assert!(cause.cure().contains(options));
            let words: Vec<&str> = options.split(' ').collect();
            for pair in words.chunks(2) {
                match pair {
                    ["--calibrator", name] => self.calibrator = name.parse().unwrap(),
                    ["--step", switch] => {
                        let name = switch.strip_suffix("=on").unwrap();
                        let step = Step::ALL.into_iter().find(|step| step.name() == name).unwrap();
                        self.steps = self.steps.with(step, true);
                    }
                    ["--effort", "max"] => self.steps = Steps::of(tinsmith::quantize::Effort::Max),
                    other => panic!("{other:?}"),
                }
            }
            return;
        }
        match *cause {
            Cause::WrongNormalisation { scale, offset } => {
                let fits = |x: &mut f32| *x = (f64::from(*x) * scale + offset) as f32;
                self.calibration.iter_mut().flatten().for_each(fits);
            }
            Cause::WrongChannelOrder => turn(&mut self.calibration),
            Cause::RareOutliers { typical, .. } => {
                let is_plain = |row: &Vec<f32>| row.iter().all(|&x| f64::from(x.abs()) <= 2.0 * typical);
                self.calibration.retain(is_plain);
            }
            _ => self.calibration.clone_from(&sound.calibration),
        }
    }
}

/// Turns the order of the channels round.
fn turn(rows: &mut [Vec<f32>]) {
    for row in rows {
        *row = row.chunks(SIDE * SIDE).rev().flatten().copied().collect();
    }
}

/// Every way to break a network, with what it was before.
pub(super) fn broken(seed: u32, widths: &[usize]) -> Vec<(Case, Case)> {
    let whole = || Case::whole(seed, widths);
    let mut random = Random(seed + 200);
    let depth = widths.len();
    let mut cases: Vec<(Case, Case)> = of_data(&whole, &mut random);

    let mut case = whole();
    case.calibrator = Calibrator::Percentile(70.0);
    case.places = (0..depth)
        .map(|i| format!("r{i}"))
        .chain(["x".into(), "y".into()])
        .collect();
    case.cause = "saturation";
    cases.push((case, whole()));

    let layer = random.pick(depth - 1);
    let mut case = whole();
    let [conv, reader] = &mut case.net.convs[layer..layer + 2] else {
        panic!()
    };
    let channel = conv.busiest();
    conv.row(channel).iter_mut().for_each(|w| *w *= 80.0);
    conv.bias[channel] = conv.bias[channel] * 80.0 + 40.0;
    reader.column(channel).flatten().for_each(|w| *w /= 80.0);
    cases.push((case.named(format!("r{layer}"), "outlier_channel"), whole()));

    let (layer, channel) = (random.pick(depth - 1), random.pick(8));
    let mut case = whole();
    let [conv, reader] = &mut case.net.convs[layer..layer + 2] else {
        panic!()
    };
    conv.row(channel).fill(0.0);
    conv.bias[channel] = 150.0;
    let moved: Vec<f32> = reader.column(channel).map(|taps| taps.iter().sum()).collect();
    let biases = reader.bias.iter_mut().zip(moved);
    biases.for_each(|(bias, moved)| *bias -= 150.0 * moved);
    cases.push((case.named(format!("r{layer}"), "dead_channel"), whole()));

    let (mut case, mut sound) = (whole(), whole());
    case.net.head = Head::Joined;
    sound.net.head = Head::Apart;
    cases.push((case.named("scores", "shared_scale"), sound));

    let layer = random.pick(depth - 1);
    let mut case = whole();
    let [conv, reader] = &mut case.net.convs[layer..layer + 2] else {
        panic!()
    };
    let channel = conv.busiest();
    conv.row(channel).iter_mut().for_each(|w| *w /= 100.0);
    conv.bias[channel] /= 100.0;
    reader.column(channel).flatten().for_each(|w| *w *= 100.0);
    cases.push((case.named(format!("r{}", layer + 1), "weight_outlier"), whole()));
    cases
}

/// Calibration data that do not fit.
fn of_data(whole: &dyn Fn() -> Case, random: &mut Random) -> Vec<(Case, Case)> {
    let mut cases = Vec::new();
    let wrong = if whole().seed.is_multiple_of(2) {
        whole().change(|x| x * 255.0)
    } else {
        whole().change(|x| (x - 0.5) * 0.2 - 3.0)
    };
    cases.push((wrong.named("x", "wrong_normalisation"), whole()));

    let mut case = whole();
    turn(&mut case.calibration);
    cases.push((case.named("x", "wrong_channel_order"), whole()));

    let mut case = whole().change(|x| x * 0.35);
    case.calibration.truncate(2);
    cases.push((case.named("x", "too_few_samples"), whole()));
    cases.push((
        whole().change(|x| x * 0.35).named("x", "range_never_seen"),
        whole(),
    ));

    // Pictures full of edges, which the first layer looks for, and the evaluation has none of.
    let mut sound = whole();
    sound.net.convs[0].sharpen();
    let mut case = sound.clone();
    for row in &mut case.calibration {
        for (i, x) in row.iter_mut().enumerate() {
            let is_light = (i / SIDE + i % SIDE).is_multiple_of(2);
            *x += if is_light { 1.2 } else { -1.2 };
        }
    }
    case.places = (0..sound.net.convs.len()).map(|i| format!("r{i}")).collect();
    case.places.extend(["mean/image", "flat", "y"].map(String::from));
    case.cause = "range_too_wide";
    cases.push((case, sound));

    let mut case = whole();
    for row in case.calibration.iter_mut().step_by(8) {
        row[random.pick(3 * SIDE * SIDE)] = 60.0;
    }
    cases.push((case.named("x", "rare_outliers"), whole()));
    cases
}
