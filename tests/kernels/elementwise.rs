//! Operators over single elements: sums and products with broadcasting, tables.

use tinsmith_runtime::format::{Add, IN_CONSTANTS, Mul, Pair, Table};
use tinsmith_runtime::kernels::Layer;

use super::{Rescale, nearest, random_clamp};
use crate::blobs::{Parts, Random};

/// Where an operand lies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Apart,
    Constant,
    /// In the output's own region.
    Own,
}

/// An operand of the broadcast shape `dims`: its bytes and strides.
pub(super) struct Operand {
    place: Place,
    bytes: Vec<u8>,
    pub(super) strides: [u32; 4],
}

impl Operand {
    fn random(random: &mut Random, dims: [u32; 4]) -> Self {
        let place = random.one_of(&[Place::Apart, Place::Apart, Place::Constant, Place::Own]);
        let broadcast: [bool; 4] = std::array::from_fn(|_| place != Place::Own && random.range(0, 3) == 0);
        let (mut strides, mut elements) = ([0; 4], 1);
        for d in (0..4).rev() {
            if !broadcast[d] {
                strides[d] = elements;
                elements *= dims[d];
            }
        }
        Self {
            place,
            bytes: random.bytes(elements as usize),
            strides,
        }
    }

    pub(super) fn at(&self, index: [u32; 4]) -> i64 {
        let offset: u32 = index.iter().zip(self.strides).map(|(i, stride)| i * stride).sum();
        i64::from(self.bytes[offset as usize] as i8)
    }
}

pub(super) fn indices(dims: [u32; 4]) -> impl Iterator<Item = [u32; 4]> {
    (0..dims.iter().product()).map(move |mut flat: u32| {
        let mut index = [0; 4];
        for d in (0..4).rev() {
            index[d] = flat % dims[d];
            flat /= dims[d];
        }
        index
    })
}

/// Runs a two-operand record over the operands, wherever they lie.
pub(super) fn run(
    a: &Operand,
    b: &Operand,
    elements: usize,
    layer: impl Fn(u32, u32, u32) -> Layer,
) -> Vec<u8> {
    let ofm_bytes = elements as u32;
    let mut parts = Parts {
        arena_bytes: ofm_bytes,
        outputs: vec![(0, ofm_bytes)],
        ..Parts::default()
    };
    let mut inputs: Vec<&[u8]> = Vec::new();
    let mut place = |operand: &'_ Operand| match operand.place {
        Place::Constant => parts.constants_block(&operand.bytes) | IN_CONSTANTS,
        Place::Own => {
            parts.inputs.push((0, ofm_bytes));
            0
        }
        Place::Apart => {
            let offset = parts.arena_bytes;
            parts.arena_bytes += operand.bytes.len() as u32;
            parts.inputs.push((offset, operand.bytes.len() as u32));
            offset
        }
    };
    let (at_a, at_b) = (place(a), place(b));
    for operand in [a, b] {
        if operand.place != Place::Constant {
            inputs.push(&operand.bytes);
        }
    }
    parts.layers.push(layer(at_a, at_b, 0));
    parts.run(&inputs).remove(0)
}

pub(super) fn random_case(random: &mut Random) -> ([u32; 4], Operand, Operand) {
    let dims = std::array::from_fn(|_| random.one_of(&[1, 1, 2, 3, 5, 33, 40]));
    let dims = if dims.iter().product::<u32>() > 5000 {
        [1, 2, 3, 70]
    } else {
        dims
    };
    let a = Operand::random(random, dims);
    let mut b = Operand::random(random, dims);
    if a.place == Place::Own && b.place == Place::Own {
        // One region cannot hold two tensors: the operand twice.
        b.bytes.clone_from(&a.bytes);
    }
    (dims, a, b)
}

