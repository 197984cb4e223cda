//! Texts as queries and forms carry them (`application/x-www-form-urlencoded`).

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

    proptest! {
        #[test]
        fn encoded_text_is_plain_and_is_read_back(text in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
            let written = encoded(&text);
            prop_assert!(written.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*-._%".contains(&byte)));
            let read = field(&format!("state={written}"), "state");
            prop_assert_eq!(read.as_deref(), Some(text.as_str()));
        }
    }
}
