//! `CONFORMANCE.md`.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::test::{Known, Outcome, SLACK};
use super::{SUITES, Verdict, expected};

/// Passed, refused and wrong.
#[derive(Clone, Copy, Default)]
struct Count {
    passed: usize,
    refused: usize,
    wrong: usize,
}

impl Count {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed(_) => self.passed += 1,
            Outcome::Refused(_) => self.refused += 1,
            Outcome::Wrong(_) => self.wrong += 1,
        }
    }

    fn all(self) -> usize {
        self.passed + self.refused + self.wrong
    }
}

fn count<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Count {
    let mut count = Count::default();
    outcomes.for_each(|outcome| count.add(outcome));
    count
}

/// One line per suite, and one for the device.
pub(super) fn totals(verdicts: &[Verdict]) -> String {
    let mut text = String::from("| tests | passed | refused | wrong |\n|---|---|---|---|\n");
    let mut row = |name: &str, count: Count| {
        let (all, passed) = (count.all(), count.passed);
        let _ = writeln!(
            text,
            "| {name} | {passed} of {all} | {} | {} |",
            count.refused, count.wrong
        );
    };
    for suite in SUITES {
        let own = verdicts.iter().filter(|verdict| verdict.suite == suite);
        row(suite, count(own.map(|verdict| &verdict.reference)));
    }
    row(
        "node, all f32, on the device",
        count(verdicts.iter().filter_map(|verdict| verdict.device.as_ref())),
    );
    row(
        "node, all f32, on the device in int8",
        count(verdicts.iter().filter_map(|verdict| verdict.int8.as_ref())),
    );
    text
}

/// The whole report.
pub(super) fn text(verdicts: &[Verdict]) -> String {
    let mut text = String::from(
        "# Conformance\n\n\
         ONNX's own backend tests (onnx 1.22), run by `cargo xtask conformance`, which also writes this page: at ONNX's own\n\
         tolerances, through import and the reference executor, before and after optimization. The node tests whose ends are\n\
         all float32 are also compiled with `--precision f32` and run by the runtime; and quantized to int8 with their own\n\
         inputs as the sample, where the runtime must give, to the byte, what the quantized graph means.\n\n",
    );
    text.push_str(&totals(verdicts));
    let _ = write!(
        text,
        "\nAll graphs meet ONNX's tolerances as imported. Where a test wants what rounding left in another transform (1.9e-7,\n\
         where the exact result is 0), the optimized graph, which rounds less often, was given more: {}.\n",
        SLACK
            .iter()
            .map(|(name, slack)| format!("`{name}*` {slack:e}"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let known = |known: Known| {
        let passed = Outcome::Passed(known);
        verdicts
            .iter()
            .filter(|verdict| verdict.reference == passed)
            .count()
    };
    let _ = write!(
        text,
        "\nWhat decides shapes must be known when a model is compiled. Of the tests passed, {} were given their integer and\n\
         Boolean inputs at compile time (`--value`), {} all but the first, {} all their inputs; on the device none were given\n\
         all.\n\n",
        known(Known::Integers),
        known(Known::AllButFirst),
        known(Known::All)
    );
    text.push_str("## By operator\n\nTests of one operator; those whose models write a function out count as `several`.\n\n");
    text.push_str("| operator | reference | f32 on the device | int8 on the device |\n|---|---|---|---|\n");
    for (operator, [reference, device, int8]) in by_operator(verdicts) {
        let cell = |count: Count| match count.all() {
            0 => "–".to_owned(),
            all => format!("{} of {all}", count.passed),
        };
        let cells = [reference, device, int8].map(cell).join(" | ");
        let _ = writeln!(text, "| {operator} | {cells} |");
    }
    text.push_str("\n## Refused by import or the reference executor\n\n");
    list(&mut text, verdicts, |verdict| Some(&verdict.reference));
    text.push_str("\n## Refused for the device\n\n");
    list(&mut text, verdicts, |verdict| verdict.device.as_ref());
    text
}

/// Tests by operator: on the reference executor, on the device in f32, in int8.
fn by_operator(verdicts: &[Verdict]) -> BTreeMap<&str, [Count; 3]> {
    let mut rows: BTreeMap<&str, [Count; 3]> = BTreeMap::new();
    for verdict in verdicts {
        let operator = match &verdict.operators[..] {
            [operator] => operator,
            _ => "several",
        };
        let row = rows.entry(operator).or_default();
        row[0].add(&verdict.reference);
        verdict.device.iter().for_each(|outcome| row[1].add(outcome));
        verdict.int8.iter().for_each(|outcome| row[2].add(outcome));
    }
    rows
}

/// The table that `tinsmith ops` prints: per operator, tests passed and all tests, thrice.
pub(super) fn support(verdicts: &[Verdict]) -> String {
    let mut text = String::from(
        "# Tests passed and all tests of ONNX's operators: on the reference executor, on the device in f32, on the device in\n\
         # int8. Written by `cargo xtask conformance`.\n",
    );
    for (operator, counts) in by_operator(verdicts) {
        let numbers = counts.map(|count| format!("{} {}", count.passed, count.all()));
        let _ = writeln!(text, "{operator} {}", numbers.join(" "));
    }
    text
}

/// Refused tests by their reason.
fn list(text: &mut String, verdicts: &[Verdict], outcome: fn(&Verdict) -> Option<&Outcome>) {
    let mut reasons: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for verdict in verdicts {
        if let Some(Outcome::Refused(reason)) = outcome(verdict) {
            let word = expected(reason).unwrap_or("other");
            reasons.entry(word).or_default().push((&verdict.name, reason));
        }
    }
    for (word, tests) in reasons {
        let _ = writeln!(text, "{word} ({}):\n", tests.len());
        for (name, reason) in tests {
            let reason = reason.lines().next().unwrap_or_default();
            let short: String = reason.chars().take(200).collect();
            let _ = writeln!(text, "- `{name}`: {short}");
        }
        text.push('\n');
    }
}
