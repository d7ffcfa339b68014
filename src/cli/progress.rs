//! Progress bars: on standard error, on a terminal only.

use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that shows what is going on and how much of it is done; it vanishes with its owner.
pub(crate) struct Bar {
    bar: ProgressBar,
    current: Mutex<String>,
}

impl Bar {
    /// A bar that shows nothing yet. Off a terminal it never shows anything.
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg:20} {wide_bar} {pos}/{len}") {
            bar.set_style(style);
        }
        Self {
            bar,
            current: Mutex::new(String::new()),
        }
    }

    /// Shows that `done` of `total` parts of `what` are done. Threads may report out of order; the bar only grows
    /// within one `what`.
    pub(crate) fn show(&self, what: &str, done: usize, total: usize) {
        if let Ok(mut current) = self.current.lock()
            && *current != what
        {
            what.clone_into(&mut current);
            self.bar.set_position(0);
            self.bar.set_message(what.to_owned());
        }
        self.bar.set_length(total as u64);
        if done as u64 > self.bar.position() {
            self.bar.set_position(done as u64);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
