//! [`Url`], the URL of a provider's main call, parsed strictly, and its [`Origin`].
//!
//! Parsers of URLs disagree about the host of some texts; such texts are refused here, never guessed at. A
//! name must never be resolved, and the query, in which some providers expect their key, must never be
//! printed.

use crate::host_port::HostPort;

/// Length limit of a URL in bytes.
pub const MAX_URL_BYTES: usize = 2048;

#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url {
    pub https: bool,
    /// In lower case; IPv6 without brackets.
    pub host: String,
    pub port: u16,
    /// Path and query of the main call; begins with `/`.
    pub path_and_query: String,
}

/// Scheme, host and port that a request is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub https: bool,
    /// Host in the same form as [`Url::host`].
    pub host: String,
    pub port: u16,
}

impl Origin {
    /// Returns the origin of a host on HTTPS and port 443.
    pub fn of(host: &str) -> Origin {
        Origin {
            https: true,
            host: host.to_owned(),
            port: 443,
        }
    }
}

impl Url {
    pub fn origin(&self) -> Origin {
        Origin {
            https: self.https,
            host: self.host.clone(),
            port: self.port,
        }
    }

    /// Parses a URL. The error never repeats the text, which may hold a secret.
    pub fn parse(text: &str) -> Result<Url, &'static str> {
        if text.len() > MAX_URL_BYTES {
            return Err("a URL has at most 2048 characters");
        }
        if !text.is_ascii() {
            return Err("must be ASCII: write the host in its xn-- form, percent-encode the path");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must not have spaces, line ends or control characters");
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("expected a URL that begins with http:// or https://")?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("expected a URL that begins with http:// or https://"),
        };
        if rest.contains('#') {
            return Err("must not have a fragment");
        }
        let (authority, path_and_query) =
            rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("must not hold a user name or a password");
        }
        let place = HostPort::parse(authority)?;
        place.check_name()?;
        if place.port == Some(0) || authority.ends_with(':') {
            return Err("the port must be a number from 1 to 65535");
        }
        if authority.ends_with('.') || authority.contains(".:") {
            return Err("the host must not end in a dot");
        }
        Ok(Url {
            https,
            port: place.port_or(if https { 443 } else { 80 }),
            host: place.host,
            path_and_query: path_of(path_and_query)?,
        })
    }

    /// Returns path and query of another `call` of the same API. `main`: the call that this URL belongs to;
    /// both are relative to the API's base.
    pub fn beside(&self, main: &str, call: &str) -> String {
        let path = self.path();
        let query = &self.path_and_query[path.len()..];
        if call == main {
            return self.path_and_query.clone();
        }
        let base = path.strip_suffix(main).unwrap_or_else(|| {
            // The URL has a main call of another name, so its last segment is replaced.
            &path[..path.rfind('/').map_or(0, |slash| slash + 1)]
        });
        format!("{base}{call}{query}")
    }

    /// Returns the path without the query.
    pub fn path(&self) -> &str {
        self.path_and_query
            .split_once('?')
            .map_or(self.path_and_query.as_str(), |(path, _)| path)
    }

    /// Returns the value of the `host` header: IPv6 in brackets, and the port unless it is the scheme's
    /// default.
    pub fn authority(&self) -> String {
        let usual = if self.https { 443 } else { 80 };
        let place = HostPort {
            host: self.host.clone(),
            port: Some(self.port).filter(|port| *port != usual),
        };
        place.to_string()
    }
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path())?;
        if self.path_and_query.contains('?') {
            f.write_str("?***")?;
        }
        Ok(())
    }
}

