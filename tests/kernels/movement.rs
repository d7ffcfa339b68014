//! Copies, fills and delays.

use tinsmith_runtime::Blob;
use tinsmith_runtime::arena;
use tinsmith_runtime::exec::Model;
use tinsmith_runtime::format::{Delay, Fill, IN_CONSTANTS, StridedCopy};
use tinsmith_runtime::kernels::{self, Layer};

use crate::blobs::{Parts, Random};

/// Dense strides over `dims` in a random order of the axes, with random gaps.
fn random_strides(random: &mut Random, dims: [u32; 5], gaps: bool) -> ([i32; 5], i32) {
    let mut order = [0, 1, 2, 3, 4];
    for i in (1..5).rev() {
        order.swap(i, random.range(0, i as i64) as usize);
    }
    let (mut strides, mut span) = ([0; 5], 1);
    for d in order {
        strides[d] = span;
        span *= dims[d] as i32 + if gaps { random.range(0, 1) as i32 } else { 0 };
    }
    (strides, span)
}

#[test]
fn strided_copy_is_its_formula() {
    let random = &mut Random(30);
    for _ in 0..500 {
        let dims: [u32; 5] = std::array::from_fn(|_| random.one_of(&[1, 1, 2, 3, 4]));
        let element_bytes = random.one_of(&[1u8, 1, 2, 4, 8]);
        let size = i32::from(element_bytes);
        let (ofm_strides, ofm_span) = random_strides(random, dims, true);
        let (mut ifm_strides, ifm_span) = random_strides(random, dims, true);
        // Some axes run backwards, some stand still.
        let mut first = 0;
        for d in 0..5 {
            match random.range(0, 5) {
                0 => {
                    first += ifm_strides[d] * (dims[d] as i32 - 1);
                    ifm_strides[d] = -ifm_strides[d];
                }
                1 => ifm_strides[d] = 0,
                _ => {}
            }
        }
        let use_table = u8::from(element_bytes == 1 && random.range(0, 1) == 1);
        let ifm = random.bytes((ifm_span * size) as usize);
        let table = random.bytes(256);
        let in_constants = random.range(0, 3) == 0;

        let (ifm_bytes, ofm_bytes) = (ifm.len() as u32, (ofm_span * size) as u32);
        let mut parts = Parts {
            arena_bytes: ofm_bytes,
            outputs: vec![(0, ofm_bytes)],
            ..Parts::default()
        };
        let base = if in_constants {
            parts.constants_block(&ifm) | IN_CONSTANTS
        } else {
            parts.inputs.push((ofm_bytes, ifm_bytes));
            parts.arena_bytes += ifm_bytes;
            ofm_bytes
        };
        let record = StridedCopy {
            ifm: base + (first * size) as u32,
            ofm: 0,
            constants: parts.constants_block(&table),
            dims,
            ifm_strides,
            ofm_strides,
            element_bytes,
            use_table,
        };
        parts.layers.push(Layer::Fill(Fill {
            ofm: 0,
            count: ofm_bytes,
            value: 99,
        }));
        parts.layers.push(Layer::StridedCopy(record));

        let mut wanted = vec![99; ofm_bytes as usize];
        for flat in 0..dims.iter().product::<u32>() {
            let (mut from, mut to, mut rest) = (first, 0, flat);
            for d in (0..5).rev() {
                let i = (rest % dims[d]) as i32;
                rest /= dims[d];
                from += i * ifm_strides[d];
                to += i * ofm_strides[d];
            }
            for byte in 0..size {
                let value = ifm[(from * size + byte) as usize];
                let value = if use_table == 1 {
                    table[usize::from(value ^ 0x80)]
                } else {
                    value
                };
                wanted[(to * size + byte) as usize] = value;
            }
        }
        let inputs: &[&[u8]] = if in_constants { &[] } else { &[&ifm] };
        assert_eq!(parts.run(inputs), [wanted], "{record:?}");
    }
}

#[test]
fn extents_of_a_strided_copy_are_exact() {
    let copy = StridedCopy {
        ifm: 100,
        ofm: 8,
        dims: [1, 2, 3, 1, 4],
        ifm_strides: [7, -50, 10, 9, -1],
        ofm_strides: [0, 40, 10, 0, 2],
        element_bytes: 1,
        ..StridedCopy::default()
    };
    let extents = Layer::StridedCopy(copy).extents().unwrap();
    let source = extents.sources[0].unwrap();
    // Lowest: 100 − 50 − 3; highest: 100 + 20.
    assert_eq!((source.offset, source.bytes), (47, 74));
    assert_eq!(
        (extents.output.offset, extents.output.bytes),
        (8, 40 + 20 + 6 + 1)
    );
    let wide = Layer::StridedCopy(StridedCopy {
        ifm: 400,
        element_bytes: 4,
        ..copy
    })
    .extents()
    .unwrap();
    let source = wide.sources[0].unwrap();
    assert_eq!((source.offset, source.bytes), (400 - 4 * 53, 4 * 74));
    let below = Layer::StridedCopy(StridedCopy { ifm: 52, ..copy });
    assert_eq!(below.extents(), None);
}

/// A model that delays its input by one run.
fn delay(in_place: bool) -> Parts {
    let ofm = if in_place { 8 } else { 16 };
    Parts {
        arena_bytes: 24,
        state: (0, 5),
        layers: vec![Layer::Delay(Delay {
            ifm: 8,
            ofm,
            state: 0,
            count: 5,
            initial: -7,
        })],
        inputs: vec![(8, 5)],
        outputs: vec![(ofm, 5)],
        ..Parts::default()
    }
}

#[test]
fn delay_gives_out_what_came_in_one_run_before() {
    for in_place in [false, true] {
        let blob = delay(in_place).blob();
        let model = Model::new(Blob::check(&blob).unwrap(), kernels::ALL).unwrap();
        let mut bytes = vec![0x55; 24 + arena::slack_bytes()];
        let arena = arena::align(&mut bytes);
        let step = |arena: &mut [u8], value: u8| {
            model.input_mut(arena, 0).fill(value);
            model.run(arena, &mut ()).unwrap();
            model.output(arena, 0).to_vec()
        };
        model.reset(arena).unwrap();
        assert_eq!(step(arena, 1), [249; 5]);
        assert_eq!(step(arena, 2), [1; 5]);
        assert_eq!(step(arena, 3), [2; 5]);
        model.reset(arena).unwrap();
        assert_eq!(step(arena, 4), [249; 5]);
        assert_eq!(step(arena, 5), [4; 5]);
    }
}
