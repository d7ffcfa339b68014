//! `cargo xtask bench`: every figure through the command line that users have, so that each can be repeated by hand.

mod figure;
mod models;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Result, WrapErr, bail, miette};
use serde_json::Value;

use tinsmith::data::npy::Array;
use tinsmith::simulate::firmware;
use tinsmith::target::Target;

use crate::{Format, windows};
use figure::{Figure, Limit};
use models::{BOARDS, MODELS, Model};

/// The folders and the binary that the figures need.
struct Bench {
    shared: PathBuf,
    work: PathBuf,
    binary: PathBuf,
    figures: Vec<Figure>,
}

/// Measures every figure whose name holds `only`; gives whether all limits hold.
pub(crate) fn run(format: Format, only: Option<&str>) -> Result<bool> {
    let root = crate::root();
    let shared = crate::shared()
        .ok_or_else(|| miette!("../shared is not beside the project: no models to measure"))?;
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "-q"])
        .current_dir(&root)
        .status();
    if !status.into_diagnostic()?.success() {
        bail!("the build did not succeed");
    }
    let work = root.join("target/bench");
    std::fs::create_dir_all(&work).into_diagnostic()?;
    windows::cut(&shared, &work.join("windows"))?;
    let mut bench = Bench {
        shared,
        work,
        binary: root.join("target/release/tinsmith"),
        figures: Vec::new(),
    };
    let wanted = |name: &str| only.is_none_or(|only| name.contains(only));

    for model in MODELS {
        if wanted("memory") {
            bench.memory(model)?;
        }
        if wanted("outputs") {
            bench.outputs(model)?;
        }
        if wanted("accuracy") {
            bench.accuracy(model)?;
        }
        if wanted("exact") {
            bench.exact(model)?;
        }
    }
    if wanted("compile") {
        bench.compile_cost()?;
    }
    if wanted("reproducible") {
        bench.reproducible()?;
    }
    if wanted("code") {
        bench.code()?;
    }
    if wanted("boards") {
        for model in MODELS {
            for board in BOARDS {
                bench.board(model, board)?;
            }
        }
    }
    bench.print(format);
    Ok(bench.figures.iter().all(Figure::ok))
}

