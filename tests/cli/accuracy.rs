//! `evaluate` with every kind of reference: what it prints, and how it fails.

use std::fmt::Write;

use serde_json::Value;
use tinsmith::data::npy;
use tinsmith::op::tensor::Data;

use super::Bench;
use crate::import::onnx::{Onnx, int};

const DIGITS: &str = "evaluate digits.onnx --target mps2-an386 --calibration calib_x.npy --data eval_x.npy";

/// The metrics of an answer, by name.
fn metric<'j>(json: &'j Value, name: &str) -> &'j Value {
    let metrics = json["metrics"].as_array().unwrap();
    metrics.iter().find(|metric| metric["name"] == name).unwrap()
}

#[test]
fn hits_come_with_an_exact_test() {
    let bench = Bench::new();
    let evaluate = format!("{DIGITS} --labels eval_y.npy --metric top1,top5,f1,agreement");
    let json = bench.run(&format!("{evaluate} --format json")).works().json();
    let top1 = metric(&json, "top1");
    let (lost, won) = (top1["lost"].as_u64().unwrap(), top1["won"].as_u64().unwrap());
    let drop = top1["drop"].as_f64().unwrap();
    assert!((drop - (lost as f64 - won as f64) / 597.0).abs() < 1e-12);
    assert!(top1["p_value"].as_f64().unwrap() > 0.05);
    assert!(metric(&json, "top5")["float"].as_f64() > top1["float"].as_f64());
    let f1 = metric(&json, "f1");
    assert!(
        f1["float"].as_f64().unwrap() > 0.95 && f1["p_value"].is_null(),
        "{f1}"
    );
    // The same in words.
    let text = bench.run(&evaluate).works().stdout;
    assert!(
        text.contains(&format!("top1: {lost} hits lost, {won} won; p = ")),
        "{text}"
    );
    // And at any number of threads.
    for threads in 1..=3 {
        let again = bench.run(&format!("{evaluate} --format json --threads {threads}"));
        assert_eq!(again.works().json(), json);
    }
}

#[test]
fn a_table_of_outputs_is_a_reference() {
    let bench = Bench::new();
    bench
        .run("compile digits.onnx --target mps2-an386 --calibration calib_x.npy --precision f32")
        .works();
    bench
        .run("run digits.tin --input eval_x.npy --output y.npy")
        .works();
    let outputs = npy::Array::open(&bench.path("y.npy"))
        .unwrap()
        .read_f64()
        .unwrap();
    let mut table = String::from("a,b,c,d,e,f,g,h,i,j\n");
    for row in outputs.chunks(10) {
        let cells: Vec<String> = row.iter().map(f64::to_string).collect();
        let _ = writeln!(table, "{}", cells.join(","));
    }
    bench.write("y.csv", &table);
    let evaluate = format!("{DIGITS} --outputs y.csv --format json");
    let json = bench.run(&evaluate).works().json();
    let csv = metric(&json, "csv");
    assert!(csv["float"].as_f64().unwrap() > 0.999_999, "{csv}");
    let drop = csv["drop"].as_f64().unwrap();
    assert!(drop > 0.0 && drop < 0.02, "{csv}");
    bench.run(&format!("{evaluate} --max-drop 2")).works();
    bench
        .run(&format!("{evaluate} --max-drop 0.0001"))
        .fails(5, &["csv drops by"]);

    bench
        .run(&format!("{DIGITS} --metric csv"))
        .fails(2, &["`csv` needs whole outputs", "--outputs Y.csv"]);
    bench
        .run(&format!("{evaluate} --metric mse,si_sdr --max-drop 1"))
        .fails(2, &["mse, si_sdr", "fraction"]);
    bench.write("short.csv", table.lines().take(9).collect::<Vec<_>>().join("\n"));
    bench
        .run(&format!("{DIGITS} --outputs short.csv"))
        .fails(2, &["[8, 10]", "10 numbers per sample"]);
    bench.write("word.csv", table.replacen("\n0", "\n0x", 1));
    bench
        .run(&format!("{DIGITS} --outputs word.csv"))
        .fails(2, &["word.csv: line"]);
}

