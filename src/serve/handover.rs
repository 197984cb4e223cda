//! Graceful restart: passes the listening sockets to a new process, so that no connection is refused
//! meanwhile.
//!
//! The old process starts the new one from the same path, with the same arguments and a socket pair as
//! standard input. The sockets go over that pair (`SCM_RIGHTS`), then single letters. The new process sends
//! `S` when its settings are valid. The old one sends `G` when the store is free: at once, unless it is
//! embedded. The new process sends `R` when it accepts. The old process serves until `R`; with an embedded
//! store, new connections wait in the listen backlog instead.

use crate::settings::LogFormat;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};

/// Command-line flag that tells a process to receive its sockets from its parent ([`receive`]).
pub(crate) const TAKE_OVER: &str = "--take-over";
/// Command-line flag with the format in which a new process logs settings that it cannot use.
const LOG_ERRORS_AS: &str = "--log-errors-as=";

/// Maximum number of sockets in one hand-over.
const MAX_LISTENERS: usize = 16;
/// Deadline for the new process to send [`SETTINGS_GOOD`].
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a new process to exit after it closed its end of the channel.
const EXIT_TIMEOUT: Duration = Duration::from_millis(200);
const EXIT_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// New to old: the settings are valid.
pub const SETTINGS_GOOD: u8 = b'S';
/// Old to new: the store is free, open it and accept.
pub const GO: u8 = b'G';
/// New to old: accepting connections.
pub(crate) const READY: u8 = b'R';

/// Unix socket between the old process and the new one; carries the letters above.
pub struct Channel(UnixStream);

impl Channel {
    pub async fn send(&mut self, letter: u8) -> io::Result<()> {
        self.0.write_all(&[letter]).await
    }

    /// Waits for `letter`. Any other letter, a timeout (`timeout`) or a closed socket is an error.
    pub async fn expect_letter(&mut self, letter: u8, timeout: Duration) -> io::Result<()> {
        let mut heard = [0];
        tokio::time::timeout(timeout, self.0.read_exact(&mut heard)).await??;
        match heard[0] == letter {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "unexpected word",
            )),
        }
    }
}

/// Starts the new process and sends it the sockets. Returns once it has sent [`SETTINGS_GOOD`]; otherwise
/// kills it.
pub(crate) async fn start_successor(
    listeners: &[OwnedFd],
    log_format: LogFormat,
) -> io::Result<(Child, Channel)> {
    let (ours, theirs) = StdStream::pair()?;
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    arguments.retain(|argument| {
        argument != TAKE_OVER && !argument.to_string_lossy().starts_with(LOG_ERRORS_AS)
    });
    let errors_as = match log_format {
        LogFormat::Human => "human",
        LogFormat::Json => "json",
    };
    let mut child = Command::new(own_path()?)
        .args(arguments)
        .arg(TAKE_OVER)
        .arg(format!("{LOG_ERRORS_AS}{errors_as}"))
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()?;
    let greeted = async {
        send_listeners(&ours, listeners)?;
        ours.set_nonblocking(true)?;
        let mut line = Channel(UnixStream::from_std(ours)?);
        line.expect_letter(SETTINGS_GOOD, SETTINGS_TIMEOUT).await?;
        Ok(line)
    };
    match greeted.await {
        Ok(line) => Ok((child, line)),
        Err(error) => Err(end_child(&mut child, error)),
    }
}

/// Ends a new process that could not take over. Returns the reason: where it had exited by itself, that, and not
/// the closed connection that shows it.
pub(crate) fn end_child(child: &mut Child, error: io::Error) -> io::Error {
    // A process that closed its end is about to exit.
    let deadline = Instant::now() + EXIT_TIMEOUT;
    while error.kind() != io::ErrorKind::TimedOut && Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            let why = format!("the new process exited ({status}); its own log lines say why");
            return io::Error::other(why);
        }
        std::thread::sleep(EXIT_CHECK_INTERVAL);
    }
    let _ = child.kill();
    let _ = child.wait();
    error
}

/// Path of this executable. If the file was replaced since, Linux appends ` (deleted)` to it, which is
/// removed here: the hand-over starts the new version.
fn own_path() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let text = path.to_string_lossy();
    Ok(text
        .strip_suffix(" (deleted)")
        .map_or_else(|| path.clone(), PathBuf::from))
}

fn send_listeners(line: &StdStream, listeners: &[OwnedFd]) -> io::Result<()> {
    let borrowed: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_LISTENERS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "too many listeners",
        ));
    }
    let count = [u8::try_from(borrowed.len()).unwrap_or(0)];
    rustix::net::sendmsg(
        line,
        &[IoSlice::new(&count)],
        &mut ancillary,
        SendFlags::empty(),
    )?;
    Ok(())
}

/// Receives the channel (standard input) and the sockets in the new process.
pub(crate) fn receive() -> io::Result<(Channel, Vec<TcpListener>)> {
    let line = StdStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_LISTENERS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut count = [0];
    rustix::net::recvmsg(
        &line,
        &mut [IoSliceMut::new(&mut count)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut listeners = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(sockets) = message {
            for socket in sockets {
                let listener = std::net::TcpListener::from(socket);
                listener.set_nonblocking(true)?;
                listeners.push(TcpListener::from_std(listener)?);
            }
        }
    }
    if listeners.len() != usize::from(count[0]) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not every listener arrived",
        ));
    }
    line.set_nonblocking(true)?;
    Ok((Channel(UnixStream::from_std(line)?), listeners))
}

/// Sends `READY=1` and `MAINPID` to the service manager (systemd) if `NOTIFY_SOCKET` is set.
pub(crate) fn notify_ready(socket: Option<&std::path::Path>) {
    let Some(path) = socket else { return };
    let told = || -> io::Result<()> {
        let text = format!("READY=1\nMAINPID={}\n", std::process::id());
        let name = path.as_os_str().as_encoded_bytes();
        let address = match name.strip_prefix(b"@") {
            Some(name) => {
                use std::os::linux::net::SocketAddrExt;
                std::os::unix::net::SocketAddr::from_abstract_name(name)?
            }
            None => std::os::unix::net::SocketAddr::from_pathname(path)?,
        };
        let socket = std::os::unix::net::UnixDatagram::unbound()?;
        socket.send_to_addr(text.as_bytes(), &address)?;
        Ok(())
    };
    if let Err(error) = told() {
        log::warn!(
            "Cannot notify the service manager (NOTIFY_SOCKET): {error}. Serving, but it may take this process for one that did not start"
        );
    }
}
