//! `ops`: what is supported, generated from the code.

use serde_json::json;
use tinsmith::op;

use super::answer::{Answer, Table};
use super::failure::Failure;

/// Lists every operator with the ONNX types it stands for and the limits of its int8 kernels.
#[derive(clap::Args, Debug)]
pub(super) struct Args {}

pub(super) fn run(_: &Args) -> Result<Answer, Failure> {
    let supported = op::supported();
    let mut table = Table::new(&["operator", "ONNX", "int8 needs that"]);
    for support in &supported {
        let mut names = support.onnx.join(", ");
        let mut operator = support.operator.to_owned();
        let mut limits = support.constraints.iter().map(|&limit| limit.to_owned());
        loop {
            let limit = limits.next();
            if limit.is_none() && operator.is_empty() {
                break;
            }
            table.row([
                std::mem::take(&mut operator),
                std::mem::take(&mut names),
                limit.unwrap_or_default(),
            ]);
        }
    }
    Ok(Answer::new(table.render(), json!(supported)))
}
