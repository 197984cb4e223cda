//! [`RedirectUri`]: an address that a sign-in may end at, one entry of `redirect_uris`.
//!
//! A code goes there, so it is compared to the letter. Only the port of a program on the user's own machine is free
//! (RFC 8252): `http://127.0.0.1:*`.

use super::form;
use crate::host_port::HostPort;
use crate::url::MAX_URL_BYTES;

/// Schemes that run or read something in a browser, or lead elsewhere than to an app.
const NEVER: [&str; 18] = [
    "about",
    "blob",
    "chrome",
    "data",
    "file",
    "filesystem",
    "ftp",
    "intent",
    "jar",
    "javascript",
    "mailto",
    "resource",
    "sms",
    "tel",
    "vbscript",
    "view-source",
    "ws",
    "wss",
];
/// Beginnings of loopback addresses whose port is free.
const ANY_PORT: [&str; 2] = ["http://127.0.0.1:*", "http://[::1]:*"];

/// Rule of an entry, as faults tell it.
const RULE: &str = "expected https://…, an app's own scheme such as com.example.app:/done, http://localhost:PORT/…, \
    or http://127.0.0.1:* for any port; without a fragment";

/// Entry of `redirect_uris`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectUri {
    Exact(String),
    /// `start` ends before the port; `rest` is path and query.
    AnyPort {
        start: &'static str,
        rest: String,
    },
}

impl RedirectUri {
    /// Parses an entry. The error never repeats it.
    pub fn parse(text: &str) -> Result<RedirectUri, &'static str> {
        let is_plain = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte));
        if !is_plain || text.len() > MAX_URL_BYTES {
            return Err(RULE);
        }
        for whole in ANY_PORT {
            if let Some(rest) = text.strip_prefix(whole) {
                let is_path = rest.is_empty() || rest.starts_with(['/', '?']);
                return is_path
                    .then(|| RedirectUri::AnyPort {
                        start: whole.trim_end_matches('*'),
                        rest: rest.to_owned(),
                    })
                    .ok_or(RULE);
            }
        }
        let (scheme, rest) = text.split_once(':').ok_or(RULE)?;
        let scheme = scheme.to_ascii_lowercase();
        let is_good = match scheme.as_str() {
            "https" => authority(rest).is_some(),
            "http" => authority(rest).is_some_and(|place| place.is_loopback()),
            other => is_own_scheme(other),
        };
        is_good
            .then(|| RedirectUri::Exact(text.to_owned()))
            .ok_or(RULE)
    }

    /// Whether a caller's address is this one.
    pub fn allows(&self, asked: &str) -> bool {
        match self {
            RedirectUri::Exact(known) => known == asked,
            RedirectUri::AnyPort { start, rest } => {
                let Some(after) = asked.strip_prefix(start) else {
                    return false;
                };
                let digits = after
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(after.len());
                let (port, path) = after.split_at(digits);
                let is_port = !port.starts_with('0') && port.parse::<u16>().is_ok();
                is_port && (path == rest || rest.is_empty() && path == "/")
            }
        }
    }
}

/// Returns the host of `//host:port/…`. A user name in it is refused: it makes one host look like another.
fn authority(rest: &str) -> Option<HostPort> {
    let rest = rest.strip_prefix("//")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let place = HostPort::parse(&rest[..end]).ok()?;
    (place.port != Some(0) && place.check_name().is_ok()).then_some(place)
}

fn is_own_scheme(scheme: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(plain)
        && !NEVER.contains(&scheme)
}

/// Returns an address with these fields added to its query.
pub fn with_query(uri: &str, fields: &[(&str, &str)]) -> String {
    let joint = match uri.contains('?') {
        true => '&',
        false => '?',
    };
    format!("{uri}{joint}{}", form::query(fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_of_apps_and_pages_are_taken() {
        for text in [
            "https://app.example/done",
            "https://app.example:8443?x=1",
            "app.example:/done",
            "com.example.app://done",
            "myapp:/done",
            "http://localhost:5173/done",
            "http://127.0.0.1:8000",
            "http://[::1]:8000/a",
        ] {
            let uri = RedirectUri::parse(text).unwrap();
            assert!(uri.allows(text), "{text}");
            assert!(!uri.allows(&format!("{text}/")) && !uri.allows(&text[1..]));
        }
    }

    #[test]
    fn addresses_that_lead_elsewhere_are_faults() {
        for text in [
            "",
            "app.example/done",
            "http://app.example/done",
            "http://localhost.evil.example/",
            "https://",
            "https:app.example",
            "https://user@app.example/",
            "https://app.example/#x",
            "https://app.example/\r\nset-cookie:a=b",
            "https://app.example/ä",
            "https://app.example/a b",
            "https://app.example\\@evil.example/",
            "https://*.app.example/",
            "https://0x7f.1/",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "blob:https://app.example/x",
            "about:blank",
            "vbscript:x",
            "//evil.example",
            "http://127.0.0.1:*x",
            "http://127.0.0.1:*@evil.example/",
            "1a:/x",
        ] {
            assert!(RedirectUri::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_port_of_a_program_is_free() {
        let any = RedirectUri::parse("http://127.0.0.1:*").unwrap();
        let path = RedirectUri::parse("http://[::1]:*/done?a=b").unwrap();
        assert!(any.allows("http://127.0.0.1:1") && any.allows("http://127.0.0.1:65535/"));
        assert!(path.allows("http://[::1]:5000/done?a=b"));
        for asked in [
            "http://127.0.0.1:",
            "http://127.0.0.1:0",
            "http://127.0.0.1:65536",
            "http://127.0.0.1:+1",
            "http://127.0.0.1:80@evil.example/",
            "http://127.0.0.1:80.evil.example/",
            "http://127.0.0.1:80/other",
            "http://127.0.0.1:*",
            "http://127.0.0.2:80",
            "https://127.0.0.1:80",
        ] {
            assert!(!any.allows(asked), "{asked}");
        }
        assert!(
            !path.allows("http://[::1]:5000/done") && !path.allows("http://[::1]:5000/done?a=b&c")
        );
    }

    #[test]
    fn fields_are_added_to_a_query() {
        assert_eq!(with_query("a:/b", &[("code", "c d")]), "a:/b?code=c%20d");
        assert_eq!(
            with_query("https://a/?x=1", &[("code", "&")]),
            "https://a/?x=1&code=%26"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC{0,40}|(https?|http://127.0.0.1|a\\.b):[\\x20-\\x7e]{0,20}", asked in "\\PC{0,40}") {
            if let Ok(uri) = RedirectUri::parse(&text) {
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
                let _ = uri.allows(&asked);
            }
        }
    }
}
