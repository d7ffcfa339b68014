//! All kernels.
#![no_std]
#![no_main]

use tinsmith_runtime::kernels;

// SAFETY: the linker script's entry; no other crate defines it.
#[unsafe(no_mangle)]
extern "C" fn reset() -> ! {
    bare::run(kernels::ALL)
}
