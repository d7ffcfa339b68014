//! Small networks for pictures, and pictures.

use tinsmith::op::tensor::Values;

use crate::evaluate::Rows;
use crate::import::onnx::{Onnx, int};

pub(super) const SIDE: usize = 10;

/// A seeded generator of numbers from 0 to 1.
pub(super) struct Random(pub(super) u32);

impl Random {
    pub(super) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 24) as f32
    }

    pub(super) fn pick(&mut self, count: usize) -> usize {
        (self.next() * count as f32) as usize % count
    }
}

/// A convolution of 3 × 3 without padding, with a Relu behind it.
#[derive(Clone)]
pub(super) struct Conv {
    inputs: usize,
    /// `[outputs, inputs, 3, 3]`.
    weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

impl Conv {
    /// The weights of an output channel.
    pub(super) fn row(&mut self, output: usize) -> &mut [f32] {
        let len = self.inputs * 9;
        &mut self.weights[output * len..(output + 1) * len]
    }

    /// Takes most of the mean out of every kernel, so that it hardly sees what is even.
    pub(super) fn sharpen(&mut self) {
        for kernel in self.weights.chunks_mut(9) {
            let mean = kernel.iter().sum::<f32>() / 9.0;
            kernel.iter_mut().for_each(|w| *w -= 0.85 * mean);
        }
    }

    /// The output channel that sees most of what is there.
    pub(super) fn busiest(&mut self) -> usize {
        let sums: Vec<f32> = (0..self.bias.len())
            .map(|output| self.row(output).iter().sum())
            .collect();
        (0..sums.len())
            .max_by(|&a, &b| sums[a].total_cmp(&sums[b]))
            .unwrap()
    }

    /// The weights of an input channel, 9 per output channel.
    pub(super) fn column(&mut self, input: usize) -> impl Iterator<Item = &mut [f32]> {
        let len = self.inputs * 9;
        self.weights
            .chunks_mut(len)
            .map(move |row| &mut row[input * 9..(input + 1) * 9])
    }
}

/// A small network for pictures.
#[derive(Clone)]
pub(super) struct Net {
    pub(super) convs: Vec<Conv>,
    pub(super) head: Head,
}

/// What stands behind the convolutions.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Head {
    /// A dense layer, `y`.
    One,
    /// Two, of large numbers and of small ones, `boxes` and `scores`.
    Apart,
    /// The same, joined to `y`.
    Joined,
}

impl Net {
    pub(super) fn new(widths: &[usize], random: &mut Random) -> Self {
        let mut inputs = 3;
        let convs = widths.iter().map(|&outputs| {
            let size = (6.0 / (inputs * 9) as f32).sqrt();
            let mut number = |size: f32| (random.next() * 2.0 - 1.0) * size;
            let conv = Conv {
                inputs,
                weights: (0..outputs * inputs * 9).map(|_| number(size)).collect(),
                bias: (0..outputs).map(|_| number(0.1)).collect(),
            };
            inputs = outputs;
            conv
        });
        Self {
            convs: convs.collect(),
            head: Head::One,
        }
    }

    /// The model: convolutions `r0`, `r1` …, the mean over the picture, and a dense layer, or two that are joined.
    pub(super) fn onnx(&self, random: &mut Random) -> Onnx {
        let mut model = Onnx::new(13).input("x", [1, 3, SIDE as i64, SIDE as i64]);
        let mut last = "x".to_owned();
        for (i, conv) in self.convs.iter().enumerate() {
            let [w, b, c, r] = ["w", "b", "c", "r"].map(|name| format!("{name}{i}"));
            let outputs = conv.bias.len();
            model = model
                .constant(
                    &w,
                    &Values::f32([outputs, conv.inputs, 3, 3], conv.weights.clone()),
                )
                .constant(&b, &Values::f32([outputs], conv.bias.clone()))
                .node("Conv", &[&last, &w, &b], &[&c], vec![])
                .node("Relu", &[&c], &[&r], vec![]);
            last = r;
        }
        model = model.node("GlobalAveragePool", &[&last], &["mean"], vec![]).node(
            "Flatten",
            &["mean"],
            &["flat"],
            vec![],
        );
        let inputs = self.convs.last().unwrap().bias.len();
        let mut dense = |model: Onnx, name: &str, size: f32| {
            let weights = (0..inputs * 5)
                .map(|_| (random.next() * 2.0 - 1.0) * size)
                .collect();
            let matrix = format!("{name}_w");
            model.constant(&matrix, &Values::f32([inputs, 5], weights)).node(
                "Gemm",
                &["flat", &matrix],
                &[name],
                vec![],
            )
        };
        if self.head == Head::One {
            return dense(model, "y", 1.0).output("y");
        }
        let model = dense(model, "boxes", 200.0);
        let model = dense(model, "scores", 0.5);
        if self.head == Head::Apart {
            return model.output("boxes").output("scores");
        }
        model
            .node("Concat", &["boxes", "scores"], &["y"], vec![int("axis", 1)])
            .output("y")
    }
}

/// Pictures whose channels differ in their means, and which differ in brightness.
pub(super) fn pictures(count: usize, random: &mut Random) -> Rows {
    let picture = |_| {
        let brightness = 0.3 + 1.4 * random.next();
        let means = [0.9, 0.45, 0.1];
        (0..3 * SIDE * SIDE)
            .map(|i| means[i / (SIDE * SIDE)] * brightness + 0.3 * random.next())
            .collect()
    };
    Rows {
        shape: vec![1, 3, SIDE, SIDE],
        rows: (0..count).map(picture).collect(),
    }
}
