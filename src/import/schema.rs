//! What each version of each ONNX operator takes and gives: numbers of inputs and outputs, names of attributes.
//!
//! The facts stand in `schemas.txt`, one line per operator and the operator set that gave it this form.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use tinsmith_proto::NodeProto;

use crate::op::OpError;

/// One form of an operator.
#[derive(Debug)]
pub(super) struct Schema {
    /// The operator set that gave it this form.
    pub(super) since: i64,
    inputs: RangeInclusive<usize>,
    outputs: RangeInclusive<usize>,
    /// Names, ascending; `None` where the form ends the operator.
    attributes: Option<Vec<&'static str>>,
}

/// Forms by domain (ONNX's own is empty) and operator, ascending.
type Schemas = BTreeMap<(&'static str, &'static str), Vec<Schema>>;

static SCHEMAS: LazyLock<Schemas> =
    LazyLock::new(|| parse(include_str!("schemas.txt")).expect("the table of operators is well-formed"));

fn parse(text: &'static str) -> Option<Schemas> {
    fn range(text: &str) -> Option<RangeInclusive<usize>> {
        let (least, most) = text.split_once("..")?;
        let most = if most == "*" {
            usize::MAX
        } else {
            most.parse().ok()?
        };
        Some(least.parse().ok()?..=most)
    }
    let mut schemas = Schemas::new();
    let mut domain = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let operator = words.next()?;
        if operator == "domain" {
            domain = plain_domain(words.next()?);
            continue;
        }
        let since = words.next()?.parse().ok()?;
        let (inputs, outputs) = (range(words.next()?)?, range(words.next()?)?);
        let attributes: Vec<&str> = words.collect();
        schemas.entry((domain, operator)).or_default().push(Schema {
            since,
            inputs,
            outputs,
            attributes: (attributes != ["deprecated"]).then_some(attributes),
        });
    }
    Some(schemas)
}

/// ONNX's own domain has two spellings.
pub(super) fn plain_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// Checks a node against its operator's form in this version of its domain; operators of domains without a table pass.
///
/// # Errors
/// Where the version has no such operator, or its form knows not that number of inputs or outputs, or an attribute:
/// all of it.
pub(super) fn check(node: &NodeProto, version: i64) -> Result<(), OpError> {
    let domain = plain_domain(&node.domain);
    let Some(forms) = SCHEMAS.get(&(domain, node.op_type.as_str())) else {
        return Ok(());
    };
    let Some(form) = forms.iter().rev().find(|form| form.since <= version) else {
        return Err(OpError::new(format!(
            "an operator of opset {version} wanted, one of opset {} found",
            forms.first().map_or(0, |form| form.since)
        )));
    };
    let Some(attributes) = &form.attributes else {
        return Err(OpError::new(format!(
            "an operator of opset {version} wanted, one that ended with opset {} found",
            form.since
        ))
        .with_help("convert the model with onnx.version_converter"));
    };
    let mut problems = Vec::new();
    // Trailing inputs and outputs that are left out may be named by nothing.
    let count = |names: &[String]| {
        let last = names.iter().rposition(|name| !name.is_empty());
        last.map_or(0, |last| last + 1)
    };
    for (what, range, found) in [
        ("inputs", &form.inputs, count(&node.input)),
        ("outputs", &form.outputs, count(&node.output)),
    ] {
        if !range.contains(&found) {
            let (least, most) = (range.start(), range.end());
            let wanted = match most {
                _ if least == most => least.to_string(),
                &usize::MAX => format!("{least} or more"),
                _ => format!("{least} to {most}"),
            };
            problems.push(format!("{wanted} {what} wanted, {found} found"));
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for attribute in &node.attribute {
        let name = attribute.name.as_str();
        if !attributes.contains(&name) {
            problems.push(format!("an attribute of opset {version} wanted, `{name}` found"));
        } else if seen.contains(&name) {
            problems.push(format!("each attribute once wanted, `{name}` found again"));
        }
        seen.push(name);
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(OpError::new(problems.join("; ")))
    }
}