#[test]
fn add_is_its_formula() {
    let random = &mut Random(20);
    for _ in 0..400 {
        let (dims, a, b) = random_case(random);
        let (min, max) = random_clamp(random);
        let wide = random.range(0, 1) as u8;
        // Narrow sums: 255 · 2 · 2^21 stays within 30 bits.
        let (most, right_shift): (i64, i64) = if wide == 1 {
            (i32::MAX.into(), 30)
        } else {
            (1 << 21, 21)
        };
        let record = Add {
            operands: Pair {
                dims,
                a_strides: a.strides,
                b_strides: b.strides,
                ..Pair::default()
            },
            a_multiplier: random.range(-most, most) as i32,
            b_multiplier: random.one_of(&[most as i32, 1, -1, 1 << 20]),
            a_zero_point: random.i8(),
            b_zero_point: random.i8(),
            ofm_zero_point: random.i8(),
            min,
            max,
            right_shift: (right_shift + random.range(-2, 2)) as u8,
            rounding: random.range(0, 1) as u8,
            wide,
        };
        let element = |index| {
            let a = (a.at(index) - i64::from(record.a_zero_point)) * i64::from(record.a_multiplier);
            let b = (b.at(index) - i64::from(record.b_zero_point)) * i64::from(record.b_multiplier);
            let sum = nearest((a + b).into(), record.right_shift | (record.rounding << 7));
            (sum + i128::from(record.ofm_zero_point)).clamp(min.into(), max.into()) as u8
        };
        let wanted: Vec<u8> = indices(dims).map(element).collect();
        let found = run(&a, &b, wanted.len(), |a, b, ofm| {
            Layer::Add(Add {
                operands: Pair {
                    a,
                    b,
                    ofm,
                    ..record.operands
                },
                ..record
            })
        });
        assert_eq!(found, wanted, "{record:?} {:?} {:?}", a.place, b.place);
    }
}

#[test]
fn mul_is_its_formula() {
    let random = &mut Random(21);
    for _ in 0..400 {
        let (dims, a, b) = random_case(random);
        let (min, max) = random_clamp(random);
        let rescale = Rescale::random(random, 64 * 64);
        let record = Mul {
            operands: Pair {
                dims,
                a_strides: a.strides,
                b_strides: b.strides,
                ..Pair::default()
            },
            multiplier: rescale.multiplier,
            a_zero_point: random.i8(),
            b_zero_point: random.i8(),
            ofm_zero_point: random.i8(),
            min,
            max,
            shift: rescale.shift,
            left_shift: random.one_of(&[0, 0, 3]),
        };
        let element = |index| {
            let a = a.at(index) - i64::from(record.a_zero_point);
            let b = b.at(index) - i64::from(record.b_zero_point);
            rescale.apply((a * b) << record.left_shift, record.ofm_zero_point, min, max)
        };
        let wanted: Vec<u8> = indices(dims).map(element).collect();
        let found = run(&a, &b, wanted.len(), |a, b, ofm| {
            Layer::Mul(Mul {
                operands: Pair {
                    a,
                    b,
                    ofm,
                    ..record.operands
                },
                ..record
            })
        });
        assert_eq!(found, wanted, "{record:?} {:?} {:?}", a.place, b.place);
    }
}

#[test]
fn table_looks_every_value_up_also_in_place() {
    let random = &mut Random(22);
    let table: Vec<u8> = (0..256).map(|_| random.bits() as u8).collect();
    let ifm: Vec<u8> = (0..=255).chain([7; 9]).collect();
    let wanted: Vec<u8> = ifm
        .iter()
        .map(|&x| table[(i32::from(x as i8) + 128) as usize])
        .collect();
    let count = ifm.len() as u32;
    for ofm in [0, count] {
        let mut parts = Parts {
            arena_bytes: 2 * count,
            inputs: vec![(0, count)],
            outputs: vec![(ofm, count)],
            ..Parts::default()
        };
        parts.constants_block(&[1, 2, 3]);
        let constants = parts.constants_block(&table);
        parts.layers.push(Layer::Table(Table {
            ifm: 0,
            ofm,
            constants,
            count,
        }));
        assert_eq!(parts.run(&[&ifm]), std::slice::from_ref(&wanted));
    }
}
