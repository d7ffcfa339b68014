//! ONNX's own node tests, as far as all their operators are supported: import, then the reference executor.

use std::fs;
use std::path::Path;
use std::process::Command;

use tinsmith::import::{self, Options};
use tinsmith::ir::verify::verify;
use tinsmith::op::tensor::Values;
use tinsmith::reference;
use tinsmith_proto::{Message, ModelProto, TensorProto};

use super::onnx;
use crate::shared;

/// How a test ended.
#[derive(Debug, PartialEq)]
enum End {
    /// Operators or element types that the compiler has not.
    Foreign,
    Refused(String),
    Wrong(String),
    Passed,
}

#[test]
fn onnx_node_tests_hold() {
    let Some(archive) = shared::path("conformance/onnx-backend-tests.tar.gz") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let unpacked = Command::new("tar")
        .arg("xzf")
        .arg(archive)
        .arg("-C")
        .arg(folder.path())
        .arg("node")
        .status();
    assert!(unpacked.unwrap().success());
    let mut names: Vec<_> = fs::read_dir(folder.path().join("node"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    let (mut passed, mut failures, mut refused) = (0, Vec::new(), Vec::new());
    for path in names {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match run(&path) {
            End::Foreign => {}
            End::Passed => passed += 1,
            End::Refused(reason) => refused.push(format!("{name}: {reason}")),
            End::Wrong(reason) => failures.push(format!("{name}: {reason}")),
        }
    }
    println!(
        "{passed} passed\nrefused:\n{}\nfailed:\n{}",
        refused.join("\n"),
        failures.join("\n")
    );
    assert!(failures.is_empty());
}

fn read(path: &Path) -> Option<TensorProto> {
    let bytes = fs::read(path).ok()?;
    // Some tests give sequences, which no supported operator takes; as a tensor they have no type.
    Some(TensorProto::decode(bytes.as_slice()).unwrap_or_default())
}

fn run(path: &Path) -> End {
    let model = ModelProto::decode(fs::read(path.join("model.onnx")).unwrap().as_slice()).unwrap();
    let supported = import::operators();
    let known =
        |node: &tinsmith_proto::NodeProto| supported.contains(&node.op_type) && node.domain.is_empty();
    if !model.graph.as_ref().unwrap().node.iter().all(known) {
        return End::Foreign;
    }
    let data = path.join("test_data_set_0");
    let mut files: Vec<Vec<TensorProto>> = Vec::new();
    for kind in ["input", "output"] {
        let numbered = (0..).map(|k| data.join(format!("{kind}_{k}.pb")));
        files.push(numbered.map_while(|file| read(&file)).collect());
    }
    let all = |tensors: &[TensorProto]| tensors.iter().map(onnx::values).collect::<Option<Vec<Values>>>();
    let (Some(inputs), Some(outputs)) = (all(&files[0]), all(&files[1])) else {
        return End::Foreign;
    };
    // Static shapes come from constants: what a test feeds behind its first input may have to be one.
    let mut fixed = model.clone();
    let graph = fixed.graph.as_mut().unwrap();
    for (info, tensor) in graph.input.iter().zip(&files[0]).skip(1) {
        graph.initializer.push(TensorProto {
            name: info.name.clone(),
            ..tensor.clone()
        });
    }
    let end = compute(&model, &inputs, &outputs);
    if matches!(end, End::Refused(_)) {
        return compute(&fixed, &inputs[..inputs.len().min(1)], &outputs);
    }
    end
}

fn compute(model: &ModelProto, inputs: &[Values], outputs: &[Values]) -> End {
    let graph = match import::onnx(&model.encode_to_vec(), &Options::default()) {
        Ok(graph) => graph,
        Err(error) => return End::Refused(error.to_string()),
    };
    if let Err(error) = verify(&graph) {
        return End::Wrong(error.to_string());
    }
    let found = match reference::run(&graph, inputs) {
        Ok(found) => found,
        Err(error) => return End::Wrong(error.to_string()),
    };
    for (found, wanted) in found.iter().zip(outputs) {
        if found.ty() != wanted.ty() {
            return End::Wrong(format!("{} wanted, {} found", wanted.ty(), found.ty()));
        }
        for (f, w) in found.to_f64().into_iter().zip(wanted.to_f64()) {
            let close = if wanted.data.dtype().is_float() {
                (f - w).abs() <= 1e-7 + 1e-3 * w.abs() || f == w || f.is_nan() && w.is_nan()
            } else {
                f == w
            };
            if !close {
                return End::Wrong(format!("{w} wanted, {f} found"));
            }
        }
    }
    End::Passed
}
