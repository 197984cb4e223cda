//! Texts as queries and forms carry them (`application/x-www-form-urlencoded`).

use crate::rules::percent;

/// Returns a text as a value of a query: every byte that is not a letter, a digit or `*-._` is percent-encoded, so
/// that no text can end a line, a header or the parameter.
pub fn encoded(text: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    // Apps that are not browsers may not know `+` for a space; a `+` of the text itself is `%2B` here.
    encoded.replace('+', "%20")
}

/// Returns a query or form of these fields.
pub fn query(fields: &[(&str, &str)]) -> String {
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)));
    pairs.collect::<Vec<String>>().join("&")
}

/// Returns the value of a field. `None`: it is absent, or there twice, so that nobody takes the other.
pub fn field(text: &str, name: &str) -> Option<String> {
    let mut values = form_urlencoded::parse(text.as_bytes()).filter(|(known, _)| known == name);
    let first = values.next()?.1.into_owned();
    values.next().is_none().then_some(first)
}

/// Returns all fields in their order. `Err`: the name of one that is malformed or no UTF-8.
pub fn fields(text: &str) -> impl Iterator<Item = Result<(String, String), &str>> {
    let decoded = |text: &str| percent::decoded(&text.replace('+', " "));
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs.map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        decoded(name).zip(decoded(value)).ok_or(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_found_once_or_not_at_all() {
        assert_eq!(field("a=1&b=x%20y+z", "b").as_deref(), Some("x y z"));
        assert_eq!(field("a=1&a=2", "a"), None);
        assert_eq!(field("", "a"), None);
        assert_eq!(
            query(&[("a", "1 &"), ("b", "\r\n+")]),
            "a=1%20%26&b=%0D%0A%2B"
        );
    }

    #[test]
    fn all_fields_are_read_or_the_wrong_one_is_named() {
        let read = |text| fields(text).collect::<Result<Vec<_>, _>>();
        let expected = [("model", "meta/llama 3"), ("b", ""), ("c", "==")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            read("model=meta%2Fllama+3&&b&c==%3D"),
            Ok(expected.to_vec())
        );
        for wrong in ["b=1&a=%zz", "a=%ff", "a=%"] {
            assert_eq!(read(wrong), Err("a"), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn encoded_text_is_plain_and_is_read_back(text in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
            let written = encoded(&text);
            prop_assert!(written.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*-._%".contains(&byte)));
            let read = field(&format!("state={written}"), "state");
            prop_assert_eq!(read.as_deref(), Some(text.as_str()));
            let query = format!("state={written}");
            prop_assert_eq!(fields(&query).next(), Some(Ok(("state".to_owned(), text))));
        }
    }
}
