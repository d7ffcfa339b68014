//! The command line: what scripts rely on (exit codes, JSON fields), and that every bad input is named and leaves
//! nothing behind.

mod accuracy;
mod cache;
mod hostile;
mod outside;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tinsmith::data::npy;
use tinsmith::op::tensor::Data;

use crate::import::onnx::{Onnx, int};

/// What a command did.
struct Outcome {
    exit: i32,
    stdout: String,
    stderr: String,
}

impl Outcome {
    /// Standard output as JSON.
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}\n{}{}", self.stdout, self.stderr))
    }

    /// Asserts an exit code and words on standard error, and that nothing but the diagnosis was said.
    #[track_caller]
    fn fails(&self, exit: i32, words: &[&str]) {
        assert_eq!(self.exit, exit, "{}{}", self.stdout, self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in\n{}", self.stderr);
        }
    }

    #[track_caller]
    fn works(self) -> Self {
        assert_eq!(self.exit, 0, "{}{}", self.stdout, self.stderr);
        self
    }
}

/// A folder with the bundled model, its data, and what tests put beside them.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        for name in ["digits.onnx", "calib_x.npy", "eval_x.npy", "eval_y.npy"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("examples/digits")
                .join(name);
            fs::copy(from, bench.path(name)).unwrap();
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn array(&self, name: &str, shape: &[usize], data: &Data) {
        self.write(name, npy::encode(shape, data));
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tinsmith"));
        command
            .current_dir(self.0.path())
            .env("TINSMITH_CACHE", "none")
            .args(arguments.split_whitespace());
        command
    }

    fn run(&self, arguments: &str) -> Outcome {
        outcome(&mut self.command(arguments))
    }

    /// Compiles the bundled model.
    fn compile(&self, more: &str) -> Outcome {
        self.run(&format!(
            "compile digits.onnx --target mps2-an386 --calibration calib_x.npy {more}"
        ))
    }

    /// The names of all files there.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

