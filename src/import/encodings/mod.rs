//! Quantization parameters in a file beside a float model, as AIMET exports them: by tensor, for activations and for
//! parameters. <https://quic.github.io/aimet-pages/AimetDocs/quantsim/encoding_spec.html>
//!
//! `real = scale · (q + offset)` with `0 ≤ q < 2^bits`. All written forms are read: maps from names to lists of encodings
//! (versions up to 0.6.1), lists of encodings with names (1.0.0), and one list for activations and parameters alike
//! (2.0.0, [`typed`]).

mod apply;
mod typed;

use serde_json::{Map, Value};

pub(super) use apply::apply;

/// The parameters of a model's tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encodings {
    activations: Vec<Entry>,
    parameters: Vec<Entry>,
    /// Of either kind; the model tells which.
    tensors: Vec<Entry>,
}

/// How one tensor is quantized.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    name: String,
    /// Bits of an integer; `None` of a tensor that stays real.
    bits: Option<u32>,
    /// One for the whole tensor, or one per channel: real units of a step, and the step of 0 with its sign turned.
    steps: Vec<(f32, i64)>,
    /// The axis of the channels, counted from the end where it is negative; `None` where the file does not say.
    axis: Option<i64>,
}

/// What is wrong with a file of encodings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodingsError {
    /// No JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// JSON of another shape.
    #[error("{at}: {wanted} wanted, {found} found")]
    Form {
        /// Where it stands.
        at: String,
        /// What belongs there.
        wanted: &'static str,
        /// What stands there.
        found: String,
    },
}

impl Encodings {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Where it is no JSON, or none of AIMET's forms.
    pub fn parse(text: &str) -> Result<Self, EncodingsError> {
        let root: Value =
            serde_json::from_str(text).map_err(|error| EncodingsError::Json(error.to_string()))?;
        let wanted = "an object with `activation_encodings` and `param_encodings`, or with `encodings`,";
        match root.as_object() {
            Some(object) if object.contains_key("activation_encodings") => Ok(Self {
                activations: section(object, "activation_encodings")?,
                parameters: section(object, "param_encodings")?,
                tensors: Vec::new(),
            }),
            Some(object) if object.contains_key("encodings") => Ok(Self {
                tensors: typed::entries(&object["encodings"])?,
                ..Self::default()
            }),
            _ => Err(form("the file", wanted, &root)),
        }
    }
}

fn form(at: impl Into<String>, wanted: &'static str, found: &Value) -> EncodingsError {
    let text = found.to_string();
    let found = match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    };
    let at = at.into();
    EncodingsError::Form { at, wanted, found }
}

/// All entries of a section, in either form; none where it is left out.
fn section(root: &Map<String, Value>, key: &str) -> Result<Vec<Entry>, EncodingsError> {
    match root.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Object(by_name)) => by_name
            .iter()
            .map(|(name, list)| {
                let at = format!("{key} of `{name}`");
                match list.as_array() {
                    Some(list) => entry(name, list, &at),
                    None => Err(form(at, "a list of encodings", list)),
                }
            })
            .collect(),
        Some(Value::Array(list)) => list
            .iter()
            .enumerate()
            .map(|(index, one)| {
                let at = format!("{key}[{index}]");
                match one.get("name").and_then(Value::as_str) {
                    Some(name) => entry(name, std::slice::from_ref(one), &format!("{key} of `{name}`")),
                    None => Err(form(at, "an encoding with a `name`", one)),
                }
            })
            .collect(),
        Some(other) => Err(form(key, "an object or a list", other)),
    }
}

/// The value of the first of some keys that is there.
fn first<'v>(one: &'v Value, keys: &[&str]) -> Option<&'v Value> {
    keys.iter().find_map(|key| one.get(key))
}

/// One tensor's entry: an encoding per channel, or one with lists of scales and offsets.
fn entry(name: &str, list: &[Value], at: &str) -> Result<Entry, EncodingsError> {
    let mut bits = None;
    let mut steps = Vec::new();
    for one in list {
        let dtype = one.get("dtype").and_then(Value::as_str).unwrap_or("int");
        if dtype.eq_ignore_ascii_case("float") {
            continue;
        }
        if let Some(kind) = one.get("enc_type").and_then(Value::as_str)
            && !matches!(kind, "PER_TENSOR" | "PER_CHANNEL")
        {
            let found = Value::from(kind);
            return Err(form(
                at,
                "one scale per tensor or per channel (PER_TENSOR, PER_CHANNEL)",
                &found,
            ));
        }
        let own = first(one, &["bitwidth", "bw"]).and_then(Value::as_u64);
        let own = own
            .and_then(|bits| u32::try_from(bits).ok())
            .filter(|bits| (1..=32).contains(bits));
        let own = own.ok_or_else(|| form(at, "a `bitwidth` from 1 to 32", one))?;
        if *bits.get_or_insert(own) != own {
            return Err(form(at, "one `bitwidth` for all channels", one));
        }
        steps.extend(steps_of(one, own, at)?);
    }
    let name = name.to_owned();
    Ok(Entry {
        name,
        bits,
        steps,
        axis: None,
    })
}

/// Scales with their offsets; from the ends of the range where there are no scales.
fn steps_of(one: &Value, bits: u32, at: &str) -> Result<Vec<(f32, i64)>, EncodingsError> {
    let numbers = |key: &str| match one.get(key) {
        Some(Value::Array(list)) => list.iter().map(Value::as_f64).collect(),
        Some(number) => number.as_f64().map(|number| vec![number]),
        None => None,
    };
    let steps: Option<Vec<(f64, f64)>> = match (numbers("scale"), numbers("offset")) {
        (Some(scales), Some(offsets)) if scales.len() == offsets.len() => {
            Some(scales.into_iter().zip(offsets).collect())
        }
        _ => match (numbers("min"), numbers("max")) {
            (Some(low), Some(high)) if low.len() == high.len() => {
                let most = ((1_u64 << bits) - 1) as f64;
                let step = |(low, high): (f64, f64)| {
                    let scale = (high - low) / most;
                    (scale, libm::rint(low / scale))
                };
                Some(low.into_iter().zip(high).map(step).collect())
            }
            _ => None,
        },
    };
    let is_sound = |&(scale, offset): &(f64, f64)| {
        (scale as f32).is_normal()
            && scale > 0.0
            && offset == libm::rint(offset)
            && offset.abs() < 2f64.powi(33)
    };
    let steps = steps.filter(|steps| !steps.is_empty() && steps.iter().all(is_sound));
    let wanted = "`scale` above 0 and whole `offset`, as many of one as of the other,";
    let steps = steps.ok_or_else(|| form(at, wanted, one))?;
    Ok(steps
        .into_iter()
        .map(|(scale, offset)| (scale as f32, offset as i64))
        .collect())
}
