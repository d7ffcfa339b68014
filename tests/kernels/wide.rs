//! Steps on int16 codes, against formulas in 128 bits and against rational arithmetic.

use tinsmith_runtime::format::{
    Binary16, CONSTANT_ALIGN, Conv16, Dequantize16, Function16, IN_CONSTANTS, Pool16, Quantize16, Ratio,
    Rescale16, Window3,
};
use tinsmith_runtime::kernels::Layer;

use super::elementwise::indices;
use crate::blobs::{Parts, Random};

/// `x · multiplier / (divisor · 2^right_shift)` to nearest, ties to even.
fn exactly(ratio: Ratio, x: i64) -> i128 {
    let above = i128::from(x) * i128::from(ratio.multiplier);
    let below = i128::from(ratio.divisor.max(1)) << ratio.right_shift;
    let (floor, rest) = (above.div_euclid(below), above.rem_euclid(below));
    floor + i128::from(2 * rest > below || (2 * rest == below && floor % 2 != 0))
}

fn code(value: i128, zero_point: i16, min: i16, max: i16) -> [u8; 2] {
    let code = (value + i128::from(zero_point)).clamp(min.into(), max.into());
    (code as i16).to_le_bytes()
}

fn read(bytes: &[u8], index: usize) -> i64 {
    i16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]]).into()
}

/// A ratio that takes values of up to `size` to about the range of int16.
fn ratio(random: &mut Random, size: i64) -> Ratio {
    let bits = 64 - size.max(1).leading_zeros() as i64;
    let narrow = random.range(0, 1) == 0;
    let multiplier_bits = random.range(1, (62 - bits).min(if narrow { 30 } else { 48 }));
    let multiplier = (1i64 << (multiplier_bits - 1)) | random.range(0, (1 << multiplier_bits) - 1);
    let divisor = match random.range(0, 2) {
        _ if narrow => 0,
        0 => random.range(1, 9) as u32,
        _ => random.range(1 << 16, u32::MAX.into()) as u32,
    };
    let divisor_bits = 32 - i64::from(divisor.max(1).leading_zeros());
    let shift = bits + multiplier_bits - 16 - divisor_bits + random.range(0, 2);
    Ratio {
        multiplier,
        divisor,
        right_shift: shift.max(1) as u32,
    }
}

fn zero_point(random: &mut Random) -> i16 {
    if random.range(0, 1) == 0 {
        0
    } else {
        random.range(-32768, 32767) as i16
    }
}

fn clamp(random: &mut Random) -> (i16, i16) {
    if random.range(0, 2) > 0 {
        return (i16::MIN, i16::MAX);
    }
    let [a, b] = [random.range(-32768, 32767), random.range(-32768, 32767)];
    (a.min(b) as i16, a.max(b) as i16)
}

fn window(random: &mut Random) -> Window3 {
    let mut window = Window3::default();
    for axis in 0..3 {
        let kernel = random.range(1, 3);
        window.kernel[axis] = kernel as u16;
        window.strides[axis] = random.range(1, 2) as u16;
        window.dilations[axis] = random.one_of(&[1, 1, 2]);
        window.spread[axis] = random.one_of(&[1, 1, 2]);
        window.pads[axis] = random.range(-1, 2) as i32;
        window.ifm[axis] = random.range(1, 5) as u16;
        window.ofm[axis] = random.range(1, 4) as u16;
    }
    window
}

/// The pixel under each tap of each output position, in order.
fn pixels(w: &Window3) -> Vec<Vec<Option<usize>>> {
    let along = |axis: usize, out: u16, tap: u16| {
        let at = i64::from(out) * i64::from(w.strides[axis]) + i64::from(tap) * i64::from(w.dilations[axis])
            - i64::from(w.pads[axis]);
        let spread = i64::from(w.spread[axis]);
        (at >= 0 && at % spread == 0 && at / spread < i64::from(w.ifm[axis])).then(|| (at / spread) as usize)
    };
    let grid = |[a, b, c]: [u16; 3]| {
        let all = (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| [i, j, k])));
        all.collect::<Vec<_>>()
    };
    let pixel = |out: [u16; 3], tap: [u16; 3]| {
        let places: Vec<Option<usize>> = (0..3).map(|axis| along(axis, out[axis], tap[axis])).collect();
        let index = (places[0]? * usize::from(w.ifm[1]) + places[1]?) * usize::from(w.ifm[2]) + places[2]?;
        Some(index)
    };
    let taps = grid(w.kernel);
    let of = |out| taps.iter().map(|&tap| pixel(out, tap)).collect();
    grid(w.ofm).into_iter().map(of).collect()
}

