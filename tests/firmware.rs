//! What the runtime costs in a firmware, and that nothing in it panics, allocates or divides 64 bits: the programs of
//! `targets/boards/bare`, linked for a Cortex-M3, are read back symbol by symbol.

use goblin::elf::Elf;
use tinsmith::simulate::{BoardError, firmware};
use tinsmith::target::Target;

/// Bytes of code and constants that the runtime with the kernels of the reference models may have.
const MOST_BYTES: u64 = 24 * 1024;

/// What no symbol's name may contain, and why.
const FORBIDDEN: &[(&str, &str)] = &[
    ("panicking", "a panic is reachable"),
    ("panic_", "a panic is reachable"),
    ("core3fmt", "something formats text"),
    ("__rust_alloc", "something allocates"),
    ("__rg_alloc", "something allocates"),
    ("malloc", "something allocates"),
];

/// The same for kernels that compute in integers of 8 bits.
const FORBIDDEN_IN_INT8: &[(&str, &str)] = &[
    ("__aeabi_ldivmod", "a 64-bit division costs a kernel its speed"),
    ("__aeabi_uldivmod", "a 64-bit division costs a kernel its speed"),
    ("__aeabi_f", "something computes in floats"),
    ("__aeabi_d", "something computes in floats"),
];

/// A program's bytes; `None`, with the reason in one line, where no toolchain can build it.
fn bare(program: &str) -> Option<Vec<u8>> {
    let target = Target::builtin("mps2-an385").unwrap();
    match firmware::build_bare(&target, program) {
        Ok(path) => Some(std::fs::read(path).unwrap()),
        Err(error @ (BoardError::ToolchainMissing { .. } | BoardError::LinkerMissing { .. })) => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Fails where the name of a program's symbol contains a forbidden part.
fn check_symbols(program: &str, forbidden: &[&[(&str, &str)]]) {
    let Some(bytes) = bare(program) else { return };
    let elf = Elf::parse(&bytes).unwrap();
    let names: Vec<&str> = elf
        .syms
        .iter()
        .filter_map(|symbol| elf.strtab.get_at(symbol.st_name))
        .collect();
    assert!(
        names.iter().any(|name| name.contains("tinsmith_runtime")),
        "the symbols were stripped, so their absence would prove nothing"
    );
    let found: Vec<String> = names
        .iter()
        .flat_map(|name| {
            let found = forbidden
                .iter()
                .copied()
                .flatten()
                .filter(|(part, _)| name.contains(part));
            found.map(move |(_, reason)| format!("`{name}`: {reason}"))
        })
        .collect();
    assert!(found.is_empty(), "{program}: {}", found.join("\n"));
}

#[test]
fn nothing_in_the_runtime_panics_or_allocates() {
    check_symbols("bare-all", &[FORBIDDEN]);
}

#[test]
fn nothing_in_int8_kernels_panics_allocates_divides_long_or_computes_in_floats() {
    check_symbols("bare-int8", &[FORBIDDEN, FORBIDDEN_IN_INT8]);
}

#[test]
fn the_runtime_with_the_reference_models_kernels_stays_small() {
    let Some(bytes) = bare("bare-vision") else { return };
    let elf = Elf::parse(&bytes).unwrap();
    let loaded = |name: &str| {
        let mut sections = elf.section_headers.iter();
        let section = sections.find(|section| elf.shdr_strtab.get_at(section.sh_name) == Some(name));
        section.map_or(0, |section| section.sh_size)
    };
    // The linker script puts `.rodata` into `.text`.
    let size = loaded(".text") + loaded(".data");
    assert!(size > 1024, "{size} bytes cannot hold the kernels");
    assert!(
        size <= MOST_BYTES,
        "{size} bytes of code and constants, {MOST_BYTES} allowed"
    );
    assert_eq!(
        loaded(".data") + loaded(".bss"),
        0,
        "the runtime has no static data"
    );
}
