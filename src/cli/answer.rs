//! What a command answers: text for people or JSON for scripts, on standard output.

use std::io::Write;

use clap::ValueEnum;
use serde_json::Value;

use super::failure::Failure;

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For scripts: one JSON value; fields may be added in later versions, never renamed.
    Json,
}

/// A command's answer in both forms.
#[derive(Debug)]
pub(crate) struct Answer {
    /// For people.
    pub(crate) text: String,
    /// For scripts.
    pub(crate) json: Value,
    /// Why the command fails although it has an answer: a gate that was missed.
    pub(crate) failure: Option<Failure>,
}

impl Answer {
    /// An answer of a command that did what was asked.
    pub(crate) fn new(text: String, json: Value) -> Self {
        Self {
            text,
            json,
            failure: None,
        }
    }

    /// Prints it. A reader that closed its end (`| head`) has seen enough.
    pub(crate) fn print(&self, format: Format) -> Result<(), Failure> {
        let text = match format {
            Format::Text => self.text.trim_end().to_owned(),
            Format::Json => {
                serde_json::to_string_pretty(&self.json).map_err(|error| Failure::bug(error.to_string()))?
            }
        };
        let mut stdout = std::io::stdout().lock();
        match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Failure::usage(format!("standard output: {error}")))
            }
            _ => Ok(()),
        }
    }
}

/// Rows under headings, in columns as wide as their longest cell; columns whose heading starts with `>` are
/// right-aligned.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let names = headings
            .iter()
            .map(|heading| heading.trim_start_matches('>').to_owned());
        Self {
            rows: vec![names.collect()],
            right: headings.iter().map(|heading| heading.starts_with('>')).collect(),
        }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The table's lines, each indented by two spaces.
    pub(crate) fn render(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, &width), &right) in row.iter().zip(&widths).zip(&self.right) {
                line.push_str("  ");
                line.push_str(&if right {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                });
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A layer's name for a table: exporters join names until they fill a line; the end tells them apart. JSON has them
/// whole.
pub(crate) fn elided(name: &str) -> String {
    const LONGEST: usize = 60;
    let length = name.chars().count();
    if length <= LONGEST {
        return name.to_owned();
    }
    let end: String = name.chars().skip(length - LONGEST + 1).collect();
    format!("…{end}")
}

/// A number with its thousands apart: `1,234,567`.
pub(crate) fn grouped(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
