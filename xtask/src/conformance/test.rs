//! Judging one test.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tinsmith::import::{self, ImportError};
use tinsmith::ir::{FloatGraph, NoSamples, SampleError, Samples};
use tinsmith::op::tensor::{self, DType, Values};
use tinsmith::quantize::{Precision, QuantizeError};
use tinsmith::schedule::ScheduleError;
use tinsmith::simulate::{Simulator, edge};
use tinsmith::target::Target;
use tinsmith::{Error, Options, optimize, reference};
use tinsmith_proto::{GraphProto, Message, ModelProto, ValueInfoProto, type_proto};

use super::archive::{Case, DataSet};
use super::{Verdict, meaning};

/// What was known of a test's inputs when it was compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Known {
    Nothing,
    Integers,
    /// All but the first, as the weights of a layer are.
    AllButFirst,
    All,
}

/// What became of a test.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    Passed(Known),
    Refused(String),
    Wrong(String),
}

/// Judges one data set of a model under these options.
type Run = fn(&[u8], &import::Options, &Data) -> Outcome;

/// What reals may differ by, besides a part of what is wanted: ONNX's.
const TOLERANCE: f64 = 1e-7;

/// Tests whose wanted values are themselves farther than that from the exact result, and what optimized graphs are given
/// instead: these want 1.9e-7, which NumPy's transform in f32 left, where the exact result is 0. As imported, the graph
/// leaves as much; optimized, it rounds less often.
pub(super) const SLACK: &[(&str, f64)] = &[("test_dft_inverse", 2e-7)];

/// What may be known beforehand on a device: never all inputs.
const ON_DEVICE: &[Known] = &[Known::Nothing, Known::Integers, Known::AllButFirst];

/// A test may take this long; more is as good as endless.
const PATIENCE: Duration = Duration::from_secs(20);
/// ONNX's element type number of float32.
const FLOAT: i32 = 1;

pub(super) fn judge(case: &Case) -> Verdict {
    let (operators, all_f32) = about(&case.model);
    Verdict {
        suite: case.suite,
        name: case.name.clone(),
        operators,
        reference: guarded(|| each_set(case, &[Known::Nothing, Known::Integers, Known::All], on_reference)),
        device: (all_f32 && case.suite == "node").then(|| guarded(|| each_set(case, ON_DEVICE, on_device))),
        int8: (all_f32 && case.suite == "node").then(|| guarded(|| each_set(case, ON_DEVICE, on_int8))),
    }
}

/// The operators of a model, and whether all its ends are f32.
fn about(model: &[u8]) -> (Vec<String>, bool) {
    fn gather(graph: &GraphProto, operators: &mut Vec<String>) {
        for node in &graph.node {
            let name = match node.domain.as_str() {
                "" | "ai.onnx" => node.op_type.clone(),
                domain => format!("{domain}.{}", node.op_type),
            };
            if !operators.contains(&name) {
                operators.push(name);
            }
            let bodies = node.attribute.iter().filter_map(|attribute| attribute.g.as_ref());
            bodies.for_each(|body| gather(body, operators));
        }
    }
    let is_f32 = |info: &ValueInfoProto| {
        let value = info.r#type.as_ref().and_then(|ty| ty.value.as_ref());
        matches!(value, Some(type_proto::Value::TensorType(tensor)) if tensor.elem_type == FLOAT)
    };
    let graph = ModelProto::decode(model)
        .ok()
        .and_then(|model| model.graph)
        .unwrap_or_default();
    let mut operators = Vec::new();
    gather(&graph, &mut operators);
    (operators, graph.input.iter().chain(&graph.output).all(is_f32))
}

/// A panic is a wrong answer, and so is one that takes too long.
fn guarded(run: impl FnOnce() -> Outcome) -> Outcome {
    let start = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        Outcome::Wrong(format!("panicked: {}", text.unwrap_or_default()))
    });
    if start.elapsed() > PATIENCE {
        return Outcome::Wrong(format!("took {:.0?}", start.elapsed()));
    }
    outcome
}

/// The first outcome other than a pass; the last pass else.
fn each_set(case: &Case, levels: &[Known], run: Run) -> Outcome {
    let mut last = Outcome::Wrong("no data".into());
    for set in &case.data {
        last = match Data::read(case, set) {
            Ok(data) => with_known(case, &data, levels, run),
            // What cannot be read as input is refused by import as well; it says so better.
            Err(reason) => match import::onnx(&case.model, &import::Options::default()) {
                Err(error) => Outcome::Refused(error.to_string()),
                Ok(_) => Outcome::Refused(reason),
            },
        };
        if !matches!(last, Outcome::Passed(_)) {
            return last;
        }
    }
    last
}

/// The inputs with their names, and what they must give.
struct Data {
    inputs: Vec<(String, Values)>,
    wanted: Vec<Values>,
    /// What reals may differ by once the graph is optimized.
    slack: f64,
}

