//! `test`: every check there is, with one line of counts at the end.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use tinsmith::simulate::firmware;
use tinsmith::simulate::toolchain::{Toolchain, on_path};

use crate::{conformance, fuzz, root, setup};

/// Seconds that each fuzz target runs.
const FUZZ_SECONDS: u32 = 60;

/// What has been counted: a command counts once, a test program as many times as it has tests.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: Vec<String>,
    skipped: usize,
}

pub(crate) fn run() -> miette::Result<bool> {
    setup::install();
    let mut tally = Tally::default();
    let cargo = || {
        let mut command = Command::new("cargo");
        command.current_dir(root());
        command
    };
    tally.command("format", cargo().args(["fmt", "--all", "--check"]));
    tally.command(
        "format of boards",
        cargo().args([
            "fmt",
            "--all",
            "--check",
            "--manifest-path",
            "targets/boards/Cargo.toml",
        ]),
    );
    tally.command(
        "lints",
        cargo().args([
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    );
    tally.command(
        "docs",
        cargo()
            .args(["doc", "--quiet", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    );
    for target in setup::board_targets() {
        let name = format!("firmware of {}", target.name);
        tally.result(
            &name,
            firmware::find_or_build(&target)
                .map(|_| ())
                .map_err(|error| error.to_string()),
        );
    }
    tally.tests(cargo().args(["test", "--workspace", "--no-fail-fast", "--", "--show-output"]));
    tally.result(
        "conformance",
        match conformance::run(None, true) {
            Ok(true) => Ok(()),
            Ok(false) => Err("see above".into()),
            Err(error) => Err(error.to_string()),
        },
    );
    for triple in setup::TRIPLES {
        tally.cross_build(triple);
    }
    tally.fuzz();

    for name in &tally.failed {
        println!("failed: {name}");
    }
    println!(
        "{} passed, {} failed, {} skipped",
        tally.passed,
        tally.failed.len(),
        tally.skipped
    );
    Ok(tally.failed.is_empty())
}

impl Tally {
    fn result(&mut self, name: &str, result: Result<(), String>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(reason) => {
                println!("{name}: {reason}");
                self.failed.push(name.to_owned());
            }
        }
    }

    fn skip(&mut self, name: &str, reason: &str) {
        println!("skipped: {name}: {reason}");
        self.skipped += 1;
    }

    /// Runs a command that passes or fails as a whole.
    fn command(&mut self, name: &str, command: &mut Command) {
        let started = Instant::now();
        let result = match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(status.to_string()),
            Err(error) => Err(error.to_string()),
        };
        println!("{name}: {} s", started.elapsed().as_secs());
        self.result(name, result);
    }

    /// Runs test programs and counts their tests. A test that prints a line beginning with `skipped:` counts as
    /// skipped; of the output of those that pass, only such lines are shown.
    fn tests(&mut self, command: &mut Command) {
        let mut child = match command.stdout(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) => return self.result("tests", Err(error.to_string())),
        };
        let failed_before = self.failed.len();
        let output = child.stdout.take().expect("the output is piped");
        let (mut showing_successes, mut skipped_in_block) = (false, false);
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            match line.as_str() {
                "successes:" => showing_successes = true,
                "failures:" => showing_successes = false,
                _ if line.starts_with("---- ") => skipped_in_block = false,
                _ => {}
            }
            if let Some(result) = line.strip_prefix("test result: ") {
                showing_successes = false;
                self.passed += counted(result, "passed");
                self.skipped += counted(result, "ignored");
            } else if let Some(name) = line
                .strip_prefix("test ")
                .and_then(|test| test.strip_suffix(" ... FAILED"))
            {
                self.failed.push(name.to_owned());
            }
            if showing_successes && line.starts_with("skipped:") && !skipped_in_block {
                skipped_in_block = true;
                self.skipped += 1;
                self.passed -= 1;
            }
            if !showing_successes || line.starts_with("skipped:") {
                println!("{line}");
            }
        }
        let succeeded = child.wait().is_ok_and(|status| status.success());
        if !succeeded && self.failed.len() == failed_before {
            self.failed.push("tests".to_owned());
        }
    }

    /// Builds the runtime for a target, where a toolchain can.
    fn cross_build(&mut self, triple: &str) {
        let name = format!("runtime for {triple}");
        match Toolchain::find(triple) {
            Err(error) => self.skip(&name, &error.to_string()),
            Ok(toolchain) => self.command(
                &name,
                toolchain
                    .cargo("build", &[], &root().join("target/cross"))
                    .args(["--quiet", "--package", "tinsmith-runtime"])
                    .current_dir(root()),
            ),
        }
    }

    /// Runs every fuzz target for a while, where cargo-fuzz and a nightly compiler are to be had.
    fn fuzz(&mut self) {
        let mut targets: Vec<PathBuf> = root().join("fuzz/fuzz_targets").read_dir().map_or_else(
            |_| Vec::new(),
            |folder| folder.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        );
        targets.sort();
        let nightly = Command::new("rustup")
            .args(["run", "nightly", "rustc", "--version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        for target in targets {
            let name = target
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let title = format!("fuzz target {name}");
            if !nightly {
                self.skip(&title, "`rustup toolchain install nightly` is needed");
            } else if on_path("cargo-fuzz").is_none() && !installs_cargo_fuzz() {
                self.skip(&title, "`cargo install cargo-fuzz` is needed");
            } else {
                self.command(&title, &mut fuzz::command(&name, Some(FUZZ_SECONDS)));
            }
        }
    }
}

fn installs_cargo_fuzz() -> bool {
    Command::new("cargo")
        .args(["install", "--quiet", "--locked", "cargo-fuzz"])
        .status()
        .is_ok_and(|status| status.success())
}

/// The number before a word: `ok. 12 passed; 0 failed; …`.
fn counted(result: &str, word: &str) -> usize {
    result
        .split(['.', ';'])
        .find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
        .unwrap_or(0)
}
