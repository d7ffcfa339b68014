//! `setup`: installs what boards need and is missing, then builds their firmware.

use std::process::{Command, Stdio};

use tinsmith::simulate::firmware;
use tinsmith::simulate::toolchain::{Toolchain, on_path};
use tinsmith::target::Target;

/// The compiler targets that the runtime is built for in tests; those of the boards are among them.
pub(crate) const TRIPLES: [&str; 7] = [
    "thumbv6m-none-eabi",
    "thumbv7m-none-eabi",
    "thumbv7em-none-eabihf",
    "thumbv8m.main-none-eabihf",
    "riscv32imac-unknown-none-elf",
    "aarch64-unknown-linux-gnu",
    "x86_64-unknown-linux-gnu",
];

/// Debian's compiler with the standard library's sources, and a linker for Arm.
const COMPILER_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "binutils-arm-none-eabi"];

/// The built-in targets that an emulator runs.
pub(crate) fn board_targets() -> impl Iterator<Item = Target> {
    Target::names()
        .filter_map(Target::builtin)
        .filter(|target| target.emulator.is_some())
}

pub(crate) fn run() -> miette::Result<bool> {
    install();
    let mut all_built = true;
    for target in board_targets() {
        match firmware::build(&target) {
            Ok(elf) => println!("{}: {}", target.name, elf.display()),
            Err(error) => {
                eprintln!("{}: {error}", target.name);
                all_built = false;
            }
        }
    }
    Ok(all_built)
}

/// Installs what is missing, as far as this machine allows; says in one line each what it could not.
pub(crate) fn install() {
    let missing: Vec<&str> = TRIPLES
        .into_iter()
        .filter(|triple| Toolchain::find(triple).is_err())
        .collect();
    if !missing.is_empty() && !rustup_adds(&missing) {
        apt_installs(&COMPILER_PACKAGES);
    }
    for triple in TRIPLES {
        if let Err(error) = Toolchain::find(triple) {
            eprintln!("{error}");
        }
    }
    for (program, package) in [
        ("qemu-system-arm", "qemu-system-arm"),
        ("qemu-system-riscv32", "qemu-system-misc"),
    ] {
        if on_path(program).is_none() && !apt_installs(&[package]) {
            eprintln!(
                "`{program}` is not installed: `apt-get install {package}`, `brew install qemu` or the like"
            );
        }
    }
}

/// Whether rustup has installed the targets.
fn rustup_adds(triples: &[&str]) -> bool {
    on_path("rustup").is_some() && quiet(Command::new("rustup").args(["target", "add"]).args(triples))
}

/// Whether apt-get has installed the packages. One call each: what is to be had is installed even where another
/// package is not.
fn apt_installs(packages: &[&str]) -> bool {
    if on_path("apt-get").is_none() {
        return false;
    }
    let install = |package: &&str| {
        println!("apt-get install {package}");
        quiet(Command::new("apt-get").args(["install", "--yes", "--no-install-recommends", package]))
    };
    let mut left: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| !install(package))
        .collect();
    if !left.is_empty() {
        // The lists of packages may be missing or old.
        quiet(Command::new("apt-get").arg("update"));
        left.retain(|package| !install(package));
    }
    if !left.is_empty() {
        eprintln!(
            "as root: apt-get install --no-install-recommends {}",
            left.join(" ")
        );
    }
    left.is_empty()
}

/// Runs a command without its output; whether it succeeded.
fn quiet(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .is_ok_and(|status| status.success())
}
