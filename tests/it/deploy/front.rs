//! nginx or Caddy in front of two gateways, started from the file in `deploy/`.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::process::{Process, program};
use crate::harness::project::in_project;
use crate::harness::{Authority, Gateway, Http2, TempDir, free_port, run, within};

/// Address of the clients that may use the admin API.
pub const ADMIN: &str = "127.0.0.9";
const START: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(10);
const CALL: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Caddy,
}

pub struct Front {
    // Drop order: the process ends before its directory is removed.
    process: Process,
    dir: TempDir,
    authority: Authority,
    addr: SocketAddr,
}

/// Answer to one request of curl.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Front {
    /// Starts it and waits until it accepts connections.
    #[track_caller]
    pub fn start(kind: Kind, gateways: [&Gateway; 2]) -> Front {
        let (dir, authority) = (TempDir::new(), Authority::new());
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut command = match kind {
            Kind::Nginx => nginx(&dir, &authority, addr, gateways),
            Kind::Caddy => caddy(&dir, &authority, addr, gateways),
        };
        let log = File::create(dir.file("front.log")).expect("a log file");
        let errors = log.try_clone().expect("a second handle of the log file");
        command.current_dir(dir.path()).stdin(Stdio::null());
        let process = Process::spawn(command.stdout(log).stderr(errors));
        let front = Front {
            process,
            dir,
            authority,
            addr,
        };
        let accepts = within(START, || {
            let ended = !front.process.is_alive();
            let connected = TcpStream::connect(addr).is_ok();
            connected.then_some(true).or(ended.then_some(false))
        });
        assert_eq!(accepts, Some(true), "{kind:?}: {}", front.log());
        front
    }

    /// Opens an HTTP/2 connection, which TLS must have agreed on.
    pub fn http2(&self) -> Http2 {
        Http2::tls(self.addr, "localhost", &self.authority.ca())
    }

    /// Sends one request by curl from an address of loopback, with further arguments.
    #[track_caller]
    pub fn curl(&self, from: &str, path: &str, more: &[&str]) -> Answer {
        let mut command = Command::new(program("curl"));
        command
            .args([
                "-sS",
                "--path-as-is",
                "--interface",
                from,
                "-w",
                "\n%{http_code}",
            ])
            .args(["--connect-to", &format!("localhost:443:{}", self.addr)])
            .arg("--cacert")
            .arg(self.authority.ca())
            .args(more)
            .arg(format!("https://localhost{path}"));
        let output = run(&mut command, CALL);
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        let Some((body, status)) = text.rsplit_once('\n') else {
            panic!("{command:?}: {text} {errors}");
        };
        assert!(output.status.success(), "{command:?}: {text} {errors}");
        Answer {
            status: status.parse().expect("a status"),
            body: body.to_owned(),
        }
    }

    /// What the proxy logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.file("front.log")).unwrap_or_default()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // Killed, nginx would leave its workers behind.
        if self.process.is_alive() {
            self.process.signal("TERM");
            let _ = self.process.wait(STOP);
        }
    }
}

/// The file in `deploy/` with each of these texts replaced. A text that is not there fails the test.
#[track_caller]
fn shipped(name: &str, replaced: &[(&str, &str)]) -> String {
    let file = in_project(&format!("deploy/{name}"));
    let mut text = fs::read_to_string(&file).expect("a file of the project");
    for (from, to) in replaced {
        assert!(text.contains(from), "{name} has no {from:?}");
        text = text.replace(from, to);
    }
    text
}

fn words(path: &Path) -> String {
    path.display().to_string()
}

/// What both files have in common: certificate, gateways, admins.
fn common(authority: &Authority, gateways: [&Gateway; 2]) -> Vec<(&'static str, String)> {
    let (cert, key) = authority.issue("front", "DNS:localhost, IP:127.0.0.1");
    vec![
        ("/etc/resullm/tls.pem", words(&cert)),
        ("/etc/resullm/tls.key", words(&key)),
        ("127.0.0.1:3001", gateways[0].addr().to_string()),
        ("127.0.0.1:3002", gateways[1].addr().to_string()),
        ("10.0.0.0/8", format!("{ADMIN}/32")),
    ]
}

fn borrowed<'a>(replaced: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    let pairs = replaced.iter();
    pairs.map(|(from, to)| (*from, to.as_str())).collect()
}

/// Debian keeps nginx out of a user's `PATH`.
fn nginx_program() -> PathBuf {
    let debian = PathBuf::from("/usr/sbin/nginx");
    if debian.is_file() {
        return debian;
    }
    program("nginx")
}

fn nginx(
    dir: &TempDir,
    authority: &Authority,
    addr: SocketAddr,
    gateways: [&Gateway; 2],
) -> Command {
    let mut replaced = common(authority, gateways);
    let ipv6 = format!("listen [::1]:{} ", addr.port());
    replaced.extend([
        ("listen 443 ", format!("listen {addr} ")),
        ("listen [::]:443 ", ipv6),
        (
            "server_name gateway.example",
            "server_name localhost".into(),
        ),
    ]);
    dir.write("resullm.conf", &shipped("nginx.conf", &borrowed(&replaced)));
    // What Debian's own file has around `conf.d`, in this directory.
    let main = dir.write(
        "nginx.conf",
        "daemon off;\nworker_processes 2;\npid nginx.pid;\nerror_log stderr notice;\n\
         events { worker_connections 768; }\n\
         http {\n    access_log off;\n    client_body_temp_path body;\n    proxy_temp_path proxy;\n    \
         fastcgi_temp_path fastcgi;\n    uwsgi_temp_path uwsgi;\n    scgi_temp_path scgi;\n    \
         include resullm.conf;\n}\n",
    );
    let mut command = Command::new(nginx_program());
    command.args(["-e", "stderr", "-p"]).arg(dir.path());
    command.arg("-c").arg(main);
    command
}

fn caddy(
    dir: &TempDir,
    authority: &Authority,
    addr: SocketAddr,
    gateways: [&Gateway; 2],
) -> Command {
    let mut replaced = common(authority, gateways);
    replaced.extend([
        // Tests listen on loopback alone.
        (
            "admin localhost:2019",
            format!("admin localhost:{}\n\tdefault_bind 127.0.0.1", free_port()),
        ),
        ("gateway.example:443", format!("localhost:{}", addr.port())),
    ]);
    let config = dir.write("Caddyfile", &shipped("Caddyfile", &borrowed(&replaced)));
    let mut command = Command::new(program("caddy"));
    command
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(config)
        .env("HOME", dir.path())
        .env("XDG_DATA_HOME", dir.file("data"))
        .env("XDG_CONFIG_HOME", dir.file("config"));
    command
}
