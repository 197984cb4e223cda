//! The tenant of a request path.
//!
//! The tenant is the first segment of the raw path, compared byte by byte. A path that would need decoding or
//! normalising to be understood has no tenant. Only the path is parsed; tenants must never be looked up here.

/// First segments of the gateway's own routes, which therefore are no tenant IDs.
pub const ROUTE_HEADS: &[&str] = &[
    "admin",
    "api",
    "audio",
    "auth",
    "billing",
    "chat",
    "completions",
    "console",
    "docs",
    "embeddings",
    "favicon.ico",
    "health",
    "healthz",
    "images",
    "messages",
    "metrics",
    "models",
    "moderations",
    "openapi.json",
    "providers",
    "readyz",
    "realtime",
    "responses",
    "robots.txt",
    "ui",
    "v1",
    "v1beta",
];

/// Tenant ID: `[A-Za-z0-9][A-Za-z0-9_-]{0,62}`, but none of [`ROUTE_HEADS`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(String);

impl TenantId {
    pub fn parse(id: &str) -> Option<TenantId> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let first = id.as_bytes().first()?;
        (first.is_ascii_alphanumeric()
            && id.len() <= 63
            && id.bytes().all(plain)
            && !ROUTE_HEADS.contains(&id))
        .then(|| TenantId(id.to_owned()))
    }

    /// Returns the tenant of paths without a tenant, `default`.
    pub fn default_tenant() -> TenantId {
        TenantId("default".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for TenantId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A path split into its tenant and the `route` behind it, which begins with `/` and is `/` if nothing
/// follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressed<'a> {
    pub tenant: TenantId,
    pub route: &'a str,
}

/// Splits a path. `None`: the first segment cannot be a tenant, or the path is malformed.
pub fn address(path: &str) -> Option<Addressed<'_>> {
    let rest = path.strip_prefix('/')?;
    let (head, route) = match rest.find('/') {
        Some(end) => (&rest[..end], &rest[end..]),
        None => (rest, "/"),
    };
    if !path.split('/').all(is_plain_segment) {
        return None;
    }
    if ROUTE_HEADS.contains(&head) {
        let tenant = TenantId::default_tenant();
        return Some(Addressed {
            tenant,
            route: path,
        });
    }
    let tenant = TenantId::parse(head)?;
    Some(Addressed { tenant, route })
}

/// Whether a segment is visible ASCII, decodes to UTF-8, and is no step to another folder (`.`, `..`) in any
/// spelling.
fn is_plain_segment(segment: &str) -> bool {
    if !segment.contains(['%', '\\']) {
        return segment != "." && segment != ".." && segment.bytes().all(|b| b.is_ascii_graphic());
    }
    let Some(decoded) = decode(segment) else {
        return false;
    };
    decoded != b"." && decoded != b".." && std::str::from_utf8(&decoded).is_ok()
}

/// Percent-decodes a segment into text. `None`: malformed, or no UTF-8.
pub(crate) fn decoded(segment: &str) -> Option<String> {
    String::from_utf8(decode(segment)?).ok()
}

/// Percent-decodes a segment. `None`: malformed, or it hides a control character or a slash.
fn decode(segment: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let plain = match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                u8::from_str_radix(digits, 16).ok()?
            }
            byte if byte.is_ascii_graphic() => byte,
            _ => return None,
        };
        if plain.is_ascii_control() || matches!(plain, b'\\' | b'/') {
            return None;
        }
        decoded.push(plain);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(path: &str) -> Option<(String, &str)> {
        address(path).map(|at| (at.tenant.to_string(), at.route))
    }

    #[test]
    fn the_first_segment_is_the_tenant() {
        let chat = "/v1/chat/completions";
        assert_eq!(
            split("/abc/v1/chat/completions"),
            Some(("abc".into(), chat))
        );
        assert_eq!(split(chat), Some(("default".into(), chat)));
        assert_eq!(
            split("/auth/anonymous"),
            Some(("default".into(), "/auth/anonymous"))
        );
        assert_eq!(split("/abc"), Some(("abc".into(), "/")));
        assert_eq!(split("/abc/"), Some(("abc".into(), "/")));
        assert_eq!(split("/A-b_9/x"), Some(("A-b_9".into(), "/x")));
        assert_eq!(
            split("/abc/v1/models/a%3Ab"),
            Some(("abc".into(), "/v1/models/a%3Ab"))
        );
    }

    #[test]
    fn a_path_that_needs_decoding_names_no_tenant() {
        let long = format!("/{}/v1", "a".repeat(64));
        for path in [
            "",
            "abc",
            "//abc",
            "/-abc/v1",
            "/_abc",
            "/a%62c/v1",
            "/abc%2fv1",
            "/abc/../evil/v1",
            "/./abc",
            "/abc/./v1",
            "/abc/%2e%2e/evil",
            "/abc\\v1",
            "/ａbc/v1",
            "/abc;x/v1",
            "/abc./v1",
            "/a.b/v1",
            "/{abc}/v1",
            "/abc*/v1",
            "/abc/v1/a%2fb",
            "/abc/%zz",
            "/abc/%4",
            "/abc/%+1",
            "/abc/%ff",
            "/abc/%00",
            "/abc/%5c",
            "/abc/%2E.",
            "/a b/v1",
            "/abc\u{0}/v1",
            "/..",
            &long,
        ] {
            assert_eq!(split(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_tenant_is_always_the_literal_prefix(path in "/[a-zA-Z0-9/%._\\\\-]{0,40}") {
            if let Some((tenant, route)) = split(&path) {
                let whole = format!("/{tenant}{}", if route == "/" { "" } else { route });
                prop_assert!(
                    path.trim_end_matches('/') == whole.trim_end_matches('/')
                        || (tenant == "default" && route == path)
                );
            }
        }
    }
}
