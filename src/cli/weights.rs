//! `--weights`: safetensors files, single or as the shards that an index lists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tinsmith::import::{Folder, Weights};

use super::failure::{Exit, Failure};
use super::files;
use super::folder::ModelFolder;
use super::map::map;

/// An index of shards, as the exporters of large models write it.
#[derive(Deserialize)]
struct Index {
    /// By tensor, the shard that holds it.
    weight_map: BTreeMap<String, String>,
}

/// Opens all files that are given.
pub(super) fn open(paths: &[PathBuf]) -> Result<Vec<Weights>, Failure> {
    let mut weights = Vec::new();
    for path in paths {
        if path.extension().is_some_and(|extension| extension == "json") {
            weights.extend(shards(path)?);
        } else {
            let failed = |error| Failure::file(path, "read", &error);
            let file = File::open(path).map_err(failed)?;
            weights.push(Weights {
                name: path.display().to_string(),
                bytes: map(&file).map_err(failed)?,
            });
        }
    }
    Ok(weights)
}

/// The shards of an index; like a model's external data, they stand in the index's own folder.
fn shards(path: &Path) -> Result<Vec<Weights>, Failure> {
    let text = files::read_text(path)?;
    let index: Index = serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!(
            "{}: an index of safetensors files wanted: {error}",
            path.display()
        ))
        .with_help("it is called model.safetensors.index.json and has a `weight_map`")
    })?;
    let folder = ModelFolder::of(path);
    let names: BTreeSet<&String> = index.weight_map.values().collect();
    let mut weights = Vec::new();
    for name in names {
        let bytes = folder.open(name).map_err(|error| {
            let failure = Failure::new(Exit::Model, format!("{}: {}", path.display(), error.reason));
            match error.help {
                Some(help) => failure.with_help(help),
                None => failure,
            }
        })?;
        weights.push(Weights {
            name: folder.path(name).display().to_string(),
            bytes,
        });
    }
    Ok(weights)
}
