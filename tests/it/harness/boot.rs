//! A simulated reboot: another boot ID for one process.

use std::path::Path;
use std::process::Command;

const ID: &str = "5e55a5e5-0000-4000-8000-00000000b007";

/// A command whose process reads another boot ID.
pub fn another_boot(root: &Path) -> Command {
    let boot = root.join("boot_id");
    std::fs::write(&boot, format!("{ID}\n")).expect("a file to write");
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$1\" /proc/sys/kernel/random/boot_id && shift && exec \"$@\"";
    command
        .args(["-r", "-m", "sh", "-c", script, "sh"])
        .arg(boot);
    command
}
