//! ONNX's own backend tests: through import and the reference executor, and, where all is f32, through a blob on the
//! simulator. Writes `CONFORMANCE.md`
//! and the table behind `tinsmith ops`.
//!
//! A test's inputs may decide shapes (axes, a shape, repeats), which a compiler must know beforehand. A test that is
//! refused as it stands is tried again with its integer and Boolean inputs known at compile time, then with all but the
//! first, as weights are, and for the reference executor with all of them: `--value` of the command line. The report
//! says which tests took that.

mod archive;
#[allow(
    clippy::unwrap_used,
    reason = "an oracle of the tests, where a panic is a verdict"
)]
#[path = "../../../tests/quantize/meaning.rs"]
mod meaning;
mod report;
mod test;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use miette::{IntoDiagnostic, Result, miette};

use archive::Case;
use test::{Known, Outcome};

/// Folders of the archive, in the report's order.
const SUITES: [&str; 4] = ["node", "simple", "pytorch-converted", "pytorch-operator"];

/// Why tests are refused, as they should be: a part of the reason given, and what it is in a word.
const EXPECTED: &[(&str, &str)] = &[
    ("string found", "strings"),
    (
        "another kind of value",
        "sequences and optional values at the graph's edge",
    ),
    ("ImageDecoder", "image decoding"),
    ("preview.training", "training"),
    ("random numbers", "random numbers"),
];

/// What became of a test.
struct Verdict {
    suite: &'static str,
    name: String,
    /// Its operators; the first one is what it is about.
    operators: Vec<String>,
    reference: Outcome,
    /// Compiled to f32 and run by the runtime, where all of its ends are f32.
    device: Option<Outcome>,
    /// Quantized to int8 and run by the runtime, where all of its ends are f32: to the byte what the quantized graph means.
    int8: Option<Outcome>,
}

/// Runs all tests whose names contain `only`; writes or checks the report where that is all of them.
///
/// # Errors
/// Where the archive is missing or damaged.
pub(crate) fn run(only: Option<&str>, check: bool) -> Result<bool> {
    let Some(shared) = crate::shared() else {
        println!("conformance: skipped, ../shared is missing");
        return Ok(true);
    };
    let cases = archive::cases(&shared.join("conformance/onnx-backend-tests.tar.gz"))?;
    let cases: Vec<Case> = cases
        .into_iter()
        .filter(|case| only.is_none_or(|only| case.name.contains(only)))
        .collect();
    if cases.is_empty() {
        return Err(miette!("no test's name contains `{}`", only.unwrap_or_default()));
    }
    let verdicts = judge(&cases);
    let mut complaints = 0;
    for verdict in &verdicts {
        let ends = [
            Some(&verdict.reference),
            verdict.device.as_ref(),
            verdict.int8.as_ref(),
        ];
        for (outcome, place) in ends.into_iter().flatten().zip(["reference", "f32", "int8"]) {
            match outcome {
                Outcome::Wrong(how) => {
                    complaints += 1;
                    println!("WRONG {place} {}: {how}", verdict.name);
                }
                Outcome::Refused(reason) if only.is_some() => {
                    println!("refused {place} {}: {reason}", verdict.name);
                }
                Outcome::Refused(_) => {}
                Outcome::Passed(known) if only.is_some() => {
                    println!("passed {place} {} {known}", verdict.name)
                }
                Outcome::Passed(_) => {}
            }
        }
    }
    println!("{}", report::totals(&verdicts));
    if only.is_some() {
        return Ok(complaints == 0);
    }
    let pages = [
        ("CONFORMANCE.md", report::text(&verdicts)),
        ("src/cli/support.txt", report::support(&verdicts)),
    ];
    let mut up_to_date = true;
    for (path, text) in pages {
        let file = crate::root().join(path);
        if !check {
            std::fs::write(file, text).into_diagnostic()?;
        } else if !is_same(&file, &text) {
            println!("{path} is out of date: run `cargo xtask conformance`");
            up_to_date = false;
        }
    }
    Ok(complaints == 0 && up_to_date)
}

/// The names and bytes of all models.
pub(crate) fn models(shared: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let cases = archive::cases(&shared.join("conformance/onnx-backend-tests.tar.gz"))?;
    Ok(cases.into_iter().map(|case| (case.name, case.model)).collect())
}

fn is_same(path: &Path, text: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|found| found == text)
}

/// Runs the tests on all cores; verdicts come in the order of the tests.
fn judge(cases: &[Case]) -> Vec<Verdict> {
    // Panics are verdicts here; their traces would only be noise.
    std::panic::set_hook(Box::new(|_| ()));
    let (next, verdicts) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            // Deep graphs recurse.
            let worker = std::thread::Builder::new().stack_size(64 << 20);
            let work = || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { break };
                    let verdict = test::judge(case);
                    if let Ok(mut verdicts) = verdicts.lock() {
                        verdicts.insert(index, verdict);
                    }
                }
            };
            worker.spawn_scoped(scope, work).expect("a thread can be had");
        }
    });
    let _ = std::panic::take_hook();
    verdicts
        .into_inner()
        .expect("no thread panicked")
        .into_values()
        .collect()
}

/// The word for an expected refusal; `None` for one that should not be.
fn expected(reason: &str) -> Option<&'static str> {
    let found = EXPECTED.iter().find(|(part, _)| reason.contains(part));
    found.map(|&(_, word)| word)
}

impl std::fmt::Display for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "",
            Self::Integers => "(integer inputs known at compile time)",
            Self::AllButFirst => "(all inputs but the first known at compile time)",
            Self::All => "(inputs known at compile time)",
        })
    }
}
