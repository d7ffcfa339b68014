//! `evaluate`: FP32 against INT8 on the same samples.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use tinsmith::Options;
use tinsmith::data::coco::Coco;
use tinsmith::data::csv;
use tinsmith::data::npy::Array;
use tinsmith::evaluate::{
    self, BoxSettings, Change, Diagnosis, Estimate, Labels, Layer, Metric, MetricKind, Outside, Report,
    Subject, Unit,
};
use tinsmith::ir::Samples;

use super::answer::{Answer, Table, elided};
use super::error;
use super::failure::{Exit, Failure};
use super::files;
use super::model::{CompileArgs, ModelArgs, TargetArgs, inputs, open_samples};
use super::progress::Bar;

/// Compiles a model and measures what quantization costs it.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    compile: CompileArgs,
    /// Samples to measure on, as for `--calibration`.
    #[arg(long, value_name = "[NAME=]FILE", required = true)]
    data: Vec<String>,
    /// What is right: a class per sample (or group), a whole output per sample (also a waveform), or a map of classes
    /// per sample, as `.npy`; boxes as COCO `.json`, whose images are the samples in their order.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// How outputs become boxes: format, unit, thresholds, image ids. Without it, one output holds boxes as corners in
    /// shares of the image, another scores, a third one classes where scores have one column.
    #[arg(long, value_name = "FILE.toml")]
    boxes: Option<PathBuf>,
    /// The outputs expected, as a table of numbers: one row per sample, which mse, cosine, si_sdr and csv compare with.
    #[arg(long, value_name = "FILE.csv")]
    outputs: Option<PathBuf>,
    /// For f1: class 1 is named where the last output is at least this, else class 0. Without it, 0.5 where the output
    /// is one number; else the largest output names the class, and f1 is the mean over classes.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// The group of each sample, for metrics over groups: numbers from 0.
    #[arg(long, value_name = "FILE.npy")]
    groups: Option<PathBuf>,
    /// top1, top5, agreement, mse, cosine, auc, f1, miou, map50, map (mAP@[.5:.95]), si_sdr, csv (R² of the outputs expected); comma-separated. By
    /// default auc with groups, csv with outputs, top1, mse or map50 and map with labels, else agreement.
    #[arg(long, value_delimiter = ',')]
    metric: Vec<MetricKind>,
    /// Samples over which layers are compared.
    #[arg(long, value_name = "N", default_value_t = 32)]
    layer_samples: usize,
    /// Measures each layer with parameters by itself too: SQNR at the model's worst output where that layer alone is
    /// quantized. Takes one more float run per layer and sample; `--layer-samples` limits them.
    #[arg(long)]
    isolated: bool,
    /// Looks for the causes of loss even where no layer collapses.
    #[arg(long)]
    diagnose: bool,
}

pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    let target = args.target.read()?;
    let options = args.compile.options(&args.model)?;
    // Data and labels are opened before the work begins, so that a wrong file is told at once.
    let graph = args.model.load(&without_encodings(&options))?;
    let samples = open_samples(&inputs(&graph), &args.data, args.compile.integers())?;
    let calibration = args.compile.samples(&graph)?;
    let evaluation = evaluation(args, samples.len())?;
    let artifact = args.compile.compile(&args.model, &target, &options)?;
    // With encodings, what is compiled is quantized from the first node on, but the model is still a float one.
    let is_encoded = options.import.encodings.is_some();
    let subject = Subject {
        float: if is_encoded { &graph } else { &artifact.float },
        quant: &artifact.quant,
        program: &artifact.program,
        blob: &artifact.blob,
        calibration: Some(&*calibration),
    };
    let bar = Bar::new();
    let progress = |what: &str, done, total| bar.show(what, done, total);
    let report = evaluate::run(subject, &samples, &evaluation, &progress).map_err(error::of_evaluate)?;
    drop(bar);
    Ok(Answer {
        text: text(&report),
        json: json!({
            "metrics": report.metrics.iter().map(metric_json).collect::<Vec<_>>(),
            "layers": report.layers.iter().map(|layer| layer_json(layer, &report.diagnoses)).collect::<Vec<_>>(),
            "diagnoses": report.diagnoses.iter().map(diagnosis_json).collect::<Vec<_>>(),
            "outside": report.outside.iter().map(outside_json).collect::<Vec<_>>(),
        }),
        failure: args
            .compile
            .max_drop
            .and_then(|limit| gate(&report.metrics, limit)),
    })
}

/// The options of the float model that encodings are for.
fn without_encodings(options: &Options) -> Options {
    let mut options = options.clone();
    options.import.encodings = None;
    options
}