fn path_of(text: &str) -> Result<String, &'static str> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => {
                let mut hex = || bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
                hex() && hex()
            }
            _ => byte.is_ascii_alphanumeric() || b"/?-._~!$&'()*+,;=:@".contains(&byte),
        };
        if !fits {
            return Err("the path has a character that must be percent-encoded");
        }
    }
    Ok(if text.starts_with('/') {
        text.to_owned()
    } else {
        format!("/{text}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(https: bool, host: &str, port: u16, path_and_query: &str) -> Url {
        Url {
            https,
            host: host.to_owned(),
            port,
            path_and_query: path_and_query.to_owned(),
        }
    }

    #[test]
    fn a_url_is_taken_apart() {
        let cases = [
            (
                "https://api.openai.com/v1/chat/completions",
                url(true, "api.openai.com", 443, "/v1/chat/completions"),
            ),
            ("http://localhost", url(false, "localhost", 80, "/")),
            (
                "HTTP://LocalHost:8080?a=b",
                url(false, "localhost", 8080, "/?a=b"),
            ),
            ("https://[::1]:9/x?y=%20/", url(true, "::1", 9, "/x?y=%20/")),
            (
                "https://[2001:DB8::0:1]/",
                url(true, "2001:db8::1", 443, "/"),
            ),
            (
                "http://127.0.0.1:1/a//b",
                url(false, "127.0.0.1", 1, "/a//b"),
            ),
            (
                "http://my_box.lan/a@b:c",
                url(false, "my_box.lan", 80, "/a@b:c"),
            ),
            (
                "https://xn--bcher-kva.example/",
                url(true, "xn--bcher-kva.example", 443, "/"),
            ),
            (
                "https://a.example?b=https://c/d",
                url(true, "a.example", 443, "/?b=https://c/d"),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(Url::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn doubtful_urls_are_refused() {
        let cases = [
            ("", "http://"),
            ("api.openai.com/v1", "http://"),
            ("ftp://a/", "http://"),
            ("http:/a/", "http://"),
            (" http://a/", "spaces"),
            ("http://a/b c", "spaces"),
            ("http://a/\r\nx: y", "line ends"),
            ("http://a/\u{7f}", "control"),
            ("http://bücher.example/", "xn--"),
            ("http://a/ü", "percent-encode"),
            ("http://", "must name a host"),
            ("http:///a", "must name a host"),
            ("http://:80/", "must name a host"),
            ("http://?a", "must name a host"),
            ("http://u:p@a/", "password"),
            ("http://u@a", "user name"),
            ("http://a/#b", "fragment"),
            ("http://a#b", "fragment"),
            ("http://a%2eb/", "the host"),
            ("http://a\\b/", "the host"),
            ("http://a,b/", "the host"),
            ("http://a..b/", "the host"),
            ("http://a./", "the host"),
            ("http://-a/", "the host"),
            ("http://a:/", "the port"),
            ("http://a:0/", "the port"),
            ("http://a:65536/", "the port"),
            ("http://a:+80/", "the port"),
            ("http://a:80:80/", "the port"),
            ("http://2130706433/", "IPv4"),
            ("http://127.1/", "IPv4"),
            ("http://0x7f.0x1/", "IPv4"),
            ("http://0177.0.0.01/", "IPv4"),
            ("http://[::1/", "]"),
            ("http://[::1]x/", "port"),
            ("http://[::1%25lo]/", "IPv6"),
            ("http://[127.0.0.1]/", "IPv6"),
            ("http://a/%2", "percent-encoded"),
            ("http://a/%zz", "percent-encoded"),
            ("http://a/{b}", "percent-encoded"),
            ("http://a/b\\c", "percent-encoded"),
        ];
        for (text, part) in cases {
            let message = Url::parse(text).expect_err(text);
            assert!(message.contains(part), "{text}: {message}");
        }
        let long = format!("http://a/{}", "a".repeat(MAX_URL_BYTES));
        assert!(Url::parse(&long).is_err());
    }

    #[test]
    fn printing_a_url_keeps_its_query_to_itself() {
        let url = Url::parse("http://[::1]:81/v1?key=s3cret").unwrap();
        assert_eq!(format!("{url:?}"), "http://[::1]:81/v1?***");
        assert_eq!(url.authority(), "[::1]:81");
        assert_eq!(url.path(), "/v1");
        let usual = Url::parse("https://a.example:443").unwrap();
        assert_eq!(usual.authority(), "a.example");
    }
}
