//! The `resullm` program. Everything is in the library; this only starts it.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    resullm::cli::main()
}
