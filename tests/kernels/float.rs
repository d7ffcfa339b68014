//! Kernels over reals, to the bit: sums in the order of the weights, the bias last.

use tinsmith_runtime::format::{AveragePoolF32, Conv2dF32, MaxPoolF32};
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::kernels::float::exp::exp;

use super::{positions, random_window};
use crate::blobs::{Parts, Random};

pub(super) fn reals(random: &mut Random, count: usize) -> Vec<f32> {
    (0..count)
        .map(|_| random.range(-999, 999) as f32 / 128.0)
        .collect()
}

pub(super) fn bytes(reals: &[f32]) -> Vec<u8> {
    reals.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Runs a step over one input and gives the output's bytes.
pub(super) fn run(ifm: &[f32], ofm: usize, constants: &[u8], layer: impl Fn(u32, u32) -> Layer) -> Vec<u8> {
    let (ifm_bytes, ofm_bytes) = (4 * ifm.len() as u32, 4 * ofm as u32);
    let mut parts = Parts {
        arena_bytes: ifm_bytes + ofm_bytes,
        inputs: vec![(0, ifm_bytes)],
        outputs: vec![(ifm_bytes, ofm_bytes)],
        ..Parts::default()
    };
    let constants = parts.constants_block(constants);
    parts.layers.push(layer(ifm_bytes, constants));
    parts.run(&[&bytes(ifm)]).remove(0)
}

#[test]
fn convolution_of_reals_is_its_formula() {
    let random = &mut Random(40);
    for _ in 0..200 {
        let window = random_window(random);
        let (groups, filter_c, group_out) = random.one_of(&[(1, 3, 2), (2, 2, 3), (4, 1, 1), (3, 1, 2)]);
        let (in_c, out_c) = (groups * filter_c, groups * group_out);
        let taps = usize::from(window.kernel_h) * usize::from(window.kernel_w);
        let ifm = reals(random, usize::from(window.in_h) * usize::from(window.in_w) * in_c);
        let bias = reals(random, out_c);
        let weights = reals(random, out_c * taps * filter_c);
        let mut constants = bytes(&bias);
        constants.resize(constants.len().next_multiple_of(16), 0);
        constants.extend(bytes(&weights));
        let (min, max) = (-90.0, f32::INFINITY);
        let mut wanted = Vec::new();
        for taps_here in positions(&window) {
            for o in 0..out_c {
                let mut sum = 0.0f32;
                for (tap, pixel) in taps_here.iter().enumerate() {
                    let Some(pixel) = pixel else { continue };
                    for i in 0..filter_c {
                        let x = ifm[pixel * in_c + o / group_out * filter_c + i];
                        sum += x * weights[(o * taps + tap) * filter_c + i];
                    }
                }
                wanted.push((sum + bias[o]).max(min));
            }
        }
        let record = Conv2dF32 {
            window,
            in_c: in_c as u16,
            out_c: out_c as u16,
            groups: groups as u32,
            min,
            max,
            ..Conv2dF32::default()
        };
        let found = run(&ifm, wanted.len(), &constants, |ofm, constants| {
            Layer::Conv2dF32(Conv2dF32 {
                ofm,
                constants,
                ..record
            })
        });
        assert_eq!(found, bytes(&wanted), "{record:?}");
    }
}

#[test]
fn pools_of_reals_are_their_formulas() {
    let random = &mut Random(41);
    for _ in 0..200 {
        let window = random_window(random);
        let channels = random.one_of(&[1, 2, 5]);
        let ifm = reals(
            random,
            usize::from(window.in_h) * usize::from(window.in_w) * channels,
        );
        let (min, max) = (-1e9, 1e9);
        let (mut largest, mut means) = (Vec::new(), Vec::new());
        let taps = f64::from(window.kernel_h) * f64::from(window.kernel_w);
        for taps_here in positions(&window) {
            for c in 0..channels {
                let inside = taps_here.iter().flatten().map(|pixel| ifm[pixel * channels + c]);
                largest.push(inside.clone().fold(min, f32::max));
                let sum = inside.fold(0.0, |sum, x| sum + f64::from(x));
                means.push((sum / taps) as f32);
            }
        }
        let found = run(&ifm, largest.len(), &[], |ofm, _| {
            Layer::MaxPoolF32(MaxPoolF32 {
                ofm,
                window,
                channels: channels as u32,
                min,
                max,
                ..MaxPoolF32::default()
            })
        });
        assert_eq!(found, bytes(&largest));
        let found = run(&ifm, means.len(), &[], |ofm, _| {
            Layer::AveragePoolF32(AveragePoolF32 {
                ofm,
                window,
                channels: channels as u32,
                min,
                max,
                count_include_pad: 1,
                ..AveragePoolF32::default()
            })
        });
        assert_eq!(found, bytes(&means));
    }
}

/// The exponential function against that of f64, which is right to far more digits, at every 997th f32.
#[test]
fn the_exponential_is_within_one_and_a_half_units() {
    let mut largest = 0.0_f64;
    for bits in (0..=u32::MAX).step_by(997) {
        let x = f32::from_bits(bits);
        let (found, wanted) = (exp(x), libm::exp(f64::from(x)));
        if x.is_nan() {
            assert!(found.is_nan());
            continue;
        }
        if (wanted as f32).is_infinite() || found.is_infinite() {
            assert_eq!(found, wanted as f32, "exp({x})");
            continue;
        }
        // The distance to the next f32, 2^-149 among the subnormal ones.
        let unit = 2.0_f64.powi((wanted.log2().floor() as i32).max(-126) - 23);
        largest = largest.max((f64::from(found) - wanted).abs() / unit);
    }
    assert!(largest <= 1.5, "{largest} units");
    assert_eq!(
        [exp(0.0), exp(f32::NEG_INFINITY), exp(f32::INFINITY)],
        [1.0, 0.0, f32::INFINITY]
    );
}
