//! Percent-encoding of any text. Segments of paths are decoded in `tenant.rs`, which refuses what could mislead a router.

/// Decodes percent-encoding. `None`: it is malformed, or no UTF-8.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(16 * high + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_decoded_or_refused_as_a_whole() {
        for (text, read) in [
            ("", Some("")),
            ("a/b%2Fc%0d+", Some("a/b/c\r+")),
            ("%C3%a4ä", Some("ää")),
            ("%", None),
            ("%2", None),
            ("%+1", None),
            ("%ff", None),
        ] {
            assert_eq!(decoded(text).as_deref(), read, "{text}");
        }
    }
}
