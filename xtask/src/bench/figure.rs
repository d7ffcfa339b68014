//! A line of the table of figures, and its limit.

use serde_json::{Value, json};

/// One line of the table.
pub(super) struct Figure {
    pub(super) figure: &'static str,
    pub(super) model: &'static str,
    pub(super) target: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    pub(super) limit: Option<Limit>,
    pub(super) command: String,
}

#[derive(Clone, Copy)]
pub(super) enum Limit {
    AtMost(f64),
    AtLeast(f64),
    Within(f64, f64),
}

impl Limit {
    pub(super) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
            Self::Within(centre, distance) => (value - centre).abs() <= distance,
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "≤ {limit}"),
            Self::AtLeast(limit) => write!(f, "≥ {limit}"),
            Self::Within(centre, distance) => write!(f, "{centre} ± {distance}"),
        }
    }
}

impl Figure {
    pub(super) fn ok(&self) -> bool {
        self.limit.is_none_or(|limit| limit.holds(self.value))
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "figure": self.figure, "model": self.model, "target": self.target, "value": self.value, "unit": self.unit,
            "limit": self.limit.map(|limit| limit.to_string()), "ok": self.ok(), "command": self.command,
        })
    }

    pub(super) fn text(&self) -> String {
        let limit = self.limit.map_or_else(String::new, |limit| limit.to_string());
        let verdict = if self.limit.is_none() {
            ""
        } else if self.ok() {
            "ok"
        } else {
            "MISSED"
        };
        // Four decimals, or two digits where there is nothing to see in four.
        let value = if self.value != 0.0 && self.value.abs() < 1e-3 {
            format!("{:.1e}", self.value)
        } else {
            ((self.value * 10_000.0).round() / 10_000.0).to_string()
        };
        format!(
            "| {} | {} | {} | {value} {} | {limit} | {verdict} |",
            self.figure, self.model, self.target, self.unit
        )
    }
}
