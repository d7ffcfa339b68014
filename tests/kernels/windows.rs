//! Windows over three axes, transposed ones included, resampling and samples, to the bit.

use tinsmith_runtime::format::{
    ConvNd, ConvNdF32, GridSampleF32, IN_CONSTANTS, MaxPoolIndicesF32, ResampleF32, RoiAlignF32, Window3,
};
use tinsmith_runtime::kernels::Layer;

use super::float::{bytes, reals};
use super::{Rescale, random_clamp};
use crate::blobs::{Parts, Random};

/// A window with every kind of edge: strides, dilation, spread, padding on any side and below zero.
fn random_window(random: &mut Random) -> Window3 {
    let mut window = Window3::default();
    for axis in 0..3 {
        window.ifm[axis] = random.range(1, 4) as u16;
        window.ofm[axis] = random.range(1, 5) as u16;
        window.kernel[axis] = random.range(1, 3) as u16;
        window.strides[axis] = random.range(1, 3) as u16;
        window.dilations[axis] = random.one_of(&[1, 1, 2, 3]);
        window.spread[axis] = random.one_of(&[1, 1, 2, 3]);
        window.pads[axis] = random.range(-3, 4) as i32;
    }
    window
}

/// Every index of three extents, row-major.
fn each(extents: [u16; 3]) -> impl Iterator<Item = [i64; 3]> {
    let [a, b, c] = extents.map(i64::from);
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| [i, j, k])))
}

/// The taps of every output, row-major: the input's pixel under each, `None` where there is none.
fn positions(w: &Window3) -> Vec<Vec<Option<usize>>> {
    let pixel = |out: [i64; 3], tap: [i64; 3]| {
        let mut pixel = 0;
        for axis in 0..3 {
            let at = out[axis] * i64::from(w.strides[axis]) + tap[axis] * i64::from(w.dilations[axis])
                - i64::from(w.pads[axis]);
            let (spread, extent) = (i64::from(w.spread[axis]), i64::from(w.ifm[axis]));
            if at < 0 || at % spread != 0 || at / spread >= extent {
                return None;
            }
            pixel = pixel * extent + at / spread;
        }
        Some(pixel as usize)
    };
    let taps = |out| each(w.kernel).map(|tap| pixel(out, tap)).collect();
    each(w.ofm).map(taps).collect()
}

fn volume(extents: [u16; 3]) -> usize {
    extents.iter().map(|&extent| usize::from(extent)).product()
}

/// Runs a step over one input in the arena; the output follows it.
fn run(ifm: &[u8], ofm_bytes: usize, constants: &[&[u8]], layer: impl Fn(u32, &[u32]) -> Layer) -> Vec<u8> {
    let ofm = (ifm.len() as u32).next_multiple_of(16);
    let mut parts = Parts {
        arena_bytes: ofm + ofm_bytes as u32,
        inputs: vec![(0, ifm.len() as u32)],
        outputs: vec![(ofm, ofm_bytes as u32)],
        ..Parts::default()
    };
    let offsets: Vec<u32> = constants
        .iter()
        .map(|bytes| parts.constants_block(bytes))
        .collect();
    parts.layers.push(layer(ofm, &offsets));
    parts.run(&[ifm]).remove(0)
}

#[test]
fn convolutions_of_reals_over_three_axes_are_their_formula() {
    let random = &mut Random(62);
    for _ in 0..200 {
        let window = random_window(random);
        let images = random.range(1, 2) as usize;
        let (groups, filter_c, group_out) = random.one_of(&[(1, 3, 2), (2, 2, 3), (4, 1, 1), (3, 1, 2)]);
        let (in_c, out_c) = (groups * filter_c, groups * group_out);
        let (pixels, taps) = (volume(window.ifm), volume(window.kernel));
        let ifm = reals(random, images * pixels * in_c);
        let bias = reals(random, out_c);
        let weights = reals(random, out_c * taps * filter_c);
        let (min, max) = (-90.0, f32::INFINITY);
        let mut wanted = Vec::new();
        for image in 0..images {
            for taps_here in positions(&window) {
                for o in 0..out_c {
                    let mut sum = 0.0f32;
                    for (tap, pixel) in taps_here.iter().enumerate() {
                        let Some(pixel) = pixel else { continue };
                        for i in 0..filter_c {
                            let x = ifm[(image * pixels + pixel) * in_c + o / group_out * filter_c + i];
                            sum += x * weights[(o * taps + tap) * filter_c + i];
                        }
                    }
                    wanted.push((sum + bias[o]).max(min));
                }
            }
        }
        let found = run(
            &bytes(&ifm),
            4 * wanted.len(),
            &[&bytes(&weights), &bytes(&bias)],
            |ofm, constants| {
                Layer::ConvNdF32(ConvNdF32 {
                    ifm: 0,
                    weights: constants[0] | IN_CONSTANTS,
                    bias: constants[1] | IN_CONSTANTS,
                    ofm,
                    images: images as u32,
                    window,
                    in_c: in_c as u32,
                    out_c: out_c as u32,
                    groups: groups as u32,
                    min,
                    max,
                })
            },
        );
        assert_eq!(found, bytes(&wanted), "{window:?}");
    }
}

