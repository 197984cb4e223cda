//! The `resullm` binary: sets the global allocator (mimalloc) and calls `resullm::cli::main`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    resullm::cli::main()
}