#[test]
fn boxes_are_held_against_coco_labels() {
    let bench = Bench::new();
    let model = Onnx::new(13)
        .input("x", [1, 2, 5])
        .node(
            "Split",
            &["x", "sizes"],
            &["boxes", "scores"],
            vec![int("axis", 2)],
        )
        .ints("sizes", &[4, 1])
        .output("boxes")
        .output("scores");
    bench.write("boxes.onnx", model.bytes());
    // The first image's box is found, the second's is missed by half of its width.
    let found = [
        [0.1, 0.2, 0.5, 0.6, 0.9, 0.0, 0.0, 0.1, 0.1, 0.0],
        [0.25, 0.0, 0.75, 1.0, 0.8, 0.0, 0.0, 0.1, 0.1, 0.3],
    ];
    bench.array("x.npy", &[2, 2, 5], &Data::F32(found.concat()));
    let truth = r#"{"images": [{"id": 1, "width": 100, "height": 100}, {"id": 2, "width": 10, "height": 10}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 40, 40], "iscrowd": 0},
                        {"id": 2, "image_id": 2, "category_id": 1, "bbox": [5, 0, 5, 10], "iscrowd": 0}]}"#;
    bench.write("gt.json", truth);
    let evaluate =
        "evaluate boxes.onnx --target mps2-an386 --calibration x.npy --data x.npy --labels gt.json";
    let json = bench.run(&format!("{evaluate} --format json")).works().json();
    // One of two is found, surely: precision 1 at the 51 recalls up to one half.
    let map50 = metric(&json, "map50")["float"].as_f64().unwrap();
    assert!((map50 - 51.0 / 101.0).abs() < 1e-12, "{map50}");
    assert!(metric(&json, "map")["float"].is_f64());

    bench.write(
        "decode.toml",
        "[boxes]\noutput = \"boxes\"\nformat = \"xywh\"\n[scores]\noutput = \"scores\"\n",
    );
    bench.run(&format!("{evaluate} --boxes decode.toml")).works();
    bench.write("bad.toml", "[boxes]\noutput = \"boxes\"\nformat = \"round\"\n");
    bench
        .run(&format!("{evaluate} --boxes bad.toml"))
        .fails(2, &["bad.toml", "round", "cxcywh"]);
    bench.write(
        "other.toml",
        "image_ids = [1, 3]\n[boxes]\noutput = \"boxes\"\n[scores]\noutput = \"scores\"\n",
    );
    bench
        .run(&format!("{evaluate} --boxes other.toml"))
        .fails(2, &["image 3", "--boxes"]);
    bench.write("bad.json", truth.replace("\"image_id\": 2", "\"image_id\": 5"));
    bench
        .run(&evaluate.replace("gt.json", "bad.json"))
        .fails(2, &["bad.json", "annotation 1 is of image 5"]);
    bench
        .run(&format!("{DIGITS} --metric map"))
        .fails(2, &["`map` needs labels that are boxes", "GT.json"]);
    bench
        .run(&format!("{DIGITS} --labels eval_y.npy --metric miou"))
        .fails(2, &["`miou` needs labels that are maps"]);
}

#[test]
fn layers_are_measured_alone_on_demand() {
    let bench = Bench::new();
    let evaluate = format!("{DIGITS} --isolated --layer-samples 4");
    let json = bench.run(&format!("{evaluate} --format json")).works().json();
    let layers = json["layers"].as_array().unwrap();
    let with_weights = ["relu_0", "relu_1", "relu_2", "relu_4", "dense"];
    for layer in layers {
        let alone = layer["isolated_sqnr_db"].as_f64();
        let has_weights = with_weights.contains(&layer["name"].as_str().unwrap());
        assert_eq!(alone.is_some(), has_weights, "{layer}");
        assert!(alone.is_none_or(|alone| alone > 30.0), "{layer}");
    }
    let text = bench.run(&evaluate).works().stdout;
    assert!(text.contains("alone dB"), "{text}");
}

