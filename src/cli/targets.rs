//! `targets`: what can be compiled for.

use serde_json::json;
use tinsmith::target::{MemoryUse, Target};

use super::answer::{Answer, Table, grouped};
use super::failure::Failure;

/// Lists the built-in targets, or describes one.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// A target's name; its description is printed as TOML, to be copied for a chip of one's own.
    name: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    if let Some(name) = &args.name {
        let target = Target::named(name).map_err(Failure::usage)?;
        let text = Target::builtin_text(name).unwrap_or_default();
        return Ok(Answer::new(text.to_owned(), json!(target)));
    }
    let targets: Vec<Target> = Target::names().filter_map(Target::builtin).collect();
    let mut table = Table::new(&["name", "core", ">flash", ">arena", "description"]);
    for target in &targets {
        let bytes = |purpose| {
            let banks = target.memory.iter().filter(|bank| bank.purpose == purpose);
            grouped(banks.map(|bank| bank.bytes).sum::<u64>())
        };
        table.row([
            target.name.clone(),
            target.core.clone(),
            bytes(MemoryUse::Flash),
            bytes(MemoryUse::Arena),
            target.description.clone(),
        ]);
    }
    Ok(Answer::new(table.render(), json!(targets)))
}
