//! Steps by indices: indices of both widths, in range, negative and far beyond.

use tinsmith_runtime::format::{
    CumulateF32, GatherElements, GatherRows, IN_CONSTANTS, NonZero, Rank, Scatter,
};
use tinsmith_runtime::kernels::Layer;

use super::float::{bytes, reals};
use crate::blobs::{Parts, Random};

/// Indices around an extent, as the bytes of numbers of 4 or 8 bytes.
fn indices(random: &mut Random, count: usize, extent: usize, width: u8) -> (Vec<i64>, Vec<u8>) {
    let extent = extent as i64;
    let numbers: Vec<i64> = (0..count)
        .map(|_| match random.range(0, 9) {
            0 => i64::from(i32::MIN),
            1 => i64::from(i32::MAX),
            _ => random.range(-extent - 2, extent + 2),
        })
        .collect();
    let bytes = numbers.iter().flat_map(|&number| {
        let bytes = number.to_le_bytes();
        bytes[..usize::from(width)].to_vec()
    });
    let bytes = bytes.collect();
    (numbers, bytes)
}

/// The place that an index names: the nearest one, where it names none.
fn place(index: i64, extent: usize) -> usize {
    let from_front = if index < 0 { index + extent as i64 } else { index };
    from_front.clamp(0, extent as i64 - 1) as usize
}

/// Runs one step over sources that lie in the arena one after the other, the last one in the constants where asked.
fn run(
    sources: &[&[u8]],
    last_in_constants: bool,
    ofm_bytes: usize,
    layer: impl Fn(&[u32], u32) -> Layer,
) -> Vec<u8> {
    let mut parts = Parts {
        outputs: vec![(0, ofm_bytes as u32)],
        ..Parts::default()
    };
    let mut at = (ofm_bytes as u32).next_multiple_of(16);
    let mut offsets = Vec::new();
    let mut inputs: Vec<&[u8]> = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        if last_in_constants && index == sources.len() - 1 {
            offsets.push(parts.constants_block(source) | IN_CONSTANTS);
            continue;
        }
        parts.inputs.push((at, source.len() as u32));
        offsets.push(at);
        inputs.push(source);
        at += source.len() as u32;
    }
    parts.arena_bytes = at;
    parts.layers.push(layer(&offsets, 0));
    parts.run(&inputs).remove(0)
}

#[test]
fn rows_are_those_that_indices_name() {
    let random = &mut Random(60);
    for _ in 0..300 {
        let [outer, extent, count, row] = [3, 5, 6, 9].map(|most| random.range(1, most) as usize);
        let width = random.one_of(&[4u8, 8]);
        let ifm = random.bytes(outer * extent * row);
        let (numbers, stored) = indices(random, count, extent, width);
        let in_constants = random.range(0, 1) == 1;
        let found = run(
            &[&ifm, &stored],
            in_constants,
            outer * count * row,
            |sources, ofm| {
                Layer::GatherRows(GatherRows {
                    ifm: sources[0],
                    indices: sources[1],
                    ofm,
                    outer: outer as u32,
                    extent: extent as u32,
                    count: count as u32,
                    row_bytes: row as u32,
                    index_bytes: width,
                })
            },
        );
        let mut wanted = Vec::<u8>::new();
        for o in 0..outer {
            for &index in &numbers {
                let first = (o * extent + place(index, extent)) * row;
                wanted.extend(&ifm[first..first + row]);
            }
        }
        assert_eq!(found, wanted);
    }
}

#[test]
fn elements_are_those_that_indices_name() {
    let random = &mut Random(61);
    for _ in 0..300 {
        let shape: [usize; 5] = std::array::from_fn(|_| random.range(1, 3) as usize);
        let axis = random.range(0, 4) as usize;
        let mut dims = shape.map(|extent| random.range(1, extent as i64) as usize);
        dims[axis] = random.range(1, 4) as usize;
        let mut strides = [1; 5];
        for d in (0..4).rev() {
            strides[d] = strides[d + 1] * shape[d + 1];
        }
        let (size, width) = (random.one_of(&[1u8, 2, 4, 8]), random.one_of(&[4u8, 8]));
        let ifm = random.bytes(shape.iter().product::<usize>() * usize::from(size));
        let count: usize = dims.iter().product();
        let (numbers, stored) = indices(random, count, shape[axis], width);
        let (mut wanted, mut ifm_strides) = (Vec::<u8>::new(), strides);
        ifm_strides[axis] = 0;
        for (flat, &index) in numbers.iter().enumerate() {
            let (mut rest, mut from) = (flat, place(index, shape[axis]) * strides[axis]);
            for d in (0..5).rev() {
                from += rest % dims[d] * ifm_strides[d];
                rest /= dims[d];
            }
            let first = from * usize::from(size);
            wanted.extend(&ifm[first..first + usize::from(size)]);
        }
        let found = run(&[&ifm, &stored], false, wanted.len(), |sources, ofm| {
            Layer::GatherElements(GatherElements {
                ifm: sources[0],
                indices: sources[1],
                ofm,
                dims: dims.map(|extent| extent as u32),
                ifm_strides: ifm_strides.map(|stride| stride as u32),
                extent: shape[axis] as u32,
                axis_stride: strides[axis] as u32,
                index_bytes: width,
                element_bytes: size,
            })
        });
        assert_eq!(found, wanted);
    }
}

