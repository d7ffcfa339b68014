//! Steps on int16, for the blob that boards run.

use tinsmith_runtime::format::{
    Binary16, Conv16, Dequantize16, Function16, Pool16, Quantize16, Ratio, Rescale16, Window3,
};
use tinsmith_runtime::kernels::Layer;

use super::handmade::Regions;
use crate::blobs::{Parts, Random};

/// Rows, columns and channels of the input.
const EXTENTS: [u32; 3] = [8, 8, 6];
/// Its elements.
const ELEMENTS: u32 = 8 * 8 * 6;

/// A factor of 2^-`bits`, or near it, in either form.
fn ratio(random: &mut Random, bits: u32, divided: bool) -> Ratio {
    Ratio {
        multiplier: random.range(1 << 23, (1 << 24) - 1),
        divisor: if divided {
            random.range(1 << 23, (1 << 24) - 1) as u32
        } else {
            0
        },
        right_shift: if divided { bits } else { bits + 24 },
    }
}

/// A square window over rows and columns.
fn window(rows: u16, kernel: u16, stride: u16, pad: i32) -> Window3 {
    Window3 {
        ifm: [1, 8, 8],
        ofm: [1, rows, rows],
        kernel: [1, kernel, kernel],
        strides: [1, stride, stride],
        dilations: [1; 3],
        spread: [1; 3],
        pads: [0, pad, pad],
    }
}

/// The constants block of a convolution, in either form.
fn block(random: &mut Random, channels: usize, weights: usize, wide: bool) -> Vec<u8> {
    let bytes = if wide { 8 } else { 4 };
    let ratios: Vec<Ratio> = (0..channels).map(|_| ratio(random, 8, wide)).collect();
    let mut block = Vec::new();
    for _ in 0..channels {
        block.extend(&random.range(-100_000, 100_000).to_le_bytes()[..bytes]);
    }
    for ratio in &ratios {
        block.extend(&ratio.multiplier.to_le_bytes()[..bytes]);
    }
    if wide {
        block.extend(ratios.iter().flat_map(|ratio| ratio.divisor.to_le_bytes()));
    }
    block.extend(ratios.iter().map(|ratio| ratio.right_shift as u8));
    block.resize(block.len().next_multiple_of(16), 0);
    block.extend(random.bytes(weights));
    block
}

/// A step of every kind, from int8 of 8 rows, 8 columns and 6 channels on; gives what they leave behind.
pub(super) fn steps(
    random: &mut Random,
    parts: &mut Parts,
    layers: &mut Vec<Layer>,
    regions: &mut Regions,
    x: u32,
) -> Vec<(u32, u32)> {
    let (min, max) = (i16::MIN, i16::MAX);
    let [_, _, channels] = EXTENTS;
    let mut outputs = Vec::new();
    let mut place = |elements: u32, width: u32| {
        let place = regions.take(elements * width);
        outputs.push((place, elements * width));
        place
    };
    let up = Ratio {
        multiplier: 257,
        divisor: 0,
        right_shift: 1,
    };
    let a = place(ELEMENTS, 2);
    let widen = Rescale16 {
        ifm: x,
        ofm: a,
        dims: [1, 1, 8, 8, 6],
        ifm_strides: [384, 384, 48, 6, 1],
        ofm_strides: [384, 384, 48, 6, 1],
        ratio: up,
        negative: Ratio {
            multiplier: -300,
            ..up
        },
        ifm_zero_point: -9,
        ofm_zero_point: 77,
        min,
        max,
        ifm_bytes: 1,
        ofm_bytes: 2,
    };
    layers.push(Layer::Rescale16(widen));
    let mut from = a;
    for wide in [false, true] {
        let b = place(ELEMENTS, 2);
        layers.push(Layer::Conv16(Conv16 {
            ifm: from,
            ofm: b,
            constants: parts.constants_block(&block(random, 6, 6 * 9 * 3, wide)),
            images: 1,
            window: window(8, 3, 1, 1),
            in_c: channels,
            out_c: channels,
            groups: 2,
            ifm_zero_point: 77,
            ofm_zero_point: 77,
            min,
            max,
            wide: wide.into(),
        }));
        from = b;
    }
    for kind in 0..4 {
        let c = place(ELEMENTS, 2);
        let bits = if kind == 1 { 16 } else { 8 };
        layers.push(Layer::Binary16(Binary16 {
            a,
            b: from,
            ofm: c,
            dims: [1, 8, 8, 6],
            a_strides: [384, 48, 6, 1],
            b_strides: [0, 0, 6, 1],
            a_multiplier: 150,
            b_multiplier: -101,
            ratio: ratio(random, bits, kind > 1),
            a_zero_point: 77,
            b_zero_point: 77,
            ofm_zero_point: 0,
            min,
            max: 30_000,
            kind,
        }));
    }
    for kind in 0..3 {
        let d = place(16 * channels, 2);
        layers.push(Layer::Pool16(Pool16 {
            ifm: from,
            ofm: d,
            images: 1,
            window: window(4, 3, 2, 1),
            channels,
            ratio: Ratio {
                multiplier: 3,
                divisor: 5,
                right_shift: 1,
            },
            ifm_zero_point: 77,
            ofm_zero_point: -5,
            min,
            max,
            kind,
        }));
    }
    let table: Vec<u8> = (0..=512)
        .flat_map(|i| ((i - 256) * (i - 256) / 3 - 9000i32).to_le_bytes()[..2].to_vec())
        .collect();
    let e = place(ELEMENTS, 2);
    layers.push(Layer::Function16(Function16 {
        ifm: from,
        ofm: e,
        constants: parts.constants_block(&table),
        count: ELEMENTS,
        log2_segments: 9,
    }));
    let f = place(ELEMENTS, 1);
    layers.push(Layer::Rescale16(Rescale16 {
        ifm: e,
        ofm: f,
        ratio: ratio(random, 8, true),
        negative: ratio(random, 8, false),
        ifm_zero_point: 0,
        ofm_zero_point: 4,
        min: -128,
        max: 127,
        ifm_bytes: 2,
        ofm_bytes: 1,
        ..widen
    }));
    // Reals lie at multiples of nothing, too.
    let reals = place(ELEMENTS, 4);
    let (count, scale) = (ELEMENTS, 0.1);
    layers.push(Layer::Dequantize16(Dequantize16 {
        ifm: e,
        ofm: reals,
        count,
        scale,
        zero_point: -3,
    }));
    let g = place(ELEMENTS, 2);
    layers.push(Layer::Quantize16(Quantize16 {
        ifm: reals,
        ofm: g,
        count,
        scale: 0.3,
        zero_point: 12,
    }));
    outputs
}
