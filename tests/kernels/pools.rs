//! Pools.

use tinsmith_runtime::format::{AveragePool, MaxPool};
use tinsmith_runtime::kernels::Layer;

use super::{Rescale, positions, random_clamp, random_window};
use crate::blobs::{Parts, Random};

/// Runs a pool over one input and gives the output.
fn run(ifm: &[u8], ofm_bytes: usize, constants: &[u8], layer: impl Fn(u32, u32) -> Layer) -> Vec<u8> {
    let (ifm_bytes, ofm_bytes) = (ifm.len() as u32, ofm_bytes as u32);
    let mut parts = Parts {
        arena_bytes: ifm_bytes + ofm_bytes,
        inputs: vec![(0, ifm_bytes)],
        outputs: vec![(ifm_bytes, ofm_bytes)],
        ..Parts::default()
    };
    let constants = parts.constants_block(constants);
    parts.layers.push(layer(ifm_bytes, constants));
    parts.run(&[ifm]).remove(0)
}

#[test]
fn max_pool_is_its_formula() {
    let random = &mut Random(10);
    for _ in 0..300 {
        let window = random_window(random);
        let channels = random.one_of(&[1, 2, 5, 32, 33, 70]);
        let (min, max) = random_clamp(random);
        let ifm = random.bytes(usize::from(window.in_h) * usize::from(window.in_w) * channels);
        let mut wanted = Vec::new();
        for taps in positions(&window) {
            for c in 0..channels {
                let inside = taps.iter().flatten().map(|pixel| ifm[pixel * channels + c] as i8);
                wanted.push(inside.max().unwrap_or(i8::MIN).clamp(min, max) as u8);
            }
        }
        let record = MaxPool {
            window,
            channels: channels as u16,
            min,
            max,
            ..MaxPool::default()
        };
        let found = run(&ifm, wanted.len(), &[], |ofm, _| {
            Layer::MaxPool(MaxPool { ofm, ..record })
        });
        assert_eq!(found, wanted, "{record:?}");
    }
}

/// `sum / count` to nearest, ties to even.
fn mean(sum: i64, count: i64) -> i64 {
    let (floor, rest) = (sum.div_euclid(count), sum.rem_euclid(count));
    floor + i64::from(2 * rest > count || (2 * rest == count && floor % 2 != 0))
}

#[test]
fn average_pool_is_its_formula() {
    let random = &mut Random(11);
    for _ in 0..400 {
        let window = random_window(random);
        let kernel_taps = usize::from(window.kernel_h) * usize::from(window.kernel_w);
        let channels = random.one_of(&[1, 2, 5, 16, 17, 40]);
        let (min, max) = random_clamp(random);
        let record = AveragePool {
            window,
            channels: channels as u16,
            ifm_zero_point: random.i8(),
            ofm_zero_point: random.i8(),
            min,
            max,
            divide: random.range(0, 1) as u8,
            count_include_pad: random.range(0, 1) as u8,
            left_shift: random.range(0, 3) as u8,
            ..AveragePool::default()
        };
        let rescales: Vec<Rescale> = (1..=kernel_taps)
            .map(|n| Rescale::random(random, 128 * n as i64))
            .collect();
        let mut constants: Vec<u8> = rescales.iter().flat_map(|r| r.multiplier.to_le_bytes()).collect();
        constants.extend(rescales.iter().map(|r| r.shift));

        let ifm = random.bytes(usize::from(window.in_h) * usize::from(window.in_w) * channels);
        let mut wanted = Vec::new();
        for taps in positions(&window) {
            let inside: Vec<usize> = taps.iter().copied().flatten().collect();
            let count = if record.count_include_pad == 1 {
                kernel_taps
            } else {
                inside.len()
            };
            for c in 0..channels {
                let value = |&pixel: &usize| {
                    i64::from(ifm[pixel * channels + c] as i8) - i64::from(record.ifm_zero_point)
                };
                let sum: i64 = inside.iter().map(value).sum();
                wanted.push(if count == 0 {
                    // Only padding: nothing to average.
                    record.ofm_zero_point.clamp(min, max) as u8
                } else if record.divide == 1 {
                    (mean(sum, count as i64) + i64::from(record.ofm_zero_point)).clamp(min.into(), max.into())
                        as u8
                } else {
                    rescales[count - 1].apply(sum << record.left_shift, record.ofm_zero_point, min, max)
                });
            }
        }
        let found = run(&ifm, wanted.len(), &constants, |ofm, constants| {
            Layer::AveragePool(AveragePool {
                ofm,
                constants,
                ..record
            })
        });
        assert_eq!(found, wanted, "{record:?}");
    }
}
