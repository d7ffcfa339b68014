//! The command line of Tinsmith.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