fn outcome(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    Outcome {
        exit: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn encodings_take_the_place_of_calibration() {
    let bench = Bench::new();
    let compile = "compile digits.onnx --target mps2-an386 --encodings e.json";
    bench.run(compile).fails(2, &["e.json: cannot be read"]);
    bench.write("e.json", "[]");
    bench.run(compile).fails(2, &["e.json: the file: an object with"]);
    bench.write(
        "e.json",
        r#"{"activation_encodings": {"nobody": [{"bitwidth": 8, "scale": 1, "offset": 0}]}}"#,
    );
    let named = ["encoding `nobody`", "the model has no tensor of this name"];
    bench.run(compile).fails(3, &named);
    bench.write("e.json", r#"{"activation_encodings": {}}"#);
    bench.run(compile).fails(2, &["calibration"]);
}

#[test]
fn compile_writes_every_form_and_says_what_it_costs() {
    let bench = Bench::new();
    let answer = bench
        .compile("-o out --emit tin,bin,hex,elf,onnx --format json --explain")
        .works();
    assert_eq!(answer.stderr, "");
    let json = answer.json();
    assert_eq!(json["artifact"], "out/digits.tin");
    assert_eq!(json["files"].as_array().unwrap().len(), 6);
    // The quantized model is a model, and costs the same.
    let again = bench.run("compile out/digits.qdq.onnx --target mps2-an386 -o again --format json");
    let again = again.works().json();
    for field in ["arena_bytes", "instructions", "macs"] {
        assert_eq!(again[field], json[field], "{field}");
    }
    let blob = fs::read(bench.path("out/digits.tin")).unwrap();
    assert_eq!(json["blob_bytes"], blob.len());
    for field in ["arena_bytes", "arena_lower_bound_bytes", "instructions", "macs"] {
        assert!(json[field].as_u64().unwrap() > 0, "{field}");
    }
    assert!(json["arena_bytes"].as_u64() >= json["arena_lower_bound_bytes"].as_u64());
    assert_eq!(json["proofs"]["inexact"], Value::Array(vec![]));
    let layers = json["layers"].as_array().unwrap();
    let macs: u64 = layers.iter().map(|layer| layer["macs"].as_u64().unwrap()).sum();
    assert_eq!(json["macs"], macs);
    for file in ["out/digits.bin", "out/digits.hex", "out/digits.elf"] {
        assert!(!fs::read(bench.path(file)).unwrap().is_empty());
    }
    // For people, the same in words.
    let text = bench.compile("-o again").works().stdout;
    for word in ["flash", "SRAM", "proofs", "work", "peak at", "again/digits.tin"] {
        assert!(text.contains(word), "`{word}` is not in\n{text}");
    }
}

#[test]
fn artifacts_do_not_depend_on_folder_or_threads() {
    let (one, two) = (Bench::new(), Bench::new());
    one.compile("-o out --threads 1").works();
    two.compile("-o elsewhere --threads 2").works();
    assert_eq!(
        fs::read(one.path("out/digits.tin")).unwrap(),
        fs::read(two.path("elsewhere/digits.tin")).unwrap()
    );
}

#[test]
fn run_gives_one_result_per_sample() {
    let bench = Bench::new();
    bench.compile("").works();
    let json = bench
        .run("run digits.tin --input eval_x.npy --output y.npy --format json")
        .works()
        .json();
    assert_eq!(json["outputs"], serde_json::json!(["y.npy"]));
    assert_eq!(json["instructions"], Value::Null);
    for layer in json["layers"].as_array().unwrap() {
        assert!(layer["name"].is_string() && layer["kernel"].is_string() && layer["macs"].is_u64());
        assert!(layer["predicted"].is_u64() && layer["counted"].is_null());
    }
    let results = npy::Array::open(&bench.path("y.npy")).unwrap();
    assert_eq!(results.shape, [597, 10]);
    let labels = npy::Array::open(&bench.path("eval_y.npy"))
        .unwrap()
        .read_f64()
        .unwrap();
    let scores = results.read_f64().unwrap();
    let right = scores.chunks(10).zip(&labels).filter(|(scores, label)| {
        let best = (0..10)
            .rev()
            .max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
            .unwrap();
        best as f64 == **label
    });
    assert!(right.count() > 570);
}

#[test]
fn evaluate_compares_float_and_int8() {
    let bench = Bench::new();
    let evaluate =
        "evaluate digits.onnx --target mps2-an386 --calibration calib_x.npy --data eval_x.npy --format json";
    let json = bench
        .run(&format!(
            "{evaluate} --labels eval_y.npy --metric top1,agreement,mse,cosine"
        ))
        .works()
        .json();
    let metrics = json["metrics"].as_array().unwrap();
    let names: Vec<&str> = metrics
        .iter()
        .map(|metric| metric["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["top1", "agreement", "mse", "cosine"]);
    for metric in metrics {
        let figure = |name: &str| metric[name].as_f64().unwrap();
        assert!(
            figure("drop_low") <= figure("drop") && figure("drop") <= figure("drop_high"),
            "{metric}"
        );
        assert_eq!(metric["samples"], 597);
    }
    assert!(metrics[0]["float"].as_f64().unwrap() > 0.95);
    for layer in json["layers"].as_array().unwrap() {
        assert!(layer["sqnr_db"].as_f64().unwrap() > 15.0, "{layer}");
        assert!(
            layer["cosine"].as_f64().unwrap() > 0.98 && layer["saturated"].is_f64(),
            "{layer}"
        );
        assert!(layer["isolated_sqnr_db"].is_null(), "{layer}");
    }
    bench.run(&format!("{evaluate} --max-drop 5")).works();
    let gate = bench.run(&format!("{evaluate} --max-drop -1"));
    gate.fails(5, &["agreement drops by", "the limit is -1"]);
    assert_eq!(gate.json()["metrics"][0]["name"], "agreement");
}

#[test]
fn check_says_whether_it_fits() {
    let bench = Bench::new();
    let json = bench
        .run("check digits.onnx --target mps2-an386 --format json")
        .works()
        .json();
    assert_eq!(json["ok"], true);
    assert_eq!(json["problems"], Value::Array(vec![]));
    assert!(json["macs"].as_u64().unwrap() > 0 && json["parameters"].as_u64().unwrap() > 0);
    // The sizes are those of a real compile.
    let compiled = bench.compile("--format json").works().json();
    assert_eq!(json["arena_bytes"], compiled["arena_bytes"]);
    assert_eq!(json["blob_bytes"], compiled["blob_bytes"]);
}

#[test]
fn inspect_shows_what_is_inside() {
    let bench = Bench::new();
    bench.write(
        "names.txt",
        "zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n",
    );
    let blob_bytes = bench.compile("--labels names.txt --format json").works().json()["blob_bytes"].clone();
    let json = bench.run("inspect digits.tin --format json").works().json();
    assert_eq!(json["blob_bytes"], blob_bytes);
    assert_eq!(json["target"], "mps2-an386");
    assert_eq!(json["inputs"][0]["name"], "image");
    assert_eq!(json["inputs"][0]["model_shape"], serde_json::json!([1, 1, 8, 8]));
    assert_eq!(json["outputs"][0]["name"], "digit");
    assert_eq!(json["labels"][9], "nine");
    bench.run("inspect digits.tin").works();
}

#[test]
fn lists_are_generated_from_the_code() {
    let bench = Bench::new();
    assert!(bench.run("ops").works().stdout.contains("AveragePool"));
    assert!(bench.run("targets").works().stdout.contains("Cortex-M4"));
    let toml = bench.run("targets mps2-an385").works().stdout;
    bench.write("mine.toml", &toml);
    bench.run("check digits.onnx --target ./mine.toml").works();
}

#[test]
fn a_closed_reader_is_no_error() {
    let bench = Bench::new();
    let mut child = bench
        .command("ops")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn bad_models_are_named() {
    let bench = Bench::new();
    let whole = fs::read(bench.path("digits.onnx")).unwrap();
    bench.write("text.onnx", "this is no protobuf");
    bench.write("cut.onnx", &whole[..whole.len() / 2]);
    bench.write("empty.onnx", "");
    let unknown = Onnx::new(17)
        .input("x", [1, 4])
        .node("Wobble", &["x"], &["y"], vec![])
        .node("Relu", &["y"], &["z"], vec![])
        .node("Frobnicate", &["z"], &["w"], vec![int("n", 1)])
        .output("w");
    bench.write("unknown.onnx", unknown.bytes());
    let symbolic = Onnx::new(17)
        .input("x", [crate::import::onnx::Dim::N(1), "width".into()])
        .node("Relu", &["x"], &["y"], vec![])
        .output("y");
    bench.write("symbolic.onnx", symbolic.bytes());
    let before = bench.files();
    for verb in ["compile", "check"] {
        for (model, exit, words) in [
            ("none.onnx", 2, &["none.onnx", "cannot be read"][..]),
            ("text.onnx", 3, &["text.onnx", "not an ONNX file"]),
            ("cut.onnx", 3, &["cut.onnx"]),
            ("empty.onnx", 3, &["empty.onnx"]),
            ("unknown.onnx", 3, &["Wobble", "Frobnicate"]),
            ("symbolic.onnx", 3, &["width", "--dim"]),
        ] {
            bench
                .run(&format!("{verb} {model} --target mps2-an386"))
                .fails(exit, words);
        }
    }
    let json = bench.run("check unknown.onnx --format json");
    json.fails(3, &[]);
    let json = json.json();
    assert_eq!(json["ok"], false);
    let operators: Vec<&Value> = json["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| &problem["operator"])
        .collect();
    assert_eq!(operators, ["Wobble", "Frobnicate"]);
    bench.run("check symbolic.onnx --dim width=3").works();
    assert_eq!(bench.files(), before);
}

#[test]
fn what_decides_shapes_is_given_beforehand() {
    let bench = Bench::new();
    let model = Onnx::new(13)
        .input("x", [2, 3])
        .typed_input("shape", tinsmith_proto::tensor_proto::DataType::Int64, [2])
        .node("NonZero", &["x"], &["found"], vec![])
        .node("Reshape", &["x", "shape"], &["y"], vec![])
        .output("y")
        .output("found");
    bench.write("open.onnx", model.bytes());
    bench.array("shape.npy", &[2], &Data::I64(vec![3, 2]));
    bench.array("wrong.npy", &[2], &Data::F32(vec![3.0, 2.0]));
    let check = |flags: &str| bench.run(&format!("check open.onnx {flags}"));
    check("").fails(3, &["Reshape `Y`", "NonZero `FOUND`", "--bound FOUND=N"]);
    check("--value shape=none.npy").fails(2, &["none.npy"]);
    check("--value shape=wrong.npy --bound FOUND=2").fails(3, &["input `shape`", "i64"]);
    check("--value shape=shape.npy --bound FOUND=0").fails(2, &["wanted a number from 1"]);
    check("--value shape=shape.npy --bound FOUND=2 --bound Y=2").fails(3, &["node `Y`"]);
    check("--value shape=shape.npy --bound FOUND=2").works();
}

#[test]
fn bad_data_is_named() {
    let bench = Bench::new();
    bench.array("shape.npy", &[3, 8, 9], &Data::U8(vec![0; 216]));
    bench.array("wide.npy", &[1, 8, 8], &Data::F64(vec![0.0; 64]));
    bench.array("empty.npy", &[0, 1, 8, 8], &Data::F32(vec![]));
    bench.array("nan.npy", &[1, 8, 8], &Data::F32(vec![f32::NAN; 64]));
    bench.write("text.npy", "no array");
    bench.write("text.txt", "no array");
    let before = bench.files();
    for (file, words) in [
        ("none.npy", &["none.npy", "cannot be read"][..]),
        (
            "shape.npy",
            &["shape.npy", "[3, 8, 9]", "`image`", "f32[1,1,8,8]"],
        ),
        ("wide.npy", &["wide.npy", "f64", "f32"]),
        ("empty.npy", &["empty.npy", "no sample"]),
        (
            "nan.npy",
            &["nan.npy: sample 0 of `image` holds NaN at element 0"],
        ),
        ("text.npy", &["text.npy", "not a NumPy array"]),
        ("text.txt", &["text.txt", ".npy"]),
        ("other=calib_x.npy", &["`other`", "`image`"]),
    ] {
        let outcome = bench.run(&format!(
            "compile digits.onnx --target mps2-an386 --calibration {file} -o out"
        ));
        outcome.fails(2, words);
        assert_eq!(outcome.stdout, "");
    }
    bench
        .run("compile digits.onnx --target mps2-an386 -o out")
        .fails(2, &["calibration"]);
    assert_eq!(bench.files(), before);
}

#[test]
fn bad_targets_and_options_are_named() {
    let bench = Bench::new();
    let toml = bench.run("targets mps2-an386").works().stdout;
    bench.write("colour.toml", format!("colour = \"red\"\n{toml}"));
    bench.write("file", "");
    let before = bench.files();
    bench
        .run("compile digits.onnx --target nope")
        .fails(2, &["`nope`", "mps2-an386"]);
    bench
        .run("compile digits.onnx --target none.toml")
        .fails(2, &["none.toml"]);
    bench
        .run("compile digits.onnx --target colour.toml")
        .fails(2, &["colour.toml", "colour"]);
    bench.run("compile digits.onnx").fails(2, &["--target"]);
    bench.run("polish digits.onnx").fails(2, &["polish"]);
    bench
        .compile("-o out --emit uf2")
        .fails(2, &["uf2", "tin, bin, hex"]);
    bench
        .compile("-o out --precision int12")
        .fails(2, &["int12", "int8", "int16x8"]);
    bench.compile("-o out --calibrator best").fails(2, &["minmax"]);
    bench
        .compile("-o out --stop-after nothing")
        .fails(2, &["nothing"]);
    bench.compile("-o file/out").fails(2, &["file"]);
    assert_eq!(bench.files(), before);
}

#[test]
fn too_big_is_told_with_what_is_big() {
    let bench = Bench::new();
    let toml = bench.run("targets mps2-an386").works().stdout;
    let small = |purpose: &str, bytes: u32| {
        let (head, tail) = toml.split_once(&format!("use = \"{purpose}\"")).unwrap();
        let (_, tail) = tail.split_once("bytes = ").unwrap();
        let (_, tail) = tail.split_once('\n').unwrap();
        let address = if purpose == "flash" {
            "0x0020_0000"
        } else {
            "0x2004_0000"
        };
        format!("{head}use = \"{purpose}\"\naddress = {address}\nbytes = {bytes}\n{tail}")
    };
    bench.write("no-flash.toml", small("flash", 4096));
    bench.write("no-ram.toml", small("arena", 1024));
    let before = bench.files();
    let compile = "compile digits.onnx --calibration calib_x.npy -o out --target";
    bench
        .run(&format!("{compile} no-flash.toml"))
        .fails(4, &["4096 bytes", "largest", "would fit"]);
    bench
        .run(&format!("{compile} no-ram.toml"))
        .fails(4, &["1024 bytes", "largest", "would fit"]);
    bench
        .run("check digits.onnx --target no-ram.toml")
        .fails(4, &["1024 bytes"]);
    bench
        .compile("-o out --ram-max 100")
        .fails(8, &["100 bytes of SRAM"]);
    bench
        .compile("-o out --flash-max 100")
        .fails(8, &["100 bytes of flash"]);
    assert_eq!(bench.files(), before);
}

#[test]
fn damaged_artifacts_are_refused() {
    let bench = Bench::new();
    bench.compile("").works();
    let whole = fs::read(bench.path("digits.tin")).unwrap();
    let changed = |at: usize, to: u8| {
        let mut bytes = whole.clone();
        bytes[at] ^= to;
        bytes
    };
    use tinsmith_runtime::format::field;
    bench.write("cut.tin", &whole[..whole.len() - 1]);
    bench.write("flipped.tin", changed(whole.len() / 2, 0x10));
    bench.write("newer.tin", changed(field::VERSION, 0x80));
    bench.write("core.tin", changed(field::LANES, 0x40));
    bench.write("text.tin", "no artifact");
    let before = bench.files();
    for (file, words) in [
        ("cut.tin", &["cut.tin", "bytes"][..]),
        ("flipped.tin", &["flipped.tin"]),
        ("newer.tin", &["newer.tin", "version"]),
        ("core.tin", &["core.tin", "this core"]),
        ("text.tin", &["text.tin", "not a Tinsmith blob"]),
    ] {
        bench.run(&format!("inspect {file}")).fails(7, words);
        bench
            .run(&format!("run {file} --input eval_x.npy --output y.npy"))
            .fails(7, words);
    }
    bench.array("shape.npy", &[3, 8, 9], &Data::F32(vec![0.0; 216]));
    bench
        .run("run digits.tin --input shape.npy --output y.npy")
        .fails(2, &["shape.npy", "`image`"]);
    bench
        .run("run digits.tin --input none.npy --output y.npy")
        .fails(2, &["none.npy"]);
    bench
        .run("run digits.tin --input eval_x.npy --output file/y.npy --output z.npy")
        .fails(2, &["z.npy"]);
    fs::remove_file(bench.path("shape.npy")).unwrap();
    assert_eq!(bench.files(), before);
}

#[test]
fn a_missing_emulator_is_named() {
    let bench = Bench::new();
    bench.compile("").works();
    let before = bench.files();
    let mut command = bench.command("run digits.tin --input eval_x.npy --output y.npy --board mps2-an386");
    outcome(command.env("PATH", "")).fails(2, &["qemu-system-arm", "cargo xtask setup"]);
    bench
        .run("run digits.tin --input eval_x.npy --output y.npy --board host-x86-64")
        .fails(2, &["no emulated board"]);
    assert_eq!(bench.files(), before);
}

#[test]
fn the_demo_goes_the_whole_way() {
    let bench = Bench::new();
    let text = bench.run("demo").works().stdout;
    for word in ["flash", "SRAM", "accuracy", "board", "tinsmith compile"] {
        assert!(text.contains(word), "`{word}` is not in\n{text}");
    }
}