#[test]
fn causes_come_with_a_cure() {
    let bench = Bench::new();
    let whole = npy::Array::open(&bench.path("calib_x.npy")).unwrap();
    let louder: Vec<f32> = whole
        .read_f64()
        .unwrap()
        .iter()
        .map(|&x| x as f32 * 40.0)
        .collect();
    bench.array("loud.npy", &whole.shape, &Data::F32(louder));
    let evaluate = |calibration: &str, flags: &str| {
        let command = DIGITS.replace("calib_x.npy", calibration);
        bench.run(&format!("{command} --layer-samples 8 {flags}")).works()
    };
    // A collapse is diagnosed unasked.
    let json = evaluate("loud.npy", "--format json").json();
    let first = &json["diagnoses"][0];
    assert_eq!(
        (&first["name"], &first["input"]),
        (&"image".into(), &true.into()),
        "{json}"
    );
    assert_eq!(first["cause"], "wrong_normalisation");
    let cure = first["cure"].as_str().unwrap();
    assert!(
        cure.contains("`--calibration`") && cure.contains("x · 0.02"),
        "{cure}"
    );
    let text = evaluate("loud.npy", "").stdout;
    assert!(text.contains(cure) && text.contains("`image` ("), "{text}");
    // Where nothing is wrong, nothing is found.
    let json = evaluate("calib_x.npy", "--format json --diagnose").json();
    assert_eq!(json["diagnoses"], Value::Array(vec![]));
    assert!(json["layers"][0]["cause"].is_null() && json["layers"][0]["isolated_sqnr_db"].is_f64());
}

#[test]
fn what_calibration_has_not_seen_is_told() {
    let bench = Bench::new();
    let model = Onnx::new(13)
        .input("x", [1, 4])
        .node("Relu", &["x"], &["y"], vec![])
        .output("y");
    bench.write("relu.onnx", model.bytes());
    bench.array("calib.npy", &[1, 4], &Data::F32(vec![-1.0, 0.0, 1.0, 1.0]));
    let data = [
        [0.5, -1.0, 1.0, 0.0],
        [3.0, -1.5, 1.0, 0.0],
        [0.5, -4.0, 2.0, 0.0],
    ];
    bench.array("x.npy", &[3, 4], &Data::F32(data.concat()));
    let evaluate = "evaluate relu.onnx --target mps2-an386 --calibration calib.npy --data";
    let json = bench
        .run(&format!("{evaluate} x.npy --format json"))
        .works()
        .json();
    let outside = json["outside"].as_array().unwrap();
    assert_eq!(outside.len(), 2, "{json}");
    let x = &outside[0];
    assert_eq!((&x["tensor"], &x["input"]), (&"x".into(), &true.into()));
    assert_eq!((&x["share"], &x["samples"]), (&(4.0 / 12.0).into(), &2.into()));
    assert_eq!((&x["worst"], &x["worst_sample"]), (&(-4.0).into(), &2.into()));
    assert!(
        (x["low"].as_f64().unwrap() + 1.0).abs() < 0.01 && (x["high"].as_f64().unwrap() - 1.0).abs() < 0.01
    );
    let y = &outside[1];
    assert_eq!((&y["tensor"], &y["input"]), (&"y".into(), &false.into()));
    assert_eq!((&y["worst"], &y["worst_sample"]), (&3.0.into(), &1.into()));
    let text = bench.run(&format!("{evaluate} x.npy")).works().stdout;
    assert!(
        text.contains("outside the calibrated range") && text.contains("x (input)"),
        "{text}"
    );
    // What was calibrated with is inside.
    let json = bench
        .run(&format!("{evaluate} calib.npy --format json"))
        .works()
        .json();
    assert_eq!(json["outside"], Value::Array(vec![]));
}

