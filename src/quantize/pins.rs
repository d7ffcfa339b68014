//! What a user settles by name: the `[quantization]` table of a TOML file.
//!
//! ```toml
//! [[quantization.nodes]]
//! name = "head/*"            # `*` stands for any characters, `?` for one; or:
//! operator = "Softmax"       # every node of this operator
//! precision = "f32"          # and
//! weights = "int8-per-tensor"  # or "int4", "int4-block32", …: what `--weight-form` takes
//!
//! [[quantization.tensors]]
//! name = "logits"
//! range = [-8.0, 8.0]        # or:
//! calibrator = "percentile=99.9"
//! ```
//!
//! Names are those of the optimized graph, as reports print them; a node may also be named by a tensor that it makes. Where
//! several entries match, the last one counts.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::weight_form::WeightForm;
use super::{Calibrator, Precision, QuantizeError, is_quantized};
use crate::ir::{FloatGraph, FloatTensor, Handle, Node};
use crate::op::quant::Range;

/// What is settled about nodes and tensors.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// About nodes.
    #[serde(default)]
    pub nodes: Vec<NodePin>,
    /// About tensors.
    #[serde(default)]
    pub tensors: Vec<TensorPin>,
}

/// What is settled about nodes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePin {
    /// Their names; all without one.
    pub name: Option<Pattern>,
    /// Their operator.
    pub operator: Option<String>,
    /// What they compute in.
    pub precision: Option<Precision>,
    /// What their weights are stored as.
    #[serde(default, deserialize_with = "weight_form")]
    pub weights: Option<WeightForm>,
}

/// What is settled about tensors of activations.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorPin {
    /// Their names.
    pub name: Pattern,
    /// The range that int8 has to hold.
    #[serde(default, deserialize_with = "range")]
    pub range: Option<Range>,
    /// How their range follows from samples.
    #[serde(default, deserialize_with = "calibrator")]
    pub calibrator: Option<Calibrator>,
}

/// A name in which `*` stands for any characters and `?` for one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// Whether it stands for `name`.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name): (Vec<char>, Vec<char>) = (self.0.chars().collect(), name.chars().collect());
        let (mut p, mut n) = (0, 0);
        // The last star, and the first character that it does not stand for yet.
        let mut star = None;
        while n < name.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(&c) if c == '?' || c == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => {
                    let Some((at, next)) = star else { return false };
                    star = Some((at, next + 1));
                    p = at + 1;
                    n = next + 1;
                }
            }
        }
        pattern[p..].iter().all(|&c| c == '*')
    }
}

/// A TOML file that has a `[quantization]` table among others.
#[derive(Deserialize)]
struct Document {
    quantization: Option<Pins>,
}

impl Pins {
    /// Reads the `[quantization]` table of a TOML text.
    ///
    /// # Errors
    /// Where it is no TOML, has no such table, or one with unknown keys or values; with the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let document: Document = toml::from_str(text).map_err(|error| error.to_string())?;
        document
            .quantization
            .ok_or_else(|| "a table `[quantization]` wanted, none found".to_owned())
    }

    /// The precision that is settled for each node, by node.
    pub(super) fn precisions(&self, graph: &FloatGraph) -> Vec<Option<Precision>> {
        let of = |node: &Node<FloatTensor>| {
            let pins = self.nodes.iter().filter(|pin| pin.matches(graph, node));
            pins.filter_map(|pin| pin.precision).next_back()
        };
        graph.nodes.iter().map(of).collect()
    }

    /// The form that is wished for every node's weights, by node; `usual` where nothing is settled.
    pub(super) fn weights(&self, graph: &FloatGraph, usual: WeightForm) -> Vec<WeightForm> {
        let of = |node: &Node<FloatTensor>| {
            let pins = self.nodes.iter().filter(|pin| pin.matches(graph, node));
            let pinned = pins.filter_map(|pin| pin.weights).next_back();
            pinned.unwrap_or(usual)
        };
        graph.nodes.iter().map(of).collect()
    }

    /// The calibrators of tensors.
    pub(super) fn calibrators(&self) -> impl Iterator<Item = Calibrator> {
        self.tensors.iter().filter_map(|pin| pin.calibrator)
    }

    /// The tensors that entries stand for, in the entries' order.
    pub(super) fn of_tensors<'p>(
        &'p self,
        graph: &'p FloatGraph,
    ) -> impl Iterator<Item = (Handle<FloatTensor>, &'p TensorPin)> {
        let of_pin = move |pin: &'p TensorPin| {
            let tensors = graph.tensors.handles();
            let named = tensors.filter(move |&tensor| pin.stands_for(&graph.tensors[tensor]));
            named.map(move |tensor| (tensor, pin))
        };
        self.tensors.iter().flat_map(of_pin)
    }

    /// Whether nothing is settled.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.tensors.is_empty()
    }

    /// Checks that every entry stands for something in a graph that is not quantized yet.
    pub(super) fn check(&self, graph: &FloatGraph) -> Result<(), QuantizeError> {
        let wrong = if !self.is_empty() && is_quantized(graph) {
            vec!["the model is quantized, and taken as it stands; the table `[quantization]` is for float models".into()]
        } else {
            self.unmatched(graph)
        };
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(QuantizeError::Pins(wrong))
        }
    }

    /// What each entry says that stands for nothing.
    fn unmatched(&self, graph: &FloatGraph) -> Vec<String> {
        let nodes = self.nodes.iter().filter(|pin| {
            let mut nodes = graph.nodes.iter();
            !nodes.any(|node| pin.matches(graph, node))
        });
        let nodes = nodes.map(|pin| {
            let name = pin.name.as_ref().map(|name| format!("name `{}`", name.0));
            let operator = pin
                .operator
                .as_ref()
                .map(|operator| format!("operator `{operator}`"));
            let wanted: Vec<String> = [name, operator].into_iter().flatten().collect();
            format!("no node has the {}", wanted.join(" and the "))
        });
        let tensors = self.tensors.iter().filter(|pin| {
            let mut tensors = graph.tensors.iter();
            !tensors.any(|(_, tensor)| pin.stands_for(tensor))
        });
        let tensors = tensors.map(|pin| format!("no tensor has the name `{}`", pin.name.0));
        nodes.chain(tensors).collect()
    }
}

