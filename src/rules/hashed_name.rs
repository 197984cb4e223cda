//! The hashed form of a key's stored name: `~<the key's ID>.<HMAC of the key>`, so that a copy of the store opens nothing.
//!
//! The ID in it is the one that lists, logs and usage records show, so nothing that names a key changes when its stored
//! name does. `~` is no character of a key: no client can present a stored name as its key.

use ring::hmac;

const MARK: char = '~';
const ID_DIGITS: usize = 12;
const MAC_DIGITS: usize = 64;

/// Returns the hashed form for a key with this ID.
pub fn of(secret: &hmac::Key, key: &str, id: &str) -> String {
    let mac = hmac::sign(secret, format!("apiKey:{key}").as_bytes());
    format!("{MARK}{id}.{}", hex::encode(mac))
}

/// Returns the ID in a hashed name. `None`: it is no hashed name.
pub fn id(name: &str) -> Option<&str> {
    let is_hex = |text: &str, digits: usize| {
        let hex = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        text.len() == digits && text.bytes().all(hex)
    };
    let (id, mac) = name.strip_prefix(MARK)?.split_once('.')?;
    (is_hex(id, ID_DIGITS) && is_hex(mac, MAC_DIGITS)).then_some(id)
}

/// Returns an ID of the secret, by which gateways of one store see that they have the same one.
pub fn secret_id(secret: &hmac::Key) -> String {
    let mac = hmac::sign(secret, b"resullm key secret");
    hex::encode(&mac.as_ref()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secret(byte: u8) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32])
    }

    #[test]
    fn a_hashed_name_depends_on_secret_and_key_alone_and_has_neither() {
        let name = of(&secret(1), "temp_1", "0123456789ab");
        assert_eq!(name, of(&secret(1), "temp_1", "0123456789ab"));
        assert_ne!(name, of(&secret(2), "temp_1", "0123456789ab"));
        assert_ne!(name, of(&secret(1), "temp_2", "0123456789ab"));
        assert!(!name.contains("temp_1"));
        assert_eq!(id(&name), Some("0123456789ab"));
        assert_ne!(secret_id(&secret(1)), secret_id(&secret(2)));
    }

    proptest! {
        #[test]
        fn only_hashed_names_have_an_id(text in "[~.0-9a-fA-Fg]{0,90}") {
            let is_hashed = text.len() == 78 && text.starts_with('~') && text.find('.') == Some(13)
                && text[1..].bytes().filter(|b| *b != b'.').all(|b| b.is_ascii_digit() || b.is_ascii_lowercase() && b <= b'f')
                && text.matches('.').count() == 1;
            prop_assert_eq!(id(&text).is_some(), is_hashed);
        }
    }
}