impl Bench {
    #[allow(
        clippy::too_many_arguments,
        reason = "the columns of one line, in their order"
    )]
    fn push(
        &mut self,
        figure: &'static str,
        model: &'static str,
        target: &str,
        value: f64,
        unit: &'static str,
        limit: Option<Limit>,
        command: &str,
    ) {
        let line = Figure {
            figure,
            model,
            target: target.into(),
            value,
            unit,
            limit,
            command: command.into(),
        };
        eprintln!("{}", line.text());
        self.figures.push(line);
    }

    /// Runs the command line with `--format json` and gives what it printed; `accept` lists the exit codes that are
    /// answers rather than errors.
    fn tinsmith(&self, arguments: &[String], accept: &[i32]) -> Result<(Value, String)> {
        let shown = format!("tinsmith {}", arguments.join(" "))
            .replace(&format!("{}/", self.shared.display()), "../shared/")
            .replace(&format!("{}/", self.work.display()), "target/bench/");
        let output = Command::new(&self.binary)
            .env("TINSMITH_CACHE", "none")
            .args(arguments)
            .args(["--format", "json"])
            .output()
            .into_diagnostic()?;
        let code = output.status.code().unwrap_or(1);
        if !accept.contains(&code) {
            bail!(
                "`{shown}` ended with {code}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let value = serde_json::from_slice(&output.stdout)
            .into_diagnostic()
            .wrap_err(shown.clone())?;
        Ok((value, shown))
    }

    fn data(&self, path: &str) -> String {
        let path = match path.strip_prefix("windows/") {
            Some(file) => self.work.join("windows").join(file),
            None => self.shared.join(path),
        };
        path.display().to_string()
    }

    fn onnx(&self, model: &Model) -> String {
        self.shared
            .join(format!("models/{}.onnx", model.file))
            .display()
            .to_string()
    }

    fn compile(&self, model: &Model, target: &str) -> Result<(Value, String, String)> {
        let folder = self.work.join(target);
        let mut arguments: Vec<String> = ["compile", &self.onnx(model), "--target", target]
            .map(String::from)
            .into();
        arguments.extend(["--calibration".into(), self.data(model.calibration)]);
        arguments.extend(model.scaling.iter().map(ToString::to_string));
        arguments.extend(["--strip".into(), "-o".into(), folder.display().to_string()]);
        let (report, command) = self.tinsmith(&arguments, &[0])?;
        let artifact = report["artifact"]
            .as_str()
            .ok_or_else(|| miette!("no artifact: {report}"))?
            .to_string();
        Ok((report, artifact, command))
    }

    fn memory(&mut self, model: &'static Model) -> Result<()> {
        let target = "mps2-an386";
        let (report, _, command) = self.compile(model, target)?;
        let number = |key: &str| {
            report[key]
                .as_f64()
                .ok_or_else(|| miette!("no {key} in {report}"))
        };
        let arena = number("arena_bytes")?;
        let overhead = number("blob_bytes")?
            - number("weight_bytes")?
            - number("padding_bytes")?
            - number("channel_bytes")?;
        let bound = number("arena_lower_bound_bytes")?;
        self.push(
            "memory: arena",
            model.short,
            target,
            arena,
            "bytes",
            Some(Limit::AtMost(model.arena - 1.0)),
            &command,
        );
        self.push(
            "memory: arena lower bound",
            model.short,
            target,
            bound,
            "bytes",
            None,
            &command,
        );
        self.push(
            "memory: blob",
            model.short,
            target,
            number("blob_bytes")?,
            "bytes",
            None,
            &command,
        );
        self.push(
            "memory: blob beyond weights, channels, padding",
            model.short,
            target,
            overhead,
            "bytes",
            Some(Limit::AtMost(2048.0)),
            &command,
        );
        Ok(())
    }

    /// The reference executor against the stored outputs of ONNX Runtime.
    fn outputs(&mut self, model: &'static Model) -> Result<()> {
        let folder = self.shared.join("models/io").join(model.file);
        let stored = |prefix: &str| -> Result<String> {
            let files = std::fs::read_dir(&folder).into_diagnostic()?.flatten();
            let mut files = files.map(|file| file.path());
            let starts = |path: &PathBuf| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with(prefix))
            };
            let path = files
                .find(starts)
                .ok_or_else(|| miette!("{} has no {prefix}*", folder.display()))?;
            Ok(path.display().to_string())
        };
        let mut arguments: Vec<String> = vec!["check".into(), self.onnx(model)];
        arguments.extend([
            "--input".into(),
            stored("in0")?,
            "--expect".into(),
            stored("out0")?,
        ]);
        let (report, command) = self.tinsmith(&arguments, &[0, 3])?;
        let errors = report["outputs"].as_array().into_iter().flatten();
        let error = errors
            .filter_map(|output| output["relative_error"].as_f64())
            .fold(0.0, f64::max);
        let limit = Some(Limit::AtMost(1e-4));
        self.push(
            "outputs: largest error of FP32",
            model.short,
            "host",
            error,
            "of the range",
            limit,
            &command,
        );
        Ok(())
    }

    /// Code and constants of the runtime with the kernels of the five models, linked for a Cortex-M3.
    fn code(&mut self) -> Result<()> {
        let name = "mps2-an385";
        let target = Target::builtin(name).ok_or_else(|| miette!("no target {name}"))?;
        let path = firmware::build_bare(&target, "bare-vision").into_diagnostic()?;
        let bytes = std::fs::read(&path).into_diagnostic()?;
        let elf = goblin::elf::Elf::parse(&bytes).into_diagnostic()?;
        // The linker script puts `.rodata` into `.text`.
        let sections = elf.section_headers.iter();
        let size: u64 = sections
            .filter(|section| matches!(elf.shdr_strtab.get_at(section.sh_name), Some(".text" | ".data")))
            .map(|section| section.sh_size)
            .sum();
        let limit = Some(Limit::AtMost(24_576.0));
        self.push(
            "code: .text + .rodata",
            "all five",
            name,
            size as f64,
            "bytes",
            limit,
            "cargo xtask bench --only code",
        );
        Ok(())
    }

    fn accuracy(&mut self, model: &'static Model) -> Result<()> {
        let target = "mps2-an386";
        let mut arguments: Vec<String> = ["evaluate", &self.onnx(model), "--target", target]
            .map(String::from)
            .into();
        arguments.extend(["--calibration".into(), self.data(model.calibration)]);
        arguments.extend(["--data".into(), self.data(model.data)]);
        if let Some(labels) = model.labels {
            arguments.extend(["--labels".into(), self.data(labels)]);
        }
        if model.metric == "auc" {
            arguments.extend(["--groups".into(), self.data("windows/ad_eval_groups.npy")]);
        }
        arguments.extend(model.scaling.iter().map(ToString::to_string));
        arguments.extend(["--metric".into(), model.metric.into()]);
        let (report, command) = self.tinsmith(&arguments, &[0])?;
        let metric = &report["metrics"][0];
        let number = |key: &str| {
            metric[key]
                .as_f64()
                .ok_or_else(|| miette!("no {key} in {metric}"))
        };
        if let Some(float) = model.float {
            let limit = Some(Limit::Within(float, 0.001));
            self.push(
                "accuracy: float",
                model.short,
                "host",
                number("float")?,
                model.metric,
                limit,
                &command,
            );
        }
        self.push(
            "accuracy: int8",
            model.short,
            target,
            number("quantized")?,
            model.metric,
            None,
            &command,
        );
        let limit = Some(Limit::AtMost(model.drop));
        self.push(
            "accuracy: drop",
            model.short,
            target,
            number("drop")?,
            model.metric,
            limit,
            &command,
        );
        Ok(())
    }

    /// The quantized references: the blob's outputs against what ONNX means, over 64 inputs.
    fn exact(&mut self, model: &'static Model) -> Result<()> {
        let target = "mps2-an386";
        let folder = self.work.join("qdq");
        let onnx = self.shared.join(format!("reference/qdq/{}.onnx", model.short));
        let mut arguments: Vec<String> = vec![
            "compile".into(),
            onnx.display().to_string(),
            "--target".into(),
            target.into(),
        ];
        arguments.extend(["-o".into(), folder.display().to_string()]);
        let (report, _) = self.tinsmith(&arguments, &[0])?;
        let artifact = report["artifact"]
            .as_str()
            .ok_or_else(|| miette!("no artifact: {report}"))?;
        let input = self.shared.join(format!("reference/qdq/{}_x.npy", model.short));
        let output = folder.join(format!("{}_y.npy", model.short));
        let arguments: Vec<String> = [
            "run",
            artifact,
            "--input",
            &input.display().to_string(),
            "--output",
            &output.display().to_string(),
        ]
        .map(String::from)
        .into();
        let (_, command) = self.tinsmith(&arguments, &[0])?;
        let exact = read_f64(
            &self
                .shared
                .join(format!("reference/qdq/{}_y_exact.npy", model.short)),
        )?;
        let ours = read_f64(&output)?;
        let equal = exact.iter().zip(&ours).filter(|(a, b)| a == b).count();
        let share = 100.0 * equal as f64 / exact.len().max(ours.len()) as f64;
        self.push(
            "exact: output bytes as ONNX means",
            model.short,
            target,
            share,
            "%",
            Some(Limit::AtLeast(100.0)),
            &command,
        );
        Ok(())
    }

    /// Time and memory of one compile with 500 and with 2,500 calibration images.
    fn compile_cost(&mut self) -> Result<()> {
        let model = &MODELS[1];
        for (data, seconds_limit) in [(model.calibration, Some(Limit::AtMost(15.0))), (model.data, None)] {
            let mut arguments: Vec<String> = ["compile", &self.onnx(model), "--target", "mps2-an386"]
                .map(String::from)
                .into();
            arguments.extend(["--calibration".into(), self.data(data), "-o".into()]);
            arguments.push(self.work.join("cost").display().to_string());
            let start = Instant::now();
            let mut child = Command::new(&self.binary)
                .env("TINSMITH_CACHE", "none")
                .args(&arguments)
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .into_diagnostic()?;
            let status_file = PathBuf::from(format!("/proc/{}/status", child.id()));
            let mut peak_kb = 0.0_f64;
            let status = loop {
                if let Some(status) = child.try_wait().into_diagnostic()? {
                    break status;
                }
                peak_kb = peak_kb.max(high_water_mark(&status_file).unwrap_or(0.0));
                std::thread::sleep(Duration::from_millis(5));
            };
            if !status.success() {
                bail!("compile of {} ended with {status}", model.file);
            }
            let seconds = start.elapsed().as_secs_f64();
            let command = format!(
                "tinsmith compile ../shared/models/{}.onnx --calibration {data}",
                model.file
            );
            self.push(
                "compile: wall",
                model.short,
                data,
                seconds,
                "s",
                seconds_limit,
                &command,
            );
            let limit = Some(Limit::AtMost(300.0));
            self.push(
                "compile: peak resident",
                model.short,
                data,
                peak_kb / 1024.0,
                "MB",
                limit,
                &command,
            );
        }
        Ok(())
    }

    /// The same blob from two folders, with one and two threads.
    fn reproducible(&mut self) -> Result<()> {
        let model = &MODELS[1];
        let mut blobs = Vec::new();
        for threads in ["1", "2"] {
            let folder = self.work.join(format!("threads-{threads}"));
            std::fs::create_dir_all(&folder).into_diagnostic()?;
            let onnx = folder.join(format!("{}.onnx", model.file));
            std::fs::write(&onnx, std::fs::read(self.onnx(model)).into_diagnostic()?).into_diagnostic()?;
            let mut arguments: Vec<String> = [
                "compile",
                &onnx.display().to_string(),
                "--target",
                "mps2-an386",
                "--threads",
                threads,
            ]
            .map(String::from)
            .into();
            arguments.extend(["--calibration".into(), self.data(model.calibration)]);
            arguments.extend(["-o".into(), folder.display().to_string()]);
            let (report, command) = self.tinsmith(&arguments, &[0])?;
            let artifact = report["artifact"]
                .as_str()
                .ok_or_else(|| miette!("no artifact: {report}"))?;
            blobs.push((std::fs::read(artifact).into_diagnostic()?, command));
        }
        let differing = blobs[0].0.iter().zip(&blobs[1].0).filter(|(a, b)| a != b).count()
            + blobs[0].0.len().abs_diff(blobs[1].0.len());
        let command = blobs[1].1.clone();
        self.push(
            "reproducible: differing bytes",
            model.short,
            "mps2-an386",
            differing as f64,
            "bytes",
            Some(Limit::AtMost(0.0)),
            &command,
        );
        Ok(())
    }

    /// Eight real inputs on an emulated board: every layer's bytes against the simulator's, and the instructions.
    fn board(&mut self, model: &'static Model, board: &str) -> Result<()> {
        let (_, artifact, _) = self.compile(model, board)?;
        let input = self.work.join(format!("{}_8.npy", model.short));
        first_samples(Path::new(&self.data(model.data)), 8, &input)?;
        let mut arguments: Vec<String> = [
            "run",
            &artifact,
            "--board",
            board,
            "--input",
            &input.display().to_string(),
        ]
        .map(String::from)
        .into();
        arguments.extend(model.scaling.iter().map(ToString::to_string));
        // The command compares every layer's bytes itself, and ends with an error where one differs.
        let (report, command) = self.tinsmith(&arguments, &[0])?;
        let number = |key: &str| {
            report[key]
                .as_f64()
                .ok_or_else(|| miette!("no {key} in {report}"))
        };
        self.push(
            "boards: inputs with equal bytes in every layer",
            model.short,
            board,
            number("samples")?,
            "of 8",
            Some(Limit::AtLeast(8.0)),
            &command,
        );
        self.push(
            "boards: instructions",
            model.short,
            board,
            number("instructions")?,
            "per inference",
            None,
            &command,
        );
        Ok(())
    }

    fn print(&self, format: Format) {
        if matches!(format, Format::Json) {
            let lines: Vec<Value> = self.figures.iter().map(Figure::json).collect();
            println!("{}", Value::Array(lines));
        } else {
            println!("| figure | model | target | value | limit | |\n|---|---|---|---|---|---|");
            for line in &self.figures {
                println!("{}", line.text());
            }
        }
    }
}