#[test]
fn convolutions_of_int8_over_three_axes_are_their_formula() {
    let random = &mut Random(63);
    for _ in 0..200 {
        let window = random_window(random);
        let images = random.range(1, 2) as usize;
        let (groups, filter_c, group_out) = random.one_of(&[(1, 3, 2), (2, 2, 3), (4, 1, 1), (3, 1, 2)]);
        let (in_c, out_c) = (groups * filter_c, groups * group_out);
        let (pixels, taps) = (volume(window.ifm), volume(window.kernel));
        let ifm = random.bytes(images * pixels * in_c);
        let weights = random.bytes(out_c * taps * filter_c);
        let bias: Vec<i32> = (0..out_c).map(|_| random.range(-5000, 5000) as i32).collect();
        let rescales: Vec<Rescale> = (0..out_c).map(|_| Rescale::random(random, 20_000)).collect();
        let (ifm_zero_point, ofm_zero_point) = (random.i8(), random.i8());
        let (min, max) = random_clamp(random);
        let mut block: Vec<u8> = bias.iter().flat_map(|bias| bias.to_le_bytes()).collect();
        block.extend(
            rescales
                .iter()
                .flat_map(|rescale| rescale.multiplier.to_le_bytes()),
        );
        block.extend(rescales.iter().map(|rescale| rescale.shift));
        block.resize(block.len().next_multiple_of(16), 0);
        block.extend(&weights);
        let mut wanted = Vec::new();
        for image in 0..images {
            for taps_here in positions(&window) {
                for o in 0..out_c {
                    let mut acc = i64::from(bias[o]);
                    for (tap, pixel) in taps_here.iter().enumerate() {
                        for i in 0..filter_c {
                            let x = pixel.map_or(ifm_zero_point, |pixel| {
                                let pixel = (image * pixels + pixel) * in_c;
                                ifm[pixel + o / group_out * filter_c + i] as i8
                            });
                            let weight = weights[(o * taps + tap) * filter_c + i] as i8;
                            acc += i64::from(x) * i64::from(weight);
                        }
                    }
                    wanted.push(rescales[o].apply(acc, ofm_zero_point, min, max));
                }
            }
        }
        let found = run(&ifm, wanted.len(), &[&block], |ofm, constants| {
            Layer::ConvNd(ConvNd {
                ifm: 0,
                ofm,
                constants: constants[0],
                images: images as u32,
                window,
                in_c: in_c as u32,
                out_c: out_c as u32,
                groups: groups as u32,
                ifm_zero_point,
                ofm_zero_point,
                min,
                max,
                left_shift: 0,
            })
        });
        assert_eq!(found, wanted, "{window:?}");
    }
}

#[test]
fn the_places_of_the_largest_are_their_formula() {
    let random = &mut Random(64);
    for round in 0..200 {
        let window = Window3 {
            spread: [1; 3],
            ..random_window(random)
        };
        let planes = random.range(1, 3) as usize;
        let pixels = volume(window.ifm);
        let ifm: Vec<f32> = (0..planes * pixels)
            .map(|_| random.one_of(&[0.5, 1.5, -2.0, f32::NAN, f32::NEG_INFINITY, 3.0]))
            .collect();
        let column_major = round % 2 == 1;
        let [d, h, _] = window.ifm.map(usize::from);
        let order: Vec<usize> = each(window.ifm)
            .map(|at| at.map(|i| i as usize))
            .map(|[i, j, k]| i + d * (j + h * k))
            .collect();
        let mut wanted = Vec::new();
        for plane in 0..planes {
            for taps_here in positions(&window) {
                let inside: Vec<usize> = taps_here.into_iter().flatten().collect();
                let x = |pixel: usize| ifm[plane * pixels + pixel];
                let nan = inside.iter().copied().find(|&pixel| x(pixel).is_nan());
                let most = inside
                    .iter()
                    .map(|&pixel| x(pixel))
                    .fold(f32::NEG_INFINITY, f32::max);
                let first = nan.or_else(|| inside.iter().copied().find(|&pixel| x(pixel) == most));
                let place = |pixel: usize| if column_major { order[pixel] } else { pixel };
                wanted.push(first.map_or(-1, |pixel| (plane * pixels + place(pixel)) as i64));
            }
        }
        let found = run(&bytes(&ifm), 8 * wanted.len(), &[], |ofm, _| {
            Layer::MaxPoolIndicesF32(MaxPoolIndicesF32 {
                ifm: 0,
                ofm,
                planes: planes as u32,
                window,
                column_major: column_major.into(),
            })
        });
        let wanted: Vec<u8> = wanted.iter().flat_map(|index| index.to_le_bytes()).collect();
        assert_eq!(found, wanted, "{window:?}");
    }
}

