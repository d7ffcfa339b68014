//! What a target is: memories, core, lanes, costs; read from `targets/<chip>.toml`, unknown fields refused.

mod builtin;
mod error;
mod room;

use serde::{Deserialize, Serialize};

pub use error::TargetError;
pub use room::{ArenaTooSmall, FlashTooSmall, largest};

/// The description of one chip or emulated board. Keys carry their unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The name given to `--target`.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Plain core or accelerator family.
    pub family: Family,
    /// The core, such as `Cortex-M4`.
    pub core: String,
    /// Rust target triple of firmware for it.
    pub triple: String,
    /// Further `-C` flags the firmware is built with, such as `target-cpu=cortex-m33`.
    #[serde(default)]
    pub codegen: Vec<String>,
    /// Core clock.
    pub clock_hz: u64,
    /// Which file of `runtime/src/lanes` the firmware names.
    pub lanes: Lanes,
    /// Its memories.
    pub memory: Vec<MemoryBank>,
    /// Instructions per unit of work, for the predicted cost.
    #[serde(default)]
    pub cost: Cost,
    /// How QEMU runs it, where it can.
    #[serde(default)]
    pub emulator: Option<Emulator>,
}

impl Target {
    /// The first memory of a purpose that every target has.
    fn bank(&self, purpose: MemoryUse) -> &MemoryBank {
        let mut banks = self.memory.iter().filter(|bank| bank.purpose == purpose);
        banks.next().expect("a parsed target has this bank")
    }

    /// The memory that holds the blob: the first flash bank.
    ///
    /// # Panics
    /// For a target without one, which [`Target::parse`] refuses.
    pub fn flash(&self) -> &MemoryBank {
        self.bank(MemoryUse::Flash)
    }

    /// The same with at most so many bytes for blobs and for the arena.
    #[must_use]
    pub fn limited(&self, flash_bytes: Option<u64>, arena_bytes: Option<u64>) -> Self {
        let mut limited = self.clone();
        for (purpose, bytes) in [(MemoryUse::Flash, flash_bytes), (MemoryUse::Arena, arena_bytes)] {
            let bank = limited.memory.iter_mut().find(|bank| bank.purpose == purpose);
            if let (Some(bank), Some(bytes)) = (bank, bytes) {
                bank.bytes = bank.bytes.min(bytes);
            }
        }
        limited
    }

    /// The memory that holds the arena: the first arena bank.
    ///
    /// # Panics
    /// For a target without one, which [`Target::parse`] refuses.
    pub fn arena(&self) -> &MemoryBank {
        self.bank(MemoryUse::Arena)
    }
}

/// Plain core or which accelerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// A core that runs the kernels itself.
    Mcu,
}

/// The register blocks that the firmware's kernels use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lanes {
    /// Safe Rust for every core: the definition.
    Portable,
}

impl Lanes {
    /// Where a tensor may start in the arena: the widest access that these lanes make without looking at the
    /// address. The portable ones read byte by byte.
    pub const fn tensor_align(self) -> u32 {
        match self {
            Self::Portable => 1,
        }
    }
}

/// What a memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryUse {
    /// Blobs, read in place.
    Flash,
    /// The arena.
    Arena,
    /// Firmware's own: code, stack, static data.
    Firmware,
}

/// A memory of the chip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryBank {
    /// Its name in the manual.
    pub name: String,
    /// What it is for.
    #[serde(rename = "use")]
    pub purpose: MemoryUse,
    /// Where it starts in the address space.
    pub address: u64,
    /// Its size.
    pub bytes: u64,
}