impl Data {
    fn read(case: &Case, set: &DataSet) -> Result<Self, String> {
        let model = ModelProto::decode(&*case.model).map_err(|error| error.to_string())?;
        let graph = model.graph.unwrap_or_default();
        let read = |bytes: &Vec<u8>| import::tensor(bytes).map_err(|error| error.to_string());
        let values: Vec<Values> = set.inputs.iter().map(read).collect::<Result<_, _>>()?;
        // Old models list constants among the inputs; their tests give data for the others alone, or for the first ones.
        let constants: Vec<&str> = graph
            .initializer
            .iter()
            .map(|tensor| tensor.name.as_str())
            .collect();
        let names = graph.input.iter().map(|info| info.name.clone());
        let names = names.filter(|name| !constants.contains(&name.as_str()));
        Ok(Self {
            inputs: names.zip(values).collect(),
            wanted: set.outputs.iter().map(read).collect::<Result<_, _>>()?,
            slack: SLACK
                .iter()
                .find(|(name, _)| case.name.starts_with(name))
                .map_or(TOLERANCE, |&(_, slack)| slack),
        })
    }

    /// Options that tell the shapes of all inputs, and the values of those that are known.
    fn options(&self, known: Known) -> import::Options {
        let mut options = import::Options::default();
        for (i, (name, values)) in self.inputs.iter().enumerate() {
            let is_known = match known {
                Known::Nothing => false,
                Known::Integers => !values.data.dtype().is_float(),
                Known::AllButFirst => i > 0,
                Known::All => true,
            };
            options.shapes.insert(name.clone(), values.shape.clone());
            if is_known {
                options.values.insert(name.clone(), values.clone());
            }
        }
        options
    }

    /// The values of the graph's inputs.
    fn of(&self, graph: &FloatGraph) -> Vec<Values> {
        let value = |name: &str| self.inputs.iter().find(|(input, _)| input == name);
        let inputs = graph.inputs.iter().map(|&input| &graph.tensors[input].name);
        inputs
            .filter_map(|name| value(name).map(|(_, values)| values.clone()))
            .collect()
    }
}

/// Tells as little as it takes.
fn with_known(case: &Case, data: &Data, levels: &[Known], run: Run) -> Outcome {
    let mut reason = None;
    for &known in levels {
        match run(&case.model, &data.options(known), data) {
            Outcome::Refused(why) => reason = reason.or(Some(why)),
            Outcome::Passed(_) => return Outcome::Passed(known),
            Outcome::Wrong(how) => return Outcome::Wrong(format!("{how} {known}")),
        }
    }
    Outcome::Refused(reason.unwrap_or_default())
}

fn import(model: &[u8], options: &import::Options) -> Result<FloatGraph, Outcome> {
    import::onnx(model, options).map_err(|error| match error {
        ImportError::Problems(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Outcome::Refused(lines.join("; "))
        }
        ImportError::NotProtobuf { .. }
        | ImportError::TooLarge { .. }
        | ImportError::TooMuch { .. }
        | ImportError::NoGraph => Outcome::Wrong(error.to_string()),
    })
}

/// Import and the reference executor, before and after optimization.
fn on_reference(model: &[u8], options: &import::Options, data: &Data) -> Outcome {
    let graph = match import(model, options) {
        Ok(graph) => graph,
        Err(outcome) => return outcome,
    };
    let inputs = data.of(&graph);
    match reference::run(&graph, &inputs) {
        Ok(found) => {
            if let Some(how) = difference(&found, &data.wanted, TOLERANCE) {
                return Outcome::Wrong(how);
            }
        }
        Err(error) => return Outcome::Wrong(error.to_string()),
    }
    let optimized = match optimize::run(graph, &optimize::Options::default()) {
        Ok(optimized) => optimized,
        Err(error) => return Outcome::Wrong(error.to_string()),
    };
    match reference::run(&optimized, &inputs) {
        Ok(found) => match difference(&found, &data.wanted, data.slack) {
            Some(how) => Outcome::Wrong(format!("optimized: {how}")),
            None => Outcome::Passed(Known::Nothing),
        },
        Err(error) => Outcome::Wrong(error.to_string()),
    }
}

/// Compiled to f32 and run by the runtime.
fn on_device(model: &[u8], options: &import::Options, data: &Data) -> Outcome {
    let target = Target::builtin("host-x86-64").expect("the host is a target");
    let mut all = Options {
        import: options.clone(),
        ..Options::default()
    };
    all.quantize.precision = Precision::F32;
    let graph = match import(model, options) {
        Ok(graph) => graph,
        Err(outcome) => return outcome,
    };
    let inputs = data.of(&graph);
    let artifact = optimize::run(graph, &all.optimize)
        .map_err(Error::from)
        .and_then(|graph| tinsmith::build(&target, graph, &NoSamples, &all, &|_, _, _| ()));
    let artifact = match artifact {
        Ok(artifact) => artifact,
        Err(
            Error::Quantize(QuantizeError::Problems(problems))
            | Error::Schedule(ScheduleError::Unsupported(problems)),
        ) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            return Outcome::Refused(lines.join("; "));
        }
        Err(error) => return Outcome::Wrong(error.to_string()),
    };
    match simulate(&artifact.blob, &inputs) {
        Ok(found) => match difference(&found, &data.wanted, data.slack) {
            Some(how) => Outcome::Wrong(how),
            None => Outcome::Passed(Known::Nothing),
        },
        Err(how) => Outcome::Wrong(how),
    }
}