#[test]
fn resampling_is_its_formula() {
    let random = &mut Random(65);
    for _ in 0..200 {
        let [outer, extent, outputs, inner, taps] =
            [(1, 3), (1, 6), (1, 6), (1, 4), (1, 4)].map(|(low, high)| random.range(low, high) as usize);
        let mut ifm = reals(random, outer * extent * inner);
        ifm[0] = f32::NAN;
        let sources: Vec<u32> = (0..outputs * taps)
            .map(|_| random.range(0, extent as i64 - 1) as u32)
            .collect();
        let weights: Vec<f32> = (0..outputs * taps)
            .map(|_| random.one_of(&[0.0, 0.25, 0.75, -0.5, 1.0 / 3.0]))
            .collect();
        let mut block: Vec<u8> = sources.iter().flat_map(|source| source.to_le_bytes()).collect();
        block.extend(bytes(&weights));
        let mut wanted = Vec::new();
        for o in 0..outer {
            for j in 0..outputs {
                for i in 0..inner {
                    let mut sum = 0.0f32;
                    for t in j * taps..(j + 1) * taps {
                        if weights[t] != 0.0 {
                            sum += weights[t] * ifm[(o * extent + sources[t] as usize) * inner + i];
                        }
                    }
                    wanted.push(sum);
                }
            }
        }
        let record = |ofm, constants: &[u32]| ResampleF32 {
            ifm: 0,
            ofm,
            constants: constants[0],
            outer: outer as u32,
            extent: extent as u32,
            outputs: outputs as u32,
            inner: inner as u32,
            taps: taps as u32,
        };
        let found = run(&bytes(&ifm), 4 * wanted.len(), &[&block], |ofm, constants| {
            Layer::ResampleF32(record(ofm, constants))
        });
        // NaN has many forms, all of which are one here.
        let found: Vec<f32> = found
            .as_chunks()
            .0
            .iter()
            .map(|&x| f32::from_le_bytes(x))
            .collect();
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!(found.to_bits() == wanted.to_bits() || found.is_nan() && wanted.is_nan());
        }
    }
}

/// A value between elements, from the formula of each mode, in f64: zeros outside.
fn between(x: &[f32], extents: [usize; 2], mode: u8, [y0, x0]: [f64; 2]) -> f64 {
    let read = |i: f64, j: f64| {
        let inside = i >= 0.0 && j >= 0.0 && i < extents[0] as f64 && j < extents[1] as f64;
        if inside {
            f64::from(x[i as usize * extents[1] + j as usize])
        } else {
            0.0
        }
    };
    let weight = |distance: f64| {
        let (a, d) = (-0.75, distance.abs());
        match mode {
            1 => (1.0 - d).max(0.0),
            _ if d <= 1.0 => (a + 2.0) * d.powi(3) - (a + 3.0) * d.powi(2) + 1.0,
            _ if d < 2.0 => a * d.powi(3) - 5.0 * a * d.powi(2) + 8.0 * a * d - 4.0 * a,
            _ => 0.0,
        }
    };
    if mode == 0 {
        return read(y0.round_ties_even(), x0.round_ties_even());
    }
    let mut sum = 0.0;
    for i in -4..extents[0] as i32 + 4 {
        for j in -4..extents[1] as i32 + 4 {
            let (i, j) = (f64::from(i), f64::from(j));
            sum += weight(y0 - i) * weight(x0 - j) * read(i, j);
        }
    }
    sum
}

