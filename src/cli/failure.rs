//! How a command fails: an exit code that scripts rely on, and a message with the way out.

use std::fmt;
use std::io::IsTerminal;
use std::path::Path;

use miette::Diagnostic;
use tinsmith::ir::Problem;

/// What the process tells its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// A bug of ours.
    Bug = 1,
    /// Wrong arguments, or files that cannot be read, written or used as what they are given for.
    Usage = 2,
    /// The model is invalid or unsupported.
    Model = 3,
    /// The model does not fit the target.
    DoesNotFit = 4,
    /// The accuracy gate failed.
    Accuracy = 5,
    /// Device and host differ.
    Differs = 6,
    /// An artifact is damaged, of another version or for another core.
    Integrity = 7,
    /// The cost is above the limit that was given.
    Cost = 8,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// What the process tells its caller.
    pub(crate) exit: Exit,
    /// What was wanted and what was found.
    pub(crate) message: String,
    /// The way out, if there is one.
    pub(crate) help: Option<String>,
    /// What else is wrong.
    pub(crate) related: Vec<Failure>,
}

impl Failure {
    /// A failure without a known way out.
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
            help: None,
            related: Vec::new(),
        }
    }

    /// Wrong arguments or files.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Something that cannot happen, and did.
    pub(crate) fn bug(message: impl fmt::Display) -> Self {
        Self::new(Exit::Bug, message)
            .with_help("this is a bug in tinsmith; please report it with the command line")
    }

    /// A file or folder that the system does not let us use.
    pub(crate) fn file(path: &Path, doing: &str, error: &std::io::Error) -> Self {
        Self::usage(format!("{}: cannot be {doing}: {error}", path.display()))
    }

    /// All that stands in the way of a model.
    pub(crate) fn problems(message: impl fmt::Display, problems: &[Problem]) -> Self {
        let related = problems.iter().map(|problem| Self {
            help: problem.help.clone(),
            ..Self::new(
                Exit::Model,
                format!("{} `{}`: {}", problem.operator, problem.node, problem.reason),
            )
        });
        Self {
            related: related.collect(),
            ..Self::new(Exit::Model, message)
        }
    }

    /// The same with a way out.
    pub(crate) fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }
}

impl Diagnostic for Failure {
    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        self.help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn related(&self) -> Option<Box<dyn Iterator<Item = &dyn Diagnostic> + '_>> {
        let related = self.related.iter().map(|failure| failure as &dyn Diagnostic);
        (!self.related.is_empty()).then(|| Box::new(related) as Box<dyn Iterator<Item = &dyn Diagnostic>>)
    }
}

/// Prints a failure for people, on standard error. Lines are broken for a terminal only, so that what scripts search
/// for stays in one line.
pub(crate) fn print(failure: Failure) {
    let on_terminal = std::io::stderr().is_terminal();
    // A hook that is already set serves as well.
    let _ = miette::set_hook(Box::new(move |_| {
        Box::new(miette::MietteHandlerOpts::new().wrap_lines(on_terminal).build())
    }));
    eprint!("{:?}", miette::Report::new(failure));
}
