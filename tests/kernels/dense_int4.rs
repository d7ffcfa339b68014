//! Products with int4 weights.

use tinsmith_runtime::format::DenseInt4;
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::{BlobError, StepProblem};

use super::{Rescale, random_clamp};
use crate::blobs::{Parts, Random};

/// A record with its numbers, as lists that know nothing of bytes.
struct Case {
    record: DenseInt4,
    biases: Vec<i32>,
    rescales: Vec<Rescale>,
    /// `[out_features][in_features]`, from −8 to 7.
    weights: Vec<i64>,
    /// `[out_features][blocks]`.
    factors: Vec<u8>,
    ifm: Vec<u8>,
}

impl Case {
    fn random(random: &mut Random, [in_features, out_features]: [u32; 2], block: u32) -> Self {
        let (min, max) = random_clamp(random);
        let column_step = in_features + random.one_of(&[0, 0, 1, 5]);
        let columns = random.range(1, 3) as u32;
        let record = DenseInt4 {
            rows: random.range(1, 3) as u32,
            row_step: columns * column_step + random.one_of(&[0, 0, 3]),
            columns,
            column_step,
            in_features,
            out_features,
            block,
            ofm_zero_point: random.i8(),
            min,
            max,
            left_shift: random.one_of(&[0, 0, 2]),
            ..DenseInt4::default()
        };
        let blocks = if block == 0 {
            0
        } else {
            in_features.div_ceil(block)
        };
        let size = i64::from(in_features) * 64 * 4 * if block == 0 { 1 } else { 128 };
        let source =
            (record.rows - 1) * record.row_step + (record.columns - 1) * record.column_step + in_features;
        let mut count =
            |n: u32, low: i64, high: i64| (0..n).map(|_| random.range(low, high)).collect::<Vec<_>>();
        // Two more on either side, so that the extremes are frequent.
        let weights = count(in_features * out_features, -10, 9).into_iter();
        let factors = count(blocks * out_features, 0, 255).into_iter();
        let biases = count(out_features, -size, size).into_iter();
        Self {
            record,
            biases: biases.map(|bias| bias as i32).collect(),
            rescales: (0..out_features).map(|_| Rescale::random(random, size)).collect(),
            weights: weights.map(|weight| weight.clamp(-8, 7)).collect(),
            factors: factors.map(|factor| factor as u8).collect(),
            ifm: random.bytes(source as usize),
        }
    }

    /// What the formula gives.
    fn wanted(&self) -> Vec<u8> {
        let r = &self.record;
        let (in_features, out_features) = (r.in_features as usize, r.out_features as usize);
        let mut wanted = Vec::new();
        for y in 0..r.rows * r.columns {
            let start = (y / r.columns * r.row_step + y % r.columns * r.column_step) as usize;
            for o in 0..out_features {
                let mut acc = i64::from(self.biases[o]);
                for i in 0..in_features {
                    let factor = match r.block as usize {
                        0 => 1,
                        block => self.factors[o * in_features.div_ceil(block) + i / block].into(),
                    };
                    let x = i64::from(self.ifm[start + i] as i8);
                    acc += factor * self.weights[o * in_features + i] * x;
                }
                wanted.push(self.rescales[o].apply(acc << r.left_shift, r.ofm_zero_point, r.min, r.max));
            }
        }
        wanted
    }

    fn block(&self) -> Vec<u8> {
        let mut block: Vec<u8> = self.biases.iter().flat_map(|bias| bias.to_le_bytes()).collect();
        block.extend(
            self.rescales
                .iter()
                .flat_map(|rescale| rescale.multiplier.to_le_bytes()),
        );
        block.extend(self.rescales.iter().map(|rescale| rescale.shift));
        block.resize(block.len().next_multiple_of(16), 0);
        for row in self.weights.chunks(self.record.in_features as usize) {
            block.extend(row.chunks(2).map(|pair| {
                let odd = pair.get(1).copied().unwrap_or(0);
                (pair[0] & 15 | (odd & 15) << 4) as u8
            }));
        }
        block.extend(&self.factors);
        block
    }

    fn parts(&self, block: &[u8]) -> Parts {
        let mut record = self.record;
        let ofm_bytes = record.rows * record.columns * record.out_features;
        let ifm_bytes = self.ifm.len() as u32;
        let mut parts = Parts {
            arena_bytes: ifm_bytes + ofm_bytes,
            inputs: vec![(0, ifm_bytes)],
            outputs: vec![(ifm_bytes, ofm_bytes)],
            ..Parts::default()
        };
        record.constants = parts.constants_block(block);
        record.ofm = ifm_bytes;
        parts.layers.push(Layer::DenseInt4(record));
        parts
    }
}

#[test]
fn int4_products_are_their_formula() {
    let random = &mut Random(41);
    for _ in 0..400 {
        let in_features = random.one_of(&[1, 2, 3, 15, 16, 31, 32, 33, 63, 64, 65, 97, 640]);
        let out_features = random.one_of(&[1, 2, 3, 4, 5, 8, 13]);
        let block = random.one_of(&[0, 0, 2, 16, 32, 32, 64, 64, 1024]);
        let case = Case::random(random, [in_features, out_features], block);
        let parts = case.parts(&case.block());
        assert_eq!(parts.run(&[&case.ifm]), [case.wanted()], "{:?}", case.record);
    }
}

#[test]
fn int4_products_that_do_not_hold_together_are_refused() {
    let case = || Case::random(&mut Random(42), [33, 5], 32);
    let refused = |change: fn(&mut DenseInt4), problem: StepProblem| {
        let mut case = case();
        change(&mut case.record);
        let found = case.parts(&case.block()).check();
        assert_eq!(
            found,
            Err(BlobError::Step { step: 0, problem }),
            "{:?}",
            case.record
        );
    };
    assert_eq!(case().parts(&case().block()).check(), Ok(()));
    refused(|r| r.block = 31, StepProblem::Parameter);
    refused(|r| r.packing = 1, StepProblem::Parameter);
    refused(|r| r.left_shift = 32, StepProblem::Parameter);
    refused(|r| (r.min, r.max) = (1, 0), StepProblem::Parameter);
    // One block too few in the constants, one pixel too many in the arena, numbers beyond 32 bits.
    let whole = case();
    let block = whole.block();
    let short = whole.parts(&block[..block.len() - 1]).check();
    assert!(short.is_err(), "{short:?}");
    for change in [
        |r: &mut DenseInt4| r.columns += 1,
        |r: &mut DenseInt4| r.rows = 0,
        |r: &mut DenseInt4| r.columns = 0,
        |r: &mut DenseInt4| r.in_features = 0,
        |r: &mut DenseInt4| r.out_features = 0,
        |r: &mut DenseInt4| r.row_step = u32::MAX,
        |r: &mut DenseInt4| (r.rows, r.row_step) = (2, u32::MAX),
        |r: &mut DenseInt4| r.in_features = u32::MAX,
    ] {
        let mut case = case();
        case.record.rows = 2;
        let whole = case.parts(&block);
        change(&mut case.record);
        let mut parts = case.parts(&block);
        (parts.arena_bytes, parts.inputs, parts.outputs) = (whole.arena_bytes, whole.inputs, whole.outputs);
        assert!(parts.check().is_err(), "{:?}", case.record);
    }
}
