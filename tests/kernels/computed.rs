//! Operators over computed int8 tensors: slopes by channel, quotients, products of matrices, resampling.

use tinsmith_runtime::format::{Div, IN_CONSTANTS, MatMul, PRelu, Pair, Resample};
use tinsmith_runtime::kernels::Layer;

use super::elementwise::{indices, random_case, run};
use super::{Rescale, random_clamp};
use crate::blobs::{Parts, Random};

fn int(byte: u8) -> i64 {
    (byte as i8).into()
}

#[test]
fn slopes_by_channel_are_their_formula() {
    let random = &mut Random(31);
    for case in 0..200 {
        let [outer, channels, inner] = std::array::from_fn(|_| random.range(1, 6) as usize);
        let (min, max) = random_clamp(random);
        let rest = Rescale::random(random, 64);
        let slopes: Vec<(i64, Rescale)> = (0..channels)
            .map(|_| (random.one_of(&[1, 1, -1]), Rescale::random(random, 64)))
            .collect();
        let ifm = random.bytes(outer * channels * inner);
        let record = PRelu {
            outer: outer as u32,
            channels: channels as u32,
            inner: inner as u32,
            multiplier: rest.multiplier,
            shift: rest.shift,
            left_shift: random.one_of(&[0, 0, 3, 20]),
            ifm_zero_point: random.i8(),
            ofm_zero_point: random.i8(),
            min,
            max,
            ..PRelu::default()
        };
        let element = |(i, &x): (usize, &u8)| {
            let steps = int(x) - i64::from(record.ifm_zero_point);
            let (sign, slope) = slopes[i / inner % channels];
            let (steps, rescale) = if steps < 0 {
                (steps * sign, slope)
            } else {
                (steps, rest)
            };
            rescale.apply(steps << record.left_shift, record.ofm_zero_point, min, max)
        };
        let wanted: Vec<u8> = ifm.iter().enumerate().map(element).collect();
        let mut block: Vec<u8> = slopes
            .iter()
            .flat_map(|(sign, slope)| (slope.multiplier * *sign as i32).to_le_bytes())
            .collect();
        block.extend(slopes.iter().map(|(_, slope)| slope.shift));
        // Over its own input in every other case.
        let bytes = ifm.len() as u32;
        let ofm = if case % 2 == 0 { 0 } else { bytes };
        let mut parts = Parts {
            arena_bytes: 2 * bytes,
            inputs: vec![(0, bytes)],
            outputs: vec![(ofm, bytes)],
            ..Parts::default()
        };
        let constants = parts.constants_block(&block);
        parts.layers.push(Layer::PRelu(PRelu {
            ofm,
            constants,
            ..record
        }));
        assert_eq!(parts.run(&[&ifm]), [wanted], "{record:?}");
    }
}

#[test]
fn quotients_are_their_formula() {
    let random = &mut Random(32);
    for _ in 0..400 {
        let (dims, a, b) = random_case(random);
        let (min, max) = random_clamp(random);
        let right_shift = random.range(0, 46) as u8;
        let record = Div {
            operands: Pair {
                dims,
                a_strides: a.strides,
                b_strides: b.strides,
                ..Pair::default()
            },
            multiplier: random.one_of(&[0, 1, 1 << 20, i32::MAX, (1i64 << right_shift.min(30)) as i32]),
            right_shift,
            a_zero_point: random.i8(),
            b_zero_point: random.i8(),
            ofm_zero_point: random.i8(),
            min,
            max,
        };
        let element = |index| {
            let a = a.at(index) - i64::from(record.a_zero_point);
            let b = b.at(index) - i64::from(record.b_zero_point);
            let (above, below) = (
                i128::from(a) * i128::from(record.multiplier),
                i128::from(b) << right_shift,
            );
            let quotient = match (below, a) {
                (0, 0) => 0,
                (0, _) => i128::from(a.signum()) * 1000,
                _ => {
                    let (above, below) = (above * below.signum(), below.abs());
                    let (floor, rest) = (above.div_euclid(below), above.rem_euclid(below));
                    let up = 2 * rest > below || (2 * rest == below && floor & 1 == 1);
                    floor + i128::from(up)
                }
            };
            (quotient + i128::from(record.ofm_zero_point)).clamp(min.into(), max.into()) as i8 as u8
        };
        let wanted: Vec<u8> = indices(dims).map(element).collect();
        let found = run(&a, &b, wanted.len(), |a, b, ofm| {
            Layer::Div(Div {
                operands: Pair {
                    a,
                    b,
                    ofm,
                    ..record.operands
                },
                ..record
            })
        });
        assert_eq!(found, wanted, "{record:?}");
    }
}

