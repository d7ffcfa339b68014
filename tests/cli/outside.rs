//! Files beside the model: what may be read, what may not, and that the model's metadata reach the artifact.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tinsmith::data::npy;
use tinsmith::op::tensor::{Data, Values};
use tinsmith_proto::tensor_proto::{DataLocation, DataType};
use tinsmith_proto::{StringStringEntryProto, TensorProto};

use super::Bench;
use crate::import::onnx::Onnx;

/// `y = x · w` with `w` in a file.
fn model(location: &str) -> Onnx {
    let entry = |key: &str, value: &str| StringStringEntryProto {
        key: key.into(),
        value: value.into(),
    };
    let mut model = Onnx::new(13)
        .input("x", [1, 2])
        .node("MatMul", &["x", "w"], &["y"], vec![])
        .output("y");
    model.graph().initializer.push(TensorProto {
        name: "w".into(),
        dims: vec![2, 2],
        data_type: DataType::Float.into(),
        data_location: DataLocation::External.into(),
        external_data: vec![entry("location", location)],
        ..TensorProto::default()
    });
    model
}

/// A folder `m` for models, with a file of weights in it and one beside it.
fn bench() -> Bench {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("m/sub")).unwrap();
    let weights = |first: f32| [first, 0.0, 0.0, first].map(f32::to_le_bytes).concat();
    for (path, first) in [("m/w.bin", 2.0), ("m/sub/w.bin", 3.0), ("secret.bin", 9.0)] {
        bench.write(path, weights(first));
    }
    bench.array("x.npy", &[1, 2], &Data::F32(vec![1.0, 10.0]));
    for (name, first) in [("two.npy", 2.0), ("three.npy", 3.0)] {
        bench.array(name, &[1, 2], &Data::F32(vec![first, 10.0 * first]));
    }
    bench
}

#[test]
fn weights_beside_the_model_are_read() {
    let bench = bench();
    for (location, expect) in [("w.bin", "two.npy"), ("./sub//w.bin", "three.npy")] {
        bench.write("m/model.onnx", model(location).bytes());
        bench
            .run(&format!("check m/model.onnx --input x.npy --expect {expect}"))
            .works();
    }
    // From the model's own folder, without a name for it.
    let mut command = bench.command("check model.onnx");
    super::outcome(command.current_dir(bench.path("m"))).works();
}

#[test]
#[cfg(unix)]
fn nothing_outside_the_models_folder_is_read() {
    use std::os::unix::fs::symlink;
    let bench = bench();
    symlink("../secret.bin", bench.path("m/link.bin")).unwrap();
    symlink("w.bin", bench.path("m/inner.bin")).unwrap();
    symlink("..", bench.path("m/up")).unwrap();
    symlink("sub", bench.path("m/down")).unwrap();
    fs::hard_link(bench.path("secret.bin"), bench.path("m/hard.bin")).unwrap();
    let absolute = bench.path("secret.bin").display().to_string();
    let before = bench.files();
    for (location, words) in [
        ("../secret.bin", "inside the model's folder wanted"),
        ("sub/../../secret.bin", "inside the model's folder wanted"),
        ("sub/../w.bin", "inside the model's folder wanted"),
        (absolute.as_str(), "inside the model's folder wanted"),
        ("..", "inside the model's folder wanted"),
        ("..\\secret.bin", "inside the model's folder wanted"),
        ("w.bin\0", "inside the model's folder wanted"),
        (".", "inside the model's folder wanted"),
        ("link.bin", "leads through the symbolic link `link.bin`"),
        ("inner.bin", "leads through the symbolic link `inner.bin`"),
        ("up/secret.bin", "leads through the symbolic link `up`"),
        ("down/w.bin", "leads through the symbolic link `down`"),
        ("hard.bin", "a hard link"),
        ("sub", "another kind of file found"),
        ("none.bin", "cannot be opened"),
        ("w.bin/x", "cannot be opened"),
    ] {
        bench.write("m/model.onnx", model(location).bytes());
        for verb in [
            "check m/model.onnx",
            "compile m/model.onnx --target mps2-an386 --precision f32",
        ] {
            bench.run(verb).fails(3, &["initializer `w`", words]);
        }
    }
    assert_eq!(bench.files(), before);
}