fn extent(extents: [u16; 3]) -> usize {
    extents.iter().map(|&extent| usize::from(extent)).product()
}

#[test]
fn ratios_are_exact() {
    let random = &mut Random(600);
    for _ in 0..20_000 {
        let bits = random.range(1, 40);
        let size = 1i64 << bits;
        let mut ratio = ratio(random, size);
        if random.range(0, 3) == 0 {
            ratio.multiplier = -ratio.multiplier;
        }
        let x = random.range(-size, size);
        // Exact ties, too: half of an odd multiple.
        let x = if random.range(0, 1) == 0 { x & !0xff } else { x };
        assert!(ratio.is_valid(), "{ratio:?}");
        assert_eq!(i128::from(ratio.apply(x)), exactly(ratio, x), "{ratio:?} of {x}");
    }
    for (x, wanted) in [(1, 0), (3, 2), (-1, 0), (-3, -2), (5, 2), (7, 4)] {
        for divisor in [0, 1] {
            let half = Ratio {
                multiplier: 1,
                divisor,
                right_shift: 1,
            };
            assert_eq!(half.apply(x), wanted, "half of {x}");
        }
        let ninth = Ratio {
            multiplier: 9,
            divisor: 9,
            right_shift: 1,
        };
        assert_eq!(ninth.apply(x), wanted);
    }
}

#[test]
fn a_convolution_is_its_formula() {
    let random = &mut Random(601);
    for _ in 0..300 {
        let window = window(random);
        let (groups, images) = (random.range(1, 2) as u32, random.range(1, 2) as u32);
        let deep = random.range(0, 9) == 0;
        let filter_c = if deep { 300 } else { random.range(1, 3) as u32 };
        let group_out = random.range(1, 2) as u32;
        let (in_c, out_c) = (groups * filter_c, groups * group_out);
        let wide = random.range(0, 1) as u8;
        let taps = extent(window.kernel) * filter_c as usize;
        let (ifm_zero_point, ofm_zero_point) = (zero_point(random), zero_point(random));
        let (min, max) = clamp(random);
        let weights = random.bytes(taps * out_c as usize);
        let ifm = random.bytes(2 * images as usize * extent(window.ifm) * in_c as usize);
        let size = taps as i64 * 127 * 32768;
        let channels: Vec<(i64, Ratio)> = (0..out_c)
            .map(|_| {
                let bias = random.range(-(1 << 20), 1 << 20);
                let mut ratio = ratio(random, size);
                if wide == 0 {
                    ratio.multiplier &= i64::from(i32::MAX);
                    ratio.divisor = 0;
                    ratio.right_shift = ratio.right_shift.min(62);
                }
                (bias, ratio)
            })
            .collect();
        let mut block = Vec::new();
        for (bias, _) in &channels {
            block.extend(&bias.to_le_bytes()[..if wide == 0 { 4 } else { 8 }]);
        }
        for (_, ratio) in &channels {
            block.extend(&ratio.multiplier.to_le_bytes()[..if wide == 0 { 4 } else { 8 }]);
        }
        if wide == 1 {
            block.extend(channels.iter().flat_map(|(_, ratio)| ratio.divisor.to_le_bytes()));
        }
        block.extend(channels.iter().map(|(_, ratio)| ratio.right_shift as u8));
        block.resize(block.len().next_multiple_of(CONSTANT_ALIGN as usize), 0);
        block.extend(&weights);

        let mut wanted = Vec::new();
        for image in 0..images as usize {
            for places in pixels(&window) {
                for (o, (bias, ratio)) in channels.iter().enumerate() {
                    let first_c = o / group_out as usize * filter_c as usize;
                    let mut acc = *bias;
                    for (tap, place) in places.iter().enumerate() {
                        for i in 0..filter_c as usize {
                            let weight = weights[o * taps + tap * filter_c as usize + i] as i8;
                            let x = place.map_or(ifm_zero_point.into(), |pixel| {
                                let pixel = image * extent(window.ifm) + pixel;
                                read(&ifm, pixel * in_c as usize + first_c + i)
                            });
                            acc += x * i64::from(weight);
                        }
                    }
                    wanted.extend(code(exactly(*ratio, acc), ofm_zero_point, min, max));
                }
            }
        }
        let at = ifm.len() as u32;
        let mut parts = Parts {
            arena_bytes: at + wanted.len() as u32,
            inputs: vec![(0, at)],
            outputs: vec![(at, wanted.len() as u32)],
            ..Parts::default()
        };
        let constants = parts.constants_block(&block);
        parts.layers.push(Layer::Conv16(Conv16 {
            ifm: 0,
            ofm: at,
            constants,
            images,
            window,
            in_c,
            out_c,
            groups,
            ifm_zero_point,
            ofm_zero_point,
            min,
            max,
            wide,
        }));
        assert_eq!(parts.run(&[&ifm]).remove(0), wanted);
    }
}