/// Instructions in 1/256 per unit of work; measured with `cargo xtask cost` on the emulated board. Figures that a
/// description leaves out are those of the portable lanes on a Cortex-M3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cost {
    /// Per step, whatever it does.
    pub step_q8: u32,
    /// Per MAC of a convolution.
    pub conv_mac_q8: u32,
    /// Per kernel row and output byte of a convolution: the start of an inner product.
    pub conv_row_q8: u32,
    /// Per output byte of a convolution.
    pub conv_output_q8: u32,
    /// Per MAC of a depthwise convolution.
    pub depthwise_mac_q8: u32,
    /// Per kernel row and output byte of a depthwise convolution.
    pub depthwise_row_q8: u32,
    /// Per output byte of a depthwise convolution.
    pub depthwise_output_q8: u32,
    /// Per MAC of a dense layer.
    pub dense_mac_q8: u32,
    /// Per output byte of a dense layer.
    pub dense_output_q8: u32,
    /// Per tap of a pool.
    pub pool_tap_q8: u32,
    /// Per output byte of a pool.
    pub pool_output_q8: u32,
    /// Per output byte of an addition, subtraction or multiplication.
    pub binary_q8: u32,
    /// Per output byte of a table.
    pub table_q8: u32,
    /// Per byte copied or delayed, side by side.
    pub copy_q8: u32,
    /// Per element copied one by one, because its neighbours lie elsewhere.
    pub gather_q8: u32,
    /// Per row of a strided copy.
    pub copy_row_q8: u32,
    /// Per byte filled.
    pub fill_q8: u32,
    /// Per output byte of a softmax.
    pub softmax_q8: u32,
}

impl Cost {
    /// All figures with their keys.
    fn figures(&self) -> [(&'static str, u32); 18] {
        let &Self {
            step_q8,
            conv_mac_q8,
            conv_row_q8,
            conv_output_q8,
            depthwise_mac_q8,
            depthwise_row_q8,
            depthwise_output_q8,
            dense_mac_q8,
            dense_output_q8,
            pool_tap_q8,
            pool_output_q8,
            binary_q8,
            table_q8,
            copy_q8,
            gather_q8,
            copy_row_q8,
            fill_q8,
            softmax_q8,
        } = self;
        [
            ("step_q8", step_q8),
            ("conv_mac_q8", conv_mac_q8),
            ("conv_row_q8", conv_row_q8),
            ("conv_output_q8", conv_output_q8),
            ("depthwise_mac_q8", depthwise_mac_q8),
            ("depthwise_row_q8", depthwise_row_q8),
            ("depthwise_output_q8", depthwise_output_q8),
            ("dense_mac_q8", dense_mac_q8),
            ("dense_output_q8", dense_output_q8),
            ("pool_tap_q8", pool_tap_q8),
            ("pool_output_q8", pool_output_q8),
            ("binary_q8", binary_q8),
            ("table_q8", table_q8),
            ("copy_q8", copy_q8),
            ("gather_q8", gather_q8),
            ("copy_row_q8", copy_row_q8),
            ("fill_q8", fill_q8),
            ("softmax_q8", softmax_q8),
        ]
    }
}

impl Default for Cost {
    fn default() -> Self {
        Self {
            step_q8: 215_509,
            conv_mac_q8: 982,
            conv_row_q8: 15_365,
            conv_output_q8: 34_305,
            depthwise_mac_q8: 1825,
            depthwise_row_q8: 4002,
            depthwise_output_q8: 20_760,
            dense_mac_q8: 1016,
            dense_output_q8: 21_751,
            pool_tap_q8: 1793,
            pool_output_q8: 12_924,
            binary_q8: 14_002,
            table_q8: 1403,
            copy_q8: 1347,
            gather_q8: 9210,
            copy_row_q8: 5328,
            fill_q8: 134,
            softmax_q8: 24_547,
        }
    }
}

/// How QEMU runs a board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emulator {
    /// The program, such as `qemu-system-arm`.
    pub program: String,
    /// Its `-M` argument.
    pub machine: String,
    /// The folder of the firmware under `targets/boards`.
    pub board: String,
    /// Instructions per timer tick under `-icount shift=0`, in 1/100 (QEMU's clock ratio).
    pub instructions_per_tick_q100: u32,
}
