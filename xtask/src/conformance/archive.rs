//! The archive of tests, unpacked in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use miette::{IntoDiagnostic, Result};

use super::SUITES;

/// One test.
pub(super) struct Case {
    pub(super) suite: &'static str,
    pub(super) name: String,
    /// The bytes of the model.
    pub(super) model: Vec<u8>,
    pub(super) data: Vec<DataSet>,
}

/// The bytes of its inputs and of the outputs that they must give.
#[derive(Default)]
pub(super) struct DataSet {
    pub(super) inputs: Vec<Vec<u8>>,
    pub(super) outputs: Vec<Vec<u8>>,
}

/// All tests, by suite and name.
pub(super) fn cases(path: &Path) -> Result<Vec<Case>> {
    let mut files = BTreeMap::new();
    let archive = flate2::read::GzDecoder::new(File::open(path).into_diagnostic()?);
    for entry in tar::Archive::new(archive).entries().into_diagnostic()? {
        let mut entry = entry.into_diagnostic()?;
        let path = entry.path().into_diagnostic()?.to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).into_diagnostic()?;
        files.insert(path.trim_start_matches("./").to_owned(), bytes);
    }
    let mut cases = Vec::new();
    for suite in SUITES {
        let models = files.keys().filter_map(|path| {
            let name = path
                .strip_prefix(suite)?
                .strip_prefix('/')?
                .strip_suffix("/model.onnx")?;
            Some(name.to_owned())
        });
        for name in models {
            let file = |file: &str| files.get(&format!("{suite}/{name}/{file}"));
            let set = |set: usize| {
                let tensors = |kind: &str| -> Vec<Vec<u8>> {
                    (0..)
                        .map_while(|i| file(&format!("test_data_set_{set}/{kind}_{i}.pb")).cloned())
                        .collect()
                };
                let set = DataSet {
                    inputs: tensors("input"),
                    outputs: tensors("output"),
                };
                (!set.outputs.is_empty()).then_some(set)
            };
            cases.push(Case {
                suite,
                model: file("model.onnx").cloned().unwrap_or_default(),
                data: (0..).map_while(set).collect(),
                name,
            });
        }
    }
    Ok(cases)
}
