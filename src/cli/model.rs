//! The arguments that say what is compiled, for what and how: shared by all verbs that take a model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::ValueEnum;
use tinsmith::data::npy::{self, Array};
use tinsmith::data::{self, Files, Input, IntegerScale, Source};
use tinsmith::import::{self, Encodings};
use tinsmith::ir::{FloatGraph, NoSamples, Samples};
use tinsmith::mix::Wish;
use tinsmith::optimize;
use tinsmith::quantize::{self, Calibrator, Effort, Pins, Step, Steps, WeightForm};
use tinsmith::schedule::{self, IoLayout};
use tinsmith::target::Target;
use tinsmith::{Artifact, Error, Options};

use super::cache::{Cache, Place};
use super::check::vast;
use super::error;
use super::failure::Failure;
use super::files;
use super::folder::ModelFolder;
use super::progress::Bar;
use super::weights;

/// The model, and how what it leaves open is closed.
#[derive(clap::Args, Debug)]
pub(super) struct ModelArgs {
    /// The ONNX model, float or quantized (QDQ).
    pub(super) model: PathBuf,
    /// A number for a symbolic dimension, such as `batch=1`; repeatable.
    #[arg(long = "dim", value_name = "NAME=N")]
    dims: Vec<Named<Extent>>,
    /// The whole shape of an input, such as `x=1,3,224,224`; repeatable.
    #[arg(long = "shape", value_name = "INPUT=N,N,…")]
    shapes: Vec<Named<Extents>>,
    /// The value of an input that is known now, such as `axes=axes.npy`; repeatable. The input becomes a constant: what
    /// decides shapes must be known.
    #[arg(long = "value", value_name = "INPUT=FILE.npy")]
    values: Vec<Named<NpyFile>>,
    /// The most elements that a node finds whose count depends on data (NonZero, Compress, Unique), such as `found=16`;
    /// repeatable. Its outputs have room for as many, and how many there are is the output `NODE/count`.
    #[arg(long = "bound", value_name = "NODE=N")]
    bounds: Vec<Named<Extent>>,
    /// Weights for the initializers of the same names: `W.safetensors`, or the index of a sharded set; several with
    /// commas between them.
    #[arg(long, value_name = "FILE,…", value_delimiter = ',')]
    weights: Vec<PathBuf>,
    /// Quantizes the float model by the parameters in this file instead of calibration: the encodings that AIMET exports
    /// beside the model (versions 0.6.1, 1.0.0 and 2.0.0).
    #[arg(long, value_name = "FILE.json")]
    encodings: Option<PathBuf>,
    /// Ends the optimizer behind this pass: to find the pass that is to blame.
    #[arg(long, value_name = "PASS", help_heading = "Debugging")]
    stop_after: Option<String>,
    /// Ends the optimizer after this many rewrites.
    #[arg(long, value_name = "N", help_heading = "Debugging")]
    pass_limit: Option<usize>,
}

/// The target.
#[derive(clap::Args, Debug)]
pub(super) struct TargetArgs {
    /// A built-in target (see `tinsmith targets`), or the path of a TOML file that describes one.
    #[arg(long, value_name = "TARGET")]
    pub(super) target: String,
}

