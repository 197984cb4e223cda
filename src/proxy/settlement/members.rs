//! Writer of members of a JSON object: one is written with every call, without building a tree.

/// MemberWriter of an object, without its braces.
pub(crate) struct MemberWriter(String);

impl MemberWriter {
    pub(crate) fn with_capacity(bytes: usize) -> MemberWriter {
        MemberWriter(String::with_capacity(bytes))
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// Returns the object.
    pub(crate) fn object(mut self) -> String {
        self.0.insert(0, '{');
        self.0.push('}');
        self.0
    }

    fn name(&mut self, name: &str) {
        self.0
            .push_str(if self.0.is_empty() { "\"" } else { ",\"" });
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    /// Appends members that were written before.
    pub(crate) fn append(&mut self, members: &str) {
        if !self.0.is_empty() && !members.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(members);
    }

    pub(crate) fn raw(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.push_str(value);
    }

    pub(crate) fn number(&mut self, name: &str, value: u64) {
        self.raw(name, itoa::Buffer::new().format(value));
    }

    /// Writes a string `value` that needs no JSON escapes.
    pub(crate) fn plain(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.push('"');
        self.0.push_str(value);
        self.0.push('"');
    }

    pub(crate) fn string(&mut self, name: &str, value: &str) {
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if value.bytes().all(is_plain) {
            self.plain(name, value);
        } else {
            self.raw(name, &serde_json::Value::from(value).to_string());
        }
    }

    /// Writes a string, or `null`.
    pub(crate) fn string_or_null(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.string(name, value),
            None => self.raw(name, "null"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn members_are_json_whatever_is_in_a_string(word in any::<String>(), number: u64) {
            let mut members = MemberWriter::with_capacity(8);
            members.string("word", &word);
            let mut all = MemberWriter::with_capacity(8);
            all.append(members.text());
            all.number("number", number);
            all.string_or_null("none", None);
            let read: serde_json::Value = serde_json::from_str(&all.object()).unwrap();
            prop_assert_eq!(&read["word"], &serde_json::Value::from(word));
            prop_assert_eq!(&read["number"], &serde_json::Value::from(number));
        }
    }
}