#[test]
fn pools_are_their_formulas() {
    let random = &mut Random(602);
    for _ in 0..300 {
        let window = window(random);
        let (images, channels) = (random.range(1, 2) as u32, random.one_of(&[1, 3, 16, 17, 40]));
        let kind = random.range(0, 2) as u8;
        let mut ratio = ratio(random, 1 << 18);
        ratio.multiplier &= (1 << 24) - 1;
        ratio.divisor = ratio.divisor.clamp(kind.min(1).into(), 1 << 24);
        ratio.right_shift = ratio.right_shift.min(62);
        let (ifm_zero_point, ofm_zero_point) = (zero_point(random), zero_point(random));
        let (min, max) = clamp(random);
        let ifm = random.bytes(2 * images as usize * extent(window.ifm) * channels as usize);
        let mut wanted = Vec::new();
        for image in 0..images as usize {
            for places in pixels(&window) {
                let inside: Vec<usize> = places.iter().flatten().copied().collect();
                for channel in 0..channels as usize {
                    let at = |&pixel: &usize| {
                        let pixel = image * extent(window.ifm) + pixel;
                        read(&ifm, pixel * channels as usize + channel) - i64::from(ifm_zero_point)
                    };
                    let values = inside.iter().map(at);
                    let least = -32768 - i64::from(ifm_zero_point);
                    let (value, count) = match kind {
                        0 => (values.max().unwrap_or(least), 1),
                        1 => (values.sum(), inside.len().max(1)),
                        _ => (values.sum(), places.len()),
                    };
                    let divided = Ratio {
                        divisor: ratio.divisor * count as u32,
                        ..ratio
                    };
                    wanted.extend(code(exactly(divided, value), ofm_zero_point, min, max));
                }
            }
        }
        let at = ifm.len() as u32;
        let mut parts = Parts {
            arena_bytes: at + wanted.len() as u32,
            inputs: vec![(0, at)],
            outputs: vec![(at, wanted.len() as u32)],
            ..Parts::default()
        };
        parts.layers.push(Layer::Pool16(Pool16 {
            ifm: 0,
            ofm: at,
            images,
            window,
            channels,
            ratio,
            ifm_zero_point,
            ofm_zero_point,
            min,
            max,
            kind,
        }));
        assert_eq!(parts.run(&[&ifm]).remove(0), wanted);
    }
}

#[test]
fn operands_are_added_multiplied_and_compared() {
    let random = &mut Random(603);
    for _ in 0..400 {
        let dims: [u32; 4] = std::array::from_fn(|_| random.one_of(&[1, 2, 3, 5]));
        let kind = random.range(0, 3) as u8;
        let (a_zero_point, b_zero_point) = (zero_point(random), zero_point(random));
        let ofm_zero_point = zero_point(random);
        let (min, max) = clamp(random);
        let factor_bits = random.range(1, 40);
        let [a_multiplier, b_multiplier] =
            [(); 2].map(|()| random.range(-(1 << factor_bits), 1 << factor_bits));
        let size = if kind == 1 {
            1 << 34
        } else {
            1i64 << (factor_bits + 18)
        };
        let mut ratio = ratio(random, size);
        if size.ilog2() + 24 > 62 {
            ratio.divisor = ratio.divisor.max(1);
        }
        let mut strides = [[0u32; 4]; 2];
        let mut bytes = Vec::new();
        for strides in &mut strides {
            let mut elements = 1;
            for d in (0..4).rev() {
                if random.range(0, 3) > 0 {
                    strides[d] = elements;
                    elements *= dims[d];
                }
            }
            bytes.push(random.bytes(2 * elements as usize));
        }
        let at = |side: usize, index: [u32; 4]| {
            let offset: u32 = index
                .iter()
                .zip(strides[side])
                .map(|(i, stride)| i * stride)
                .sum();
            read(&bytes[side], offset as usize)
        };
        let mut wanted = Vec::new();
        for index in indices(dims) {
            let a = at(0, index) - i64::from(a_zero_point);
            let b = at(1, index) - i64::from(b_zero_point);
            let (left, right) = (a * a_multiplier, b * b_multiplier);
            let value = match kind {
                0 => left + right,
                1 => a * b,
                2 => left.min(right),
                _ => left.max(right),
            };
            wanted.extend(code(exactly(ratio, value), ofm_zero_point, min, max));
        }
        let (first, second) = (bytes[0].len() as u32, bytes[1].len() as u32);
        let mut parts = Parts {
            arena_bytes: first + second + wanted.len() as u32,
            outputs: vec![(first + second, wanted.len() as u32)],
            inputs: vec![(0, first)],
            ..Parts::default()
        };
        let constant = random.range(0, 1) == 0;
        let b = if constant {
            parts.constants_block(&bytes[1]) | IN_CONSTANTS
        } else {
            parts.inputs.push((first, second));
            first
        };
        parts.layers.push(Layer::Binary16(Binary16 {
            a: 0,
            b,
            ofm: first + second,
            dims,
            a_strides: strides[0],
            b_strides: strides[1],
            a_multiplier,
            b_multiplier,
            ratio,
            a_zero_point,
            b_zero_point,
            ofm_zero_point,
            min,
            max,
            kind,
        }));
        let inputs: Vec<&[u8]> = bytes.iter().take(parts.inputs.len()).map(Vec::as_slice).collect();
        assert_eq!(parts.run(&inputs).remove(0), wanted);
    }
}

