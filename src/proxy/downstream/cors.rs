//! CORS (cross-origin requests of browsers): decides which pages may read a response.
//!
//! `access-control-allow-credentials` is never sent: the page sends its API key itself, so cookies have no
//! use.

use crate::http1::fields::Fields;
use crate::proxy::downstream::session::Session;
use crate::rules::config::Cors;
use crate::rules::origin::WebOrigin;

/// Value of `access-control-expose-headers`. The header has no wildcard by prefix, so each `x-resullm-*` is
/// listed.
const EXPOSED: &[u8] = b"x-request-id, request-id, x-resullm-endpoint, x-resullm-tokens-left, \
    x-resullm-cache, x-resullm-cost, x-resullm-removed, x-resullm-refills-at, x-resullm-plans, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, \
    x-ratelimit-reset-requests, retry-after, retry-after-ms, x-should-retry, etag";

/// CORS decision for one request, by its tenant's `cors` config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CorsGrant {
    /// Value of `access-control-allow-origin`. `None`: the request has no `origin`, or one that is not
    /// allowed.
    origin: Option<String>,
}

impl CorsGrant {
    /// Decides by the request's `origin` header. Two such headers count as none.
    pub fn of(cors: &Cors, fields: &Fields) -> CorsGrant {
        let mut origins = fields.all("origin");
        let origin = match (origins.next(), origins.next()) {
            (Some(origin), None) => std::str::from_utf8(origin).ok(),
            _ => None,
        };
        let allowed = origin.filter(|origin| {
            // `*` covers the origin `null` too: a sandboxed page, or one opened from a file.
            cors.is_any() || WebOrigin::parse(origin).is_some_and(|origin| cors.allows(&origin))
        });
        let granted = |origin: &str| if cors.is_any() { "*" } else { origin }.to_owned();
        CorsGrant {
            origin: allowed.map(granted),
        }
    }

    /// Whether the requesting origin may read the response.
    pub(crate) fn is_granted(&self) -> bool {
        self.origin.is_some()
    }

    /// Writes the CORS headers and `vary: origin`, on every response of the tenant, errors and streams
    /// included.
    pub fn write(&self, session: &mut Session<'_>) {
        // Cannot fail: the origin was a valid header value when it arrived.
        let _ = session.header("vary", b"origin");
        if let Some(origin) = &self.origin {
            let _ = session.header("access-control-allow-origin", origin.as_bytes());
            let _ = session.header("access-control-expose-headers", EXPOSED);
        }
    }
}
