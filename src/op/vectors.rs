//! The vector instructions that the reference executor's heavy loops are compiled for.
//!
//! No result depends on them: loops are vectorised over independent sums, and nothing is fused. A loop is written once,
//! as a [`Task`] over the [`Sums`] of a [`Set`]; [`Vectors::run`] has it compiled for each set and picks one.

use std::cell::Cell;
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use super::sums::{Avx2Sums, Avx512Sums};
use super::sums::{Plain, Sums};

thread_local! {
    /// The set that this thread was told to use.
    static CHOSEN: Cell<Option<Vectors>> = const { Cell::new(None) };
}

/// A set of vector instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vectors {
    /// What every host of this architecture has.
    Baseline,
    /// AVX2: 16 registers of 256 bits.
    Avx2,
    /// AVX-512: 32 registers of 512 bits.
    Avx512,
}

/// A loop to be compiled for several sets of vector instructions. Whatever it calls must be `#[inline(always)]`.
pub(crate) trait Task {
    /// Runs it with the sums of `S`.
    fn run<S: Set>(self);
}

/// What a set of vector instructions offers to a [`Task`]. Its types are named here alone, so that their code runs only
/// where [`Vectors::run`] found the instructions.
pub(crate) trait Set {
    /// Sums of f32.
    type F32: Sums<f32>;
}

struct Baseline;

impl Set for Baseline {
    type F32 = Plain<f32>;
}

#[cfg(target_arch = "x86_64")]
struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Set for Avx2 {
    type F32 = Avx2Sums;
}

#[cfg(target_arch = "x86_64")]
struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Set for Avx512 {
    type F32 = Avx512Sums;
}

impl Vectors {
    /// All sets, the widest last.
    pub const ALL: [Self; 3] = [Self::Baseline, Self::Avx2, Self::Avx512];

    /// Whether this host has these instructions.
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return match self {
            Self::Baseline => true,
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
            }
        };
        #[cfg(not(target_arch = "x86_64"))]
        return self == Self::Baseline;
    }

    /// The widest set of this host.
    pub fn widest() -> Self {
        static WIDEST: OnceLock<Vectors> = OnceLock::new();
        let widest = || Self::ALL.into_iter().rfind(|vectors| vectors.is_available());
        *WIDEST.get_or_init(|| widest().unwrap_or(Self::Baseline))
    }

    /// Computes something with these instructions on this thread: to show that no result depends on them.
    pub fn only<R>(self, compute: impl FnOnce() -> R) -> R {
        let before = CHOSEN.replace(Some(self));
        let result = compute();
        CHOSEN.set(before);
        result
    }

    /// The widest set of this host, unless [`Vectors::only`] says otherwise.
    pub(crate) fn current() -> Self {
        CHOSEN.get().unwrap_or_else(Self::widest)
    }

    /// Runs a task compiled for these instructions, or for fewer where this host has not got them.
    #[cfg_attr(
        target_arch = "x86_64",
        allow(unsafe_code, reason = "calls code for instructions that are there")
    )]
    pub(crate) fn run(self, task: impl Task) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2")]
            fn avx2(task: impl Task) {
                task.run::<Avx2>();
            }
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
            fn avx512(task: impl Task) {
                task.run::<Avx512>();
            }
            if self.is_available() {
                match self {
                    Self::Baseline => {}
                    // SAFETY: the host has AVX2, as was just asked.
                    Self::Avx2 => return unsafe { avx2(task) },
                    // SAFETY: the host has all four parts of AVX-512, as was just asked.
                    Self::Avx512 => return unsafe { avx512(task) },
                }
            }
        }
        Self::plain(task);
    }

    /// Runs a task compiled for what every host has.
    pub(crate) fn plain(task: impl Task) {
        task.run::<Baseline>();
    }
}