#[test]
#[cfg(unix)]
fn a_file_that_is_swapped_is_read_from_inside_or_not_at_all() {
    use std::os::unix::fs::symlink;
    let bench = bench();
    bench.write("m/model.onnx", model("swapped.bin").bytes());
    bench.array("nine.npy", &[1, 2], &Data::F32(vec![9.0, 90.0]));
    let (at, link) = (bench.path("m/swapped.bin"), bench.path("m/other"));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                symlink("../secret.bin", &link).unwrap();
                fs::rename(&link, &at).unwrap();
                fs::copy(bench.path("m/w.bin"), &link).unwrap();
                fs::rename(&link, &at).unwrap();
            }
        });
        thread::sleep(Duration::from_millis(20));
        for _ in 0..20 {
            let outcome = bench.run("check m/model.onnx --input x.npy --expect nine.npy");
            // 5: the weights inside were read, which give something else; 3: a link was found.
            assert!(
                matches!(outcome.exit, 3 | 5),
                "{}{}",
                outcome.stdout,
                outcome.stderr
            );
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn safetensors_are_matched_by_name() {
    let bench = bench();
    let bytes = [2.0_f32, 0.0, 0.0, 2.0].map(f32::to_le_bytes).concat();
    let view = |shape: &[usize]| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), &bytes).unwrap()
    };
    let file = |tensors: &[(&str, &[usize])]| {
        let tensors = tensors.iter().map(|&(name, shape)| (name, view(shape)));
        safetensors::serialize(tensors.collect::<Vec<_>>(), None).unwrap()
    };
    bench.write("m/model.onnx", model("none.bin").bytes());
    bench.write("w.safetensors", file(&[("w", &[2, 2])]));
    bench.write("set-1.safetensors", file(&[("w", &[2, 2])]));
    bench.write("set.index.json", r#"{"weight_map": {"w": "set-1.safetensors"}}"#);
    for weights in ["w.safetensors", "set.index.json"] {
        let check = format!("check m/model.onnx --weights {weights} --input x.npy --expect two.npy");
        bench.run(&check).works();
    }
    bench.write("bad.safetensors", file(&[("w", &[4]), ("v", &[2, 2])]));
    bench.run("check m/model.onnx --weights bad.safetensors").fails(
        3,
        &[
            "f32[2,2] wanted, f32[4] found",
            "names of the model's initializers",
            "`v`",
        ],
    );
    bench.write(
        "out.index.json",
        r#"{"weight_map": {"w": "../secret.safetensors"}}"#,
    );
    bench
        .run("check m/model.onnx --weights out.index.json")
        .fails(3, &["inside the model's folder"]);
    bench.write("no.index.json", "[]");
    bench
        .run("check m/model.onnx --weights no.index.json")
        .fails(2, &["no.index.json", "weight_map"]);
    bench
        .run("check m/model.onnx --weights none.safetensors")
        .fails(2, &["none.safetensors"]);
}

#[test]
#[cfg(unix)]
fn files_beyond_protobuf_are_refused_unread() {
    let bench = bench();
    let file = fs::File::create(bench.path("vast.onnx")).unwrap();
    file.set_len((1 << 31) + 1).unwrap();
    bench
        .run("check vast.onnx")
        .fails(3, &["at most 2 GiB", "external data"]);
}

#[test]
fn lossy_exports_are_named_with_the_first_strange_layer() {
    let bench = bench();
    bench.write("m/model.onnx", model("w.bin").bytes());
    let json = bench
        .run("check m/model.onnx --input x.npy --expect three.npy --format json")
        .json();
    assert_eq!(json["outputs"][0]["absolute_error"], 10.0);
    let relative = json["outputs"][0]["relative_error"].as_f64().unwrap();
    assert!((relative - 10.0 / 27.0).abs() < 1e-12, "{relative}");
    assert_eq!(
        (&json["ok"], &json["suspicious"]),
        (&false.into(), &serde_json::Value::Null)
    );
    bench
        .run("check m/model.onnx --input x.npy --expect three.npy")
        .fails(5, &["the export is lossy: output `y`"]);
    // 0/0 in the second layer: NaN, which the third passes on.
    let nan = Onnx::new(17)
        .input("x", [1, 2])
        .node("Sub", &["x", "x"], &["zero"], vec![])
        .node("Div", &["zero", "zero"], &["ratio"], vec![])
        .node("Add", &["ratio", "x"], &["y"], vec![])
        .output("y");
    bench.write("nan.onnx", nan.bytes());
    let outcome = bench.run("check nan.onnx --input x.npy --expect two.npy");
    outcome.fails(5, &["the export is lossy", "Div `RATIO`", "NaN"]);
    // The layer is one of ONNX's, and so is its name, though it was made into a sum and a logarithm.
    let infinite = Onnx::new(17)
        .input("x", [1, 2])
        .node("Sub", &["x", "x"], &["zero"], vec![])
        .node("ReduceLogSum", &["zero"], &["/net/log"], vec![])
        .node("Add", &["/net/log", "x"], &["y"], vec![])
        .output("y");
    bench.write("infinite.onnx", infinite.bytes());
    let check = "check infinite.onnx --input x.npy --expect two.npy";
    bench
        .run(check)
        .fails(5, &["look at ReduceLogSum `/NET/LOG` first", "infinity"]);
    let json = bench.run(&format!("{check} --format json")).json();
    assert_eq!(
        (&json["suspicious"]["layer"], &json["suspicious"]["operator"]),
        (&"/NET/LOG".into(), &"ReduceLogSum".into())
    );
    // Expected values may be ONNX's own test data.
    let pb = crate::import::onnx::tensor(&Values::f32([1, 2], vec![2.0, 20.0]));
    bench.write("two.pb", tinsmith_proto::Message::encode_to_vec(&pb));
    bench
        .run("check m/model.onnx --input x.npy --expect two.pb")
        .works();
    bench.write("bad.pb", "no tensor");
    bench
        .run("check m/model.onnx --input x.npy --expect bad.pb")
        .fails(2, &["bad.pb"]);
}