#[test]
fn products_of_matrices_are_their_formula() {
    let random = &mut Random(33);
    for _ in 0..200 {
        let [outer, inner] = std::array::from_fn(|_| random.range(1, 3) as usize);
        let [rows, depth] = std::array::from_fn(|_| random.range(1, 5) as usize);
        let columns = random.one_of(&[1, 3, 32, 33, 70]);
        // The right matrices are the same for all outer batches, or for all.
        let shared = random.range(0, 1) == 1;
        let (matrix_a, matrix_b) = (rows * depth, depth * columns);
        let a = random.bytes(outer * inner * matrix_a);
        let b = random.bytes(if shared { 1 } else { inner } * matrix_b);
        let rescale = Rescale::random(random, 64 * 64);
        let (min, max) = random_clamp(random);
        let record = MatMul {
            batch: [1, 1, outer as u32, inner as u32],
            a_strides: [0, 0, (inner * matrix_a) as u32, matrix_a as u32],
            b_strides: [0, 0, 0, if shared { 0 } else { matrix_b as u32 }],
            rows: rows as u32,
            depth: depth as u32,
            columns: columns as u32,
            multiplier: rescale.multiplier,
            shift: rescale.shift,
            left_shift: random.one_of(&[0, 0, 2]),
            a_zero_point: random.i8(),
            b_zero_point: random.i8(),
            ofm_zero_point: random.i8(),
            min,
            max,
            ..MatMul::default()
        };
        let mut wanted = Vec::new();
        for (batch, a) in a.chunks(matrix_a).enumerate() {
            let b = &b[if shared { 0 } else { batch % inner * matrix_b }..][..matrix_b];
            for row in a.chunks(depth) {
                for column in 0..columns {
                    let products = row.iter().enumerate().map(|(k, &a)| {
                        (int(a) - i64::from(record.a_zero_point))
                            * (int(b[k * columns + column]) - i64::from(record.b_zero_point))
                    });
                    let acc = products.sum::<i64>() << record.left_shift;
                    wanted.push(rescale.apply(acc, record.ofm_zero_point, min, max));
                }
            }
        }
        let (a_bytes, b_bytes, bytes) = (a.len() as u32, b.len() as u32, wanted.len() as u32);
        let constant = random.range(0, 1) == 1;
        let mut parts = Parts {
            arena_bytes: a_bytes + b_bytes + bytes,
            inputs: vec![(0, a_bytes), (a_bytes, b_bytes)],
            outputs: vec![(a_bytes + b_bytes, bytes)],
            ..Parts::default()
        };
        let at = if constant {
            parts.constants_block(&b) | IN_CONSTANTS
        } else {
            a_bytes
        };
        parts.layers.push(Layer::MatMul(MatMul {
            b: at,
            ofm: a_bytes + b_bytes,
            ..record
        }));
        assert_eq!(parts.run(&[&a, &b]), [wanted], "{record:?}");
    }
}

/// Taps of an axis, and their block.
fn random_taps(random: &mut Random, extent: usize, outputs: usize, taps: usize) -> Vec<(u16, i16)> {
    (0..outputs * taps)
        .map(|_| {
            let source = random.range(0, extent as i64 - 1) as u16;
            (source, random.one_of(&[0, 1, 3, -2, 40, 64]))
        })
        .collect()
}

