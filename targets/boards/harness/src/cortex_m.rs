//! Cortex-M: vectors and start-up, the semihosting call, and SysTick as a counter of 64 bits.

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU32, Ordering};

const SYST_CSR: *mut u32 = 0xE000_E010 as *mut u32;
const SYST_RVR: *mut u32 = 0xE000_E014 as *mut u32;
const SYST_CVR: *mut u32 = 0xE000_E018 as *mut u32;
const ICSR: *const u32 = 0xE000_ED04 as *const u32;
/// ICSR's bit for a SysTick exception that was not taken yet.
const PENDSTSET: u32 = 1 << 26;
/// SysTick counts 24 bits down from this.
const RELOAD: u32 = 0x00FF_FFFF;

// The vector table of Armv7-M and Armv8-M (Architecture Reference Manual, "Exception number definition"): the first
// stack pointer, then the handlers. Start-up lets every core use its coprocessors 10 and 11 (FPU and Helium; CPACR
// ignores the write where there are none), clears `.bss`, and copies `.data` from code memory.
global_asm!(
    r#"
    .section .vectors, "a"
    .word   __stack_top
    .word   reset
    .rept   13
    .word   fault
    .endr
    .word   systick

    .section .text.reset, "ax"
    .global reset
    .type   reset, %function
    .thumb_func
reset:
    ldr     r0, =0xE000ED88
    ldr     r1, [r0]
    orr     r1, r1, #0x00F00000
    str     r1, [r0]
    dsb
    isb
    ldr     r0, =__bss_start
    ldr     r1, =__bss_end
    movs    r2, #0
1:  cmp     r0, r1
    bhs     2f
    str     r2, [r0]
    adds    r0, #4
    b       1b
2:  ldr     r0, =__data_start
    ldr     r1, =__data_end
    ldr     r2, =__data_load
3:  cmp     r0, r1
    bhs     4f
    ldr     r3, [r2]
    str     r3, [r0]
    adds    r0, #4
    adds    r2, #4
    b       3b
4:  bl      start
    "#
);

/// Times the SysTick counter has wrapped.
static WRAPS: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" {
    safe fn board_main() -> !;
}

// SAFETY: only the code above refers to this symbol, by this signature.
#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    // SAFETY: SysTick belongs to this module. Its clock is the core's (bit 2), it wraps with an exception (bit 1).
    unsafe {
        SYST_RVR.write_volatile(RELOAD);
        SYST_CVR.write_volatile(0);
        SYST_CSR.write_volatile(0b111);
        while SYST_CVR.read_volatile() == 0 {}
    }
    board_main()
}

// SAFETY: only the vector table refers to this symbol, and the core keeps what a handler may clobber.
#[unsafe(no_mangle)]
extern "C" fn systick() {
    WRAPS.store(WRAPS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

// SAFETY: only the vector table refers to this symbol; it never returns.
#[unsafe(no_mangle)]
extern "C" fn fault() -> ! {
    crate::fail(
        crate::EXIT_FAULT,
        format_args!("the core took a fault or an exception nobody expects"),
    )
}

/// Ticks of the timer since start.
#[inline(never)]
pub(crate) fn ticks() -> u64 {
    loop {
        let wraps = WRAPS.load(Ordering::Relaxed);
        // SAFETY: reading these registers has no effect on anything but SysTick's count flag, which nobody uses.
        let (now, pending) = unsafe { (SYST_CVR.read_volatile(), ICSR.read_volatile() & PENDSTSET) };
        // A wrap between the readings, or one whose exception is still to come, would be off by 2^24.
        if pending == 0 && WRAPS.load(Ordering::Relaxed) == wraps {
            return (u64::from(wraps) << 24) + u64::from(RELOAD - now);
        }
    }
}

/// Asks the host for a semihosting operation.
///
/// # Safety
/// `argument` is what the operation wants: most want the address of a block of words that outlives the call.
pub(crate) unsafe fn semihost(operation: usize, argument: usize) -> usize {
    let result;
    // SAFETY: the caller vouches for the argument; the host gives its result in r0 and keeps other registers.
    unsafe { asm!("bkpt 0xab", inout("r0") operation => result, in("r1") argument) };
    result
}
