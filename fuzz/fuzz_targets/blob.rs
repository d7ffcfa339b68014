//! Any bytes as a blob: refused, or executed without harm. The header's fixed parts and the checksum are made right
//! first, so that the fuzzer gets past them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tinsmith_runtime::format::{MAGIC, VERSION, checksum, field};
use tinsmith_runtime::{Blob, Model, arena, kernels};

/// Larger arenas and longer runs are no harm, but slow.
const MOST: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let _ = Blob::check(bytes);
    let mut bytes = bytes.to_vec();
    if bytes.len() < field::HEADER_BYTES {
        return;
    }
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[field::VERSION..][..2].copy_from_slice(&VERSION.to_le_bytes());
    bytes[field::LANES] = 0;
    let total = bytes.len() as u32;
    bytes[field::TOTAL_BYTES..][..4].copy_from_slice(&total.to_le_bytes());
    if let Some(crc) = checksum(&bytes) {
        bytes[field::CRC..][..4].copy_from_slice(&crc.to_le_bytes());
    }

    let Ok(blob) = Blob::check(&bytes) else { return };
    let _ = (blob.model(), blob.model_version(), blob.producer(), blob.target());
    let _ = (blob.labels().count(), blob.preprocessing().count(), blob.step_name(3));
    assert_eq!(blob.outputs().count() + blob.inputs().count(), blob.inputs().chain(blob.outputs()).count());
    if u64::from(blob.arena_bytes()) > MOST || blob.work() > MOST {
        return;
    }
    let mut memory = vec![0x5a; blob.arena_bytes() as usize + arena::slack_bytes()];
    let arena = arena::align(&mut memory);
    let model = Model::new(blob, kernels::ALL).expect("every opcode has a kernel");
    model.reset(arena).expect("the arena fits");
    for (index, port) in blob.inputs().enumerate() {
        let input = model.input_mut(arena, index);
        assert_eq!(input.len(), port.bytes as usize);
        input.fill(0x83);
    }
    model.run(arena, &mut ()).expect("a checked blob runs");
    for (index, port) in blob.outputs().enumerate() {
        assert_eq!(model.output(arena, index).len(), port.bytes as usize);
    }
});
