//! A clean root directory in which the steps of an image's last stage run without Docker.
//!
//! It has this machine's programs and libraries, and its own `/etc`, `/usr/local`, `/var` and `/data`. What the machine
//! does not allow is recorded in `notes`.

use crate::harness::process::Process;
use crate::harness::project::in_project;
use crate::harness::{TempDir, run};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
/// Search path in the official images.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Account of the image's user where no other can be had.
const OWNERS: &str = "chown 10001 \"$1\"";
/// Package lists and mirrors are not this test's to use: the machine's own files stand in for what they bring.
const APT: &str = "#!/bin/sh\necho \"apt-get $*\" >>/skipped\n";
/// `install` without owners, for a machine on which only one user can be had.
const INSTALL: &str = "#!/bin/bash
words=()
while [ $# -gt 0 ]; do
    case \"$1\" in
    -o | -g) echo \"install $1 $2\" >>/skipped; shift ;;
    *) words+=(\"$1\") ;;
    esac
    shift
done
exec /usr/bin/install \"${words[@]}\"
";

pub struct CleanRoot {
    dir: TempDir,
    /// Options of `unshare`.
    namespaces: Vec<&'static str>,
    has_owners: bool,
}

impl CleanRoot {
    pub fn new() -> CleanRoot {
        let dir = TempDir::new();
        let (namespaces, has_owners) = namespaces(&dir);
        let root = CleanRoot {
            dir,
            namespaces,
            has_owners,
        };
        for name in [
            "usr",
            "etc/ssl",
            "dev",
            "proc",
            "tmp",
            "root",
            ".local/bin",
            ".local/sbin",
            "var/lib/apt/lists",
        ] {
            fs::create_dir_all(root.path(name)).unwrap();
        }
        for name in ["bin", "sbin", "lib", "lib32", "lib64"] {
            let link = fs::read_link(Path::new("/").join(name));
            link.into_iter()
                .for_each(|to| symlink(to, root.path(name)).unwrap());
        }
        let files = [
            ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"),
            ("etc/group", "root:x:0:\n"),
            ("etc/shadow", "root:*:20000:0:99999:7:::\n"),
            ("etc/gshadow", "root:*::\n"),
            ("etc/resolv.conf", "nameserver 127.0.0.11\n"),
            ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
            (
                "etc/nsswitch.conf",
                "passwd: files\ngroup: files\nhosts: files\n",
            ),
        ];
        for (name, text) in files {
            fs::write(root.path(name), text).unwrap();
        }
        for name in ["etc/ld.so.cache", "etc/login.defs"] {
            // A machine without one needs none.
            let _ = fs::copy(Path::new("/").join(name), root.path(name));
        }
        root.program("apt-get", APT);
        if !has_owners {
            root.program("install", INSTALL);
        }
        root
    }

    /// Path from outside.
    pub fn path(&self, name: &str) -> PathBuf {
        let name = name.trim_start_matches('/');
        match name.strip_prefix("usr/local/") {
            Some(rest) => self.dir.file(".local").join(rest),
            None => self.dir.file(name),
        }
    }

    /// What of the steps this machine did not allow.
    pub fn notes(&self) -> Vec<String> {
        let skipped = fs::read_to_string(self.path("skipped")).unwrap_or_default();
        let mut notes: Vec<String> = skipped
            .lines()
            .map(|line| format!("not run here: {line}"))
            .collect();
        if !self.has_owners {
            notes.push("one user can be had here: the image's own could not be".to_owned());
        }
        notes
    }

    /// Runs a step of the image as root.
    #[track_caller]
    pub fn step(&self, text: &str) -> Output {
        run(self.command(None, "/").args(["sh", "-c", text]), LIMIT)
    }

    /// Starts the image's program as its user: the numbers of user and group.
    pub fn start(
        &self,
        user: (&str, &str),
        dir: &str,
        env: &[(String, String)],
        program: &[String],
    ) -> Process {
        let log = fs::File::create(self.dir.file("log")).unwrap();
        let mut command = self.command(Some(user), dir);
        command
            .args(program)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        Process::spawn(&mut command)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.file("log")).unwrap_or_default()
    }

    /// Runs a program beside the started one: in its network and with the same root.
    #[track_caller]
    pub fn beside(&self, started: &Process, env: &[(&str, &str)], program: &[String]) -> Output {
        let mut command = Command::new("nsenter");
        let user = ["--preserve-credentials", "-U"];
        command.args(user.iter().filter(|_| self.namespaces.contains(&"--user")));
        command.args(["-m", "-n", "-t", &started.pid().to_string(), "--", "chroot"]);
        command
            .arg(self.dir.path())
            .args(program)
            .env_clear()
            .env("PATH", PATH);
        run(command.envs(env.iter().copied()), LIMIT)
    }

    fn command(&self, user: Option<(&str, &str)>, dir: &str) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(&self.namespaces)
            .args(["--mount", "--net", "--"]);
        command
            .arg(in_project("tests/image/root.sh"))
            .arg(self.dir.path());
        if let Some((user, group)) = user.filter(|_| self.has_owners) {
            command.args([
                "setpriv",
                "--reuid",
                user,
                "--regid",
                group,
                "--clear-groups",
            ]);
        }
        command.args(["sh", "-c", "cd \"$1\" && shift && exec \"$@\"", "sh", dir]);
        command.env_clear().env("PATH", PATH);
        command
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path("usr/local/sbin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// The namespaces to run in, and whether files can be given to another user there.
fn namespaces(dir: &TempDir) -> (Vec<&'static str>, bool) {
    let ways = [
        vec![],
        vec!["--user", "--map-root-user", "--map-auto"],
        vec!["--user", "--map-root-user"],
    ];
    let probe = dir.write("probe", "");
    let works = |flags: &[&str], script: &str| {
        let mut command = Command::new("unshare");
        command
            .args(flags)
            .args(["--mount", "--net", "sh", "-c", script, "sh"])
            .arg(&probe);
        command.output().is_ok_and(|output| output.status.success())
    };
    let way = ways.iter().find(|flags| works(flags, OWNERS));
    let _ = fs::remove_file(&probe);
    if let Some(flags) = way {
        return (flags.clone(), true);
    }
    let [.., single] = ways;
    assert!(
        works(&single, "true"),
        "this test needs namespaces of its own: run it where user namespaces are allowed"
    );
    (single, false)
}
