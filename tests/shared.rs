//! The test material beside the project: real models, data sets, references. Tests that need it are skipped, in one
//! line, where it is missing.

use std::path::PathBuf;

/// The folder of shared test material: `TINSMITH_SHARED`, or `../shared` beside the project's root.
pub(crate) fn root() -> Option<PathBuf> {
    let path = std::env::var_os("TINSMITH_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    path.is_dir().then_some(path)
}

/// A file or folder of it; says so in one line and gives `None` where it is missing.
pub(crate) fn path(relative: &str) -> Option<PathBuf> {
    let path = root()
        .map(|root| root.join(relative))
        .filter(|path| path.exists());
    if path.is_none() {
        eprintln!("skipped: ../shared/{relative} is not beside the project");
    }
    path
}
