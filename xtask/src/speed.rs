//! The reference executor's speed beside ONNX Runtime's, on one thread each: both run in turn, and the fastest runs
//! count. Needs Python with `onnxruntime` and `numpy`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use miette::{IntoDiagnostic, Result, miette};
use tinsmith::data::{self, Input, IntegerScale, Source};
use tinsmith::import;
use tinsmith::ir::{FloatGraph, Samples};
use tinsmith::op::tensor::Values;
use tinsmith::reference::Executor;

/// Prints the fastest of several runs in seconds.
const SCRIPT: &str = "
import sys, time, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=['CPUExecutionProvider'])
inputs = {i.name: numpy.load(f) for i, f in zip(session.get_inputs(), sys.argv[3:])}
best = 1e9
end = time.perf_counter() + float(sys.argv[2])
while True:
    start = time.perf_counter()
    session.run(None, inputs)
    best = min(best, time.perf_counter() - start)
    if time.perf_counter() > end: break
print(best)
";

/// Seconds that each side runs, in each of [`ROUNDS`].
const SECONDS: f64 = 0.4;
const ROUNDS: usize = 3;

/// Operators that are printed for one model: those with the largest shares of its time.
const OPERATORS: usize = 8;

/// Prints a line per model of `../shared/models` whose name contains `only`, and with `only` where the time goes.
///
/// # Errors
/// Where a model's files are missing.
pub(crate) fn run(only: Option<&str>) -> Result<bool> {
    let Some(shared) = crate::shared() else {
        println!("speed: skipped, ../shared is missing");
        return Ok(true);
    };
    let folder = shared.join("models");
    let mut models: Vec<_> = std::fs::read_dir(&folder)
        .into_diagnostic()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .collect();
    models.sort();
    println!("{:32} {:>10} {:>12} {:>6}", "model", "here ms", "ORT ms", "ratio");
    for model in models {
        let name = model
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if only.is_some_and(|only| !name.contains(only)) {
            continue;
        }
        match compare(&model, &folder.join("io").join(&name)) {
            Ok(Times {
                here,
                there,
                operators,
            }) => {
                println!(
                    "{name:32} {:10.3} {:12.3} {:6.2}",
                    1e3 * here,
                    1e3 * there,
                    here / there
                );
                for (operator, seconds) in operators.iter().take(OPERATORS).filter(|_| only.is_some()) {
                    println!("    {operator:28} {:10.3}", 1e3 * seconds);
                }
            }
            Err(error) => println!("{name:32} {error}"),
        }
    }
    Ok(true)
}

/// Seconds of the fastest run.
struct Times {
    here: f64,
    /// In ONNX Runtime.
    there: f64,
    /// Here, by operator, the longest first.
    operators: Vec<(&'static str, f64)>,
}

/// Lets both sides run in turn.
fn compare(model: &Path, io: &Path) -> Result<Times> {
    let mut files: Vec<_> = std::fs::read_dir(io)
        .into_diagnostic()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("in"))
        })
        .collect();
    files.sort();
    let bytes = std::fs::read(model).into_diagnostic()?;
    let mut options = tinsmith::Options::default();
    // The shapes of the stored inputs, for models that leave more than the batch open.
    let names = input_names(&bytes)?;
    let mut shapes = BTreeMap::new();
    for (name, file) in names.iter().zip(&files) {
        shapes.insert(name.clone(), shape_of(file)?);
    }
    options.import = import::Options {
        shapes,
        ..import::Options::default()
    };
    let graph = tinsmith::load(&bytes, &options).map_err(|error| miette!("{error}"))?;
    let inputs: Vec<Input> = graph
        .inputs
        .iter()
        .map(|&input| Input {
            name: graph.tensors[input].name.clone(),
            ty: graph.tensors[input].ty.clone(),
        })
        .collect();
    let sources: Vec<Source> = names
        .iter()
        .zip(&files)
        .map(|(name, file)| Source {
            input: Some(name.clone()),
            path: file.clone(),
        })
        .collect();
    let samples =
        data::open(&inputs, &sources, IntegerScale::default()).map_err(|error| miette!("{error}"))?;
    let sample: Vec<Values> = samples.get(0).map_err(|error| miette!("{error}"))?;
    let executor = Executor::new(&graph).map_err(|error| miette!("{error}"))?;
    let (mut here, mut there) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        let round = Instant::now();
        while round.elapsed().as_secs_f64() < SECONDS {
            let start = Instant::now();
            executor.run(&sample).map_err(|error| miette!("{error}"))?;
            here = here.min(start.elapsed().as_secs_f64());
        }
        let output = Command::new("python3")
            .args(["-c", SCRIPT])
            .arg(model)
            .arg(SECONDS.to_string())
            .args(&files)
            .output()
            .into_diagnostic()?;
        let seconds: f64 = String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse()
            .map_err(|_| miette!("ONNX Runtime: {}", String::from_utf8_lossy(&output.stderr)))?;
        there = there.min(seconds);
    }
    let operators = by_operator(&executor, &graph, &sample)?;
    Ok(Times {
        here,
        there,
        operators,
    })
}

/// Seconds that the nodes of each operator take, the least of several runs.
fn by_operator(
    executor: &Executor<'_>,
    graph: &FloatGraph,
    sample: &[Values],
) -> Result<Vec<(&'static str, f64)>> {
    let mut fastest = vec![f64::INFINITY; graph.nodes.len()];
    // A node has taken its time when it gives its first output.
    let firsts: HashMap<_, usize> = graph.nodes.iter().map(|node| node.outputs[0]).zip(0..).collect();
    for _ in 0..20 {
        let mut last = Instant::now();
        executor
            .observe(sample, &mut |tensor, _| {
                let now = Instant::now();
                if let Some(&node) = firsts.get(&tensor) {
                    let fastest: &mut f64 = &mut fastest[node];
                    *fastest = fastest.min((now - last).as_secs_f64());
                }
                last = now;
            })
            .map_err(|error| miette!("{error}"))?;
    }
    let mut seconds: BTreeMap<&'static str, f64> = BTreeMap::new();
    for (node, time) in graph.nodes.iter().zip(fastest) {
        *seconds.entry(node.op.name()).or_default() += time;
    }
    let mut seconds: Vec<_> = seconds.into_iter().collect();
    seconds.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(seconds)
}

/// Names of the model's inputs, initializers not counted.
fn input_names(bytes: &[u8]) -> Result<Vec<String>> {
    use tinsmith_proto::Message;
    let model = tinsmith_proto::ModelProto::decode(bytes).into_diagnostic()?;
    let graph = model.graph.unwrap_or_default();
    let constants: Vec<&str> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name.as_str())
        .collect();
    let inputs = graph.input.iter().map(|input| input.name.clone());
    Ok(inputs
        .filter(|name| !constants.contains(&name.as_str()))
        .collect())
}

/// The shape of the array in an `.npy` file.
fn shape_of(path: &Path) -> Result<Vec<usize>> {
    let array = npyz::NpyFile::new(std::fs::File::open(path).into_diagnostic()?).into_diagnostic()?;
    Ok(array.shape().iter().map(|&extent| extent as usize).collect())
}