/// Quantized to int8 with the test's own inputs as the sample, and run by the runtime. ONNX's results are out of reach
/// then; the bytes must be those that the quantized graph means, which an evaluator in f64 tells.
fn on_int8(model: &[u8], options: &import::Options, data: &Data) -> Outcome {
    struct One(Vec<Values>);
    impl Samples for One {
        fn len(&self) -> usize {
            1
        }
        fn get(&self, _index: usize) -> Result<Vec<Values>, SampleError> {
            Ok(self.0.clone())
        }
    }
    let target = Target::builtin("host-x86-64").expect("the host is a target");
    let mut all = Options::default();
    all.optimize.integers = true;
    let graph = match import(model, options) {
        Ok(graph) => graph,
        Err(outcome) => return outcome,
    };
    let inputs = data.of(&graph);
    let graph = match optimize::run(graph, &all.optimize) {
        Ok(graph) => graph,
        Err(error) => return Outcome::Wrong(error.to_string()),
    };
    let artifact = match tinsmith::build(&target, graph, &One(inputs.clone()), &all, &|_, _, _| ()) {
        Ok(artifact) => artifact,
        Err(
            error @ (Error::Quantize(
                QuantizeError::Problems(_) | QuantizeError::NotFinite { .. } | QuantizeError::Sample(_),
            )
            | Error::Schedule(ScheduleError::Unsupported(_) | ScheduleError::Inexact(_))),
        ) => return Outcome::Refused(error.to_string()),
        Err(error) => return Outcome::Wrong(error.to_string()),
    };
    let run = || -> Result<Vec<Vec<u8>>, String> {
        let mut simulator = Simulator::new(&artifact.blob).map_err(|error| error.to_string())?;
        let stored = edge::store_all(simulator.blob(), &inputs).map_err(|error| error.to_string())?;
        let found = simulator
            .run(&stored.iter().map(Vec::as_slice).collect::<Vec<_>>())
            .map_err(|error| error.to_string())?;
        let codes: Vec<Values> = artifact
            .quant
            .inputs
            .iter()
            .zip(&stored)
            .map(|(&input, bytes)| {
                let ty = &artifact.quant.tensors[input].ty;
                Values::new(ty.shape.clone(), tensor::Data::from_le_bytes(ty.dtype, bytes))
            })
            .collect();
        let wanted = meaning::outputs(&artifact.quant, &codes);
        let wanted = wanted.iter().map(|values| values.data.to_le_bytes());
        let differing = found
            .iter()
            .zip(wanted)
            .position(|(found, wanted)| *found != wanted);
        match differing {
            Some(output) => Err(format!(
                "the bytes of output {output} are not what the graph means"
            )),
            None => Ok(found),
        }
    };
    match run() {
        Ok(_) => Outcome::Passed(Known::Nothing),
        Err(how) => Outcome::Wrong(how),
    }
}

fn simulate(blob: &[u8], inputs: &[Values]) -> Result<Vec<Values>, String> {
    let mut simulator = Simulator::new(blob).map_err(|error| error.to_string())?;
    let stored = edge::store_all(simulator.blob(), inputs).map_err(|error| error.to_string())?;
    let inputs: Vec<&[u8]> = stored.iter().map(Vec::as_slice).collect();
    let outputs = simulator.run(&inputs).map_err(|error| error.to_string())?;
    edge::load_all(simulator.blob(), &outputs).map_err(|error| error.to_string())
}

/// Where results differ beyond ONNX's tolerances: 1e-3 of what is wanted and the slack for floats, nothing for all else.
fn difference(found: &[Values], wanted: &[Values], slack: f64) -> Option<String> {
    if found.len() != wanted.len() {
        return Some(format!("{} outputs instead of {}", found.len(), wanted.len()));
    }
    let pairs = found.iter().zip(wanted).enumerate();
    pairs.into_iter().find_map(|(output, (found, wanted))| {
        if found.ty() != wanted.ty() {
            return Some(format!(
                "output {output} is {} instead of {}",
                found.ty(),
                wanted.ty()
            ));
        }
        let is_real = matches!(
            wanted.data.dtype(),
            DType::F32 | DType::F64 | DType::F16 | DType::BF16
        );
        let close = |found: f64, wanted: f64| {
            found == wanted
                || found.is_nan() && wanted.is_nan()
                || is_real && (found - wanted).abs() <= slack + 1e-3 * wanted.abs()
        };
        let pairs = found.to_f64().into_iter().zip(wanted.to_f64());
        let (i, (found, wanted)) = pairs
            .enumerate()
            .find(|&(_, (found, wanted))| !close(found, wanted))?;
        Some(format!(
            "output {output}, element {i} is {found}, wanted {wanted}"
        ))
    })
}
