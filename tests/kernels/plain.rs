//! Operators over plain numbers and truth values: every kind against its formula.

use tinsmith_runtime::format::{
    BinaryF32, BinaryInteger, Compare, Convert, FunctionF32, IN_CONSTANTS, MinMax, Pair, PowerF32, Select,
    UnaryF32,
};
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::kernels::binary_integer::IntegerOperation;
use tinsmith_runtime::kernels::number::Number;

use crate::blobs::{Parts, Random};

/// An operand of a broadcast shape: its elements' bytes, their width and strides.
pub(super) struct Operand {
    pub(super) bytes: Vec<u8>,
    pub(super) width: usize,
    pub(super) strides: [u32; 4],
    pub(super) constant: bool,
}

impl Operand {
    pub(super) fn new(random: &mut Random, dims: [u32; 4], width: usize) -> Self {
        let (mut strides, mut elements) = ([0; 4], 1);
        for d in (0..4).rev() {
            if random.range(0, 3) > 0 {
                strides[d] = elements;
                elements *= dims[d];
            }
        }
        Self {
            bytes: random.bytes(elements as usize * width),
            width,
            strides,
            constant: random.range(0, 2) == 0,
        }
    }

    pub(super) fn at<const N: usize>(&self, index: [u32; 4]) -> [u8; N] {
        let element: u32 = index.iter().zip(self.strides).map(|(i, stride)| i * stride).sum();
        let first = element as usize * self.width;
        self.bytes[first..first + N].try_into().unwrap()
    }
}

