//! Progress bars: on standard error, on a terminal only.

use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// From here on, how long it has taken says how long it will take.
const TELLING: Duration = Duration::from_secs(1);
/// How often the bar is drawn where nothing is reported.
const TICK: Duration = Duration::from_millis(250);

/// A bar that shows what is going on, how much of it is done and how long the rest will take; it vanishes with its owner.
pub(crate) struct Bar {
    bar: ProgressBar,
    current: Mutex<String>,
}

impl Bar {
    /// A bar that shows nothing yet. Off a terminal it never shows anything.
    pub(crate) fn new() -> Self {
        Self::on(ProgressDrawTarget::stderr())
    }

    fn on(target: ProgressDrawTarget) -> Self {
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{msg:20} {wide_bar} {pos}/{len}{left}") {
            bar.set_style(style.with_key("left", left));
        }
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
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
            // The speed of one thing says nothing of the next.
            self.bar.reset();
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

/// How long the rest will take.
fn left(state: &ProgressState, text: &mut dyn Write) {
    if state.elapsed() >= TELLING && state.pos() > 0 {
        let _ = write!(text, ", {:#} left", HumanDuration(state.eta()));
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use indicatif::InMemoryTerm;

    use super::*;

    #[test]
    fn what_takes_longer_than_a_second_says_how_long_it_will_take() {
        let term = InMemoryTerm::new(4, 80);
        let bar = Bar::on(ProgressDrawTarget::term_like(Box::new(term.clone())));
        bar.show("calibrating", 1, 10);
        assert!(!term.contents().contains("left"), "{}", term.contents());
        sleep(TELLING + 2 * TICK);
        bar.show("calibrating", 2, 10);
        sleep(2 * TICK);
        let shown = term.contents();
        assert!(
            shown.contains("calibrating") && shown.contains("2/10, "),
            "{shown}"
        );
        assert!(shown.contains("s left"), "{shown}");
        // The next thing starts anew.
        bar.show("mending layers", 1, 10);
        sleep(2 * TICK);
        let shown = term.contents();
        assert!(
            shown.contains("mending layers") && !shown.contains("left"),
            "{shown}"
        );
    }
}
