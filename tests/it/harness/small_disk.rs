//! A tmpfs of a few mebibytes in a mount namespace of its own.
//!
//! The disk is removed with the guard and needs no privileges beyond user namespaces; without these the test fails.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::process::Process;

pub struct SmallDisk {
    holder: Process,
    dir: PathBuf,
}

impl SmallDisk {
    /// Mounts it over `dir` for processes that are started with `inside`.
    #[track_caller]
    pub fn mount(dir: &Path, mebibytes: u64) -> SmallDisk {
        std::fs::create_dir_all(dir).expect("a directory to mount on");
        // This process keeps the namespace alive until its input closes.
        let script = "mount -t tmpfs -o \"size=$2m\" tmpfs \"$1\" && echo mounted && exec cat";
        let mut command = Command::new("unshare");
        command
            .args(["-r", "-m", "sh", "-c", script, "sh"])
            .arg(dir)
            .arg(mebibytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let holder = Process::spawn(&mut command);
        let (stdout, stderr) = holder.take_output();
        let mut line = String::new();
        let _ = BufReader::new(stdout).read_line(&mut line);
        if line != "mounted\n" {
            let mut why = String::new();
            let _ = BufReader::new(stderr).read_line(&mut why);
            panic!(
                "this test needs a mount of its own: run it where user namespaces are allowed ({})",
                why.trim()
            );
        }
        SmallDisk {
            holder,
            dir: dir.to_owned(),
        }
    }

    /// A command that runs in the namespace.
    pub fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        let target = self.holder.pid().to_string();
        command.args(["--preserve-credentials", "-U", "-m", "-t", &target, "--"]);
        // SIGXFSZ is ignored, so that a write beyond the limit is an error and does not kill the process.
        command.args(["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
        command
    }

    /// Path of a file on the disk from outside the namespace.
    pub fn file(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.pid()));
        let inside = self.dir.strip_prefix("/").expect("an absolute path");
        root.join(inside).join(name)
    }

    /// Fills the disk, or the space that has become free since.
    #[track_caller]
    pub fn fill(&self) {
        let mut options = OpenOptions::new();
        let options = options.append(true).create(true);
        let mut filler: File = options.open(self.file("filler")).expect("a file to fill");
        for size in [1 << 20, 4 << 10, 1] {
            let block = vec![b'x'; size];
            loop {
                match filler.write_all(&block) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("the disk cannot be filled: {error}"),
                }
            }
        }
    }

    #[track_caller]
    pub fn free(&self) {
        std::fs::remove_file(self.file("filler")).expect("the filler to remove");
    }

    /// Limits the file size of a process inside: writes beyond `bytes` fail. `None` removes the limit.
    #[track_caller]
    pub fn limit(pid: u32, bytes: Option<u64>) {
        let bytes = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let mut command = Command::new("prlimit");
        command.args([
            "--pid",
            &pid.to_string(),
            &format!("--fsize={bytes}:unlimited"),
        ]);
        assert!(command.status().expect("prlimit").success());
    }

    #[track_caller]
    pub fn read_only(&self) {
        let mut command = self.inside();
        command.args(["mount", "-o", "remount,ro"]).arg(&self.dir);
        assert!(command.status().expect("mount").success());
    }
}
