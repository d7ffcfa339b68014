//! `ops`: what is supported, generated from the code and from what the code was seen to do.

use std::collections::BTreeMap;

use serde_json::json;
use tinsmith::quantize::WeightForm;
use tinsmith::{import, op};

use super::answer::{Answer, Table};
use super::failure::Failure;

/// Lists every ONNX operator with what runs it and how many of ONNX's own tests it passes there, and the limits of the
/// int8 kernels.
#[derive(clap::Args, Debug)]
pub(super) struct Args {}

/// Tests passed and all tests, on the reference executor, on the device in f32 and in int8.
type Counts = [[usize; 2]; 3];

pub(super) fn run(_: &Args) -> Result<Answer, Failure> {
    let counts = counts();
    let wide = op::wide::operators();
    let mut table = Table::new(&["ONNX operator", "reference", "f32", "int8", "int16x8", "NPU"]);
    let mut operators = Vec::new();
    for name in import::operators() {
        let wide = if wide.contains(name.as_str()) { "yes" } else { "no" };
        let counts = counts.get(name.as_str());
        let cells = counts.map_or(["yes", "?", "?"].map(str::to_owned), |counts| counts.map(cell));
        let [reference, f32, int8] = cells.clone();
        operators.push(json!({
            "onnx": name, "reference": reference, "f32": f32, "int8": int8, "int16x8": wide, "npu": "no",
        }));
        table.row([name, reference, f32, int8, wide.into(), "no".into()]);
    }
    let kernels = op::supported();
    let mut limits = Table::new(&["operator inside", "int8 needs that"]);
    for support in &kernels {
        for (i, limit) in support.constraints.iter().enumerate() {
            let name = if i == 0 { support.operator } else { "" };
            limits.row([name.to_owned(), (*limit).to_owned()]);
        }
    }
    let mut forms = Table::new(&["weights", "taken by"]);
    for form in WeightForm::ALL {
        forms.row([form.name().to_owned(), form.layers().to_owned()]);
    }
    let text = format!(
        "{}\n  Figures are ONNX's own tests of the operator alone: passed of all. `?`: it has none of the kind. What has no\n  int16x8 form computes in f32 there.\n\n{}\n{}",
        table.render(),
        limits.render(),
        forms.render()
    );
    let forms = WeightForm::ALL.map(|form| json!({ "form": form.name(), "layers": form.layers() }));
    Ok(Answer::new(
        text,
        json!({ "operators": operators, "kernels": kernels, "weight_forms": forms }),
    ))
}

/// How an operator fares in one place.
fn cell([passed, all]: [usize; 2]) -> String {
    match (passed, all) {
        (_, 0) => "?".into(),
        (0, _) => "no".into(),
        _ => format!("{passed} of {all}"),
    }
}

/// The table that `cargo xtask conformance` writes.
fn counts() -> BTreeMap<&'static str, Counts> {
    let row = |line: &'static str| {
        let mut words = line.split(' ');
        let name = words.next()?;
        let numbers: Vec<usize> = words.map_while(|word| word.parse().ok()).collect();
        let pairs: Counts = numbers.as_chunks::<2>().0.try_into().ok()?;
        Some((name, pairs))
    };
    let lines = include_str!("support.txt").lines();
    lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(row)
        .collect()
}
