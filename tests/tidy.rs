//! The rules of the house that a program can check: dependency arrows, where outside things may be named, words.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file under the project's root, with its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The text without comments, and without the unit tests at a file's end.
    fn code(&self) -> String {
        let text = self
            .text
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default();
        let lines = text
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The module of `src/` that the file belongs to.
    fn module(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        path.split(['/', '.']).next().unwrap_or(path)
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files under some folders.
fn sources(folders: &[&str]) -> Vec<Source> {
    fn visit(folder: &Path, found: &mut Vec<Source>) {
        let mut entries: Vec<PathBuf> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect();
        entries.sort();
        for path in entries {
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                visit(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(Source {
                    path: path.strip_prefix(root()).unwrap().display().to_string(),
                    text: fs::read_to_string(&path).unwrap(),
                });
            }
        }
    }
    let mut found = Vec::new();
    for folder in folders {
        visit(&root().join(folder), &mut found);
    }
    assert!(!found.is_empty(), "no sources under {folders:?}");
    found
}

/// Modules of the crate that code names: in `use crate::{…}` of any form, and as `crate::module`.
fn modules_named(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `tinsmith_runtime::kernels` and the like end in another word.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            let mut at_start = true;
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => at_start = true,
                    c if depth == 0 && at_start && (c.is_alphanumeric() || c == '_') => word.push(c),
                    _ => {}
                }
                if !(word.is_empty() || c.is_alphanumeric() || c == '_') {
                    named.insert(std::mem::take(&mut word));
                    at_start = c == ',';
                }
            }
            if !word.is_empty() {
                named.insert(word);
            }
        } else {
            let end = rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(rest.len());
            named.insert(rest[..end].to_owned());
        }
    }
    named
}

/// What each module may name: the arrows of the architecture, one way only.
fn may_name(module: &str) -> &'static [&'static str] {
    match module {
        "import" | "schedule" | "emit" => &["ir", "op", "target"],
        "optimize" | "quantize" => &["ir", "op", "target", "reference"],
        "reference" | "data" => &["ir", "op"],
        "simulate" => &["ir", "op", "target"],
        "evaluate" => &["simulate", "reference", "data", "ir", "op"],
        // `ir` and `op` are one vocabulary: nodes hold operators, operators are described by ir's types.
        "ir" => &["op", "target"],
        "op" => &["target"],
        "target" => &[],
        other => panic!("src/{other} has no place in the architecture: say which modules it may name"),
    }
}

#[test]
fn dependencies_point_one_way() {
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        let module = source.module();
        // The search for a mix of precisions tries whole compilations: it joins stages as the root does.
        if matches!(module, "lib" | "main" | "cli" | "mix") {
            continue;
        }
        for named in modules_named(&source.code()) {
            if named != module && !may_name(module).contains(&named.as_str()) {
                wrong.push(format!("{} names crate::{named}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows the wrong way:\n{}", wrong.join("\n"));
}

#[test]
fn the_arrow_reader_reads_every_form() {
    let code = "use crate::{ir::{Graph, Op}, op};\nuse crate::target::Target;\ntinsmith_runtime::x; crate::data::open()";
    let named: Vec<String> = modules_named(code).into_iter().collect();
    assert_eq!(named, ["data", "ir", "op", "target"]);
}

/// Fails where `words` stand in code outside `allowed` paths.
fn only_in(words: &[&str], folders: &[&str], allowed: &[&str]) {
    let mut wrong = Vec::new();
    for source in sources(folders) {
        if allowed.iter().any(|prefix| source.path.starts_with(prefix)) {
            continue;
        }
        let code = source.code();
        wrong.extend(
            words
                .iter()
                .filter(|&&word| code.contains(word))
                .map(|word| format!("{}: {word}", source.path)),
        );
    }
    assert!(wrong.is_empty(), "only for {allowed:?}:\n{}", wrong.join("\n"));
}

#[test]
fn protobuf_types_stop_at_import_and_the_onnx_writer() {
    only_in(
        &["tinsmith_proto", "prost"],
        &["src", "runtime/src"],
        &["src/import/", "src/emit/onnx/"],
    );
}

#[test]
fn object_file_types_stop_at_emit() {
    only_in(&["object::", "goblin"], &["src", "runtime/src"], &["src/emit/"]);
}

#[test]
fn only_the_edges_touch_the_outside() {
    let outside = [
        "std::fs",
        "std::env",
        "std::time",
        "std::process",
        "Instant::now",
        "SystemTime",
    ];
    only_in(
        &outside,
        &["src", "runtime/src"],
        &["src/cli/", "src/main.rs", "src/data/", "src/simulate/"],
    );
}

#[test]
fn only_vectors_and_mapped_files_are_unsafe() {
    only_in(
        &["unsafe {", "unsafe fn", "unsafe impl"],
        &["src", "runtime/src"],
        &[
            "runtime/src/lanes/",
            "src/cli/map.rs",
            "src/op/sums.rs",
            "src/op/vectors.rs",
        ],
    );
}

#[test]
fn nothing_is_left_for_later() {
    let words = [
        "todo!",
        "unimplemented!",
        "dbg!",
        "TODO",
        "FIXME",
        "XXX",
        "To come.",
    ];
    let mut wrong = Vec::new();
    for source in sources(&["src", "runtime/src", "proto/src", "xtask/src"]) {
        wrong.extend(
            words
                .iter()
                .filter(|&&word| source.text.contains(word))
                .map(|word| format!("{}: {word}", source.path)),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_unwrapped() {
    only_in(&[".unwrap()"], &["src", "runtime/src", "xtask/src"], &[]);
}

#[test]
fn the_format_page_names_the_version() {
    let page = fs::read_to_string(root().join("runtime/FORMAT.md")).unwrap();
    let version = tinsmith_runtime::format::VERSION;
    assert!(
        page.to_lowercase().contains(&format!("version {version}")),
        "runtime/FORMAT.md does not name version {version}"
    );
}

#[test]
fn every_target_is_built_in() {
    let mut files: Vec<String> = fs::read_dir(root().join("targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let mut names: Vec<String> = tinsmith::target::Target::names().map(str::to_owned).collect();
    names.sort();
    assert_eq!(files, names);
}

#[test]
fn files_stay_small() {
    let mut sizes: Vec<(usize, String)> = sources(&["src", "runtime/src", "proto/src", "xtask/src"])
        .into_iter()
        .map(|source| (source.text.lines().count(), source.path))
        .collect();
    sizes.sort();
    let median = sizes[sizes.len() / 2].0;
    let (largest, path) = sizes.last().unwrap();
    println!(
        "{} files, median {median} lines, largest {largest} ({path})",
        sizes.len()
    );
    assert!(median <= 250, "the median file has {median} lines");
    let big = sizes
        .iter()
        .filter(|(lines, path)| *lines > 500 && !LARGE.iter().any(|(large, _)| large == path));
    let big: Vec<String> = big.map(|(lines, path)| format!("{path}: {lines}")).collect();
    assert!(
        big.is_empty(),
        "split by concept, or give the reason in LARGE:\n{}",
        big.join("\n")
    );
}

/// Files beyond 500 lines, with the reason.
const LARGE: &[(&str, &str)] = &[
    (
        "xtask/src/bench/mod.rs",
        "the one table of figures, a few lines each",
    ),
    ("src/ir/text/parse.rs", "one grammar in one piece"),
];
