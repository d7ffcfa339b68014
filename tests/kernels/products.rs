//! Convolutions and dense products.

use tinsmith_runtime::format::{Conv2d, Dense, DepthwiseConv2d, Window};
use tinsmith_runtime::kernels::Layer;

use super::{Rescale, positions, random_clamp, random_window};
use crate::blobs::{Parts, Random};

/// Biases, rescales and weights in the form of a constants block.
struct Filters {
    biases: Vec<i32>,
    rescales: Vec<Rescale>,
    weights: Vec<u8>,
}

impl Filters {
    fn random(random: &mut Random, channels: usize, weights: usize, taps: usize) -> Self {
        let size = (taps as i64) * 64 * 32;
        Self {
            biases: (0..channels).map(|_| random.range(-size, size) as i32).collect(),
            rescales: (0..channels).map(|_| Rescale::random(random, size)).collect(),
            weights: random.bytes(weights),
        }
    }

    fn block(&self) -> Vec<u8> {
        let mut block: Vec<u8> = self.biases.iter().flat_map(|bias| bias.to_le_bytes()).collect();
        block.extend(
            self.rescales
                .iter()
                .flat_map(|rescale| rescale.multiplier.to_le_bytes()),
        );
        block.extend(self.rescales.iter().map(|rescale| rescale.shift));
        block.resize(block.len().next_multiple_of(16), 0);
        block.extend(&self.weights);
        block
    }
}

fn int(byte: u8) -> i64 {
    (byte as i8).into()
}

/// A record over random channels; offsets come later.
fn random_record(random: &mut Random, window: Window, in_c: u16, out_c: u16, groups: u16) -> Conv2d {
    let (min, max) = random_clamp(random);
    Conv2d {
        window,
        in_c,
        out_c,
        groups,
        ifm_zero_point: random.one_of(&[0, 0, -128, 127, 3]),
        ofm_zero_point: random.i8(),
        min,
        max,
        left_shift: random.one_of(&[0, 0, 0, 1, 3]),
        ..Conv2d::default()
    }
}

/// Runs a convolution record, plain or depthwise, on random numbers, and compares.
/// `weight(o, tap, i)` is the index of a weight, `channel(o, i)` the input channel it meets.
fn check_convolution(
    random: &mut Random,
    mut record: Conv2d,
    as_layer: fn(Conv2d) -> Layer,
    weight: impl Fn(usize, usize, usize) -> usize,
    channel: impl Fn(usize, usize) -> usize,
) {
    let w = record.window;
    let (in_c, out_c) = (usize::from(record.in_c), usize::from(record.out_c));
    let filter_c = in_c / usize::from(record.groups);
    let taps = usize::from(w.kernel_h) * usize::from(w.kernel_w);
    let filters = Filters::random(random, out_c, taps * filter_c * out_c, taps * filter_c);
    let ifm = random.bytes(usize::from(w.in_h) * usize::from(w.in_w) * in_c);

    let mut wanted = Vec::new();
    for position in positions(&w) {
        for o in 0..out_c {
            let mut acc = i64::from(filters.biases[o]);
            for (tap, pixel) in position.iter().enumerate() {
                for i in 0..filter_c {
                    let padding = i64::from(record.ifm_zero_point);
                    let x = pixel.map_or(padding, |pixel| int(ifm[pixel * in_c + channel(o, i)]));
                    acc += x * int(filters.weights[weight(o, tap, i)]);
                }
            }
            let acc = acc << record.left_shift;
            wanted.push(filters.rescales[o].apply(acc, record.ofm_zero_point, record.min, record.max));
        }
    }

    let (ifm_bytes, ofm_bytes) = (ifm.len() as u32, wanted.len() as u32);
    let mut parts = Parts {
        inputs: vec![(0, ifm_bytes)],
        outputs: vec![(ifm_bytes, ofm_bytes)],
        ..Parts::default()
    };
    parts.arena_bytes = ifm_bytes + ofm_bytes;
    record.constants = parts.constants_block(&filters.block());
    record.ofm = ifm_bytes;
    parts.layers.push(as_layer(record));
    assert_eq!(parts.run(&[&ifm]), [wanted], "{record:?}");
}

fn check_conv2d(random: &mut Random, record: Conv2d) {
    let groups = usize::from(record.groups);
    let filter_c = usize::from(record.in_c) / groups;
    let group_out = usize::from(record.out_c) / groups;
    let taps = usize::from(record.window.kernel_h) * usize::from(record.window.kernel_w);
    let weight = |o: usize, tap: usize, i: usize| (o * taps + tap) * filter_c + i;
    let channel = |o: usize, i: usize| o / group_out * filter_c + i;
    check_convolution(random, record, Layer::Conv2d, weight, channel);
}

