//! The targets that come with the program: the one list, and how text becomes a target.

use super::{MemoryUse, Target, TargetError};

/// The greatest figure of a cost, a million instructions: predictions add up a few of them in 32 bits.
const MOST_Q8: u32 = 1 << 28;

macro_rules! builtin_targets {
    ($($name:literal),* $(,)?) => {
        /// Name and description of every built-in target, in the order of lists for people.
        const BUILTIN: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../targets/", $name, ".toml")))),*];
    };
}

builtin_targets! {
    "mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547", "riscv32-virt", "host-x86-64", "cortex-a",
}

impl Target {
    /// Names of the built-in targets.
    pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    /// The built-in target of this name.
    pub fn builtin(name: &str) -> Option<Self> {
        let toml = Self::builtin_text(name)?;
        Some(Self::parse(toml).expect("the tests read every built-in description"))
    }

    /// The text of a built-in description: what a user copies to describe another chip.
    pub fn builtin_text(name: &str) -> Option<&'static str> {
        BUILTIN
            .iter()
            .find(|(builtin, _)| *builtin == name)
            .map(|(_, toml)| *toml)
    }

    /// The built-in target of this name.
    ///
    /// # Errors
    /// Where there is none; the error lists the names there are.
    pub fn named(name: &str) -> Result<Self, TargetError> {
        Self::builtin(name).ok_or_else(|| TargetError::Unknown {
            name: name.to_owned(),
            known: Self::names().collect(),
        })
    }

    /// The built-in targets whose memories hold a blob of `flash_bytes` and an arena of `arena_bytes`.
    pub fn with_room(flash_bytes: u64, arena_bytes: u64) -> Vec<&'static str> {
        let has_room = |name: &&str| {
            let target = Self::builtin(name).expect("a name from the list");
            target.flash().bytes >= flash_bytes && target.arena().bytes >= arena_bytes
        };
        Self::names().filter(has_room).collect()
    }

    /// The target that a TOML text describes.
    ///
    /// # Errors
    /// Where the text is no TOML, has a field that is unknown or misses one, or does not describe a whole target.
    pub fn parse(toml: &str) -> Result<Self, TargetError> {
        let target: Self = toml::from_str(toml).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start).min(toml.len());
            TargetError::Syntax {
                line: 1 + toml.as_bytes()[..start]
                    .iter()
                    .filter(|&&byte| byte == b'\n')
                    .count(),
                reason: error.message().trim().replace('\n', ", "),
            }
        })?;
        target.validate()?;
        Ok(target)
    }

    /// Checks what the types do not say; see the list in the code.
    fn validate(&self) -> Result<(), TargetError> {
        let mut reasons = Vec::new();
        let named = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
        if self.name.is_empty() || !self.name.chars().all(named) {
            reasons.push("`name` is not one word of letters, digits, `-`, `_` and `.`".to_owned());
        }
        if self.clock_hz == 0 {
            reasons.push("`clock_hz` is 0".to_owned());
        }
        for (purpose, word) in [(MemoryUse::Flash, "flash"), (MemoryUse::Arena, "arena")] {
            if !self.memory.iter().any(|bank| bank.purpose == purpose) {
                reasons.push(format!("no [[memory]] has `use = \"{word}\"`"));
            }
        }
        for bank in &self.memory {
            if bank.bytes == 0 {
                reasons.push(format!("memory `{}` has 0 bytes", bank.name));
            }
            if bank.address.checked_add(bank.bytes).is_none() {
                reasons.push(format!("memory `{}` ends beyond 64 bits of address", bank.name));
            }
            if bank.purpose != MemoryUse::Firmware && !bank.address.is_multiple_of(16) {
                reasons.push(format!(
                    "memory `{}` starts at {:#x}, not at a multiple of 16",
                    bank.name, bank.address
                ));
            }
        }
        for (i, a) in self.memory.iter().enumerate() {
            for b in &self.memory[i + 1..] {
                if a.name == b.name {
                    reasons.push(format!("two memories have the name `{}`", a.name));
                }
                let a_end = a.address.saturating_add(a.bytes);
                let b_end = b.address.saturating_add(b.bytes);
                if a.address < b_end && b.address < a_end {
                    reasons.push(format!("memories `{}` and `{}` overlap", a.name, b.name));
                }
            }
        }
        if self
            .emulator
            .as_ref()
            .is_some_and(|emulator| emulator.instructions_per_tick_q100 == 0)
        {
            reasons.push("`instructions_per_tick_q100` is 0".to_owned());
        }
        let figures = self.cost.figures().into_iter();
        for (key, found) in figures.filter(|&(_, figure)| figure > MOST_Q8) {
            reasons.push(format!("`cost.{key}` is {found}; at most {MOST_Q8} makes sense"));
        }
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(TargetError::Invalid {
                name: self.name.clone(),
                reasons,
            })
        }
    }
}
