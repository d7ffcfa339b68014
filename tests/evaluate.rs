//! Metrics against figures that other programs computed on the same numbers.
//!
//! The models here are a Relu: what goes in, comes out, so that the numbers judged are those written down.

mod boxes;
mod layers;

use tinsmith::data::csv;
use tinsmith::data::npy::{self, Array};
use tinsmith::evaluate::{self, EvaluateError, Labels, Metric, MetricKind, Options, Report, Subject};
use tinsmith::ir::{SampleError, Samples};
use tinsmith::op::tensor::{Data, Values};
use tinsmith::target::Target;

use crate::import::onnx::Onnx;

/// Samples of one input.
pub(crate) struct Rows {
    pub(crate) shape: Vec<usize>,
    pub(crate) rows: Vec<Vec<f32>>,
}

impl Samples for Rows {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn get(&self, index: usize) -> Result<Vec<Values>, SampleError> {
        Ok(vec![Values::f32(self.shape.clone(), self.rows[index].clone())])
    }
}

/// Samples of `len` numbers each, on a grid of 255 steps from 0 to 1.
fn rows(samples: usize, shape: &[usize]) -> Rows {
    let len: usize = shape.iter().product();
    let number = |s: usize, i: usize| ((s * 37 + i * 101 + s * i * 17 + s * s * 3) % 256) as f32 / 255.0;
    Rows {
        shape: shape.to_vec(),
        rows: (0..samples)
            .map(|s| (0..len).map(|i| number(s, i)).collect())
            .collect(),
    }
}

/// A model that gives what it gets.
fn relu(shape: &[usize]) -> Onnx {
    Onnx::new(13)
        .input("x", shape.iter().map(|&extent| extent as i64))
        .node("Relu", &["x"], &["y"], vec![])
        .output("y")
}

pub(crate) fn measure(
    model: &Onnx,
    calibration: &Rows,
    samples: &Rows,
    options: &Options,
) -> Result<Report, EvaluateError> {
    measure_with(
        &tinsmith::Options::default(),
        model,
        calibration,
        samples,
        options,
    )
}

pub(crate) fn measure_with(
    compile: &tinsmith::Options,
    model: &Onnx,
    calibration: &Rows,
    samples: &Rows,
    options: &Options,
) -> Result<Report, EvaluateError> {
    let target = Target::named("mps2-an386").unwrap();
    let quiet = |_: &str, _: usize, _: usize| ();
    let artifact = tinsmith::compile(&target, &model.bytes(), calibration, compile, &quiet).unwrap();
    let subject = Subject {
        float: &artifact.float,
        quant: &artifact.quant,
        program: &artifact.program,
        blob: &artifact.blob,
        calibration: Some(calibration),
    };
    evaluate::run(subject, samples, options, &quiet)
}

/// One metric over samples of a shape.
fn metric(kind: MetricKind, samples: &Rows, options: Options) -> Result<Metric, EvaluateError> {
    let options = Options {
        metrics: vec![kind],
        ..options
    };
    let report = measure(&relu(&samples.shape), samples, samples, &options)?;
    let metric = report.metrics.into_iter().next().unwrap();
    for estimate in [metric.float, metric.quantized, metric.drop] {
        assert!(
            estimate.low <= estimate.value && estimate.value <= estimate.high,
            "{metric:?}"
        );
    }
    Ok(metric)
}

/// The largest number's place where the sample's is no multiple of three, else the sample's place.
fn classes(samples: &Rows) -> Vec<i64> {
    let class = |(s, row): (usize, &Vec<f32>)| {
        let largest = row
            .iter()
            .enumerate()
            .fold(0, |best, (i, x)| if *x > row[best] { i } else { best });
        if s % 3 == 0 {
            (s % row.len()) as i64
        } else {
            largest as i64
        }
    };
    samples.rows.iter().enumerate().map(class).collect()
}

fn array(shape: &[usize], data: Data) -> Array {
    Array::owned("labels", npy::encode(shape, &data)).unwrap()
}

#[track_caller]
fn close(found: f64, wanted: f64) {
    assert!(
        (found - wanted).abs() <= 1e-6 * wanted.abs().max(1.0),
        "{found} found, {wanted} wanted"
    );
}

#[test]
fn classes_are_counted() {
    let samples = rows(60, &[1, 8]);
    let labels = || Some(Labels::Classes(classes(&samples)));
    let of = |kind, threshold| {
        let options = Options {
            labels: labels(),
            threshold,
            ..Options::default()
        };
        metric(kind, &samples, options).unwrap()
    };
    // NumPy, of equals the first; sklearn.metrics.f1_score with average = "macro".
    close(of(MetricKind::Top1, None).float.value, 0.7);
    close(of(MetricKind::Top5, None).float.value, 0.7833333333333333);
    close(of(MetricKind::F1, None).float.value, 0.667891081871345);
    // The grid of int8 holds all numbers exactly: nothing is lost.
    let top5 = of(MetricKind::Top5, None);
    assert_eq!((top5.quantized, top5.drop.value), (top5.float, 0.0));
    let change = top5.change.unwrap();
    assert_eq!((change.lost, change.won, change.p_value), (0, 0, 1.0));
}