#[test]
fn codes_are_rescaled_on_the_way() {
    let random = &mut Random(604);
    for _ in 0..400 {
        let dims: [u32; 5] = std::array::from_fn(|_| random.one_of(&[1, 1, 2, 3]));
        let [ifm_bytes, ofm_bytes] = [(); 2].map(|()| random.one_of(&[1u8, 2]));
        let dense = |order: [usize; 5]| {
            let (mut strides, mut elements) = ([0i32; 5], 1i32);
            for d in order {
                strides[d] = elements;
                elements *= dims[d] as i32;
            }
            (strides, elements as usize)
        };
        let transposed = random.range(0, 1) == 0;
        let (ifm_strides, elements) = dense(if transposed {
            [0, 2, 1, 4, 3]
        } else {
            [4, 3, 2, 1, 0]
        });
        let (ofm_strides, _) = dense([4, 3, 2, 1, 0]);
        let [positive, negative] = [(); 2].map(|()| ratio(random, 1 << 17));
        let negative = Ratio {
            multiplier: if random.range(0, 1) == 0 {
                -negative.multiplier
            } else {
                negative.multiplier
            },
            ..negative
        };
        let (ifm_zero_point, ofm_zero_point) = (zero_point(random), zero_point(random));
        let (min, max) = clamp(random);
        let limit = |end: i16| if ofm_bytes == 1 { end >> 8 } else { end };
        let (min, max) = (limit(min), limit(max));
        let ifm = random.bytes(elements * usize::from(ifm_bytes));
        let mut wanted = vec![0; elements * usize::from(ofm_bytes)];
        for flat in 0..elements {
            let mut rest = flat;
            let (mut from, mut to) = (0, 0);
            for d in (0..5).rev() {
                let index = rest % dims[d] as usize;
                rest /= dims[d] as usize;
                from += index * ifm_strides[d] as usize;
                to += index * ofm_strides[d] as usize;
            }
            let x = if ifm_bytes == 1 {
                i64::from(ifm[from] as i8)
            } else {
                read(&ifm, from)
            };
            let x = x - i64::from(ifm_zero_point);
            let ratio = if x < 0 { negative } else { positive };
            let bytes = code(exactly(ratio, x), ofm_zero_point, min, max);
            let width = usize::from(ofm_bytes);
            wanted[to * width..][..width].copy_from_slice(&bytes[..width]);
        }
        let in_place = !transposed && ifm_bytes == ofm_bytes && random.range(0, 1) == 0;
        let at = if in_place { 0 } else { ifm.len() as u32 };
        let mut parts = Parts {
            arena_bytes: at + wanted.len() as u32,
            inputs: vec![(0, ifm.len() as u32)],
            outputs: vec![(at, wanted.len() as u32)],
            ..Parts::default()
        };
        parts.layers.push(Layer::Rescale16(Rescale16 {
            ifm: 0,
            ofm: at,
            dims,
            ifm_strides,
            ofm_strides,
            ratio: positive,
            negative,
            ifm_zero_point,
            ofm_zero_point,
            min,
            max,
            ifm_bytes,
            ofm_bytes,
        }));
        assert_eq!(parts.run(&[&ifm]).remove(0), wanted);
    }
}