#[test]
fn updates_go_where_indices_say() {
    let random = &mut Random(62);
    for _ in 0..300 {
        let [a, b, inner] = [4, 4, 3].map(|most| random.range(1, most) as usize);
        let (rows, width) = (random.range(1, 6) as usize, random.one_of(&[4u8, 8]));
        let reduction = random.range(0, 4) as u8;
        let data = reals(random, a * b * inner);
        let updates = reals(random, rows * inner);
        let (first, _) = indices(random, rows, a, width);
        let (second, _) = indices(random, rows, b, width);
        let stored: Vec<u8> = (0..rows)
            .flat_map(|row| [first[row], second[row]])
            .flat_map(|index| index.to_le_bytes()[..usize::from(width)].to_vec())
            .collect();
        let mut wanted = data.clone();
        for row in 0..rows {
            let to = (place(first[row], a) * b + place(second[row], b)) * inner;
            for i in 0..inner {
                let (own, update) = (wanted[to + i], updates[row * inner + i]);
                wanted[to + i] = match reduction {
                    0 => update,
                    1 => own + update,
                    2 => own * update,
                    3 => own.max(update),
                    _ => own.min(update),
                };
            }
        }
        let sources = [bytes(&data), bytes(&updates), stored];
        let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
        let in_constants = random.range(0, 1) == 1;
        let found = run(&sources, in_constants, 4 * data.len(), |sources, ofm| {
            Layer::Scatter(Scatter {
                data: sources[0],
                updates: sources[1],
                indices: sources[2],
                ofm,
                count: data.len() as u32,
                rows: rows as u32,
                row_elements: inner as u32,
                extents: [a as u32, b as u32, 1, 1, 1],
                strides: [(b * inner) as u32, inner as u32, 0, 0, 0],
                depth: 2,
                index_bytes: width,
                element_bytes: 4,
                reduction,
            })
        });
        assert_eq!(found, bytes(&wanted));
    }
}

#[test]
fn the_first_elements_come_in_order() {
    let random = &mut Random(63);
    for _ in 0..300 {
        let [outer, extent, inner] = [3, 7, 3].map(|most| random.range(1, most) as usize);
        let count = random.range(1, extent as i64) as usize;
        let [largest, last, element] = [0, 0, 0].map(|_: u8| random.range(0, 1) as u8);
        // Few different values, so that many are equal; zeros of both signs, NaN and infinities among them.
        let some = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            2.5,
            -100.0,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
        ];
        let all: Vec<f32> = (0..outer * extent * inner)
            .map(|_| {
                if element == 0 {
                    random.one_of(&some)
                } else {
                    random.range(-3, 3) as f32
                }
            })
            .collect();
        let ifm = if element == 0 {
            bytes(&all)
        } else {
            all.iter().map(|&x| x as i8 as u8).collect()
        };
        let mut wanted = vec![0i64; outer * count * inner];
        for o in 0..outer {
            for i in 0..inner {
                let at = |k: usize| all[(o * extent + k) * inner + i];
                let mut order: Vec<usize> = (0..extent).collect();
                order.sort_by(|&a, &b| {
                    let by_value = at(a)
                        .partial_cmp(&at(b))
                        .unwrap_or_else(|| at(a).is_nan().cmp(&at(b).is_nan()));
                    let by_value = if largest == 1 {
                        by_value.reverse()
                    } else {
                        by_value
                    };
                    by_value.then(if last == 1 { b.cmp(&a) } else { a.cmp(&b) })
                });
                for k in 0..count {
                    wanted[(o * count + k) * inner + i] = order[k] as i64;
                }
            }
        }
        let found = run(&[&ifm], false, 8 * wanted.len(), |sources, ofm| {
            Layer::Rank(Rank {
                ifm: sources[0],
                ofm,
                outer: outer as u32,
                extent: extent as u32,
                inner: inner as u32,
                count: count as u32,
                largest,
                last_of_equals: last,
                element,
            })
        });
        let wanted: Vec<u8> = wanted.iter().flat_map(|index| index.to_le_bytes()).collect();
        assert_eq!(found, wanted);
    }
}

