//! Reductions, products of computed matrices and lines of reals, to the bit: sums in their documented order.

use tinsmith_runtime::format::{IN_CONSTANTS, MatMulF32, ReduceF32, SoftmaxF32};
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::kernels::float::exp::exp;

use super::float::{bytes, reals, run};
use crate::blobs::{Parts, Random};

/// Every index of these extents, the last one running fastest.
fn indices(dims: [u32; 4]) -> impl Iterator<Item = [u32; 4]> {
    (0..dims.iter().product()).map(move |mut flat: u32| {
        let mut index = [0; 4];
        for d in (0..4).rev() {
            index[d] = flat % dims[d];
            flat /= dims[d];
        }
        index
    })
}

fn offset(index: [u32; 4], strides: [u32; 4]) -> usize {
    let offset: u32 = index.iter().zip(strides).map(|(i, stride)| i * stride).sum();
    offset as usize
}

fn random_dims(random: &mut Random) -> [u32; 4] {
    std::array::from_fn(|_| random.one_of(&[1, 1, 2, 3]))
}

#[test]
fn reductions_of_reals_are_their_formulas() {
    let random = &mut Random(80);
    for case in 0..200 {
        let (kept, reduced) = (random_dims(random), random_dims(random));
        // Strides in a random order of the eight dimensions.
        let mut order: Vec<usize> = (0..8).collect();
        for i in (1..8).rev() {
            order.swap(i, random.range(0, i as i64) as usize);
        }
        let (mut strides, mut elements) = ([0; 8], 1);
        for dim in order {
            strides[dim] = elements;
            elements *= [kept, reduced][dim / 4][dim % 4];
        }
        let (kept_strides, reduced_strides) = (
            [strides[0], strides[1], strides[2], strides[3]],
            [strides[4], strides[5], strides[6], strides[7]],
        );
        let mut ifm = reals(random, elements as usize);
        if case % 5 == 0 {
            ifm[0] = f32::NAN;
        }
        for kind in 0..5 {
            let mut wanted = Vec::new();
            for index in indices(kept) {
                let first = offset(index, kept_strides);
                let members: Vec<f32> = indices(reduced)
                    .map(|index| ifm[first + offset(index, reduced_strides)])
                    .collect();
                let sum = members.iter().fold(0.0, |sum, &x| sum + f64::from(x));
                let any_nan = members.iter().any(|x| x.is_nan());
                wanted.push(match kind {
                    0 => sum as f32,
                    1 => (sum / members.len() as f64) as f32,
                    2 | 3 if any_nan => f32::NAN,
                    2 => members.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                    3 => members.iter().copied().fold(f32::INFINITY, f32::min),
                    _ => members.iter().fold(1.0, |product, &x| product * f64::from(x)) as f32,
                });
            }
            let record = ReduceF32 {
                kept,
                kept_strides,
                reduced,
                reduced_strides,
                kind,
                ..ReduceF32::default()
            };
            let found = run(&ifm, wanted.len(), &[], |ofm, _| {
                Layer::ReduceF32(ReduceF32 { ofm, ..record })
            });
            let found: Vec<f32> = found
                .as_chunks()
                .0
                .iter()
                .map(|&word| f32::from_le_bytes(word))
                .collect();
            for (found, wanted) in found.iter().zip(&wanted) {
                let same = found.to_bits() == wanted.to_bits() || found.is_nan() && wanted.is_nan();
                assert!(same, "{found} instead of {wanted}: {record:?}");
            }
        }
    }
}

