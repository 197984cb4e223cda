//! [`Outside`]: the gateway's address as a browser knows it, for addresses that are given to other services.
//!
//! `server.public_url` is believed. Without it the address is the one that was asked for, and that is the client's to
//! write: it counts only where it is this machine or a name in `server.hosts`.

use super::Request;
use super::answer::Refusal;
use crate::settings::Server;

/// Scheme and host, and the path that the gateway stands under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outside {
    /// Such as `https://gateway.example`.
    pub origin: String,
    /// Empty, or begins with `/` and does not end with one.
    pub path: String,
}

impl Outside {
    /// Returns the address, or a 400 that says how to set it.
    pub fn of(server: &Server, request: &Request<'_>) -> Result<Outside, Refusal> {
        if let Some(url) = &server.public_url {
            return Ok(Outside {
                origin: url.origin.clone(),
                path: url.path.clone(),
            });
        }
        let is_known = |asked: &&crate::host_port::HostPort| {
            asked.is_loopback()
                || server
                    .hosts
                    .iter()
                    .any(|name| name.is_one_of_ours(&asked.host))
        };
        let Some(asked) = request.asked.as_ref().filter(is_known) else {
            let why = "The gateway does not know its own address: set server.public_url, or name the host in server.hosts";
            return Err(Refusal::Bad(why.to_owned()));
        };
        let scheme = match request.is_https {
            true => "https",
            false => "http",
        };
        Ok(Outside {
            origin: format!("{scheme}://{asked}"),
            path: String::new(),
        })
    }

    pub fn is_https(&self) -> bool {
        self.origin.starts_with("https:")
    }
}