impl TensorPin {
    fn stands_for(&self, tensor: &FloatTensor) -> bool {
        tensor.data.is_none() && self.name.matches(&tensor.name)
    }
}

impl NodePin {
    fn matches(&self, graph: &FloatGraph, node: &Node<FloatTensor>) -> bool {
        let is_named = self.name.as_ref().is_none_or(|pattern| {
            let mut outputs = node.outputs.iter();
            pattern.matches(&node.name) || outputs.any(|&output| pattern.matches(&graph.tensors[output].name))
        });
        let operator = self.operator.as_ref();
        is_named && operator.is_none_or(|operator| operator == node.op.name())
    }
}

fn range<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Range>, D::Error> {
    let [min, max] = <[f32; 2]>::deserialize(deserializer)?;
    if !(min.is_finite() && max.is_finite() && min <= max) {
        return Err(D::Error::custom(format!(
            "a least and a greatest value wanted, [{min}, {max}] found"
        )));
    }
    Ok(Some(Range { min, max }))
}

fn calibrator<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Calibrator>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.parse() {
        Ok(Calibrator::Auto) => Err(D::Error::custom("`auto` is for all tensors at once")),
        Ok(calibrator) => Ok(Some(calibrator)),
        Err(error) => Err(D::Error::custom(error)),
    }
}

fn weight_form<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WeightForm>, D::Error> {
    let form = String::deserialize(deserializer)?.parse();
    form.map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_names() {
        let cases = [
            ("conv", "conv", true),
            ("conv", "conv1", false),
            ("conv?", "conv1", true),
            ("conv?", "conv", false),
            ("*", "", true),
            ("head/*/conv", "head/a/b/conv", true),
            ("head/*/conv", "head/conv", false),
            ("*a*b", "xaab", true),
            ("*a*b", "xaabc", false),
        ];
        for (pattern, name, is_match) in cases {
            assert_eq!(
                Pattern(pattern.into()).matches(name),
                is_match,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn tables_are_read_and_errors_have_a_line() {
        let text = "[quantization]\n[[quantization.nodes]]\nname = \"a*\"\nprecision = \"f32\"\n\
                    weights = \"int8-per-tensor\"\n\
                    [[quantization.tensors]]\nname = \"x\"\nrange = [-1.0, 2.0]\n";
        let pins = Pins::parse(text).expect("a sound table");
        assert_eq!(pins.nodes[0].precision, Some(Precision::F32));
        assert_eq!(pins.nodes[0].weights, Some(WeightForm::Int8PerTensor));
        assert_eq!(pins.tensors[0].range, Some(Range { min: -1.0, max: 2.0 }));
        for (text, wanted) in [
            ("x = 1", "`[quantization]`"),
            ("[quantization]\nnode = 1", "unknown field `node`"),
            (
                "[[quantization.nodes]]\nprecision = \"int9\"",
                "unknown variant `int9`",
            ),
            (
                "[[quantization.tensors]]\nname = \"x\"\nrange = [2.0, 1.0]",
                "[2, 1] found",
            ),
            (
                "[[quantization.tensors]]\nname = \"x\"\ncalibrator = \"max\"",
                "wanted `minmax`",
            ),
        ] {
            let error = Pins::parse(text).expect_err("a faulty table");
            assert!(error.contains(wanted), "{error}");
        }
    }
}
