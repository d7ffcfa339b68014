//! RISC-V: start-up, the semihosting call, and the counter of retired instructions.

use core::arch::{asm, global_asm};

// The first instruction of the image runs in machine mode with nothing set up. `.data` needs no copying: the image
// is loaded to RAM.
global_asm!(
    r#"
    .section .vectors, "ax"
    .global reset
    .type   reset, @function
reset:
    la      sp, __stack_top
    la      t0, trap
    csrw    mtvec, t0
    la      t0, __bss_start
    la      t1, __bss_end
1:  bgeu    t0, t1, 2f
    sw      zero, 0(t0)
    addi    t0, t0, 4
    j       1b
2:  call    board_main

    .balign 4
trap:
    la      sp, __stack_top
    call    fault
    "#
);

// SAFETY: only the code above refers to this symbol; it never returns.
#[unsafe(no_mangle)]
extern "C" fn fault() -> ! {
    crate::fail(
        crate::EXIT_FAULT,
        format_args!("the core took a trap nobody expects"),
    )
}

/// Ticks of the timer since start: instructions themselves.
#[inline(never)]
pub(crate) fn ticks() -> u64 {
    loop {
        let (high, low, again): (u32, u32, u32);
        // SAFETY: reads counters, touches no memory.
        unsafe {
            asm!("csrr {}, minstreth", "csrr {}, minstret", "csrr {}, minstreth",
                out(reg) high, out(reg) low, out(reg) again, options(nomem, nostack));
        }
        if high == again {
            return u64::from(high) << 32 | u64::from(low);
        }
    }
}

/// Asks the host for a semihosting operation.
///
/// # Safety
/// `argument` is what the operation wants: most want the address of a block of words that outlives the call.
pub(crate) unsafe fn semihost(operation: usize, argument: usize) -> usize {
    let result;
    // The three instructions that mean semihosting, uncompressed and on one page ("RISC-V Semihosting", section 2).
    // SAFETY: the caller vouches for the argument; the host gives its result in a0 and keeps other registers.
    unsafe {
        asm!(
            ".balign 16",
            ".option push",
            ".option norvc",
            "slli x0, x0, 0x1f",
            "ebreak",
            "srai x0, x0, 7",
            ".option pop",
            inout("a0") operation => result,
            in("a1") argument,
        );
    }
    result
}
