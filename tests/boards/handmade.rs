//! A blob with a step of every kind, built by hand: what a board must compute as the simulator does, before any model.

use tinsmith_runtime::format::{
    Add, AveragePool, Conv2d, ConvNd, Delay, Dense, DenseInt4, DepthwiseConv2d, Div, Fill, LayerNorm, Lstm,
    MatMul, MaxPool, MinMax, Mul, PRelu, Pair, Resample, Softmax, StridedCopy, Table, Window, Window3,
};
use tinsmith_runtime::kernels::{Layer, softmax};

use super::wide;
use crate::blobs::{Parts, Random};

/// Rows, columns and channels of the input.
const INPUT: (u16, u16, u16) = (9, 7, 5);

/// A multiplier and a shift that take accumulators of about `bits` bits to the int8 range, by either rounding.
fn rescale(random: &mut Random, bits: u8) -> (i32, u8) {
    let even = random.one_of(&[0, 0x80]);
    (
        random.range(1 << 29, i32::MAX.into()) as i32,
        (24 + bits).clamp(33, 55) | even,
    )
}

/// The constants block of a product.
fn filters(random: &mut Random, channels: u16, weights: usize) -> Vec<u8> {
    let mut block = Vec::new();
    (0..channels).for_each(|_| block.extend((random.range(-3000, 3000) as i32).to_le_bytes()));
    let scales: Vec<(i32, u8)> = (0..channels).map(|_| rescale(random, 16)).collect();
    scales
        .iter()
        .for_each(|(multiplier, _)| block.extend(multiplier.to_le_bytes()));
    scales.iter().for_each(|(_, shift)| block.push(*shift));
    block.resize(block.len().next_multiple_of(16), 0);
    block.extend(random.bytes(weights));
    block
}

/// A square window over a plane.
fn window(input: (u16, u16), output: (u16, u16), kernel: u16, pad: u16, stride: u16) -> Window {
    Window {
        in_h: input.0,
        in_w: input.1,
        out_h: output.0,
        out_w: output.1,
        kernel_h: kernel,
        kernel_w: kernel,
        pad_top: pad,
        pad_left: pad,
        stride_h: stride,
        stride_w: stride,
        dilation_h: 1,
        dilation_w: 1,
    }
}

/// Regions of the arena, one behind the other, none of them at a multiple of anything.
pub(super) struct Regions(u32);

impl Regions {
    pub(super) fn take(&mut self, bytes: u32) -> u32 {
        let offset = self.0;
        self.0 += bytes + 1;
        offset
    }
}