#[test]
fn resampling_of_int8_is_its_formula() {
    let random = &mut Random(34);
    for _ in 0..200 {
        let [outer, height, width] = std::array::from_fn(|_| random.range(1, 4) as usize);
        let inner = random.one_of(&[1, 3, 32, 40]);
        let outputs: [usize; 2] = std::array::from_fn(|_| random.range(1, 5) as usize);
        let taps: [usize; 2] = std::array::from_fn(|_| random.range(1, 4) as usize);
        let rows = random_taps(random, height, outputs[0], taps[0]);
        let columns = random_taps(random, width, outputs[1], taps[1]);
        let ifm = random.bytes(outer * height * width * inner);
        let rescale = Rescale::random(random, 64 * 1000);
        let (min, max) = random_clamp(random);
        let record = Resample {
            outer: outer as u32,
            extents: [height, width].map(|extent| extent as u32),
            outputs: outputs.map(|extent| extent as u32),
            taps: taps.map(|taps| taps as u32),
            inner: inner as u32,
            divisor: random.one_of(&[0, 0, 6, 1000]),
            multiplier: rescale.multiplier,
            shift: rescale.shift,
            left_shift: random.one_of(&[0, 0, 2]),
            ifm_zero_point: random.i8(),
            ofm_zero_point: random.i8(),
            min,
            max,
            ..Resample::default()
        };
        let mut wanted = Vec::new();
        for plane in ifm.chunks(height * width * inner) {
            for rows in rows.chunks(taps[0]) {
                for columns in columns.chunks(taps[1]) {
                    for i in 0..inner {
                        let mut sum = 0;
                        for &(y, wy) in rows {
                            for &(x, wx) in columns {
                                let at = (usize::from(y) * width + usize::from(x)) * inner + i;
                                let steps = int(plane[at]) - i64::from(record.ifm_zero_point);
                                sum += i64::from(wy) * i64::from(wx) * steps;
                            }
                        }
                        let zero_point = record.ofm_zero_point;
                        wanted.push(if record.divisor == 0 {
                            rescale.apply(sum << record.left_shift, zero_point, min, max)
                        } else {
                            let mean = sum as f64 / f64::from(record.divisor);
                            let code = mean.round_ties_even() + f64::from(zero_point);
                            code.clamp(min.into(), max.into()) as i8 as u8
                        });
                    }
                }
            }
        }
        let (ifm_bytes, ofm_bytes) = (ifm.len() as u32, wanted.len() as u32);
        let mut parts = Parts {
            arena_bytes: ifm_bytes + ofm_bytes,
            inputs: vec![(0, ifm_bytes)],
            outputs: vec![(ifm_bytes, ofm_bytes)],
            ..Parts::default()
        };
        let pairs = rows.iter().chain(&columns);
        let block: Vec<u8> = pairs
            .flat_map(|(source, weight)| [source.to_le_bytes(), weight.to_le_bytes()].concat())
            .collect();
        parts.constants_block(&[9]);
        let constants = parts.constants_block(&block);
        parts.layers.push(Layer::Resample(Resample {
            ofm: ifm_bytes,
            constants,
            ..record
        }));
        assert_eq!(parts.run(&[&ifm]), [wanted], "{record:?}");
    }
}

#[test]
fn records_that_would_leave_their_bounds_are_refused() {
    let refused = |layer: Layer, block: &[u8]| {
        let mut parts = Parts {
            arena_bytes: 64,
            inputs: vec![(0, 16)],
            outputs: vec![(16, 16)],
            ..Parts::default()
        };
        parts.constants_block(block);
        parts.layers.push(layer);
        assert!(parts.check().is_err(), "{layer:?}");
    };
    let scale = (1 << 30, 33);
    let taps = |source: u16| {
        let tap = |source: u16| [source.to_le_bytes(), 1i16.to_le_bytes()].concat();
        [tap(0), tap(source)].concat()
    };
    let resample = |inner| {
        Layer::Resample(Resample {
            ofm: 16,
            outer: 1,
            extents: [1, 4],
            outputs: [1, 1],
            taps: [1, 1],
            inner,
            multiplier: scale.0,
            shift: scale.1,
            ..Resample::default()
        })
    };
    // A source beyond its axis; elements of no size.
    refused(resample(4), &taps(4));
    refused(resample(0), &taps(0));
    let prelu = |channels, multiplier| {
        Layer::PRelu(PRelu {
            ofm: 16,
            outer: 4,
            channels,
            inner: 4,
            multiplier,
            shift: scale.1,
            ..PRelu::default()
        })
    };
    let slope = |multiplier: i32| [&multiplier.to_le_bytes()[..], &[scale.1]].concat();
    refused(prelu(0, scale.0), &[]);
    refused(prelu(1, -1), &slope(scale.0));
    refused(prelu(1, scale.0), &slope(i32::MIN));
    let dims = [1, 1, 1, 8];
    refused(
        Layer::Div(Div {
            operands: Pair {
                ofm: 16,
                dims,
                ..Pair::default()
            },
            right_shift: 47,
            ..Div::default()
        }),
        &[],
    );
    refused(
        Layer::MatMul(MatMul {
            ofm: 16,
            batch: [1; 4],
            rows: 1,
            columns: 2,
            multiplier: scale.0,
            shift: scale.1,
            ..MatMul::default()
        }),
        &[],
    );
}