fn evaluation(args: &Args, samples: usize) -> Result<evaluate::Options, Failure> {
    let open = |path: &PathBuf| Array::open(path).map_err(error::of_data);
    let labels = match &args.labels {
        Some(path) if path.extension().is_some_and(|extension| extension == "json") => {
            Some(Labels::Boxes(Coco::open(path).map_err(error::of_data)?))
        }
        Some(path) => Some(Labels::new(open(path)?, samples).map_err(error::of_data)?),
        None => None,
    };
    let boxes = match &args.boxes {
        Some(path) => {
            let settings = BoxSettings::parse(&files::read_text(path)?);
            Some(settings.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?)
        }
        None => None,
    };
    let expected = match &args.outputs {
        Some(path) => Some(csv::open(path).map_err(error::of_data)?),
        None => None,
    };
    let groups = match &args.groups {
        Some(path) => {
            let groups = open(path)?.read_integers().map_err(error::of_data)?;
            let group = |group: i64| {
                usize::try_from(group).map_err(|_| {
                    Failure::usage(format!("{}: groups from 0 wanted, {group} found", path.display()))
                })
            };
            Some(groups.into_iter().map(group).collect::<Result<_, _>>()?)
        }
        None => None,
    };
    let metrics = if !args.metric.is_empty() {
        args.metric.clone()
    } else if groups.is_some() {
        vec![MetricKind::Auc]
    } else if expected.is_some() {
        vec![MetricKind::Csv]
    } else {
        match labels {
            Some(Labels::Classes(_)) => vec![MetricKind::Top1],
            Some(Labels::Outputs(_)) => vec![MetricKind::Mse],
            Some(Labels::Boxes(_)) => vec![MetricKind::Map50, MetricKind::Map],
            None => vec![MetricKind::Agreement],
        }
    };
    if args.compile.max_drop.is_some() && !metrics.iter().any(|metric| metric.unit() == Unit::Fraction) {
        let names: Vec<&str> = metrics.iter().map(|metric| metric.name()).collect();
        let message = format!(
            "`--max-drop` needs a metric that is a fraction; {} is none",
            names.join(", ")
        );
        return Err(Failure::usage(message).with_help("add `--metric cosine`, or one of top1, agreement, …"));
    }
    Ok(evaluate::Options {
        metrics,
        labels,
        expected,
        threshold: args.threshold,
        boxes,
        groups,
        layer_samples: args.layer_samples,
        isolated: args.isolated,
        diagnose: args.diagnose,
    })
}

/// The failure of the first metric that drops too far.
fn gate(metrics: &[Metric], limit: f64) -> Option<Failure> {
    let gated = metrics
        .iter()
        .filter(|metric| metric.kind.unit() == Unit::Fraction);
    // What is no number has not kept within the limit.
    let rank = |metric: &&Metric| {
        Some(metric.drop.value)
            .filter(|drop| !drop.is_nan())
            .unwrap_or(f64::INFINITY)
    };
    let worst = gated.max_by(|a, b| rank(a).total_cmp(&rank(b)))?;
    let points = worst.drop.value * 100.0;
    (rank(&worst) * 100.0 > limit).then(|| {
        let message = format!(
            "{} drops by {points:.3} percentage points; the limit is {limit}",
            worst.kind.name()
        );
        Failure::new(Exit::Accuracy, message)
            .with_help("`--diagnose` looks for the layers that lose, and for causes")
    })
}

fn text(report: &Report) -> String {
    let mut metrics = Table::new(&["metric", ">samples", ">FP32", "", ">INT8", "", ">drop", ""]);
    for metric in &report.metrics {
        let (unit, sign) = match metric.kind.unit() {
            Unit::Fraction => (100.0, " %"),
            Unit::Decibel => (1.0, " dB"),
            Unit::Own => (1.0, ""),
        };
        let value = |estimate: &Estimate| number(estimate.value * unit);
        let interval = |estimate: &Estimate| {
            format!(
                "[{}, {}]",
                number(estimate.low * unit),
                number(estimate.high * unit)
            )
        };
        metrics.row([
            format!("{}{sign}", metric.kind.name()),
            metric.samples.to_string(),
            value(&metric.float),
            interval(&metric.float),
            value(&metric.quantized),
            interval(&metric.quantized),
            value(&metric.drop),
            interval(&metric.drop),
        ]);
    }
    let mut text = format!(
        "{}  (95 % intervals; a drop above 0 is worse)\n",
        metrics.render()
    );
    for metric in &report.metrics {
        if let Some(Change { lost, won, p_value }) = metric.change {
            let _ = writeln!(
                text,
                "  {}: {lost} hits lost, {won} won; p = {} by McNemar's exact test",
                metric.kind.name(),
                number(p_value)
            );
        }
    }
    text.push('\n');
    text.push_str(&layers_text(&report.layers));
    text.push_str(&outside_text(&report.outside));
    text.push_str(&diagnoses_text(&report.diagnoses));
    text
}

/// A row per layer, with what it costs alone where that was measured.
fn layers_text(layers: &[Layer]) -> String {
    let saturated = |layer: &Layer| format!("{:.2}", layer.saturated * 100.0);
    let cosine = |layer: &Layer| format!("{:.5}", layer.cosine);
    if layers.iter().all(|layer| layer.isolated_db.is_none()) {
        let mut table = Table::new(&["layer", ">SQNR dB", ">cosine", ">saturated %"]);
        for layer in layers {
            table.row([
                elided(&layer.name),
                decibel(layer.sqnr_db),
                cosine(layer),
                saturated(layer),
            ]);
        }
        return table.render();
    }
    let mut table = Table::new(&["layer", ">SQNR dB", ">cosine", ">saturated %", ">alone dB"]);
    for layer in layers {
        table.row([
            elided(&layer.name),
            decibel(layer.sqnr_db),
            cosine(layer),
            saturated(layer),
            layer.isolated_db.map(decibel).unwrap_or_default(),
        ]);
    }
    format!(
        "{}  (alone: at the model's worst output, where that layer alone is quantized)\n",
        table.render()
    )
}