#[test]
fn a_drop_that_is_no_number_does_not_pass_the_gate() {
    let bench = Bench::new();
    let model = Onnx::new(13)
        .input("x", [1, 2])
        .node("Sqrt", &["x"], &["y"], vec![])
        .output("y");
    bench.write("sqrt.onnx", model.bytes());
    bench.array("calib.npy", &[2, 2], &Data::F32(vec![0.0, 1.0, 2.0, 3.0]));
    bench.array("x.npy", &[2, 2], &Data::F32(vec![1.0, 2.0, 1.0, -2.0]));
    let evaluate =
        "evaluate sqrt.onnx --target mps2-an386 --calibration calib.npy --metric cosine --max-drop 50 --data";
    bench.run(&format!("{evaluate} calib.npy")).works();
    bench
        .run(&format!("{evaluate} x.npy"))
        .fails(5, &["cosine drops by NaN"]);
}

#[test]
fn classes_and_groups_are_whole_numbers() {
    let bench = Bench::new();
    let model = Onnx::new(13)
        .input("x", [1, 2])
        .node("Relu", &["x"], &["y"], vec![])
        .output("y");
    bench.write("relu.onnx", model.bytes());
    bench.array("x.npy", &[2, 2], &Data::F32(vec![0.0, 1.0, 2.0, 3.0]));
    let evaluate = "evaluate relu.onnx --target mps2-an386 --calibration x.npy --data x.npy --labels";
    bench.array("whole.npy", &[2], &Data::F32(vec![0.0, 1.0]));
    bench.array("half.npy", &[2], &Data::F32(vec![0.0, 0.5]));
    bench.array("negative.npy", &[2], &Data::I64(vec![0, -1]));
    bench.array("huge.npy", &[2], &Data::I64(vec![0, i64::MAX]));
    bench.run(&format!("{evaluate} whole.npy")).works();
    bench
        .run(&format!("{evaluate} half.npy"))
        .fails(2, &["half.npy: holds 0.5 at element 1; whole numbers wanted"]);
    bench
        .run(&format!("{evaluate} whole.npy --groups half.npy"))
        .fails(2, &["holds 0.5 at element 1"]);
    bench
        .run(&format!("{evaluate} whole.npy --groups negative.npy"))
        .fails(2, &["groups from 0 wanted, -1 found"]);
    bench
        .run(&format!("{evaluate} whole.npy --groups huge.npy"))
        .fails(2, &["2 labels for"]);
}

#[test]
fn what_a_model_makes_of_calibration_data_is_told_with_the_file() {
    let bench = Bench::new();
    let model = Onnx::new(13)
        .input("x", [1, 2])
        .input("z", [1, 2])
        .node("Exp", &["x"], &["e"], vec![])
        .node("Add", &["e", "z"], &["y"], vec![])
        .output("y");
    bench.write("exp.onnx", model.bytes());
    bench.array("fine.npy", &[2, 2], &Data::F32(vec![0.0; 4]));
    bench.array("large.npy", &[2, 2], &Data::F32(vec![0.0, 1.0, 0.0, 100.0]));
    let compile = "compile exp.onnx --target mps2-an386 --calibration";
    bench
        .run(&format!("{compile} large.npy --calibration z=fine.npy"))
        .fails(
            2,
            &[
                "large.npy, z=fine.npy: sample 1 makes `e` hold inf",
                "scaled as the model expects",
            ],
        );
    bench.array("inf.npy", &[2, 2], &Data::F32(vec![0.0, 0.0, f32::INFINITY, 0.0]));
    bench
        .run(&format!("{compile} z=inf.npy --calibration x=fine.npy"))
        .fails(2, &["inf.npy: sample 1 of `z` holds inf at element 0"]);
}
