//! The runtime with some kernels and nothing else. Its programs are linked to be measured and searched, not to be
//! booted: `tests/firmware.rs` wants no panic, no allocator and no long division in them.
#![no_std]

use tinsmith_runtime::kernels::Kernel;
use tinsmith_runtime::{Blob, Model};

unsafe extern "C" {
    static __arena_start: [u8; 0];
    static __arena_bytes: [u8; 0];
    static __blob_start: [u8; 0];
    static __blob_bytes: [u8; 0];
}

/// What a firmware does with the runtime: check, reset, run. Called once, by the program's entry.
pub fn run(kernels: &'static [Kernel]) -> ! {
    // SAFETY: the linker script gives these symbols the bounds of two regions that nothing else uses; this function
    // is called once and never returns, so they are borrowed once.
    let (blob, arena) = unsafe {
        (
            core::slice::from_raw_parts(
                (&raw const __blob_start).cast::<u8>(),
                (&raw const __blob_bytes).addr(),
            ),
            core::slice::from_raw_parts_mut(
                (&raw const __arena_start).cast::<u8>().cast_mut(),
                (&raw const __arena_bytes).addr(),
            ),
        )
    };
    let done = Blob::check_for(blob, kernels).is_ok_and(|blob| {
        Model::new(blob, kernels)
            .is_ok_and(|model| model.reset(arena).is_ok() && model.run(arena, &mut ()).is_ok())
    });
    loop {
        core::hint::black_box(done);
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