/// The blob.
pub(crate) fn blob() -> Vec<u8> {
    let random = &mut Random(7);
    let (mut parts, mut layers, mut regions) = (Parts::default(), Vec::new(), Regions(0));
    let (min, max) = (-128, 127);
    let (in_h, in_w, in_c) = INPUT;
    let x_bytes = u32::from(in_h) * u32::from(in_w) * u32::from(in_c);
    let x = regions.take(x_bytes);

    let a = regions.take(5 * 4 * 16);
    let convolution = Conv2d {
        ifm: x,
        ofm: a,
        constants: parts.constants_block(&filters(random, 16, 16 * 9 * usize::from(in_c))),
        window: window((in_h, in_w), (5, 4), 3, 1, 2),
        in_c,
        out_c: 16,
        groups: 1,
        ifm_zero_point: -5,
        ofm_zero_point: 3,
        min: -100,
        max,
        ..Conv2d::default()
    };
    layers.push(Layer::Conv2d(convolution));

    let b = regions.take(5 * 4 * 16);
    layers.push(Layer::DepthwiseConv2d(DepthwiseConv2d(Conv2d {
        ifm: a,
        ofm: b,
        constants: parts.constants_block(&filters(random, 16, 9 * 16)),
        window: window((5, 4), (5, 4), 3, 1, 1),
        in_c: 16,
        groups: 16,
        ..convolution
    })));
    let constants = parts.constants_block(&random.bytes(256));
    layers.push(Layer::Table(Table {
        ifm: b,
        ofm: b,
        constants,
        count: 5 * 4 * 16,
    }));

    let c = regions.take(4 * 3 * 16);
    let pool = MaxPool {
        ifm: b,
        ofm: c,
        window: window((5, 4), (4, 3), 2, 0, 1),
        channels: 16,
        min,
        max,
    };
    layers.push(Layer::MaxPool(pool));
    let (d, e) = (regions.take(3 * 2 * 16), regions.take(4 * 3 * 16));
    let average = AveragePool {
        ifm: c,
        ofm: d,
        window: window((4, 3), (3, 2), 2, 0, 1),
        channels: 16,
        min,
        max,
        divide: 1,
        ..AveragePool::default()
    };
    layers.push(Layer::AveragePool(average));
    let mut scales = Vec::new();
    let by_count: Vec<(i32, u8)> = (0..9).map(|_| rescale(random, 9)).collect();
    by_count
        .iter()
        .for_each(|(multiplier, _)| scales.extend(multiplier.to_le_bytes()));
    by_count.iter().for_each(|(_, shift)| scales.push(*shift));
    layers.push(Layer::AveragePool(AveragePool {
        ofm: e,
        constants: parts.constants_block(&scales),
        window: window((4, 3), (4, 3), 3, 1, 1),
        ifm_zero_point: 7,
        ofm_zero_point: -9,
        divide: 0,
        ..average
    }));

    let (f, g) = (regions.take(6 * 10), regions.take(6 * 10));
    for (ifm, ofm) in [(d, f), (e, g)] {
        layers.push(Layer::Dense(Dense {
            ifm,
            ofm,
            constants: parts.constants_block(&filters(random, 10, 16 * 10)),
            rows: 6,
            in_features: 16,
            out_features: 10,
            ofm_zero_point: -1,
            min,
            max,
            ..Dense::default()
        }));
    }

    let (h, i) = (regions.take(6 * 10), regions.take(6 * 10));
    let (dims, strides) = ([1, 1, 6, 10], [60, 60, 10, 1]);
    layers.push(Layer::Add(Add {
        operands: Pair {
            a: f,
            b: g,
            ofm: h,
            dims,
            a_strides: strides,
            b_strides: strides,
        },
        a_multiplier: 12_345,
        b_multiplier: -20_011,
        a_zero_point: -1,
        b_zero_point: 4,
        ofm_zero_point: 9,
        min,
        max,
        right_shift: 15,
        rounding: 1,
        wide: 0,
    }));
    let (multiplier, shift) = rescale(random, 14);
    layers.push(Layer::Mul(Mul {
        operands: Pair {
            a: h,
            b: g,
            ofm: i,
            dims,
            a_strides: strides,
            // One row for all.
            b_strides: [0, 0, 0, 1],
        },
        multiplier,
        a_zero_point: 9,
        b_zero_point: 4,
        ofm_zero_point: -2,
        min,
        max,
        shift,
        left_shift: 0,
    }));

    let mut exponentials = [0; softmax::CONSTANTS_BYTES];
    softmax::constants(0.05, &mut exponentials);
    let (scale_mantissa, scale_shift) = softmax::output_scale(1.0 / 256.0).unwrap();
    let j = regions.take(6 * 10);
    layers.push(Layer::Softmax(Softmax {
        ifm: i,
        ofm: j,
        constants: parts.constants_block(&exponentials),
        rows: 6,
        depth: 10,
        scale_mantissa,
        scale_shift,
        ofm_zero_point: -128,
        min,
        max,
    }));

    // A transpose into the middle of a filled region.
    let k = regions.take(80);
    layers.push(Layer::Fill(Fill {
        ofm: k,
        count: 80,
        value: 42,
    }));
    layers.push(Layer::StridedCopy(StridedCopy {
        ifm: j,
        ofm: k + 10,
        constants: parts.constants_block(&random.bytes(256)),
        dims: [1, 1, 1, 10, 6],
        ifm_strides: [60, 60, 60, 1, 10],
        ofm_strides: [60, 60, 60, 6, 1],
        element_bytes: 1,
        use_table: 1,
    }));
    // Of the state, the delay has 80 bytes and the recurrence the rest.
    let (l, state) = (regions.take(80), regions.take(80 + 64));
    layers.push(Layer::Delay(Delay {
        ifm: k,
        ofm: l,
        state,
        count: 80,
        initial: -7,
    }));

    let m = regions.take(80);
    layers.push(Layer::MinMax(MinMax {
        a: k,
        b: l,
        ofm: m,
        constants: parts.constants_block(&random.bytes(512)),
        dims: [1, 1, 1, 80],
        a_strides: [80, 80, 80, 1],
        b_strides: [80, 80, 80, 1],
        greatest: 1,
    }));
    // A transposed convolution that doubles 4 rows and columns of 5 channels.
    let n = regions.take(8 * 8 * 6);
    layers.push(Layer::ConvNd(ConvNd {
        ifm: m,
        ofm: n,
        constants: parts.constants_block(&filters(random, 6, 6 * 9 * 5)),
        images: 1,
        window: Window3 {
            ifm: [1, 4, 4],
            ofm: [1, 8, 8],
            kernel: [1, 3, 3],
            strides: [1; 3],
            dilations: [1; 3],
            spread: [1, 2, 2],
            pads: [0, 1, 1],
        },
        in_c: 5,
        out_c: 6,
        groups: 1,
        ifm_zero_point: 11,
        ofm_zero_point: -9,
        min,
        max: 99,
        left_shift: 0,
    }));

    // Five outputs of six int4 weights each, for every pixel.
    let o = regions.take(8 * 8 * 5);
    layers.push(Layer::DenseInt4(DenseInt4 {
        ifm: n,
        ofm: o,
        constants: parts.constants_block(&filters(random, 5, 5 * 3)),
        rows: 8,
        row_step: 48,
        columns: 8,
        column_step: 6,
        in_features: 6,
        out_features: 5,
        block: 0,
        ofm_zero_point: 2,
        min,
        max,
        left_shift: 0,
        packing: 0,
    }));

    let outputs = computed(random, &mut parts, &mut layers, &mut regions, [n, state + 80]);
    let wide = wide::steps(random, &mut parts, &mut layers, &mut regions, n);

    parts.layers = layers;
    parts.inputs = vec![(x, x_bytes)];
    parts.outputs = vec![(k, 80), (l, 80), (m, 80), (n, 8 * 8 * 6), (o, 8 * 8 * 5)];
    parts.outputs.extend(outputs);
    parts.outputs.extend(wide);
    parts.state = (state, 80 + 64);
    parts.arena_bytes = regions.0;
    parts.blob()
}