pub(super) fn random_dims(random: &mut Random) -> [u32; 4] {
    std::array::from_fn(|_| random.one_of(&[1, 1, 2, 3, 5]))
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

/// Runs a record over operands; `layer` has their offsets, the constants block's and the output's.
pub(super) fn run(
    operands: &[&Operand],
    constants: &[u8],
    ofm_bytes: usize,
    layer: impl Fn(&[u32], u32, u32) -> Layer,
) -> Vec<u8> {
    let mut parts = Parts {
        arena_bytes: ofm_bytes as u32,
        outputs: vec![(0, ofm_bytes as u32)],
        ..Parts::default()
    };
    let (mut offsets, mut inputs) = (Vec::new(), Vec::new());
    for operand in operands {
        if operand.constant {
            offsets.push(parts.constants_block(&operand.bytes) | IN_CONSTANTS);
            continue;
        }
        let (offset, bytes) = (parts.arena_bytes, operand.bytes.len() as u32);
        parts.arena_bytes += bytes;
        parts.inputs.push((offset, bytes));
        offsets.push(offset);
        inputs.push(operand.bytes.as_slice());
    }
    let block = parts.constants_block(constants);
    parts.layers.push(layer(&offsets, block, 0));
    parts.run(&inputs).remove(0)
}

const INTEGERS: [Number; 8] = [
    Number::Bool,
    Number::U8,
    Number::I8,
    Number::U16,
    Number::I16,
    Number::U32,
    Number::I32,
    Number::I64,
];

/// An integer of any type.
fn integer(number: Number, operand: &Operand, index: [u32; 4]) -> i64 {
    match number {
        Number::F32 => panic!("no integer"),
        Number::Bool => i64::from(operand.at::<1>(index) != [0]),
        Number::U8 => u8::from_le_bytes(operand.at(index)).into(),
        Number::I8 => i8::from_le_bytes(operand.at(index)).into(),
        Number::U16 => u16::from_le_bytes(operand.at(index)).into(),
        Number::I16 => i16::from_le_bytes(operand.at(index)).into(),
        Number::U32 => u32::from_le_bytes(operand.at(index)).into(),
        Number::I32 => i32::from_le_bytes(operand.at(index)).into(),
        Number::I64 => i64::from_le_bytes(operand.at(index)),
    }
}

/// The bytes of an integer of a type.
fn stored(number: Number, value: i64) -> Vec<u8> {
    if number == Number::Bool {
        return vec![u8::from(value != 0)];
    }
    value.to_le_bytes()[..number.bytes() as usize].to_vec()
}

#[test]
fn comparisons_are_their_formulas() {
    let random = &mut Random(50);
    for round in 0..300 {
        let dims = random_dims(random);
        let number = random.one_of(&INTEGERS);
        let number = if round % 3 == 0 { Number::F32 } else { number };
        let mut operand = || Operand::new(random, dims, number.bytes() as usize);
        let (a, mut b) = (operand(), operand());
        if round % 5 == 0 {
            // Equal elements, which random ones of several bytes seldom are.
            b = Operand {
                bytes: a.bytes.clone(),
                strides: a.strides,
                ..b
            };
        }
        for kind in 0..3u8 {
            let wanted = indices(dims).map(|index| {
                if number == Number::F32 {
                    let (a, b) = (f32::from_le_bytes(a.at(index)), f32::from_le_bytes(b.at(index)));
                    u8::from([a == b, a < b, a <= b][usize::from(kind)])
                } else {
                    let (a, b) = (integer(number, &a, index), integer(number, &b, index));
                    u8::from([a == b, a < b, a <= b][usize::from(kind)])
                }
            });
            let wanted: Vec<u8> = wanted.collect();
            let found = run(&[&a, &b], &[], wanted.len(), |offsets, _, ofm| {
                Layer::Compare(Compare {
                    operands: Pair {
                        a: offsets[0],
                        b: offsets[1],
                        ofm,
                        dims,
                        a_strides: a.strides,
                        b_strides: b.strides,
                    },
                    kind,
                    element: number.code(),
                })
            });
            assert_eq!(found, wanted, "{number:?} {kind}");
        }
    }
}

#[test]
fn operations_on_integers_are_their_formulas() {
    let random = &mut Random(51);
    for _ in 0..200 {
        let dims = random_dims(random);
        let number = random.one_of(&INTEGERS);
        let mut operand = || Operand::new(random, dims, number.bytes() as usize);
        let (a, b) = (operand(), operand());
        for &operation in IntegerOperation::ALL {
            let formula = |a: i128, b: i128| match operation {
                IntegerOperation::Add => a + b,
                IntegerOperation::Sub => a - b,
                IntegerOperation::Mul => a * b,
                IntegerOperation::Div => a.checked_div(b).unwrap_or(0),
                IntegerOperation::Min => a.min(b),
                IntegerOperation::Max => a.max(b),
                IntegerOperation::And => a & b,
                IntegerOperation::Or => a | b,
                IntegerOperation::Xor => a ^ b,
                IntegerOperation::Mod if b == 0 => 0,
                IntegerOperation::Mod => ((a % b) + b) % b,
                IntegerOperation::Fmod => a.checked_rem(b).unwrap_or(0),
            };
            let wanted = indices(dims).flat_map(|index| {
                let (a, b) = (integer(number, &a, index), integer(number, &b, index));
                stored(number, formula(a.into(), b.into()) as i64)
            });
            let wanted: Vec<u8> = wanted.collect();
            let found = run(&[&a, &b], &[], wanted.len(), |offsets, _, ofm| {
                Layer::BinaryInteger(BinaryInteger {
                    operands: Pair {
                        a: offsets[0],
                        b: offsets[1],
                        ofm,
                        dims,
                        a_strides: a.strides,
                        b_strides: b.strides,
                    },
                    kind: operation.code(),
                    element: number.code(),
                })
            });
            assert_eq!(found, wanted, "{operation:?} of {number:?}");
        }
    }
}

#[test]
fn a_choice_takes_whole_elements() {
    let random = &mut Random(52);
    for _ in 0..300 {
        let dims = random_dims(random);
        let width = random.one_of(&[1usize, 2, 4, 8]);
        let mut condition = Operand::new(random, dims, 1);
        condition
            .bytes
            .iter_mut()
            .for_each(|byte| *byte = random.range(0, 1) as u8);
        let (a, b) = (
            Operand::new(random, dims, width),
            Operand::new(random, dims, width),
        );
        let wanted = indices(dims).flat_map(|index| {
            let taken = if condition.at::<1>(index) == [0] { &b } else { &a };
            let element: u32 = index.iter().zip(taken.strides).map(|(i, s)| i * s).sum();
            taken.bytes[element as usize * width..][..width].to_vec()
        });
        let wanted: Vec<u8> = wanted.collect();
        let found = run(&[&condition, &a, &b], &[], wanted.len(), |offsets, _, ofm| {
            Layer::Select(Select {
                condition: offsets[0],
                a: offsets[1],
                b: offsets[2],
                ofm,
                dims,
                condition_strides: condition.strides,
                a_strides: a.strides,
                b_strides: b.strides,
                element_bytes: width as u8,
            })
        });
        assert_eq!(found, wanted);
    }
}

#[test]
fn elements_change_their_type_as_in_rust() {
    let random = &mut Random(53);
    for &from in &INTEGERS {
        let operand = Operand::new(random, [1, 1, 5, 5], from.bytes() as usize);
        let count = operand.bytes.len() / from.bytes() as usize;
        let values: Vec<i64> = (0..count as u32)
            .map(|i| {
                let row = Operand {
                    strides: [0, 0, 0, 1],
                    bytes: operand.bytes.clone(),
                    ..operand
                };
                integer(from, &row, [0, 0, 0, i])
            })
            .collect();
        for &to in INTEGERS.iter().chain([&Number::F32]) {
            let wanted = values.iter().flat_map(|&value| match to {
                Number::F32 => (value as f32).to_le_bytes().to_vec(),
                _ => stored(to, value),
            });
            let wanted: Vec<u8> = wanted.collect();
            assert_eq!(converted(&operand, count, from, to), wanted, "{from:?} to {to:?}");
        }
    }
    let reals = [
        0.0f32,
        -0.0,
        0.4,
        -1.9,
        300.7,
        -5e9,
        1e30,
        f32::NAN,
        f32::NEG_INFINITY,
    ];
    let operand = Operand {
        bytes: reals.iter().flat_map(|x| x.to_le_bytes()).collect(),
        width: 4,
        strides: [0; 4],
        constant: false,
    };
    let to = |to| converted(&operand, reals.len(), Number::F32, to);
    assert_eq!(to(Number::Bool), reals.map(|x| u8::from(x != 0.0)));
    assert_eq!(to(Number::U8), reals.map(|x| x as u8));
    assert_eq!(to(Number::I8), reals.map(|x| x as i8 as u8));
    let bytes = |v: Vec<[u8; 8]>| v.concat();
    assert_eq!(
        to(Number::I64),
        bytes(reals.iter().map(|&x| (x as i64).to_le_bytes()).collect())
    );
    assert_eq!(to(Number::I32), reals.map(|x| (x as i32).to_le_bytes()).concat());
}

fn converted(operand: &Operand, count: usize, from: Number, to: Number) -> Vec<u8> {
    run(&[operand], &[], count * to.bytes() as usize, |offsets, _, ofm| {
        Layer::Convert(Convert {
            ifm: offsets[0],
            ofm,
            count: count as u32,
            from: from.code(),
            to: to.code(),
        })
    })
}

#[test]
fn the_lesser_and_the_greater_go_through_their_own_tables() {
    let random = &mut Random(54);
    for _ in 0..200 {
        let dims = random_dims(random);
        let (a, b) = (Operand::new(random, dims, 1), Operand::new(random, dims, 1));
        let tables = random.bytes(512);
        for greatest in 0..2u8 {
            let wanted = indices(dims).map(|index| {
                let look_up = |table: &[u8], [code]: [u8; 1]| table[(code as i8 as i32 + 128) as usize] as i8;
                let (a, b) = (
                    look_up(&tables[..256], a.at(index)),
                    look_up(&tables[256..], b.at(index)),
                );
                (if greatest == 1 { a.max(b) } else { a.min(b) }) as u8
            });
            let wanted: Vec<u8> = wanted.collect();
            let found = run(&[&a, &b], &tables, wanted.len(), |offsets, constants, ofm| {
                Layer::MinMax(MinMax {
                    a: offsets[0],
                    b: offsets[1],
                    ofm,
                    constants,
                    dims,
                    a_strides: a.strides,
                    b_strides: b.strides,
                    greatest,
                })
            });
            assert_eq!(found, wanted);
        }
    }
}

#[test]
fn kinds_and_types_beyond_the_lists_are_refused() {
    let refused = |layer: Layer| {
        let parts = Parts {
            arena_bytes: 64,
            inputs: vec![(0, 16)],
            outputs: vec![(16, 16)],
            layers: vec![layer],
            ..Parts::default()
        };
        assert!(parts.check().is_err(), "{layer:?}");
    };
    let (ofm, count, dims) = (16, 1, [1; 4]);
    let real = BinaryF32 {
        operands: Pair {
            ofm,
            dims,
            ..Pair::default()
        },
        max: 1.0,
        ..BinaryF32::default()
    };
    refused(Layer::BinaryF32(BinaryF32 { kind: 7, ..real }));
    refused(Layer::PowerF32(PowerF32(BinaryF32 { kind: 6, ..real })));
    refused(Layer::PowerF32(PowerF32(BinaryF32 { kind: 9, ..real })));
    let unary = UnaryF32 {
        ofm,
        count,
        ..UnaryF32::default()
    };
    refused(Layer::UnaryF32(UnaryF32 { kind: 22, ..unary }));
    refused(Layer::UnaryF32(UnaryF32 { alpha: 1.0, ..unary }));
    for kind in [21, 39] {
        refused(Layer::FunctionF32(FunctionF32 {
            ofm,
            count,
            kind,
            ..FunctionF32::default()
        }));
    }
    let compare = Compare {
        operands: Pair {
            ofm,
            dims,
            ..Pair::default()
        },
        ..Compare::default()
    };
    refused(Layer::Compare(Compare { kind: 3, ..compare }));
    refused(Layer::Compare(Compare {
        element: 9,
        ..compare
    }));
    let integer = BinaryInteger {
        operands: Pair {
            ofm,
            dims,
            ..Pair::default()
        },
        element: 8,
        ..BinaryInteger::default()
    };
    refused(Layer::BinaryInteger(BinaryInteger {
        element: 0,
        ..integer
    }));
    refused(Layer::BinaryInteger(BinaryInteger { kind: 11, ..integer }));
    refused(Layer::Select(Select {
        ofm,
        dims,
        element_bytes: 3,
        ..Select::default()
    }));
    refused(Layer::Convert(Convert {
        ofm,
        count,
        to: 9,
        ..Convert::default()
    }));
    refused(Layer::MinMax(MinMax {
        ofm,
        dims,
        greatest: 2,
        ..MinMax::default()
    }));
}
