//! Encodings of version 2: one list for all tensors, each with the element type of its codes and the scale and zero point of
//! ONNX's QuantizeLinear, `real = y_scale · (q − y_zero_point)`.

use serde_json::Value;

use super::{EncodingsError, Entry, form};

/// All entries.
pub(super) fn entries(list: &Value) -> Result<Vec<Entry>, EncodingsError> {
    let Some(list) = list.as_array() else {
        return Err(form("encodings", "a list of encodings", list));
    };
    let named = |(index, one): (usize, &Value)| match one.get("name").and_then(Value::as_str) {
        Some(name) => entry(name, one, &format!("encoding of `{name}`")),
        None => Err(form(
            format!("encodings[{index}]"),
            "an encoding with a `name`",
            one,
        )),
    };
    list.iter().enumerate().map(named).collect()
}

fn entry(name: &str, one: &Value, at: &str) -> Result<Entry, EncodingsError> {
    let none = Value::Null;
    let dtype = one.get("output_dtype").unwrap_or(&none);
    let wanted = "an `output_dtype` such as \"int8\", \"uint8\" or \"float16\"";
    let text = dtype.as_str().ok_or_else(|| form(at, wanted, dtype))?;
    let mut entry = Entry {
        name: name.to_owned(),
        bits: None,
        steps: Vec::new(),
        axis: None,
    };
    if text.contains("float") {
        return Ok(entry);
    }
    let (is_signed, bits) = match text.strip_prefix('u') {
        Some(rest) => (false, rest),
        None => (true, text),
    };
    let bits = bits.strip_prefix("int").and_then(|bits| bits.parse().ok());
    let bits = bits.filter(|bits| (1..=32).contains(bits));
    let bits: u32 = bits.ok_or_else(|| form(at, wanted, dtype))?;
    for key in ["block_size", "per_block_int_scale"] {
        if let Some(found) = one.get(key).filter(|found| !found.is_null()) {
            return Err(form(
                at,
                "one scale per tensor or per channel, without blocks,",
                found,
            ));
        }
    }
    if let Some(axis) = one.get("axis").filter(|axis| !axis.is_null()) {
        entry.axis = Some(axis.as_i64().ok_or_else(|| form(at, "a whole `axis`", axis))?);
    }
    let numbers = |key: &str| -> Option<Option<Vec<f64>>> {
        Some(match one.get(key).filter(|found| !found.is_null())? {
            Value::Array(list) => list.iter().map(Value::as_f64).collect(),
            number => number.as_f64().map(|number| vec![number]),
        })
    };
    let scales = numbers("y_scale").flatten();
    let zero_points = match (&scales, numbers("y_zero_point")) {
        (Some(scales), None) => Some(vec![0.0; scales.len()]),
        (_, zero_points) => zero_points.flatten(),
    };
    // The least code is the file's own step of 0.
    let least = if is_signed {
        -(2f64.powi(bits as i32 - 1))
    } else {
        0.0
    };
    let is_sound = |&(scale, zero_point): &(f64, f64)| {
        (scale as f32).is_normal()
            && scale > 0.0
            && zero_point == libm::rint(zero_point)
            && (least..least + 2f64.powi(bits as i32)).contains(&zero_point)
    };
    let steps: Option<Vec<(f64, f64)>> = match (scales, zero_points) {
        (Some(scales), Some(zero_points)) if scales.len() == zero_points.len() => {
            Some(scales.into_iter().zip(zero_points).collect())
        }
        _ => None,
    };
    let steps = steps.filter(|steps| !steps.is_empty() && steps.iter().all(is_sound));
    let wanted =
        "`y_scale` above 0 and whole `y_zero_point` within the type, as many of one as of the other,";
    let steps = steps.ok_or_else(|| form(at, wanted, one))?;
    entry.bits = Some(bits);
    entry.steps = steps
        .into_iter()
        .map(|(scale, zero_point)| (scale as f32, (least - zero_point) as i64))
        .collect();
    Ok(entry)
}