/// Steps over computed tensors, from one of 8 rows, 8 columns and 6 channels on, with room for the last one's state; gives
/// what they leave behind.
fn computed(
    random: &mut Random,
    parts: &mut Parts,
    layers: &mut Vec<Layer>,
    regions: &mut Regions,
    [x, room]: [u32; 2],
) -> Vec<(u32, u32)> {
    let (min, max) = (-128, 127);
    let slopes: Vec<(i32, u8)> = (0..6).map(|_| rescale(random, 8)).collect();
    let mut block: Vec<u8> = slopes.iter().flat_map(|(m, _)| m.to_le_bytes()).collect();
    block[3] |= 0x80;
    block.extend(slopes.iter().map(|&(_, shift)| shift));
    let (multiplier, shift) = rescale(random, 8);
    let a = regions.take(8 * 8 * 6);
    layers.push(Layer::PRelu(PRelu {
        ifm: x,
        ofm: a,
        constants: parts.constants_block(&block),
        outer: 64,
        channels: 6,
        inner: 1,
        multiplier,
        shift,
        left_shift: 1,
        ifm_zero_point: -9,
        ofm_zero_point: 3,
        min,
        max,
    }));
    // 8 rows of 8 become 5 rows of 6, of two taps each.
    let taps: Vec<u8> = (0..(5 + 6) * 2)
        .flat_map(|_| {
            let source = (random.range(0, 7) as u16).to_le_bytes();
            [source, (random.range(-3, 12) as i16).to_le_bytes()].concat()
        })
        .collect();
    let b = regions.take(5 * 6 * 6);
    layers.push(Layer::Resample(Resample {
        ifm: a,
        ofm: b,
        constants: parts.constants_block(&taps),
        outer: 1,
        extents: [8, 8],
        outputs: [5, 6],
        taps: [2, 2],
        inner: 6,
        divisor: 144,
        multiplier: 1 << 30,
        shift: 40,
        left_shift: 0,
        ifm_zero_point: 3,
        ofm_zero_point: -1,
        min,
        max,
    }));
    // Five times 6 rows by 6 columns by 8 columns, which are the same for all.
    let c = regions.take(5 * 6 * 8);
    let (multiplier, shift) = rescale(random, 15);
    layers.push(Layer::MatMul(MatMul {
        a: b,
        b: a,
        ofm: c,
        batch: [1, 1, 1, 5],
        a_strides: [0, 0, 0, 36],
        b_strides: [0; 4],
        rows: 6,
        depth: 6,
        columns: 8,
        multiplier,
        shift,
        left_shift: 0,
        a_zero_point: -1,
        b_zero_point: 3,
        ofm_zero_point: 0,
        min,
        max,
    }));
    let d = regions.take(5 * 6 * 8);
    layers.push(Layer::Div(Div {
        operands: Pair {
            a: c,
            b: a,
            ofm: d,
            dims: [1, 1, 30, 8],
            a_strides: [240, 240, 8, 1],
            b_strides: [0, 0, 0, 1],
        },
        multiplier: 0x5555_5555,
        right_shift: 26,
        a_zero_point: 0,
        b_zero_point: 3,
        ofm_zero_point: 5,
        min,
        max,
    }));
    // Rows of 40.
    let mut block = (1u128 << 62).to_le_bytes().to_vec();
    block.extend((1u64 << 62 | 12_345).to_le_bytes());
    block.extend([0; 8]);
    (0..40).for_each(|_| block.extend(random.range(-(1 << 37), 1 << 37).to_le_bytes()));
    (0..40).for_each(|_| block.extend(random.range(-1 << 43, 1 << 43).to_le_bytes()));
    let e = regions.take(5 * 6 * 8);
    layers.push(Layer::LayerNorm(LayerNorm {
        ifm: d,
        ofm: e,
        constants: parts.constants_block(&block),
        rows: 6,
        width: 40,
        right_shift: 88,
        ofm_zero_point: -4,
        min,
        max,
    }));
    let f = regions.take(7 * 8);
    layers.push(lstm(random, parts, e, f, room));
    vec![
        (b, 5 * 6 * 6),
        (c, 5 * 6 * 8),
        (d, 5 * 6 * 8),
        (e, 5 * 6 * 8),
        (f, 7 * 8),
    ]
}