/// How it is compiled.
#[derive(clap::Args, Debug)]
pub(super) struct CompileArgs {
    /// Samples to calibrate a float model with: `X.npy` or `X.npz`; for several inputs in their order, or as
    /// `NAME=X.npy`.
    #[arg(long, value_name = "[NAME=]FILE")]
    calibration: Vec<String>,
    #[command(flatten)]
    integers: IntegerArgs,
    /// How ranges come from calibration: `minmax`, `average` (moving), `percentile[=P]` (99.99 by default), `entropy`, `mse`,
    /// or `auto`: for each tensor the one that costs its readers least.
    #[arg(long, value_name = "METHOD", default_value = "minmax")]
    calibrator: Calibrator,
    /// How much time quantizing may take so that less is lost. Without it weights and ranges are rounded as they are.
    #[arg(long, value_enum)]
    effort: Option<EffortArg>,
    /// Takes one step or leaves it out whatever the effort, such as `correct-bias=off`; repeatable. The steps are
    /// `absorb-bias`, `equalize-channels`, `smooth-activations`, `split-outliers`, `clip-tails` (with `--calibrator auto`),
    /// `reconstruct-weights`, `correct-bias`, `split-concats`.
    #[arg(long = "step", value_name = "NAME=on|off")]
    steps: Vec<Named<Switch>>,
    /// The precision of activations and weights.
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    /// What weights are stored as: `int8`, one scale per output channel; `int8-per-tensor`, one for all of a layer; in dense layers and
    /// 1×1 convolutions `int4`, one per output channel, `int4-block32`, `int4-block64`, one for as many weights.
    #[arg(long, value_name = "FORM", default_value = "int8")]
    weight_form: WeightForm,
    /// A TOML file whose table `[quantization]` settles precisions and ranges by name, such as
    /// `[[quantization.nodes]]` with `name = "head/*"` and `precision = "f32"`.
    #[arg(long, value_name = "FILE.toml")]
    quantization: Option<PathBuf>,
    /// The folder in which calibration is kept for the next run with the same model, samples and options, or `none`. By
    /// default it is `tinsmith` in the user's own folder for such data (`~/.cache`), and takes 1 GiB at most.
    #[arg(long, value_name = "DIR|none", env = "TINSMITH_CACHE")]
    cache: Option<Place>,
    /// The most that may be lost, in percentage points. With `--precision auto`, of agreement with FP32 on the calibration samples
    /// (0.5 without it): cosine, and arg-max of classifiers. `evaluate` ends with exit code 5 where one of its metrics drops
    /// further; mse and si_sdr are no fractions and have no gate.
    #[arg(long, value_name = "POINTS", allow_negative_numbers = true)]
    pub(super) max_drop: Option<f64>,
    /// The most bytes of flash that the artifact may take.
    #[arg(long, value_name = "BYTES")]
    pub(super) flash_max: Option<u64>,
    /// The most bytes of SRAM that the arena may take.
    #[arg(long, value_name = "BYTES")]
    pub(super) ram_max: Option<u64>,
    /// The most instructions that an inference may be predicted to take.
    #[arg(long, value_name = "INSTRUCTIONS")]
    time_max: Option<u64>,
    /// The layout of tensors at the artifact's edge.
    #[arg(long, value_enum, default_value_t)]
    io_layout: IoLayoutArg,
    /// Takes channels that have no exact fixed-point form too; they are counted in the report.
    #[arg(long)]
    allow_inexact: bool,
    /// Leaves out of the artifact what only people read: the layers' names, and what the model says of itself.
    #[arg(long)]
    strip: bool,
}

/// How integer data for a float input becomes reals.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct IntegerArgs {
    /// Integer data for a float input becomes (data − OFFSET) · SCALE.
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    scale: f64,
    /// See `--scale`.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    offset: f64,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum IoLayoutArg {
    /// The ONNX model's own.
    #[default]
    Keep,
    /// Channels last: transposes at the edge are left to the caller.
    ChannelsLast,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
enum Precision {
    #[default]
    Int8,
    Int16x8,
    F32,
    Auto,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
enum EffortArg {
    /// A few runs of the samples.
    Fast,
    /// Tens of them.
    #[default]
    Normal,
    /// As many as help.
    Max,
}

impl EffortArg {
    fn effort(self) -> Effort {
        match self {
            Self::Fast => Effort::Fast,
            Self::Normal => Effort::Normal,
            Self::Max => Effort::Max,
        }
    }
}

/// Whether a step is taken.
#[derive(Clone, Copy, Debug)]
struct Switch(bool);

impl FromStr for Switch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "on" => Ok(Self(true)),
            "off" => Ok(Self(false)),
            _ => Err(format!("wanted `on` or `off`, found `{text}`")),
        }
    }
}

/// `NAME=VALUE`.
#[derive(Clone, Debug)]
struct Named<T> {
    name: String,
    value: T,
}

impl<T: FromStr<Err = String>> FromStr for Named<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Names may hold the sign, numbers may not.
        let (name, value) = text.rsplit_once('=').ok_or("wanted NAME=VALUE")?;
        Ok(Self {
            name: name.to_owned(),
            value: value.parse()?,
        })
    }
}

/// The path of an array.
#[derive(Clone, Debug)]
struct NpyFile(PathBuf);