/// Causes of loss and what to do about them, the worst first.
fn diagnoses_text(diagnoses: &[Diagnosis]) -> String {
    let mut text = String::new();
    for diagnosis in diagnoses {
        let alone = diagnosis
            .isolated_db
            .map(|ratio| format!(" ({} dB alone)", decibel(ratio)))
            .unwrap_or_default();
        let _ = write!(
            text,
            "\n  `{}`{alone}: {}\n      {}\n",
            elided(&diagnosis.name),
            diagnosis.cause,
            diagnosis.cause.cure()
        );
    }
    text
}

/// Tensors told of in text; JSON has them all.
const MOST_OUTSIDE: usize = 10;

/// The inputs that leave the calibrated ranges, and the tensors that do so most.
fn outside_text(outside: &[Outside]) -> String {
    if outside.is_empty() {
        return String::new();
    }
    let mut told: Vec<&Outside> = outside.iter().collect();
    told.sort_by(|a, b| b.is_input.cmp(&a.is_input).then(b.share.total_cmp(&a.share)));
    let mut table = Table::new(&[
        "tensor",
        ">outside %",
        ">samples",
        ">range",
        ">worst",
        ">in sample",
    ]);
    for outside in told.iter().take(MOST_OUTSIDE) {
        let name = elided(&outside.tensor);
        table.row([
            if outside.is_input {
                format!("{name} (input)")
            } else {
                name
            },
            number(outside.share * 100.0),
            outside.samples.to_string(),
            format!("[{}, {}]", number(outside.low), number(outside.high)),
            number(outside.worst),
            outside.worst_sample.to_string(),
        ]);
    }
    let rest = match told.len().saturating_sub(MOST_OUTSIDE) {
        0 => String::new(),
        rest => format!("  … and {rest} more\n"),
    };
    format!(
        "\n  outside the calibrated range, and cut off there:\n{}{rest}",
        table.render()
    )
}

/// A figure with as many digits as its size deserves.
fn number(value: f64) -> String {
    if value == 0.0 || value.abs() >= 0.01 {
        format!("{value:.3}")
    } else {
        format!("{value:.2e}")
    }
}

fn metric_json(metric: &Metric) -> Value {
    json!({
        "name": metric.kind.name(),
        "float": metric.float.value,
        "quantized": metric.quantized.value,
        "drop": metric.drop.value,
        "drop_low": metric.drop.low,
        "drop_high": metric.drop.high,
        "samples": metric.samples,
        "float_low": metric.float.low,
        "float_high": metric.float.high,
        "quantized_low": metric.quantized.low,
        "quantized_high": metric.quantized.high,
        "lost": metric.change.map(|change| change.lost),
        "won": metric.change.map(|change| change.won),
        "p_value": metric.change.map(|change| change.p_value),
    })
}

fn diagnosis_json(diagnosis: &Diagnosis) -> Value {
    json!({
        "name": diagnosis.name,
        "tensor": diagnosis.tensor,
        "input": diagnosis.is_input,
        "isolated_sqnr_db": diagnosis.isolated_db.map(|ratio| ratio.min(EXACT_DB)),
        "cause": diagnosis.cause.name(),
        "text": diagnosis.cause.to_string(),
        "cure": diagnosis.cause.cure(),
        "options": diagnosis.cause.options(),
    })
}

fn outside_json(outside: &Outside) -> Value {
    json!({
        "tensor": outside.tensor,
        "input": outside.is_input,
        "low": outside.low,
        "high": outside.high,
        "share": outside.share,
        "samples": outside.samples,
        "worst": outside.worst,
        "worst_sample": outside.worst_sample,
    })
}

fn decibel(ratio: f64) -> String {
    if ratio.is_infinite() {
        "exact".to_owned()
    } else {
        format!("{ratio:.1}")
    }
}

/// JSON has no infinity; this stands for a layer without any noise.
const EXACT_DB: f64 = 200.0;

fn layer_json(layer: &Layer, diagnoses: &[Diagnosis]) -> Value {
    let diagnosis = diagnoses
        .iter()
        .find(|diagnosis| diagnosis.tensor == layer.tensor);
    json!({
        "name": layer.name,
        "sqnr_db": layer.sqnr_db.min(EXACT_DB),
        "cosine": layer.cosine,
        "saturated": layer.saturated,
        "isolated_sqnr_db": layer.isolated_db.map(|ratio| ratio.min(EXACT_DB)),
        "tensor": layer.tensor,
        "cause": diagnosis.map(|diagnosis| diagnosis.cause.to_string()),
        "cure": diagnosis.map(|diagnosis| diagnosis.cause.cure()),
    })
}
