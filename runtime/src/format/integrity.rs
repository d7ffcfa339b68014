//! Checksum and digest: which bytes they cover, and how they are computed.
//!
//! The CRC-32 (ISO-HDLC: reflected polynomial 0xEDB88320, all ones at start and end) covers the blob from its first
//! byte up to the digest, but for its own four. The SHA-256 covers everything before itself, the CRC included.

use super::{DIGEST_BYTES, field};

/// What four bits shifted out of the CRC add to it: the reflected polynomial, for each of their sixteen values.
const NIBBLES: [u32; 16] = {
    let mut table = [0; 16];
    let mut value = 0;
    while value < 16 {
        let mut crc = value as u32;
        let mut bit = 0;
        while bit < 4 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[value] = crc;
        value += 1;
    }
    table
};

/// CRC-32 (ISO-HDLC) over `parts`, one after the other.
pub fn crc32(parts: &[&[u8]]) -> u32 {
    let step = |crc: u32| (crc >> 4) ^ NIBBLES.get((crc & 15) as usize).copied().unwrap_or(0);
    let bytes = parts.iter().flat_map(|part| part.iter());
    !bytes.fold(!0, |crc, &byte| step(step(crc ^ u32::from(byte))))
}

/// The CRC-32 that [`field::CRC`] of this blob must hold; `None` where the blob is too short for one.
pub fn checksum(blob: &[u8]) -> Option<u32> {
    let end = blob.len().checked_sub(DIGEST_BYTES)?;
    Some(crc32(&[blob.get(..field::CRC)?, blob.get(field::CRC + 4..end)?]))
}

/// The SHA-256 that the last bytes of this blob must hold; `None` where the blob is too short for one.
#[cfg(feature = "verify")]
pub fn digest(blob: &[u8]) -> Option<[u8; DIGEST_BYTES]> {
    use sha2::Digest;
    let end = blob.len().checked_sub(DIGEST_BYTES)?;
    Some(sha2::Sha256::digest(blob.get(..end)?).into())
}
