//! What a target is: memories, core, lanes, costs; read from `targets/<chip>.toml`, unknown fields refused.

use serde::{Deserialize, Serialize};

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
    pub cost: Cost,
    /// How QEMU runs it, where it can.
    #[serde(default)]
    pub emulator: Option<Emulator>,
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

/// Instructions in 1/256 per unit of work; measured with `cargo xtask bench` on the emulated board named beside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Per MAC of a convolution.
    pub conv_mac_q8: u32,
    /// Per MAC of a depthwise convolution.
    pub depthwise_mac_q8: u32,
    /// Per MAC of a dense layer.
    pub dense_mac_q8: u32,
    /// Per output byte of a convolution, depthwise convolution or dense layer.
    pub rescale_q8: u32,
    /// Per tap of a pool.
    pub pool_tap_q8: u32,
    /// Per output byte of an elementwise operator, table, copy or fill.
    pub element_q8: u32,
    /// Per output byte of a softmax.
    pub softmax_q8: u32,
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