#[test]
fn functions_are_linear_between_entries() {
    let random = &mut Random(605);
    for log2_segments in 1..=15u8 {
        let entries = (1usize << log2_segments) + 1;
        let table = random.bytes(2 * entries);
        let ifm: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let step = 1i64 << (16 - log2_segments);
        let wanted: Vec<u8> = (0..=u16::MAX)
            .flat_map(|bits| {
                let place = i64::from(bits as i16) + 32768;
                let (index, fraction) = ((place / step) as usize, place % step);
                let (low, high) = (read(&table, index), read(&table, index + 1));
                let value = low * step + (high - low) * fraction;
                (((2 * value + step).div_euclid(2 * step)) as i16).to_le_bytes()
            })
            .collect();
        let count = ifm.len() as u32;
        let mut parts = Parts {
            arena_bytes: count,
            inputs: vec![(0, count)],
            outputs: vec![(0, count)],
            ..Parts::default()
        };
        let constants = parts.constants_block(&table);
        parts.layers.push(Layer::Function16(Function16 {
            ifm: 0,
            ofm: 0,
            constants,
            count: count / 2,
            log2_segments,
        }));
        assert_eq!(parts.run(&[&ifm]).remove(0), wanted, "{log2_segments}");
    }
}

#[test]
fn reals_become_codes_and_back() {
    let reals = [0.0f32, 0.5, 1.5, -2.5, 1e9, -1e9, f32::NAN, f32::INFINITY, 3.26];
    let ifm: Vec<u8> = reals.iter().flat_map(|x| x.to_le_bytes()).collect();
    let count = reals.len() as u32;
    let parts = Parts {
        arena_bytes: 12 * count,
        inputs: vec![(0, 4 * count)],
        outputs: vec![(4 * count, 2 * count), (8 * count, 4 * count)],
        layers: vec![
            Layer::Quantize16(Quantize16 {
                ifm: 0,
                ofm: 4 * count,
                count,
                scale: 1.0,
                zero_point: -7,
            }),
            Layer::Dequantize16(Dequantize16 {
                ifm: 4 * count,
                ofm: 8 * count,
                count,
                scale: 0.25,
                zero_point: -7,
            }),
        ],
        ..Parts::default()
    };
    let outputs = parts.run(&[&ifm]);
    let codes: Vec<i64> = (0..reals.len()).map(|i| read(&outputs[0], i)).collect();
    assert_eq!(codes, [-7, -7, -5, -9, 32767, -32768, -7, 32767, -4]);
    let back: Vec<f32> = outputs[1]
        .as_chunks()
        .0
        .iter()
        .map(|&x| f32::from_le_bytes(x))
        .collect();
    let wanted: Vec<f32> = codes.iter().map(|&code| (code + 7) as f32 * 0.25).collect();
    assert_eq!(back, wanted);
}

#[test]
fn bad_parameters_are_refused() {
    let good = Rescale16 {
        ifm: 0,
        ofm: 16,
        dims: [1, 1, 1, 1, 4],
        ifm_strides: [1; 5],
        ofm_strides: [1; 5],
        ratio: Ratio {
            multiplier: 1,
            divisor: 0,
            right_shift: 1,
        },
        negative: Ratio {
            multiplier: 1,
            divisor: 3,
            right_shift: 126,
        },
        ifm_zero_point: 0,
        ofm_zero_point: 0,
        min: -100,
        max: 100,
        ifm_bytes: 2,
        ofm_bytes: 1,
    };
    let checked = |record: Rescale16| {
        let parts = Parts {
            arena_bytes: 32,
            inputs: vec![(0, 8)],
            outputs: vec![(16, 4)],
            layers: vec![Layer::Rescale16(record)],
            ..Parts::default()
        };
        tinsmith_runtime::Blob::check(&parts.blob()).is_ok()
    };
    assert!(checked(good));
    let narrow = |right_shift| Ratio {
        right_shift,
        ..good.ratio
    };
    let wide = |right_shift| Ratio {
        right_shift,
        ..good.negative
    };
    for bad in [
        Rescale16 {
            ratio: narrow(0),
            ..good
        },
        Rescale16 {
            ratio: narrow(63),
            ..good
        },
        Rescale16 {
            negative: wide(0),
            ..good
        },
        Rescale16 {
            negative: wide(127),
            ..good
        },
        Rescale16 {
            min: 3,
            max: 2,
            ..good
        },
        Rescale16 { max: 128, ..good },
        Rescale16 { ifm_bytes: 0, ..good },
        Rescale16 { ofm_bytes: 4, ..good },
    ] {
        assert!(!checked(bad), "{bad:?}");
    }
}
