//! Cross-origin requests of browsers (CORS): who may read an answer.
//!
//! Credentials of the browser's own, cookies and the like, are never allowed: keys are sent by the page.

use crate::http1::fields::Fields;
use crate::proxy::downstream::session::Session;
use crate::rules::config::Cors;
use crate::rules::origin::WebOrigin;

/// Response headers that pages may read. Browsers take no `x-resullm-*` for all that begin so.
const EXPOSED: &[u8] = b"x-request-id, request-id, x-resullm-endpoint, x-resullm-tokens-left, \
    x-resullm-cache, x-resullm-removed, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, \
    x-ratelimit-reset-requests, retry-after, retry-after-ms, x-should-retry, etag";

/// What an answer of a tenant with `cors` says to browsers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The origin that may read it. None: nobody asked, or someone who may not.
    origin: Option<String>,
}

impl Grant {
    pub fn of(cors: &Cors, fields: &Fields) -> Grant {
        let mut origins = fields.all("origin");
        let origin = match (origins.next(), origins.next()) {
            (Some(origin), None) => std::str::from_utf8(origin).ok(),
            _ => None,
        };
        let allowed = origin.filter(|origin| {
            // To any origin belongs `null` too: a page in a sandbox, or from a file.
            cors.is_any() || WebOrigin::parse(origin).is_some_and(|origin| cors.allows(&origin))
        });
        let granted = |origin: &str| if cors.is_any() { "*" } else { origin }.to_owned();
        Grant {
            origin: allowed.map(granted),
        }
    }

    /// The origin that asks may read the answer.
    pub fn is_given(&self) -> bool {
        self.origin.is_some()
    }

    /// The headers that every such answer has, errors and streams included.
    pub fn write(&self, session: &mut Session<'_>) {
        // Each is one line: an origin was one when it came.
        let _ = session.header("vary", b"origin");
        if let Some(origin) = &self.origin {
            let _ = session.header("access-control-allow-origin", origin.as_bytes());
            let _ = session.header("access-control-expose-headers", EXPOSED);
        }
    }
}
