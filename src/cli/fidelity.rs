//! `check --input --expect`: does the exported model compute what the training framework computed, and if not, where
//! does it go wrong first.

use std::fmt::Write;

use serde_json::{Value, json};
use tinsmith::data::{Input, IntegerScale};
use tinsmith::ir::{FloatGraph, FloatTensor, Handle, Samples};
use tinsmith::op::tensor::Values;
use tinsmith::reference::Executor;

use super::answer::Answer;
use super::failure::{Exit, Failure};
use super::model::{inputs, open_samples};

/// What was found on all samples.
pub(super) struct Fidelity {
    outputs: Vec<Output>,
    suspicion: Option<Suspicion>,
}

/// How far an output is off.
struct Output {
    name: String,
    /// The largest difference of an element.
    absolute: f64,
    /// The same, relative to the range of what is expected.
    relative: f64,
}

/// The first layer whose value is strange while what it reads is not.
///
/// Named as in the ONNX file, whatever it was made into.
struct Suspicion {
    layer: String,
    operator: String,
    what: &'static str,
}

/// Elements that are all alike are strange from this number on.
const ALIKE: usize = 16;

/// Runs the model on the given samples and compares its outputs with the expected ones.
pub(super) fn compare(graph: &FloatGraph, input: &[String], expect: &[String]) -> Result<Fidelity, Failure> {
    let outputs: Vec<Input> = graph
        .outputs
        .iter()
        .map(|&output| &graph.tensors[output])
        .map(|tensor| Input {
            name: tensor.name.clone(),
            ty: tensor.ty.clone(),
        })
        .collect();
    let given = open_samples(&inputs(graph), input, IntegerScale::default())?;
    let expected = open_samples(&outputs, expect, IntegerScale::default())?;
    if given.len() != expected.len() {
        let message = format!(
            "{} samples are given, {} are expected",
            given.len(),
            expected.len()
        );
        return Err(Failure::usage(message));
    }
    let failed = |error| Failure::new(Exit::Model, error);
    let executor = Executor::new(graph).map_err(failed)?;
    let mut errors = vec![Error::default(); outputs.len()];
    let mut watch = Watch::new(graph);
    for i in 0..given.len() {
        let inputs = given.get(i).map_err(Failure::usage)?;
        let wanted = expected.get(i).map_err(Failure::usage)?;
        let found = executor
            .observe(&inputs, &mut |tensor, values| watch.see(tensor, values))
            .map_err(failed)?;
        for ((wanted, found), error) in wanted.iter().zip(&found).zip(&mut errors) {
            error.add(wanted, found);
        }
    }
    let outputs = outputs.into_iter().zip(errors).map(|(output, error)| Output {
        name: output.name,
        absolute: error.largest,
        relative: error.relative(),
    });
    Ok(Fidelity {
        outputs: outputs.collect(),
        suspicion: watch.first(),
    })
}

/// The error of an output so far.
#[derive(Clone)]
struct Error {
    largest: f64,
    least: f64,
    greatest: f64,
}

impl Default for Error {
    fn default() -> Self {
        Self {
            largest: 0.0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
        }
    }
}

impl Error {
    fn add(&mut self, wanted: &Values, found: &Values) {
        for (wanted, found) in wanted.to_f64().into_iter().zip(found.to_f64()) {
            // NaN for NaN and infinity for infinity is what was wanted; either alone is as wrong as can be.
            let same = wanted == found || wanted.is_nan() && found.is_nan();
            let error = if same { 0.0 } else { (wanted - found).abs() };
            self.largest = self
                .largest
                .max(if error.is_nan() { f64::INFINITY } else { error });
            if wanted.is_finite() {
                self.least = self.least.min(wanted);
                self.greatest = self.greatest.max(wanted);
            }
        }
    }

    fn relative(&self) -> f64 {
        if self.largest == 0.0 {
            return 0.0;
        }
        // Outputs that are all alike have no range; their size serves.
        let range = (self.greatest - self.least).max(self.least.abs());
        self.largest
            / if range.is_finite() {
                range.max(f64::MIN_POSITIVE)
            } else {
                1.0
            }
    }
}

/// What the elements of a tensor have been on all samples.
#[derive(Clone, Copy)]
struct Seen {
    first: f64,
    count: usize,
    alike: bool,
    nan: bool,
    infinite: bool,
}

/// Looks at every value that comes about.
struct Watch<'g> {
    graph: &'g FloatGraph,
    seen: Vec<Option<Seen>>,
}

