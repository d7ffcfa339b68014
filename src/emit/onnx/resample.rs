//! Resampling along an axis: `Resize` where its formula gives the weights, else the weighted sum written out.

use super::message::{count, counts, float, word};
use super::order::axis_in;
use super::writer::Writer;
use crate::ir::Node;
use crate::op::quant::QuantTensor;
use crate::op::tensor::Values;
use crate::op::{AlongAxis, Resample};

pub(super) fn resample(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Resample) {
    let mut shape = w.shape(node.inputs[0]).to_vec();
    let order = w.order_of(&node.inputs, shape.len());
    let mut y = w.read(node.inputs[0], order);
    let mut styles = Vec::new();
    for along in op.axes() {
        let outputs = along.sources.len() / along.taps.max(1);
        styles.push((along, outputs, Style::of(along, shape[along.axis], outputs)));
        shape[along.axis] = outputs;
    }
    // Both axes at once, if one formula has them.
    if let [(first, rows, Some(style)), (second, columns, Some(other))] = styles[..]
        && style == other
    {
        let axes = [first, second].map(|along| axis_in(order, along.axis, shape.len()));
        y = resize(w, &y, &axes, &[rows, columns], style);
    } else {
        for (along, outputs, style) in styles {
            let axis = axis_in(order, along.axis, shape.len());
            y = match style {
                Some(style) => resize(w, &y, &[axis], &[outputs], style),
                None => weighted_sum(w, &y, axis, shape.len(), along, outputs),
            };
        }
    }
    w.write(node.outputs[0], order, y);
}

fn resize(w: &mut Writer<'_>, x: &str, axes: &[usize], sizes: &[usize], style: Style) -> String {
    let sizes = w.counts("sizes", sizes);
    let mut attributes = vec![
        counts("axes", axes),
        word("coordinate_transformation_mode", style.places),
    ];
    if style.is_cubic {
        let coefficient = float("cubic_coeff_a", COEFFICIENT as f32);
        attributes.extend([word("mode", "cubic"), coefficient]);
    } else {
        attributes.push(word("mode", "linear"));
    }
    w.own("Resize", &[x, "", "", &sizes], attributes)
}

/// `Σ_t weights[t]·gather(x, sources[t])`, tap by tap.
fn weighted_sum(
    w: &mut Writer<'_>,
    x: &str,
    axis: usize,
    rank: usize,
    along: &AlongAxis,
    outputs: usize,
) -> String {
    let mut sum: Option<String> = None;
    for tap in 0..along.taps {
        let of_tap = |output: usize| output * along.taps + tap;
        let sources = (0..outputs).map(|output| along.sources[of_tap(output)] as i64);
        let sources = w.ints("sources", sources);
        let picked = w.add("Gather", &[x, &sources], vec![count("axis", axis)]);
        let weights = (0..outputs).map(|output| along.weights[of_tap(output)] as f32);
        let mut shape = vec![1; rank];
        shape[axis] = outputs;
        let weights = w.constant("weights", &Values::f32(shape, weights.collect()));
        let product = w.add("Mul", &[&picked, &weights], Vec::new());
        sum = Some(match sum {
            Some(sum) => w.add("Add", &[&sum, &product], Vec::new()),
            None => product,
        });
    }
    sum.unwrap_or_else(|| x.to_owned())
}

/// The coefficient of cubic interpolation.
const COEFFICIENT: f64 = -0.75;

/// How `Resize` finds neighbours and weights.
#[derive(Clone, Copy, PartialEq)]
struct Style {
    places: &'static str,
    is_cubic: bool,
}

/// Where an output lies among the inputs, by `(output, extent, outputs)`.
type Place = fn(f64, f64, f64) -> f64;

/// The coordinate transformations that need nothing but the sizes.
const PLACES: [(&str, Place); 3] = [
    ("half_pixel", |x, extent, outputs| {
        (x + 0.5) / (outputs / extent) - 0.5
    }),
    ("align_corners", |x, extent, outputs| {
        if outputs == 1.0 {
            0.0
        } else {
            x * (extent - 1.0) / (outputs - 1.0)
        }
    }),
    ("asymmetric", |x, extent, outputs| x / (outputs / extent)),
];

impl Style {
    /// The style whose formula gives the weights of `op`.
    fn of(along: &AlongAxis, extent: usize, outputs: usize) -> Option<Self> {
        let styles = [false, true]
            .into_iter()
            .flat_map(|is_cubic| PLACES.map(|place| (is_cubic, place)));
        let found = styles.into_iter().find(|&(is_cubic, (_, place))| {
            (0..outputs).all(|output| {
                let wanted = dense(extent, along.taps, output, &along.sources, &along.weights);
                let at = place(output as f64, extent as f64, outputs as f64);
                let made = weights(at, extent, is_cubic);
                wanted.iter().zip(&made).all(|(a, b)| (a - b).abs() < 1e-12)
            })
        });
        found.map(|(is_cubic, (places, _))| Self { places, is_cubic })
    }
}

/// The weight of every input in an output.
fn dense(extent: usize, taps: usize, output: usize, sources: &[usize], weights: &[f64]) -> Vec<f64> {
    let mut dense = vec![0.0; extent];
    for tap in output * taps..(output + 1) * taps {
        dense[sources[tap]] += weights[tap];
    }
    dense
}

/// The weights that the formulas of `Resize` give for an output at a place; the edge stands for all beyond it.
fn weights(at: f64, extent: usize, is_cubic: bool) -> Vec<f64> {
    let mut weights = vec![0.0; extent];
    let floor = libm::floor(at);
    let (first, last) = if is_cubic { (-1, 2) } else { (0, 1) };
    for step in first..=last {
        let distance = (f64::from(step) - (at - floor)).abs();
        let weight = if is_cubic {
            cubic(distance)
        } else {
            (1.0 - distance).max(0.0)
        };
        let place = (floor + f64::from(step)).clamp(0.0, extent as f64 - 1.0);
        weights[place as usize] += weight;
    }
    weights
}

fn cubic(x: f64) -> f64 {
    let a = COEFFICIENT;
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}
