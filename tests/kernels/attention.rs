//! Attention of reals: to the bit where the order of keys leaves nothing to rescale, else close to its formula in f64.

use tinsmith_runtime::format::{AttentionF32, IN_CONSTANTS};
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::{Blob, BlobError, StepProblem};

use super::float::{bytes, reals};
use crate::blobs::{Parts, Random};

/// Where element `[sample, head, row, feature]` of an operand lies.
fn place(
    [sample, head, row, feature]: [usize; 4],
    [heads, rows, features]: [usize; 3],
    inside: bool,
) -> usize {
    let row = if inside {
        (sample * rows + row) * heads + head
    } else {
        (sample * heads + head) * rows + row
    };
    row * features + feature
}

/// A record over regions one behind the other: q, k, v in the arena, the mask in the constants.
struct Case {
    record: AttentionF32,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    mask: Vec<f32>,
}

impl Case {
    fn random(random: &mut Random) -> Self {
        let mut size = || random.one_of(&[1usize, 2, 3, 5]);
        let [batch, kv_heads, queries, keys, depth, width] = std::array::from_fn(|_| size());
        let heads = kv_heads * size();
        let record = AttentionF32 {
            batch: batch as u32,
            heads: heads as u32,
            kv_heads: kv_heads as u32,
            queries: queries as u32,
            keys: keys as u32,
            depth: depth as u32,
            width: width as u32,
            scale: random.one_of(&[1.0f32, 0.25, -0.5]),
            inside: random.range(0, 15) as u8,
            mask_axes: random.range(0, 15) as u8,
            kind: random.range(0, 1) as u8,
            ..AttentionF32::default()
        };
        let grid = [batch, heads, queries, keys];
        let mask_len: usize = (0..4)
            .filter(|axis| record.mask_axes >> axis & 1 != 0)
            .map(|axis| grid[axis])
            .product();
        let mut mask = reals(random, mask_len);
        for x in &mut mask {
            if random.range(0, 3) == 0 {
                *x = f32::NEG_INFINITY;
            }
        }
        Self {
            record,
            q: reals(random, batch * heads * queries * depth),
            k: reals(random, batch * kv_heads * keys * depth),
            v: reals(random, batch * kv_heads * keys * width),
            mask,
        }
    }

    fn run(&self) -> Vec<f32> {
        let offsets = [0, self.q.len(), self.q.len() + self.k.len()].map(|elements| 4 * elements as u32);
        let ofm = offsets[2] + 4 * self.v.len() as u32;
        let record = self.record;
        let out = 4 * record.batch * record.heads * record.queries * record.width;
        let region = |i: usize, x: &[f32]| (offsets[i], 4 * x.len() as u32);
        let mut parts = Parts {
            arena_bytes: ofm + out,
            inputs: vec![region(0, &self.q), region(1, &self.k), region(2, &self.v)],
            outputs: vec![(ofm, out)],
            ..Parts::default()
        };
        parts.layers = vec![Layer::AttentionF32(AttentionF32 {
            q: offsets[0],
            k: offsets[1],
            v: offsets[2],
            mask: parts.constants_block(&bytes(&self.mask)) | IN_CONSTANTS,
            ofm,
            ..record
        })];
        let found = parts
            .run(&[&bytes(&self.q), &bytes(&self.k), &bytes(&self.v)])
            .remove(0);
        found
            .as_chunks()
            .0
            .iter()
            .map(|&word| f32::from_le_bytes(word))
            .collect()
    }

    /// The formula in f64; a row that attends to nothing is NaN or 0.
    fn wanted(&self) -> Vec<f64> {
        let r = self.record;
        let [heads, kv_heads, queries, keys, depth, width] =
            [r.heads, r.kv_heads, r.queries, r.keys, r.depth, r.width].map(|x| x as usize);
        let inside = |bit: u8| r.inside >> bit & 1 != 0;
        let mut y = vec![0.0; r.batch as usize * heads * queries * width];
        for sample in 0..r.batch as usize {
            for head in 0..heads {
                let kv = head * kv_heads / heads;
                for query in 0..queries {
                    let scores: Vec<f64> = (0..keys)
                        .map(|key| {
                            let sum: f64 = (0..depth)
                                .map(|i| {
                                    let q =
                                        place([sample, head, query, i], [heads, queries, depth], inside(0));
                                    let k = place([sample, kv, key, i], [kv_heads, keys, depth], inside(1));
                                    f64::from(self.q[q]) * f64::from(self.k[k])
                                })
                                .sum();
                            let at = [sample, head, query, key]
                                .into_iter()
                                .zip([r.batch, r.heads, r.queries, r.keys]);
                            let mut index = 0;
                            for (axis, (i, extent)) in at.enumerate() {
                                if r.mask_axes >> axis & 1 != 0 {
                                    index = index * extent as usize + i;
                                }
                            }
                            sum * f64::from(r.scale) + f64::from(self.mask[index])
                        })
                        .collect();
                    let greatest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let weights: Vec<f64> = scores.iter().map(|s| libm::exp(s - greatest)).collect();
                    let sum: f64 = weights.iter().sum();
                    for i in 0..width {
                        let mixed: f64 = (0..keys)
                            .map(|key| {
                                weights[key]
                                    * f64::from(
                                        self.v
                                            [place([sample, kv, key, i], [kv_heads, keys, width], inside(2))],
                                    )
                            })
                            .sum();
                        let is_empty = r.kind == 1 && greatest == f64::NEG_INFINITY;
                        y[place([sample, head, query, i], [heads, queries, width], inside(3))] =
                            if is_empty { 0.0 } else { mixed / sum };
                    }
                }
            }
        }
        y
    }
}