#[test]
fn two_classes_are_told_apart_by_a_threshold() {
    let samples = rows(60, &[1, 1]);
    let labels: Vec<i64> = (0..60)
        .map(|s| i64::from(samples.rows[s][0] + (s % 7) as f32 / 20.0 > 0.6))
        .collect();
    let of = |threshold| {
        let options = Options {
            labels: Some(Labels::Classes(labels.clone())),
            threshold,
            ..Options::default()
        };
        metric(MetricKind::F1, &samples, options)
    };
    // sklearn.metrics.f1_score(labels, scores >= threshold).
    close(of(None).unwrap().float.value, 0.875);
    close(of(Some(0.3)).unwrap().float.value, 0.85);
    let options = Options {
        labels: Some(Labels::Classes(vec![2; 60])),
        ..Options::default()
    };
    let refused = metric(MetricKind::F1, &samples, options).unwrap_err().to_string();
    assert!(
        refused.contains("label 2 is neither 0 nor 1, which is what f1 tells apart"),
        "{refused}"
    );
}

#[test]
fn maps_lie_over_maps() {
    let samples = rows(12, &[1, 3, 4, 5]);
    let mut labels: Vec<i64> = (0..12 * 20).map(|i| ((i * i / 7 + i) % 3) as i64).collect();
    labels[5] = 255;
    labels[100] = 255;
    let of = |samples: &Rows, labels: Vec<i64>| {
        let shape = [samples.rows.len(), 4, 5];
        let options = Options {
            labels: Some(Labels::Outputs(array(&shape, Data::I64(labels)))),
            ..Options::default()
        };
        metric(MetricKind::Miou, samples, options)
    };
    // NumPy: intersections and unions over all samples, averaged over the classes.
    close(
        of(&samples, labels.clone()).unwrap().float.value,
        0.17212268672122688,
    );
    let thin = rows(12, &[1, 1, 4, 5]);
    let two: Vec<i64> = labels
        .iter()
        .map(|&class| if class == 2 { 1 } else { class })
        .collect();
    close(of(&thin, two).unwrap().float.value, 0.2685118619698059);
    let refused = of(&thin, labels).unwrap_err().to_string();
    assert!(
        refused.contains("class 2 in its map, but there are 2"),
        "{refused}"
    );
    let refused = of(&rows(12, &[1, 3, 5, 4]), vec![0; 240])
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("[12, 4, 5]") && refused.contains("f32[1,3,5,4]"),
        "{refused}"
    );
    let refused = of(&samples, vec![255; 240]).unwrap_err().to_string();
    assert!(refused.contains("no position"), "{refused}");
}

/// What outputs are compared with: the samples, with every fifth number moved.
fn expected(samples: &Rows) -> Vec<f64> {
    let numbers = samples.rows.iter().flatten().enumerate();
    numbers
        .map(|(i, &x)| f64::from(x) + if i % 5 == 0 { (i % 11) as f64 / 20.0 } else { 0.0 })
        .collect()
}

#[test]
fn waveforms_and_tables_are_compared() {
    let samples = rows(20, &[1, 16]);
    let wanted = expected(&samples);
    let options = || Options {
        labels: Some(Labels::Outputs(array(&[20, 16], Data::F64(wanted.clone())))),
        ..Options::default()
    };
    // NumPy, by the definition.
    close(
        metric(MetricKind::SiSdr, &samples, options())
            .unwrap()
            .float
            .value,
        14.081625647785629,
    );
    // sklearn.metrics.r2_score with multioutput = "variance_weighted".
    close(
        metric(MetricKind::Csv, &samples, options()).unwrap().float.value,
        0.8235528755651317,
    );
    // The same as a table.
    let lines = wanted.chunks(16).map(|row| {
        let cells: Vec<String> = row.iter().map(f64::to_string).collect();
        cells.join(",")
    });
    let table = csv::read("y.csv", lines.collect::<Vec<_>>().join("\n").as_bytes()).unwrap();
    let tabled = Options {
        expected: Some(table),
        ..Options::default()
    };
    close(
        metric(MetricKind::Csv, &samples, tabled).unwrap().float.value,
        0.8235528755651317,
    );

    let refuse = |kind, options| metric(kind, &samples, options).unwrap_err().to_string();
    for kind in [MetricKind::SiSdr, MetricKind::Csv] {
        assert!(refuse(kind, Options::default()).contains("needs whole outputs"));
    }
    let zeros = || Options {
        labels: Some(Labels::Outputs(array(&[20, 16], Data::F64(vec![0.0; 320])))),
        ..Options::default()
    };
    assert!(refuse(MetricKind::SiSdr, zeros()).contains("sample 0 is silent"));
    assert!(refuse(MetricKind::Csv, zeros()).contains("nothing to explain"));
    let short = Options {
        labels: Some(Labels::Outputs(array(&[20, 15], Data::F64(vec![0.0; 300])))),
        ..Options::default()
    };
    assert!(refuse(MetricKind::Csv, short).contains("16 numbers per sample"));
}

#[test]
fn threads_do_not_change_a_report() {
    let samples = rows(30, &[1, 8]);
    // Calibrated on a few, so that the others lie outside.
    let calibration = Rows {
        shape: vec![1, 8],
        rows: vec![vec![0.3; 8]],
    };
    let run = |threads: usize| {
        let options = Options {
            metrics: vec![
                MetricKind::Top1,
                MetricKind::Top5,
                MetricKind::F1,
                MetricKind::Mse,
                MetricKind::Csv,
            ],
            labels: Some(Labels::Classes(classes(&samples))),
            expected: Some(array(&[30, 8], Data::F64(expected(&samples)))),
            layer_samples: 30,
            ..Options::default()
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| measure(&relu(&[1, 8]), &calibration, &samples, &options))
            .unwrap()
    };
    let one = run(1);
    assert!(one.metrics[3].quantized.value > 0.0, "{one:?}");
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
}
