//! The cookie that binds a sign-in to the browser that began it.
//!
//! Each sign-in has its own, `resullm_tx_<id>`, so that two tabs do not disturb each other.

use super::tickets::random_secret;
use http::{HeaderMap, HeaderValue, header};
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

const PREFIX: &str = "resullm_tx_";
const ID_BYTES: usize = 8;

/// Cookie of one sign-in.
pub(super) struct Cookie {
    name: String,
    /// Path of the callback.
    path: String,
    is_secure: bool,
    /// Whether the issuer comes back with a POST: browsers send no other cookie with that.
    is_cross_site: bool,
}

impl Cookie {
    /// Returns the cookie of the sign-in with this `state`.
    pub fn of(state: &str, path: String, is_secure: bool, is_cross_site: bool) -> Cookie {
        let id = digest(&SHA256, format!("resullm cookie\0{state}").as_bytes());
        Cookie {
            name: format!("{PREFIX}{}", hex::encode(&id.as_ref()[..ID_BYTES])),
            path,
            is_secure,
            is_cross_site,
        }
    }

    /// Returns a new value and its hash.
    pub(super) fn new_value() -> (String, String) {
        let value = random_secret();
        let hash = hash(&value);
        (value, hash)
    }

    /// Returns the `set-cookie` of a value, for `life_seconds`; 0 removes it.
    pub fn set(&self, value: &str, life_seconds: u64) -> Option<HeaderValue> {
        let same_site = match self.is_cross_site {
            true => "None",
            false => "Lax",
        };
        let secure = match self.is_secure {
            true => "; Secure",
            false => "",
        };
        let (name, path) = (&self.name, &self.path);
        let text = format!(
            "{name}={value}; Path={path}; Max-Age={life_seconds}; HttpOnly; SameSite={same_site}{secure}"
        );
        HeaderValue::from_str(&text).ok()
    }

    /// Whether the browser sent the value of this hash.
    pub fn is_in(&self, headers: &HeaderMap, expected: &str) -> bool {
        let lines = headers.get_all(header::COOKIE).iter();
        let pairs = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'));
        let values =
            pairs.filter_map(|pair| pair.trim().strip_prefix(&self.name)?.strip_prefix('='));
        let mut is_there = false;
        for value in values {
            is_there |= bool::from(hash(value).as_bytes().ct_eq(expected.as_bytes()));
        }
        is_there
    }
}

fn hash(value: &str) -> String {
    hex::encode(digest(&SHA256, value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookie_is_for_one_browser_and_one_sign_in() {
        let cookie = |state| Cookie::of(state, "/abc/auth/apple/callback".to_owned(), true, true);
        let (value, hash) = Cookie::new_value();
        let set = cookie("s").set(&value, 600).unwrap();
        let set = set.to_str().unwrap();
        assert!(set.starts_with("resullm_tx_"), "{set}");
        let flags = "; Path=/abc/auth/apple/callback; Max-Age=600; HttpOnly; SameSite=None; Secure";
        assert!(set.ends_with(flags), "{set}");

        let mut headers = HeaderMap::new();
        let pair = set.split(';').next().unwrap();
        let sent = HeaderValue::from_str(&format!("a=b; {pair};c=d")).unwrap();
        headers.append(header::COOKIE, sent);
        assert!(cookie("s").is_in(&headers, &hash));
        assert!(!cookie("t").is_in(&headers, &hash));
        assert!(!cookie("s").is_in(&headers, &Cookie::new_value().1));
        assert!(!cookie("s").is_in(&HeaderMap::new(), &hash));
    }
}