#[test]
fn attention_is_its_formula_in_every_layout() {
    let random = &mut Random(89);
    let mut empty = 0;
    for _ in 0..300 {
        let case = Case::random(random);
        let (found, wanted) = (case.run(), case.wanted());
        assert_eq!(found.len(), wanted.len());
        let range = case
            .v
            .iter()
            .fold(0.0f64, |range, &v| range.max(f64::from(v).abs()));
        for (found, wanted) in found.iter().zip(&wanted) {
            empty += usize::from(wanted.is_nan());
            let is_close = (f64::from(*found) - wanted).abs() <= 1e-4 * range;
            assert!(
                is_close || found.is_nan() && wanted.is_nan(),
                "{:?}: {found}, {wanted} wanted",
                case.record
            );
        }
    }
    assert!(empty > 0, "some rows attend to nothing");
}

#[test]
fn keys_of_equal_scores_are_averaged_to_the_bit() {
    let case = Case {
        record: AttentionF32 {
            batch: 1,
            heads: 1,
            kv_heads: 1,
            queries: 1,
            keys: 4,
            depth: 1,
            width: 2,
            scale: 1.0,
            ..AttentionF32::default()
        },
        q: vec![0.0],
        k: vec![1.0, 2.0, 3.0, 4.0],
        v: vec![1.0, -8.0, 2.0, 4.0, 4.0, 2.0, 9.0, 0.0],
        mask: vec![3.5],
    };
    assert_eq!(case.run(), [4.0, -0.5]);
}

#[test]
fn broken_attentions_are_refused() {
    let whole = AttentionF32 {
        batch: 1,
        heads: 2,
        kv_heads: 1,
        queries: 1,
        keys: 1,
        depth: 1,
        width: 1,
        ofm: 16,
        ..AttentionF32::default()
    };
    let check = |record: AttentionF32| {
        let mut parts = Parts {
            arena_bytes: 32,
            inputs: vec![(0, 16)],
            outputs: vec![(16, 8)],
            ..Parts::default()
        };
        let zero = parts.constants_block(&[0; 4]) | IN_CONSTANTS;
        parts
            .layers
            .push(Layer::AttentionF32(AttentionF32 { mask: zero, ..record }));
        Blob::check(&parts.blob()).map(drop)
    };
    check(whole).unwrap();
    for broken in [
        AttentionF32 { inside: 16, ..whole },
        AttentionF32 {
            mask_axes: 16,
            ..whole
        },
        AttentionF32 { kind: 2, ..whole },
        AttentionF32 {
            heads: 3,
            kv_heads: 2,
            ..whole
        },
    ] {
        let problem = StepProblem::Parameter;
        assert_eq!(
            check(broken).unwrap_err(),
            BlobError::Step { step: 0, problem },
            "{broken:?}"
        );
    }
    for outside in [
        AttentionF32 {
            width: 1 << 20,
            ..whole
        },
        AttentionF32 {
            mask_axes: 2,
            ..whole
        },
        AttentionF32 { q: 28, ..whole },
        // Nothing lies nowhere.
        AttentionF32 { kv_heads: 0, ..whole },
        AttentionF32 { keys: 0, ..whole },
    ] {
        let problem = StepProblem::OutOfBounds;
        assert_eq!(
            check(outside).unwrap_err(),
            BlobError::Step { step: 0, problem },
            "{outside:?}"
        );
    }
    let over_itself = AttentionF32 { ofm: 0, ..whole };
    let problem = StepProblem::Overlap;
    assert_eq!(
        check(over_itself).unwrap_err(),
        BlobError::Step { step: 0, problem }
    );
}