#[test]
fn products_of_computed_matrices_are_their_formula() {
    let random = &mut Random(81);
    for _ in 0..200 {
        let batch = random_dims(random);
        let [rows, depth, columns] = std::array::from_fn(|_| random.one_of(&[1, 2, 5, 17]));
        let mut side = |matrix: u32| {
            let (mut strides, mut elements) = ([0; 4], matrix);
            for d in (0..4).rev() {
                if random.range(0, 2) > 0 {
                    strides[d] = elements;
                    elements *= batch[d];
                }
            }
            (strides, reals(random, elements as usize))
        };
        let ((a_strides, a), (b_strides, b)) = (side(rows * depth), side(depth * columns));
        let mut wanted = Vec::new();
        for index in indices(batch) {
            let (a, b) = (&a[offset(index, a_strides)..], &b[offset(index, b_strides)..]);
            for row in 0..rows as usize {
                for column in 0..columns as usize {
                    let mut sum = 0.0f32;
                    for k in 0..depth as usize {
                        sum += a[row * depth as usize + k] * b[k * columns as usize + column];
                    }
                    wanted.push(sum);
                }
            }
        }
        // The output lies before, among or behind the sources; the right matrices may be constants.
        let [a_bytes, b_bytes, ofm_bytes] = [a.len(), b.len(), wanted.len()].map(|count| 4 * count as u32);
        let (constant, first) = (random.range(0, 1) == 1, random.range(0, 2) as u32);
        let (ofm, at_a, at_b) = match first {
            0 => (0, ofm_bytes, ofm_bytes + a_bytes),
            1 => (a_bytes, 0, a_bytes + ofm_bytes),
            _ => (a_bytes + b_bytes, 0, a_bytes),
        };
        let mut parts = Parts {
            arena_bytes: a_bytes + b_bytes + ofm_bytes,
            inputs: vec![(at_a, a_bytes)],
            outputs: vec![(ofm, ofm_bytes)],
            ..Parts::default()
        };
        let (a, b) = (bytes(&a), bytes(&b));
        let mut inputs = vec![&a[..]];
        let source_b = if constant {
            parts.constants_block(&b) | IN_CONSTANTS
        } else {
            parts.inputs.push((at_b, b_bytes));
            inputs.push(&b);
            at_b
        };
        let record = MatMulF32 {
            a: at_a,
            b: source_b,
            ofm,
            batch,
            a_strides,
            b_strides,
            rows,
            depth,
            columns,
        };
        parts.layers.push(Layer::MatMulF32(record));
        assert_eq!(parts.run(&inputs).remove(0), bytes(&wanted), "{record:?}");
    }
}

#[test]
fn a_matrix_times_itself_reads_one_region() {
    let square = [1.0f32, 2.0, 3.0, 4.0];
    let found = run(&square, 4, &[], |ofm, _| {
        Layer::MatMulF32(MatMulF32 {
            ofm,
            batch: [1; 4],
            rows: 2,
            depth: 2,
            columns: 2,
            ..MatMulF32::default()
        })
    });
    assert_eq!(found, bytes(&[7.0, 10.0, 15.0, 22.0]));
}

#[test]
fn a_line_of_nothing_attended_is_zero() {
    let ifm = [f32::NEG_INFINITY; 3];
    let found = run(&ifm, 3, &[], |ofm, _| {
        Layer::SoftmaxF32(SoftmaxF32 {
            ofm,
            rows: 1,
            depth: 3,
            inner: 1,
            kind: 3,
            ..SoftmaxF32::default()
        })
    });
    assert_eq!(found, bytes(&[0.0; 3]));
}

#[test]
fn lines_of_reals_are_their_formulas() {
    let random = &mut Random(82);
    for _ in 0..200 {
        let [rows, depth, inner]: [usize; 3] = std::array::from_fn(|_| random.one_of(&[1, 2, 5, 9]));
        let ifm = reals(random, rows * depth * inner);
        for kind in 0..4 {
            let mut wanted = vec![0.0f32; ifm.len()];
            for row in 0..rows {
                for k in 0..inner {
                    let place = |i: usize| (row * depth + i) * inner + k;
                    let greatest = (0..depth)
                        .map(|i| ifm[place(i)])
                        .fold(f32::NEG_INFINITY, f32::max);
                    let first = (0..depth).position(|i| ifm[place(i)] == greatest);
                    let mut sum = 0.0f32;
                    for i in 0..depth {
                        sum += exp(ifm[place(i)] - greatest);
                    }
                    for i in 0..depth {
                        let below = ifm[place(i)] - greatest;
                        wanted[place(i)] = match kind {
                            0 | 3 => exp(below) / sum,
                            1 => below - libm::logf(sum),
                            _ => f32::from(first == Some(i)),
                        };
                    }
                }
            }
            let record = SoftmaxF32 {
                rows: rows as u32,
                depth: depth as u32,
                inner: inner as u32,
                kind,
                ..SoftmaxF32::default()
            };
            let found = run(&ifm, ifm.len(), &[], |ofm, _| {
                Layer::SoftmaxF32(SoftmaxF32 { ofm, ..record })
            });
            assert_eq!(found, bytes(&wanted), "{record:?}");
        }
    }
}