impl<'g> Watch<'g> {
    fn new(graph: &'g FloatGraph) -> Self {
        let mut watch = Self {
            graph,
            seen: vec![None; graph.tensors.len()],
        };
        // What a constant brings along is not its reader's doing.
        for (handle, tensor) in graph.tensors.iter() {
            if let Some(values) = &tensor.data {
                watch.see(handle, values);
            }
        }
        watch
    }

    fn see(&mut self, tensor: Handle<FloatTensor>, values: &Values) {
        if !values.data.dtype().is_float() {
            return;
        }
        for value in values.to_f64() {
            let seen = self.seen[tensor.index()].get_or_insert(Seen {
                first: value,
                count: 0,
                alike: true,
                nan: false,
                infinite: false,
            });
            seen.count += 1;
            seen.alike &= value == seen.first;
            seen.nan |= value.is_nan();
            seen.infinite |= value.is_infinite();
        }
    }

    /// The first layer that makes NaN or infinity of what has none; else the first that makes one number of many.
    fn first(&self) -> Option<Suspicion> {
        let strange = |what: &'static str, is: fn(&Seen) -> bool, counts: fn(&FloatTensor) -> bool| {
            let node = self.graph.nodes.iter().find(|node| {
                let seen = |tensor: &Handle<FloatTensor>| self.seen[tensor.index()];
                let inputs = node
                    .inputs
                    .iter()
                    .filter(|&&input| counts(&self.graph.tensors[input]));
                node.outputs.iter().filter_map(seen).any(|seen| is(&seen))
                    && !inputs.filter_map(seen).any(|seen| is(&seen))
            })?;
            let (layer, operator) = self.graph.origin(node);
            Some(Suspicion {
                layer: layer.to_owned(),
                operator: operator.to_owned(),
                what,
            })
        };
        let alike = |seen: &Seen| seen.alike && !seen.nan && seen.count >= ALIKE;
        strange("NaN", |seen| seen.nan, |_| true)
            .or_else(|| strange("infinity", |seen| seen.infinite, |_| true))
            .or_else(|| {
                strange("the same number everywhere", alike, |tensor| {
                    tensor.data.is_none()
                })
            })
    }
}

impl Fidelity {
    /// Whether an output is off by more than the limit.
    pub(super) fn is_lossy(&self, tolerance: f64) -> bool {
        !self.outputs.iter().all(|output| output.relative <= tolerance)
    }

    /// The answer with what was found; a failure where an output is off by more than the limit.
    pub(super) fn add_to(&self, mut answer: Answer, tolerance: f64) -> Answer {
        for Output {
            name,
            absolute,
            relative,
        } in &self.outputs
        {
            let _ = writeln!(
                answer.text,
                "  `{name}` is within {absolute:.1e} of what is expected, {relative:.1e} of its range"
            );
        }
        if let Some(Suspicion {
            layer,
            operator,
            what,
        }) = &self.suspicion
        {
            let _ = writeln!(
                answer.text,
                "  suspicious: {operator} `{layer}` is the first to give {what} where what it reads does not"
            );
        }
        let is_good = |output: &Output| output.relative <= tolerance;
        // JSON has no infinity: null says that there is no number.
        let listed: Vec<Value> = self
            .outputs
            .iter()
            .map(|output| {
                json!({
                    "name": output.name,
                    "absolute_error": output.absolute,
                    "relative_error": output.relative,
                    "ok": is_good(output),
                })
            })
            .collect();
        answer.json["outputs"] = listed.into();
        answer.json["suspicious"] = self.suspicion.as_ref().map_or(Value::Null, |suspicion| {
            json!({
                "layer": suspicion.layer,
                "operator": suspicion.operator,
                "what": suspicion.what,
            })
        });
        let wrong = self.outputs.iter().find(|output| !is_good(output));
        if let (None, Some(Output { name, relative, .. })) = (&answer.failure, wrong) {
            let message = format!(
                "the export is lossy: output `{name}` is off by {relative:.1e} of its range; the limit is {tolerance:.0e}"
            );
            let help = match &self.suspicion {
                Some(Suspicion {
                    layer,
                    operator,
                    what,
                }) => {
                    format!("look at {operator} `{layer}` first, which gives {what}")
                }
                None => {
                    "compare the exported model with the training framework: preprocessing, layout, opset"
                        .to_owned()
                }
            };
            answer.json["ok"] = false.into();
            answer.failure = Some(Failure::new(Exit::Accuracy, message).with_help(help));
        }
        answer
    }
}