#[test]
fn sums_and_products_grow_along_an_axis() {
    let random = &mut Random(64);
    for _ in 0..200 {
        let [outer, extent, inner] = [3, 6, 3].map(|most| random.range(1, most) as usize);
        let [product, exclusive, reverse] = [0, 0, 0].map(|_: u8| random.range(0, 1) as u8);
        let x = reals(random, outer * extent * inner);
        let mut wanted = x.clone();
        for (at, slot) in wanted.iter_mut().enumerate() {
            let (o, k, i) = (at / inner / extent, at / inner % extent, at % inner);
            let mut before: Vec<usize> = if reverse == 1 {
                (k..extent).rev().collect()
            } else {
                (0..=k).collect()
            };
            if exclusive == 1 {
                before.pop();
            }
            *slot = before.into_iter().fold(f32::from(product), |sum, k| {
                let x = x[(o * extent + k) * inner + i];
                if product == 1 { sum * x } else { sum + x }
            });
        }
        let found = run(&[&bytes(&x)], false, 4 * x.len(), |sources, ofm| {
            Layer::CumulateF32(CumulateF32 {
                ifm: sources[0],
                ofm,
                outer: outer as u32,
                extent: extent as u32,
                inner: inner as u32,
                product,
                exclusive,
                reverse,
            })
        });
        assert_eq!(found, bytes(&wanted));
    }
}

#[test]
fn places_other_than_zero_are_found() {
    let random = &mut Random(65);
    for _ in 0..300 {
        let rank = random.range(0, 3) as usize;
        let mut dims = [1u32; 5];
        dims[..rank]
            .iter_mut()
            .for_each(|extent| *extent = random.range(1, 4) as u32);
        let count: u32 = dims.iter().product();
        let (width, most) = (random.one_of(&[1u8, 2, 4, 8]), random.range(1, 9) as usize);
        let is_real = u8::from(width > 1 && random.range(0, 1) == 1);
        let zero = if width == 1 { random.range(-2, 2) as i8 } else { 0 };
        let kinds: Vec<i64> = (0..count).map(|_| random.range(0, 2)).collect();
        let ifm: Vec<u8> = kinds
            .iter()
            .flat_map(|&kind| {
                let mut bytes = vec![0; usize::from(width)];
                let last = usize::from(width) - 1;
                match kind {
                    0 => bytes[last] = zero as u8,
                    1 => bytes[0] = (zero as u8).wrapping_add(1),
                    _ => bytes[last] = if width == 1 { zero as u8 ^ 0x80 } else { 0x80 },
                }
                bytes
            })
            .collect();
        let mut wanted = vec![0i64; 1 + rank * most];
        for (flat, &kind) in kinds.iter().enumerate() {
            let differs = kind == 1 || kind == 2 && is_real == 0;
            let found = wanted[0] as usize;
            if !differs || found == most {
                continue;
            }
            let mut rest = flat as u32;
            for axis in (0..rank).rev() {
                wanted[1 + axis * most + found] = i64::from(rest % dims[axis]);
                rest /= dims[axis];
            }
            wanted[0] += 1;
        }
        let found = run(&[&ifm], false, 8 * wanted.len(), |sources, ofm| {
            Layer::NonZero(NonZero {
                ifm: sources[0],
                ofm,
                dims,
                most: most as u32,
                rank: rank as u8,
                element_bytes: width,
                is_real,
                zero,
            })
        });
        let wanted: Vec<u8> = wanted.iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(found, wanted);
    }
}

#[test]
fn records_that_name_nothing_are_refused() {
    let check = |layer: Layer| {
        Parts {
            arena_bytes: 512,
            layers: vec![layer],
            ..Parts::default()
        }
        .check()
        .is_ok()
    };
    let rows = GatherRows {
        ifm: 0,
        indices: 64,
        ofm: 128,
        outer: 1,
        extent: 4,
        count: 2,
        row_bytes: 4,
        index_bytes: 8,
    };
    assert!(check(Layer::GatherRows(rows)));
    assert!(!check(Layer::GatherRows(GatherRows {
        index_bytes: 2,
        ..rows
    })));
    assert!(!check(Layer::GatherRows(GatherRows { extent: 0, ..rows })));
    assert!(!check(Layer::GatherRows(GatherRows { ofm: 66, ..rows })));
    let scatter = Scatter {
        data: 0,
        updates: 64,
        indices: 128,
        ofm: 192,
        count: 8,
        rows: 2,
        row_elements: 2,
        extents: [4, 1, 1, 1, 1],
        strides: [2, 0, 0, 0, 0],
        depth: 1,
        index_bytes: 4,
        element_bytes: 4,
        reduction: 1,
    };
    assert!(check(Layer::Scatter(scatter)));
    assert!(!check(Layer::Scatter(Scatter {
        row_elements: 3,
        ..scatter
    })));
    assert!(!check(Layer::Scatter(Scatter { depth: 6, ..scatter })));
    assert!(!check(Layer::Scatter(Scatter {
        element_bytes: 1,
        ..scatter
    })));
    let rank = Rank {
        ofm: 128,
        outer: 1,
        extent: 4,
        inner: 1,
        count: 4,
        ..Rank::default()
    };
    assert!(check(Layer::Rank(rank)));
    assert!(!check(Layer::Rank(Rank { count: 5, ..rank })));
    assert!(!check(Layer::Rank(Rank { element: 2, ..rank })));
}
