//! Intel HEX: lines of a count, an address, a type, data and a checksum, in hexadecimal; the upper half of the
//! address in records of its own.

use std::fmt::Write;

use super::{EmitError, fitting};
use crate::target::Target;

/// Data bytes of a line.
const LINE_BYTES: usize = 16;
/// The record of data.
const DATA: u8 = 0;
/// The record that ends a file.
const END: u8 = 1;
/// The record that sets the upper 16 bits of the addresses behind it.
const UPPER_ADDRESS: u8 = 4;

/// The blob at the target's flash address as an Intel HEX file.
///
/// # Errors
/// Where `blob` is none, or does not fit the target's flash or 32 bits of address.
pub fn hex(target: &Target, blob: &[u8]) -> Result<Vec<u8>, EmitError> {
    let blob = fitting(target, blob)?.bytes();
    let flash = target.flash();
    let end = flash.address + blob.len() as u64;
    if end > 1 << 32 {
        return Err(EmitError::AddressTooHigh {
            bank: flash.name.clone(),
            end,
            format: "Intel HEX",
        });
    }
    let mut text = String::with_capacity(blob.len() * 3);
    let mut upper = None;
    // The bank starts at a multiple of 16, so no line crosses a boundary of 64 kB.
    for (i, line) in blob.chunks(LINE_BYTES).enumerate() {
        let address = flash.address + (i * LINE_BYTES) as u64;
        let (high, low) = ((address >> 16) as u16, address as u16);
        if upper != Some(high) {
            record(&mut text, UPPER_ADDRESS, 0, &high.to_be_bytes());
            upper = Some(high);
        }
        record(&mut text, DATA, low, line);
    }
    record(&mut text, END, 0, &[]);
    Ok(text.into_bytes())
}

fn record(text: &mut String, kind: u8, address: u16, data: &[u8]) {
    let [high, low] = address.to_be_bytes();
    let head = [data.len() as u8, high, low, kind];
    let sum = head
        .iter()
        .chain(data)
        .fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    text.push(':');
    for byte in head.iter().chain(data).chain([&sum.wrapping_neg()]) {
        write!(text, "{byte:02X}").expect("writing to a string does not fail");
    }
    text.push('\n');
}