/// Peak resident kilobytes of a living process.
fn high_water_mark(status: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn read_f64(path: &Path) -> Result<Vec<f64>> {
    Array::open(path)
        .and_then(|array| array.read_f64())
        .into_diagnostic()
}

/// Copies the first samples of an array along its first axis, whatever the element type.
fn first_samples(from: &Path, count: u64, to: &Path) -> Result<()> {
    let bytes = std::fs::read(from)
        .into_diagnostic()
        .wrap_err_with(|| from.display().to_string())?;
    let header = npyz::NpyHeader::from_reader(&bytes[..]).into_diagnostic()?;
    let (extents, width) = (header.shape(), header.dtype().num_bytes().unwrap_or(1));
    let samples = extents.first().copied().unwrap_or(1);
    let sample_bytes = width * extents.iter().skip(1).product::<u64>() as usize;
    let payload = bytes.len() - sample_bytes * samples as usize;
    let kept = count.min(samples);
    // The header is text of a fixed length: the new count is padded to the width of the old one.
    let old = format!("({samples},");
    let new = format!("({kept:>width$},", width = old.len() - 2);
    let head = String::from_utf8_lossy(&bytes[10..payload]).replacen(&old, &new, 1);
    let mut cut = bytes[..10].to_vec();
    cut.extend_from_slice(head.as_bytes());
    cut.extend_from_slice(&bytes[payload..payload + sample_bytes * kept as usize]);
    std::fs::write(to, cut).into_diagnostic()
}
