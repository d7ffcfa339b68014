//! Models and calibration data that are broken on purpose: the place and the cause must be found, and the cure must
//! restore what was lost.

mod net;

use tinsmith::evaluate::{Options, Report};
use tinsmith::quantize::{Calibrator, WeightForm};

use crate::evaluate::{Rows, measure_with};
use net::{Net, Random, SIDE, pictures};

/// What a cure does.
type Cure = Box<dyn Fn(&mut Case)>;

/// A network with data, whole or broken, and where and why it loses.
struct Case {
    net: Net,
    calibration: Rows,
    evaluation: Rows,
    calibrator: Calibrator,
    /// The tensors that may be named.
    places: Vec<String>,
    cause: &'static str,
    /// What the cure does; `None` where it asks for another model altogether.
    cure: Option<Cure>,
}

impl Case {
    fn change(mut self, f: impl Fn(f32) -> f32) -> Self {
        for x in self.calibration.rows.iter_mut().flatten() {
            *x = f(*x);
        }
        self
    }

    fn named(mut self, place: impl Into<String>, cause: &'static str) -> Self {
        self.places = vec![place.into()];
        self.cause = cause;
        self
    }

    fn report(&self, seed: u32, diagnose: bool) -> Report {
        self.report_with(WeightForm::default(), seed, diagnose)
    }

    fn report_with(&self, weights: WeightForm, seed: u32, diagnose: bool) -> Report {
        let mut compile = tinsmith::Options::default();
        compile.quantize.calibrator = self.calibrator;
        compile.quantize.weights = weights;
        let options = Options {
            layer_samples: 8,
            diagnose,
            ..Options::default()
        };
        let model = self.net.onnx(&mut Random(seed));
        measure_with(&compile, &model, &self.calibration, &self.evaluation, &options).unwrap()
    }
}

/// Signal to noise at the output.
fn output_db(report: &Report) -> f64 {
    report.layers.last().unwrap().sqnr_db
}

/// A case for each cause.
fn broken(whole: impl Fn() -> Case, random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    let depth = whole().net.convs.len();
    cases.push(whole().change(|x| x * 255.0).named("x", "wrong_normalisation"));
    cases.push(
        whole()
            .change(|x| (x - 0.5) * 0.2 - 3.0)
            .named("x", "wrong_normalisation"),
    );

    let mut case = whole();
    for row in &mut case.calibration.rows {
        *row = row.chunks(SIDE * SIDE).rev().flatten().copied().collect();
    }
    cases.push(case.named("x", "wrong_channel_order"));

    let mut case = whole().change(|x| x * 0.35);
    case.calibration.rows.truncate(2);
    cases.push(case.named("x", "too_few_samples"));
    cases.push(whole().change(|x| x * 0.35).named("x", "range_never_seen"));

    let mut case = whole();
    case.calibrator = Calibrator::Percentile(70.0);
    case.places = (0..depth)
        .map(|i| format!("r{i}"))
        .chain(["x".into(), "y".into()])
        .collect();
    case.cause = "saturation";
    cases.push(case);

    let mut case = whole();
    for row in case.calibration.rows.iter_mut().step_by(8) {
        row[random.pick(3 * SIDE * SIDE)] = 60.0;
    }
    cases.push(case.named("x", "rare_outliers"));

    let (layer, channel) = (random.pick(depth - 1), random.pick(8));
    let mut case = whole();
    let [conv, reader] = &mut case.net.convs[layer..layer + 2] else {
        panic!()
    };
    conv.row(channel).iter_mut().for_each(|w| *w *= 80.0);
    conv.bias[channel] = conv.bias[channel] * 80.0 + 40.0;
    reader.column(channel).flatten().for_each(|w| *w /= 80.0);
    cases.push(case.named(format!("r{layer}"), "outlier_channel"));

    let (layer, channel) = (random.pick(depth - 1), random.pick(8));
    let mut case = whole();
    let [conv, reader] = &mut case.net.convs[layer..layer + 2] else {
        panic!()
    };
    conv.row(channel).fill(0.0);
    conv.bias[channel] = 150.0;
    let moved: Vec<f32> = reader.column(channel).map(|taps| taps.iter().sum()).collect();
    reader
        .bias
        .iter_mut()
        .zip(moved)
        .for_each(|(bias, moved)| *bias -= 150.0 * moved);
    cases.push(case.named(format!("r{layer}"), "dead_channel"));

    let mut case = whole();
    case.net.is_joined = true;
    cases.push(case.named("scores", "shared_scale"));

    let (layer, channel) = (random.pick(depth - 1), random.pick(8));
    let mut case = whole();
    let [conv, reader] = &mut case.net.convs[layer..layer + 2] else {
        panic!()
    };
    conv.row(channel).iter_mut().for_each(|w| *w /= 100.0);
    conv.bias[channel] /= 100.0;
    reader.column(channel).flatten().for_each(|w| *w *= 100.0);
    cases.push(case.named(format!("r{}", layer + 1), "weight_outlier"));
    for case in &mut cases {
        let data = whole().calibration;
        let cure: Option<Cure> = match case.cause {
            "saturation" => Some(Box::new(|case| case.calibrator = Calibrator::MinMax)),
            "rare_outliers" => Some(Box::new(|case| {
                let is_plain = |row: &Vec<f32>| row.iter().all(|&x| x < 30.0);
                case.calibration.rows.retain(is_plain);
            })),
            "outlier_channel" | "dead_channel" => {
                let net = whole().net;
                Some(Box::new(move |case| case.net = net.clone()))
            }
            "shared_scale" | "weight_outlier" => None,
            _ => Some(Box::new(move |case| case.calibration.rows.clone_from(&data.rows))),
        };
        case.cure = cure;
    }
    cases
}

