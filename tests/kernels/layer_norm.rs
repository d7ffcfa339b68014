//! Layer normalization of reals, to the bit: two sums in f64, all else in f32.

use tinsmith_runtime::format::{IN_CONSTANTS, LayerNormF32};
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::{Blob, BlobError, StepProblem};

use super::float::{bytes, reals};
use crate::blobs::{Parts, Random};

#[test]
fn normalized_rows_of_reals_are_their_formula() {
    let random = &mut Random(83);
    for case in 0..100 {
        let [rows, width]: [usize; 2] = std::array::from_fn(|_| random.one_of(&[1, 2, 5, 9]));
        let ifm = reals(random, rows * width);
        let (scale, bias) = (reals(random, width), reals(random, width));
        let epsilon = random.one_of(&[1e-5f32, 0.5, 3.0]);
        let mut wanted = Vec::new();
        for row in ifm.chunks(width) {
            let sum: f64 = row.iter().fold(0.0, |sum, &x| sum + f64::from(x));
            let mean = (sum / width as f64) as f32;
            let squares = row.iter().fold(0.0, |sum, &x| {
                let centered = x - mean;
                sum + f64::from(centered * centered)
            });
            let factor = 1.0 / libm::sqrtf((squares / width as f64) as f32 + epsilon);
            let normal = row.iter().map(|x| (x - mean) * factor);
            wanted.extend(normal.zip(scale.iter().zip(&bias)).map(|(x, (s, b))| x * s + b));
        }
        // Over its own input in every other case; the bias comes from the arena.
        let (bytes_in, bytes_row) = (4 * ifm.len() as u32, 4 * width as u32);
        let ofm = if case % 2 == 0 { 0 } else { bytes_in + bytes_row };
        let mut parts = Parts {
            arena_bytes: 2 * bytes_in + bytes_row,
            inputs: vec![(0, bytes_in), (bytes_in, bytes_row)],
            outputs: vec![(ofm, bytes_in)],
            ..Parts::default()
        };
        let record = LayerNormF32 {
            ifm: 0,
            scale: parts.constants_block(&bytes(&scale)) | IN_CONSTANTS,
            bias: bytes_in,
            ofm,
            rows: rows as u32,
            width: width as u32,
            epsilon,
        };
        parts.layers.push(Layer::LayerNormF32(record));
        let found = parts.run(&[&bytes(&ifm), &bytes(&bias)]).remove(0);
        assert_eq!(found, bytes(&wanted), "{record:?}");
    }
}

#[test]
fn a_normalization_without_a_sound_epsilon_is_refused() {
    for epsilon in [-1e-5, f32::NAN] {
        let mut parts = Parts {
            arena_bytes: 24,
            inputs: vec![(0, 24)],
            outputs: vec![(0, 24)],
            ..Parts::default()
        };
        let row = parts.constants_block(&[0; 12]) | IN_CONSTANTS;
        parts.layers.push(Layer::LayerNormF32(LayerNormF32 {
            scale: row,
            bias: row,
            rows: 2,
            width: 3,
            epsilon,
            ..LayerNormF32::default()
        }));
        let error = Blob::check(&parts.blob()).map(drop).unwrap_err();
        let problem = StepProblem::Parameter;
        assert_eq!(error, BlobError::Step { step: 0, problem });
    }
}