impl FromStr for NpyFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(text.into()))
    }
}

/// An extent: at least 1.
#[derive(Clone, Copy, Debug)]
struct Extent(usize);

impl FromStr for Extent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse() {
            Ok(extent) if extent > 0 => Ok(Self(extent)),
            _ => Err(format!("`{text}` is no extent; wanted a number from 1")),
        }
    }
}

#[derive(Clone, Debug)]
struct Extents(Vec<usize>);

impl FromStr for Extents {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let extents = text
            .split(',')
            .map(|part| part.parse().map(|Extent(extent)| extent));
        extents.collect::<Result<_, _>>().map(Self)
    }
}

impl TargetArgs {
    /// The target: built in, or read from a file.
    pub(super) fn read(&self) -> Result<Target, Failure> {
        read_target(&self.target)
    }
}

/// A built-in target, or one read from a file: a path has a separator or ends in `.toml`.
pub(super) fn read_target(name: &str) -> Result<Target, Failure> {
    let path = Path::new(name);
    if path.components().count() > 1 || path.extension().is_some_and(|extension| extension == "toml") {
        let text = files::read_text(path)?;
        Target::parse(&text).map_err(|error| Failure::usage(format!("{name}: {error}")))
    } else {
        Target::named(name).map_err(Failure::usage)
    }
}

impl ModelArgs {
    /// The stem of the model's file name: what its artifacts are called.
    pub(super) fn stem(&self) -> String {
        let stem = self.model.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }

    /// Options of a model as it is, with the parts that only this argument group decides.
    pub(super) fn options(&self) -> Result<Options, Failure> {
        let dims = self.dims.iter().map(|dim| (dim.name.clone(), dim.value.0));
        let shapes = self
            .shapes
            .iter()
            .map(|shape| (shape.name.clone(), shape.value.0.clone()));
        let bounds = self
            .bounds
            .iter()
            .map(|bound| (bound.name.clone(), bound.value.0));
        let mut values = BTreeMap::new();
        for Named { name, value } in &self.values {
            let array = Array::open(&value.0).and_then(|array| array.read_values());
            values.insert(name.clone(), array.map_err(error::of_data)?);
        }
        let encodings = self.encodings.as_deref().map(|path| {
            let encodings = Encodings::parse(&files::read_text(path)?);
            encodings.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
        });
        Ok(Options {
            import: import::Options {
                encodings: encodings.transpose()?,
                values,
                bounds: bounds.collect::<BTreeMap<_, _>>(),
                dims: dims.collect::<BTreeMap<_, _>>(),
                shapes: shapes.collect::<BTreeMap<_, _>>(),
                folder: Some(Arc::new(ModelFolder::of(&self.model))),
                weights: weights::open(&self.weights)?,
                ..import::Options::default()
            },
            optimize: optimize::Options {
                stop_after: self.stop_after.clone(),
                pass_limit: self.pass_limit,
                ..optimize::Options::default()
            },
            ..Options::default()
        })
    }

    /// The optimized graph of the model.
    pub(super) fn load(&self, options: &Options) -> Result<FloatGraph, Failure> {
        let bytes = files::read_model(&self.model)?;
        self.decode(&bytes, options)
            .map_err(|error| error::of_model(&self.model, error))
    }

    /// The optimized graph that the model's bytes hold. It is called what its file is called: exporters name all their
    /// graphs alike.
    pub(super) fn decode(&self, bytes: &[u8], options: &Options) -> Result<FloatGraph, Error> {
        let mut graph = tinsmith::load(bytes, options)?;
        graph.name = self.stem();
        Ok(graph)
    }
}

impl IntegerArgs {
    pub(super) fn scale(self) -> IntegerScale {
        IntegerScale {
            scale: self.scale,
            offset: self.offset,
        }
    }
}

impl CompileArgs {
    pub(super) fn integers(&self) -> IntegerScale {
        self.integers.scale()
    }

    /// The steps of the effort, but for those that were switched.
    fn steps(&self) -> Result<Steps, Failure> {
        let mut steps = self
            .effort
            .map_or(Steps::NONE, |effort| Steps::of(effort.effort()));
        for Named { name, value } in &self.steps {
            let Some(step) = Step::ALL.into_iter().find(|step| step.name() == name) else {
                let names = Step::ALL.map(Step::name).join(", ");
                return Err(Failure::usage(format!("no step is named `{name}`"))
                    .with_help(format!("the steps are {names}")));
            };
            steps = steps.with(step, value.0);
        }
        Ok(steps)
    }

