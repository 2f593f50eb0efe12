//! The `downpour` program: everything is in [`downpour::cli`].

fn main() -> std::process::ExitCode {
    downpour::cli::main()
}