/// Six steps of an LSTM over 10 features and 8 elements of a state, which start with the same bytes as the input.
fn lstm(random: &mut Random, parts: &mut Parts, ifm: u32, ofm: u32, state: u32) -> Layer {
    let mut block = Vec::new();
    (0..513u32).for_each(|k| block.extend(((k * 65535 / 512) as u16).to_le_bytes()));
    (0..32).for_each(|_| block.extend((random.range(-40_000, 40_000) as i32).to_le_bytes()));
    // Sums of about 2^14 and 2^19 become about 2^17.
    (0..64).for_each(|_| block.extend((random.range(1 << 23, (1 << 24) - 1) as i32).to_le_bytes()));
    block.extend([21; 32]);
    block.extend([26; 32]);
    block.extend(random.bytes(32 * (10 + 8)));
    let (multiplier, shift) = rescale(random, 16);
    Layer::Lstm(Lstm {
        ifm,
        h: ifm + 3,
        c: ifm + 20,
        ofm,
        constants: parts.constants_block(&block),
        state,
        steps: 6,
        batch: 1,
        features: 10,
        hidden: 8,
        h_multiplier: 1 << 23,
        c_multiplier: 1 << 23,
        multiplier,
        h_shift: 15,
        c_shift: 10,
        shift,
        ifm_zero_point: -4,
        h_zero_point: 1,
        c_zero_point: -4,
        ofm_zero_point: 6,
        backward: 1,
        cell: 0,
    })
}

/// Inputs for some inferences of the blob.
pub(crate) fn inputs(count: usize) -> Vec<Vec<Vec<u8>>> {
    let random = &mut Random(8);
    let bytes = usize::from(INPUT.0) * usize::from(INPUT.1) * usize::from(INPUT.2);
    (0..count).map(|_| vec![random.bytes(bytes)]).collect()
}