    /// What a file settles by name.
    fn pins(&self) -> Result<Pins, Failure> {
        let Some(path) = &self.quantization else {
            return Ok(Pins::default());
        };
        Pins::parse(&files::read_text(path)?)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    }

    /// The model's options with these.
    pub(super) fn options(&self, model: &ModelArgs) -> Result<Options, Failure> {
        let precision = match self.precision {
            Precision::Int8 | Precision::Auto => quantize::Precision::Int8,
            Precision::Int16x8 => quantize::Precision::Int16x8,
            Precision::F32 => quantize::Precision::F32,
        };
        let mut options = model.options()?;
        options.quantize = quantize::Options {
            calibrator: self.calibrator,
            precision,
            weights: self.weight_form,
            effort: self.effort.unwrap_or_default().effort(),
            steps: self.steps()?,
            pins: self.pins()?,
        };
        options.mix = (self.precision == Precision::Auto).then(|| match self.max_drop {
            Some(points) => Wish {
                most_lost: points / 100.0,
            },
            None => Wish::default(),
        });
        options.schedule = schedule::Options {
            io_layout: match self.io_layout {
                IoLayoutArg::Keep => IoLayout::Keep,
                IoLayoutArg::ChannelsLast => IoLayout::ChannelsLast,
            },
            allow_inexact: self.allow_inexact,
            most_instructions: self.time_max,
        };
        options.emit.strip = self.strip;
        Ok(options)
    }

    /// The calibration samples; none where none were given.
    pub(super) fn samples(&self, graph: &FloatGraph) -> Result<Box<dyn Samples>, Failure> {
        if self.calibration.is_empty() {
            return Ok(Box::new(NoSamples));
        }
        Ok(Box::new(open_samples(
            &inputs(graph),
            &self.calibration,
            self.integers(),
        )?))
    }

    /// Compiles the model for the target.
    pub(super) fn compile(
        &self,
        model: &ModelArgs,
        target: &Target,
        options: &Options,
    ) -> Result<Artifact, Failure> {
        let graph = model.load(options)?;
        if let Some(failure) = vast(&graph, target) {
            return Err(failure);
        }
        let samples = self.samples(&graph)?;
        // A mix of precisions is chosen within the limits; anything else either keeps them or does not.
        let limited = target.limited(self.flash_max, self.ram_max);
        let target = if options.mix.is_some() { &limited } else { target };
        let bar = Bar::new();
        let progress = |what: &str, done, total| bar.show(what, done, total);
        Cache::at(self.cache.as_ref())
            .quantize(target, graph, &*samples, options, &progress)
            .and_then(|quantized| tinsmith::finish(target, quantized, options))
            .map_err(|error| error::of_build(&model.model, &self.calibration, error))
    }
}

/// What a model wants at its inputs.
pub(super) fn inputs(graph: &FloatGraph) -> Vec<Input> {
    let tensors = graph.inputs.iter().map(|&input| &graph.tensors[input]);
    tensors
        .map(|tensor| Input {
            name: tensor.name.clone(),
            ty: tensor.ty.clone(),
        })
        .collect()
}

/// Opens data files: `.npy`, `.npz`, and `.pb` as ONNX's own test data are.
pub(super) fn open_samples(
    inputs: &[Input],
    given: &[String],
    integers: IntegerScale,
) -> Result<Files, Failure> {
    let mut arrays = Vec::new();
    for text in given {
        let source = Source::parse(text);
        if source.path.extension().is_some_and(|extension| extension == "pb") {
            let name = source.path.display().to_string();
            let values = import::tensor(&files::read(&source.path)?)
                .map_err(|error| Failure::usage(format!("{name}: {}", error.reason)))?;
            let array = Array::owned(&name, npy::encode(&values.shape, &values.data));
            arrays.push((source.input, array.map_err(error::of_data)?));
        } else {
            arrays.extend(data::open_source(&source).map_err(error::of_data)?);
        }
    }
    data::from_arrays(inputs, arrays, integers).map_err(error::of_data)
}
