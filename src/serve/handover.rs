//! Hands the listening sockets to a successor, so that no connection is refused meanwhile.
//!
//! The old process starts the new one from the same path with the same arguments and a socket pair
//! as its standard input. Over it go the listeners themselves and then single letters:
//! the new one says `S` when its settings are good, the old one `G` when the store is free (at once,
//! unless it is embedded), the new one `R` when it accepts. Until `R` the old one keeps serving,
//! except for an embedded store, where connections wait in the backlog.

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
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};

/// The argument that tells a process that it is a successor.
pub const TAKE_OVER: &str = "--take-over";

const LISTENERS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(10);

pub const SETTINGS_GOOD: u8 = b'S';
pub const GO: u8 = b'G';
pub const READY: u8 = b'R';

/// The socket between a process and its successor.
pub struct Line(UnixStream);

impl Line {
    pub async fn say(&mut self, letter: u8) -> io::Result<()> {
        self.0.write_all(&[letter]).await
    }

    /// Waits for one letter; any other, silence or a closed line is an error.
    pub async fn hear(&mut self, letter: u8, patience: Duration) -> io::Result<()> {
        let mut heard = [0];
        tokio::time::timeout(patience, self.0.read_exact(&mut heard)).await??;
        match heard[0] == letter {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "unexpected word",
            )),
        }
    }
}

/// Starts the successor and gives it the listeners. It has good settings when this returns.
pub async fn start_successor(listeners: &[OwnedFd]) -> io::Result<(Child, Line)> {
    let (ours, theirs) = StdStream::pair()?;
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    arguments.retain(|argument| argument != TAKE_OVER);
    let mut child = Command::new(own_path()?)
        .args(arguments)
        .arg(TAKE_OVER)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()?;
    let greeted = async {
        send_listeners(&ours, listeners)?;
        ours.set_nonblocking(true)?;
        let mut line = Line(UnixStream::from_std(ours)?);
        line.hear(SETTINGS_GOOD, PATIENCE).await?;
        Ok(line)
    };
    match greeted.await {
        Ok(line) => Ok((child, line)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// Where this program lies, also when another was put in its place meanwhile.
fn own_path() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let text = path.to_string_lossy();
    Ok(text
        .strip_suffix(" (deleted)")
        .map_or_else(|| path.clone(), PathBuf::from))
}

fn send_listeners(line: &StdStream, listeners: &[OwnedFd]) -> io::Result<()> {
    let borrowed: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS))];
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

/// The successor's side: the line on standard input, and the listeners from it.
pub fn receive() -> io::Result<(Line, Vec<TcpListener>)> {
    let line = StdStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS))];
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
    Ok((Line(UnixStream::from_std(line)?), listeners))
}

/// Tells a service manager that this process serves now, and that it is the main one.
pub fn notify_ready(socket: Option<&std::path::Path>) {
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
        log::warn!("Cannot notify the service manager: {error}");
    }
}
