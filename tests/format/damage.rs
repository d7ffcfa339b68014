//! Truncated and flipped blobs.

use tinsmith_runtime::{Blob, BlobError};

use super::every_kernel;
use crate::blobs::{Random, run, seal};

/// Runs bytes that a checksum vouches for: refused, or executed without harm.
fn check_and_run(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let blob = Blob::check(bytes).ok()?;
    // A flipped bit can ask for a large arena or much work; that is no harm, but takes long.
    if blob.arena_bytes() > 1 << 20 || blob.work() > 1 << 20 {
        return None;
    }
    let inputs: Vec<Vec<u8>> = blob.inputs().map(|port| vec![3; port.bytes as usize]).collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    Some(run(blob, &inputs).expect("a checked blob runs"))
}

#[test]
fn every_truncation_is_refused() {
    let bytes = every_kernel().blob();
    assert!(check_and_run(&bytes).is_some());
    for length in 0..bytes.len() {
        let wanted = if length < 4 {
            BlobError::NotABlob
        } else {
            let needed = if length < 64 { 64 } else { bytes.len() };
            BlobError::Truncated {
                needed,
                given: length,
            }
        };
        assert_eq!(Blob::check(&bytes[..length]).map(drop), Err(wanted));
    }
}

#[test]
fn every_flipped_bit_is_refused_or_in_the_digest() {
    let bytes = every_kernel().blob();
    let body = bytes.len() - 32;
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match Blob::check(&flipped) {
            Err(_) => assert!(bit / 8 < body),
            Ok(blob) => {
                assert!(bit / 8 >= body, "bit {bit}");
                assert_eq!(blob.verify(), Err(BlobError::Digest));
            }
        }
    }
}

#[test]
fn every_flipped_bit_under_a_right_checksum_is_refused_or_harmless() {
    let bytes = every_kernel().blob();
    let (mut refused, mut harmless) = (0, 0);
    for bit in 0..8 * (bytes.len() - 32) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        seal(&mut flipped);
        match check_and_run(&flipped) {
            Some(_) => harmless += 1,
            None => refused += 1,
        }
    }
    assert!(
        refused > 1000 && harmless > 1000,
        "{refused} refused, {harmless} harmless"
    );
}

#[test]
fn random_damage_under_a_right_checksum_is_refused_or_harmless() {
    let bytes = every_kernel().blob();
    let random = &mut Random(50);
    let constants = bytes.len() - 32 - 16 * 13;
    for _ in 0..30_000 {
        let mut damaged = bytes.clone();
        for _ in 0..random.range(1, 6) {
            let at = random.range(8, constants as i64) as usize;
            damaged[at] = match random.range(0, 4) {
                0 => 0,
                1 => 0xff,
                2 => damaged[at].wrapping_add(1),
                _ => random.bits() as u8,
            };
        }
        seal(&mut damaged);
        check_and_run(&damaged);
    }
}
