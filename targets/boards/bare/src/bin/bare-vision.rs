//! The kernels that classifiers of images and keywords, and autoencoders, are made of.
#![no_std]
#![no_main]

use tinsmith_runtime::kernels::{Kernel, add, average_pool, conv2d, dense, depthwise, softmax};
use tinsmith_runtime::lanes::Portable;

static KERNELS: &[Kernel] = &[
    conv2d::kernel::<Portable>(),
    depthwise::kernel::<Portable>(),
    dense::kernel::<Portable>(),
    add::kernel(),
    average_pool::kernel(),
    softmax::kernel(),
];

// SAFETY: the linker script's entry; no other crate defines it.
#[unsafe(no_mangle)]
extern "C" fn reset() -> ! {
    bare::run(KERNELS)
}