#[test]
fn metadata_reach_the_artifact() {
    let bench = bench();
    let mut about = model("w.bin");
    about.0.producer_name = "pytorch".into();
    about.0.model_version = 3;
    about.0.metadata_props = vec![
        StringStringEntryProto {
            key: "names".into(),
            value: "{0: 'cat', 1: 'dog'}".into(),
        },
        StringStringEntryProto {
            key: "license".into(),
            value: "MIT".into(),
        },
    ];
    bench.write("m/about.onnx", about.bytes());
    let compile = "compile m/about.onnx --target mps2-an386 --precision f32";
    bench.run(compile).works();
    let json = bench.run("inspect about.tin --format json").works().json();
    assert_eq!(
        (&json["producer"], &json["model_version"]),
        (&"pytorch".into(), &"3".into())
    );
    assert_eq!(json["labels"], serde_json::json!(["cat", "dog"]));
    assert_eq!(json["about"]["license"], "MIT");
    assert_eq!(json["about"]["onnx.opset"], "13");
    let text = bench.run("inspect about.tin").works().stdout;
    for word in ["made by  pytorch", "version  3", "license: MIT", "cat, dog"] {
        assert!(text.contains(word), "`{word}` is not in\n{text}");
    }
    bench.write("names.txt", "wolf\nlynx\n");
    bench.run(&format!("{compile} --labels names.txt")).works();
    let json = bench.run("inspect about.tin --format json").works().json();
    assert_eq!(json["labels"], serde_json::json!(["wolf", "lynx"]));
    bench.write("names.txt", "wolf\nlynx\nbear\n");
    let before = bench.files();
    bench.run(&format!("{compile} -o new --labels names.txt")).fails(
        2,
        &[
            "names.txt: one label for each class",
            "3 found",
            "`y` is f32[1,2]",
        ],
    );
    assert_eq!(bench.files(), before);
}

#[test]
fn archives_that_explode_are_refused() {
    let bench = bench();
    // 64 MiB of zeros in 64 kB.
    let mut writer = npyz::zip::ZipWriter::new(fs::File::create(bench.path("bomb.npz")).unwrap());
    let options =
        npyz::zip::write::FileOptions::default().compression_method(npyz::zip::CompressionMethod::Deflated);
    writer.start_file("arr_0.npy", options).unwrap();
    std::io::Write::write_all(&mut writer, &vec![0; 64 << 20]).unwrap();
    writer.finish().unwrap();
    bench
        .run("check digits.onnx --input bomb.npz --expect eval_y.npy")
        .fails(2, &["bomb.npz", "would grow from"]);
    // A header of 4 GB.
    bench.write("header.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{");
    bench
        .run("check digits.onnx --input header.npy --expect eval_y.npy")
        .fails(2, &["header.npy", "a header of at most 65536 bytes"]);
}

#[test]
fn archives_that_explode_together_are_refused() {
    let bench = Bench::new();
    // Forty arrays of 4 MiB that no one would take for a bomb: 160 MiB in 160 kB.
    let zeros = npy::encode(&[1 << 20], &Data::F32(vec![0.0; 1 << 20]));
    let mut writer = npyz::zip::ZipWriter::new(fs::File::create(bench.path("many.npz")).unwrap());
    for i in 0..40 {
        let options = npyz::zip::write::FileOptions::default();
        let options = options.compression_method(npyz::zip::CompressionMethod::Deflated);
        writer.start_file(format!("arr_{i}.npy"), options).unwrap();
        std::io::Write::write_all(&mut writer, &zeros).unwrap();
    }
    writer.finish().unwrap();
    let before = bench.files();
    bench
        .run("check digits.onnx --input many.npz --expect eval_y.npy")
        .fails(2, &["many.npz[arr_", "would grow from"]);
    assert_eq!(bench.files(), before);
}