/// Networks of several depths and widths.
const NETS: [&[usize]; 6] = [
    &[8, 8],
    &[12, 16, 8],
    &[8, 10, 12, 14],
    &[16, 8],
    &[8, 8, 8],
    &[10, 12, 9, 8],
];

fn whole(seed: u32, widths: &[usize]) -> Case {
    let mut random = Random(seed);
    Case {
        net: Net::new(widths, &mut random),
        calibration: pictures(24, &mut random),
        evaluation: pictures(24, &mut random),
        calibrator: Calibrator::MinMax,
        places: Vec::new(),
        cause: "",
        cure: None,
    }
}

#[test]
fn what_is_whole_has_no_diagnosis() {
    for (seed, widths) in (1..).zip(NETS) {
        assert_eq!(whole(seed, widths).report(seed + 100, true).diagnoses, []);
    }
}

#[test]
fn weights_that_share_a_scale_are_held_against_all_that_share_it() {
    let mut case = whole(3, NETS[2]);
    let [conv, reader] = &mut case.net.convs[..2] else {
        panic!()
    };
    // A channel of weights that is small beside the others; its bias is as ordinary as theirs.
    conv.row(1).iter_mut().for_each(|w| *w /= 60.0);
    conv.bias[1] /= 60.0;
    reader.column(1).flatten().for_each(|w| *w *= 60.0);
    let found = case.report_with(WeightForm::Int8PerTensor, 103, true).diagnoses;
    let of_weights = found.iter().map(|found| found.cause.name());
    let of_weights: Vec<&str> = of_weights.filter(|name| !name.contains("accumulated")).collect();
    assert_eq!(of_weights, ["weight_outlier"], "{found:#?}");
}

#[test]
fn places_and_causes_are_found() {
    let (mut cases, mut places, mut causes, mut curable, mut cured) = (0, 0, 0, 0, 0);
    for (seed, widths) in (1..).zip(NETS) {
        let healthy = output_db(&whole(seed, widths).report(seed + 100, false));
        for mut case in broken(|| whole(seed, widths), &mut Random(seed + 200)) {
            let found = case.report(seed + 100, true).diagnoses;
            let first = found
                .iter()
                .take(3)
                .find(|found| case.places.contains(&found.tensor));
            let is_named = first.is_some_and(|found| found.cause.name() == case.cause);
            cases += 1;
            places += usize::from(first.is_some());
            causes += usize::from(is_named);
            if !is_named {
                println!("{widths:?} {:?} {}: {found:#?}", case.places, case.cause);
            }
            if let Some(cure) = case.cure.take() {
                cure(&mut case);
                let db = output_db(&case.report(seed + 100, false));
                curable += 1;
                cured += usize::from(db > healthy - 3.0);
                if db <= healthy - 3.0 {
                    println!(
                        "{widths:?} {}: {db:.1} dB after the cure, {healthy:.1} dB where nothing is broken",
                        case.cause
                    );
                }
            }
        }
    }
    println!(
        "of {cases} cases, {places} places and {causes} causes were found; {cured} of {curable} cures restore"
    );
    assert!(
        places * 10 >= cases * 9 && causes * 10 >= cases * 8,
        "{places} {causes} of {cases}"
    );
    assert!(cured * 10 >= curable * 8, "{cured} of {curable}");
}