#[test]
fn samples_lie_between_their_neighbours() {
    let random = &mut Random(66);
    for round in 0..300 {
        let [images, channels, rows, columns, points] =
            [(1, 2), (1, 2), (1, 5), (1, 5), (1, 6)].map(|(low, high)| random.range(low, high) as usize);
        let ifm = reals(random, images * channels * rows * columns);
        let grid: Vec<f32> = (0..images * points * 2)
            .map(|_| random.range(-20, 20) as f32 / 16.0)
            .collect();
        let (mode, coordinates) = ((round % 3) as u8, (round / 3 % 3) as u8);
        let place = |x: f32, extent: usize| {
            let (x, n) = (f64::from(x), extent as f64);
            match coordinates {
                0 => (x + 1.0) / 2.0 * (n - 1.0),
                1 => ((x + 1.0) * n - 1.0) / 2.0,
                _ => x,
            }
        };
        let mut wanted = Vec::new();
        for image in 0..images {
            for channel in 0..channels {
                let plane = &ifm[(image * channels + channel) * rows * columns..][..rows * columns];
                for point in 0..points {
                    let at = &grid[(image * points + point) * 2..][..2];
                    let at = [place(at[1], rows), place(at[0], columns)];
                    wanted.push(between(plane, [rows, columns], mode, at));
                }
            }
        }
        let found = run(
            &bytes(&ifm),
            4 * wanted.len(),
            &[&bytes(&grid)],
            |ofm, constants| {
                Layer::GridSampleF32(GridSampleF32 {
                    ifm: 0,
                    grid: constants[0] | IN_CONSTANTS,
                    ofm,
                    images: images as u32,
                    channels: channels as u32,
                    extents: [1, rows as u32, columns as u32],
                    points: points as u32,
                    axes: 2,
                    mode,
                    padding: 0,
                    coordinates,
                })
            },
        );
        for (found, wanted) in found.as_chunks().0.iter().zip(wanted) {
            let found = f64::from(f32::from_le_bytes(*found));
            assert!((found - wanted).abs() < 1e-4, "{found} for {wanted}, mode {mode}");
        }
    }
}

#[test]
fn bins_of_regions_are_means_of_samples() {
    let random = &mut Random(67);
    for round in 0..200 {
        let [images, channels, rows, columns, count, out_h, out_w, sampling] =
            [(1, 2), (1, 2), (2, 6), (2, 6), (1, 3), (1, 3), (1, 3), (1, 3)]
                .map(|(low, high)| random.range(low, high) as usize);
        let ifm = reals(random, images * channels * rows * columns);
        let rois: Vec<f32> = (0..count)
            .flat_map(|_| {
                let (x, y) = (random.range(0, 20) as f32 / 8.0, random.range(0, 20) as f32 / 8.0);
                let (w, h) = (random.range(8, 24) as f32 / 8.0, random.range(8, 24) as f32 / 8.0);
                [x, y, x + w, y + h]
            })
            .collect();
        let indices: Vec<i64> = (0..count).map(|_| random.range(0, images as i64 - 1)).collect();
        let half_pixel = round % 2 == 0;
        let offset = if half_pixel { 0.5 } else { 0.0 };
        let mut wanted = Vec::new();
        for (roi, &image) in rois.chunks(4).zip(&indices) {
            let [x1, y1, x2, y2] = [0, 1, 2, 3].map(|i| f64::from(roi[i]) - offset);
            for channel in 0..channels {
                let plane = &ifm[(image as usize * channels + channel) * rows * columns..][..rows * columns];
                for bin in 0..out_h * out_w {
                    let (i, j) = (bin / out_w, bin % out_w);
                    let mut sum = 0.0;
                    for sample in 0..sampling * sampling {
                        let (a, b) = (sample / sampling, sample % sampling);
                        let at = |start: f64, end: f64, bins: usize, bin: usize, sample: usize| {
                            let size = (end - start) / bins as f64;
                            start + bin as f64 * size + (sample as f64 + 0.5) * size / sampling as f64
                        };
                        let (y, x) = (at(y1, y2, out_h, i, a), at(x1, x2, out_w, j, b));
                        if y < -1.0 || x < -1.0 || y > rows as f64 || x > columns as f64 {
                            continue;
                        }
                        let y = y.clamp(0.0, rows as f64 - 1.0);
                        let x = x.clamp(0.0, columns as f64 - 1.0);
                        sum += between(plane, [rows, columns], 1, [y, x]);
                    }
                    wanted.push(sum / (sampling * sampling) as f64);
                }
            }
        }
        let stored: Vec<u8> = indices.iter().flat_map(|index| index.to_le_bytes()).collect();
        let found = run(
            &bytes(&ifm),
            4 * wanted.len(),
            &[&bytes(&rois), &stored],
            |ofm, constants| {
                Layer::RoiAlignF32(RoiAlignF32 {
                    ifm: 0,
                    rois: constants[0] | IN_CONSTANTS,
                    indices: constants[1] | IN_CONSTANTS,
                    ofm,
                    images: images as u32,
                    channels: channels as u32,
                    height: rows as u32,
                    width: columns as u32,
                    regions: count as u32,
                    out_h: out_h as u32,
                    out_w: out_w as u32,
                    sampling: sampling as u32,
                    scale: 1.0,
                    half_pixel: half_pixel.into(),
                    largest: 0,
                })
            },
        );
        for (found, wanted) in found.as_chunks().0.iter().zip(wanted) {
            let found = f64::from(f32::from_le_bytes(*found));
            assert!((found - wanted).abs() < 1e-4, "{found} for {wanted}");
        }
    }
}
