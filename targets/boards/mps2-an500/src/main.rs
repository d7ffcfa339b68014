//! mps2-an500: Cortex-M7 with FPU. The harness starts it and serves the host; the board says which kernels it links.
#![no_std]
#![no_main]

use tinsmith_runtime::kernels;

/// Called by the harness's start-up code.
// SAFETY: the harness declares this symbol with this signature, and no other crate defines it.
#[unsafe(no_mangle)]
extern "C" fn board_main() -> ! {
    harness::serve(kernels::ALL)
}
