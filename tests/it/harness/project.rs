//! Files of the project, and the failure of a test whose client programs are not installed.

use std::path::{Path, PathBuf};

/// Absolute path of a file that is named from the root of the repository.
pub fn in_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Fails the test: `make test` installs what it needs below `.tools`.
pub fn not_installed(path: &Path) -> ! {
    panic!(
        "`{}` is missing; run the tests with `make test`, which installs what they need",
        path.display()
    );
}