fn check_depthwise(random: &mut Random, record: Conv2d) {
    let (in_c, out_c) = (usize::from(record.in_c), usize::from(record.out_c));
    let as_layer = |record| Layer::DepthwiseConv2d(DepthwiseConv2d(record));
    check_convolution(
        random,
        record,
        as_layer,
        |o, tap, _| tap * out_c + o,
        |o, _| o * in_c / out_c,
    );
}

#[test]
fn conv2d_is_its_formula() {
    let random = &mut Random(1);
    for _ in 0..400 {
        let groups = random.one_of(&[1, 1, 1, 2, 3]);
        let in_c = groups * random.one_of(&[1, 2, 3, 4, 7, 8, 17]);
        let out_c = groups * random.one_of(&[1, 2, 3, 4, 5, 8, 9]);
        let window = random_window(random);
        let record = random_record(random, window, in_c, out_c, groups);
        check_conv2d(random, record);
    }
}

#[test]
fn conv2d_takes_the_shapes_of_real_models() {
    let random = &mut Random(2);
    let square = |extent: u16, out: u16, kernel: u16, pad: u16, stride: u16| Window {
        in_h: extent,
        in_w: extent,
        out_h: out,
        out_w: out,
        kernel_h: kernel,
        kernel_w: kernel,
        pad_top: pad,
        pad_left: pad,
        stride_h: stride,
        stride_w: stride,
        dilation_h: 1,
        dilation_w: 1,
    };
    for (window, in_c, out_c) in [
        (square(16, 16, 3, 1, 1), 16, 16),
        (square(16, 8, 3, 0, 2), 3, 8),
        (square(8, 4, 1, 0, 2), 32, 64),
        (square(6, 6, 1, 0, 1), 64, 2),
        (
            Window {
                in_w: 10,
                out_w: 5,
                kernel_h: 10,
                kernel_w: 4,
                pad_top: 4,
                pad_left: 1,
                ..square(49, 25, 1, 0, 2)
            },
            1,
            64,
        ),
        (
            Window {
                in_h: 1,
                out_h: 1,
                kernel_h: 1,
                pad_top: 0,
                ..square(32, 30, 3, 0, 1)
            },
            40,
            12,
        ),
    ] {
        let record = random_record(random, window, in_c, out_c, 1);
        check_conv2d(random, record);
    }
}

#[test]
fn depthwise_is_its_formula() {
    let random = &mut Random(3);
    for _ in 0..400 {
        let in_c = random.one_of(&[1, 2, 3, 7, 8, 9, 16, 23]);
        let out_c = in_c * random.one_of(&[1, 1, 1, 2, 3]);
        let window = random_window(random);
        let record = random_record(random, window, in_c, out_c, in_c);
        check_depthwise(random, record);
    }
}

#[test]
fn dense_is_its_formula() {
    let random = &mut Random(4);
    for _ in 0..200 {
        let rows = random.range(1, 3) as usize;
        let in_features = random.one_of(&[1, 2, 15, 16, 33, 640]);
        let out_features = random.one_of(&[1, 2, 3, 4, 5, 8, 13]);
        let filters = Filters::random(random, out_features, in_features * out_features, in_features);
        let ifm = random.bytes(rows * in_features);
        let (min, max) = random_clamp(random);
        let mut record = Dense {
            rows: rows as u32,
            in_features: in_features as u32,
            out_features: out_features as u32,
            ofm_zero_point: random.i8(),
            min,
            max,
            left_shift: random.one_of(&[0, 0, 2]),
            ..Dense::default()
        };
        let mut wanted = Vec::new();
        for x in ifm.chunks(in_features) {
            for (o, row) in filters.weights.chunks(in_features).enumerate() {
                let sum: i64 = x.iter().zip(row).map(|(&x, &weight)| int(x) * int(weight)).sum();
                let acc = (sum + i64::from(filters.biases[o])) << record.left_shift;
                wanted.push(filters.rescales[o].apply(acc, record.ofm_zero_point, min, max));
            }
        }
        let (ifm_bytes, ofm_bytes) = (ifm.len() as u32, wanted.len() as u32);
        let mut parts = Parts {
            arena_bytes: ifm_bytes + ofm_bytes,
            inputs: vec![(0, ifm_bytes)],
            outputs: vec![(ifm_bytes, ofm_bytes)],
            ..Parts::default()
        };
        record.constants = parts.constants_block(&filters.block());
        record.ofm = ifm_bytes;
        parts.layers.push(Layer::Dense(record));
        assert_eq!(parts.run(&[&ifm]), [wanted], "{record:?}");
    }
}
