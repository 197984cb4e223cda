//! Finds the byte ranges of members and elements in JSON text, without building a tree.
//!
//! Text written by others is changed only where it must change; every other byte is forwarded as received.
//! The scanner looks only at quotes, brackets, colons and commas. It accepts every JSON object and some
//! malformed text, so it must never decide whether a text is valid JSON.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;

/// Maximum nesting of brackets in a body or an answer, in levels. No client needs more, and a reader that
/// recurses once per level would exhaust its stack.
pub const MAX_DEPTH: usize = 128;

/// One member of an object. `name` is the raw text between its quotes, escapes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    pub name: &'a str,
    /// Byte range from the name's opening quote to the end of the value.
    pub whole: Range<usize>,
    pub value: Range<usize>,
}

/// Returns an object's members in order, and the offset of its closing brace. `None`: the text is no object
/// or truncated.
pub fn members(text: &str) -> Option<(Vec<Member<'_>>, usize)> {
    let bytes = text.as_bytes();
    let mut members = Vec::new();
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    at = skip_space(bytes, at + 1);
    loop {
        if bytes.get(at) == Some(&b'}') {
            return Some((members, at));
        }
        let name_end = string_end(bytes, at)?;
        let name = &text[at + 1..name_end - 1];
        let start = at;
        at = skip_space(bytes, name_end);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        at = skip_space(bytes, at + 1);
        let value = at..value_end(bytes, at)?;
        at = skip_space(bytes, value.end);
        members.push(Member {
            name,
            whole: start..value.end,
            value,
        });
        match bytes.get(at) {
            Some(b',') => at = skip_space(bytes, at + 1),
            Some(b'}') => {}
            _ => return None,
        }
    }
}

/// Returns the value of the last member whose raw name is `name`, without parsing any other value. `None`
/// also if the text is not an object.
pub fn value<'a>(bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut found = None;
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    at = skip_space(bytes, at + 1);
    while bytes.get(at)? != &b'}' {
        let name_end = string_end(bytes, at)?;
        let is_it = &bytes[at + 1..name_end - 1] == name.as_bytes();
        at = skip_space(bytes, name_end);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        let start = skip_space(bytes, at + 1);
        at = value_end(bytes, start)?;
        if is_it {
            found = Some(&bytes[start..at]);
        }
        at = skip_space(bytes, at);
        match bytes.get(at)? {
            b',' => at = skip_space(bytes, at + 1),
            b'}' => {}
            _ => return None,
        }
    }
    found
}

/// Calls `each` with the unescaped name and the raw value of every member, in order. Returns `false` if the
/// text is not one whole object; members before the fault were passed to `each` all the same.
pub fn each_member<'a>(bytes: &'a [u8], mut each: impl FnMut(&str, &'a [u8])) -> bool {
    let end = walk_members(bytes, skip_space(bytes, 0), |name, start| {
        let end = value_end(bytes, start)?;
        each(name, &bytes[start..end]);
        Some(end)
    });
    end.is_some_and(|end| skip_space(bytes, end) == bytes.len())
}

/// Calls `each` with the raw value of every element of a list, in order. Returns `false` if the text is not
/// one whole list.
pub fn each_element<'a>(bytes: &'a [u8], mut each: impl FnMut(&'a [u8])) -> bool {
    let end = walk_elements(bytes, skip_space(bytes, 0), |start| {
        let end = value_end(bytes, start)?;
        each(&bytes[start..end]);
        Some(end)
    });
    end.is_some_and(|end| skip_space(bytes, end) == bytes.len())
}

/// Returns the places of a list's elements, in order. Empty if the text is no list.
pub fn element_places(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut places = Vec::new();
    walk_elements(bytes, skip_space(bytes, 0), |start| {
        let end = value_end(bytes, start)?;
        places.push(start..end);
        Some(end)
    });
    places
}

/// A value in a JSON text. Its end is searched for only if no reader of its content has found it already, so
/// a text is scanned once, however deep its values are read.
pub struct Value<'a> {
    bytes: &'a [u8],
    start: usize,
    end: Cell<Option<usize>>,
}

impl<'a> Value<'a> {
    fn at(bytes: &'a [u8], start: usize) -> Value<'a> {
        Value {
            bytes,
            start,
            end: Cell::new(None),
        }
    }

    /// Returns the value that a whole text consists of.
    pub fn of(bytes: &'a [u8]) -> Value<'a> {
        Value::at(bytes, skip_space(bytes, 0))
    }

    fn end(&self) -> Option<usize> {
        if self.end.get().is_none() {
            self.end.set(value_end(self.bytes, self.start));
        }
        self.end.get()
    }

    /// Returns the value's raw bytes. A value without an end extends to the end of the text.
    pub fn bytes(&self) -> &'a [u8] {
        &self.bytes[self.start..self.end().unwrap_or(self.bytes.len())]
    }

    /// Whether only white space follows the value in the text.
    pub fn is_all(&self) -> bool {
        self.end()
            .is_some_and(|end| skip_space(self.bytes, end) == self.bytes.len())
    }

    /// Calls `each` with every member, like [`each_member`]. Bytes behind the object are allowed.
    pub fn members(&self, mut each: impl FnMut(&str, &Value<'a>)) -> bool {
        let end = walk_members(self.bytes, self.start, |name, start| {
            let value = Value::at(self.bytes, start);
            each(name, &value);
            value.end()
        });
        self.walked(end)
    }

    /// Calls `each` with every element, like [`each_element`]. Bytes behind the list are allowed.
    pub fn elements(&self, mut each: impl FnMut(&Value<'a>)) -> bool {
        let end = walk_elements(self.bytes, self.start, |start| {
            let value = Value::at(self.bytes, start);
            each(&value);
            value.end()
        });
        self.walked(end)
    }

    fn walked(&self, end: Option<usize>) -> bool {
        if end.is_some() {
            self.end.set(end);
        }
        end.is_some()
    }
}

/// Walks the members of the object at offset `at`. `each` gets a name and the offset of its value, and
/// returns the value's end. Returns the offset behind the object; `None`: it is malformed or truncated.
fn walk_members(
    bytes: &[u8],
    mut at: usize,
    mut each: impl FnMut(&str, usize) -> Option<usize>,
) -> Option<usize> {
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    at = skip_space(bytes, at + 1);
    let mut is_first = true;
    loop {
        match bytes.get(at)? {
            b'}' => return Some(at + 1),
            b',' if !is_first => at = skip_space(bytes, at + 1),
            b'"' if is_first => {}
            _ => return None,
        }
        is_first = false;
        let (name_end, is_plain) = string(bytes, at)?;
        let name = match std::str::from_utf8(&bytes[at + 1..name_end - 1]) {
            Ok(name) if is_plain => Cow::Borrowed(name),
            _ => text(&bytes[at..name_end]),
        };
        at = skip_space(bytes, name_end);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        let end = each(&name, skip_space(bytes, at + 1))?;
        at = skip_space(bytes, end);
    }
}

/// Walks the elements of the list at offset `at`, like `walk_members`.
fn walk_elements(
    bytes: &[u8],
    mut at: usize,
    mut each: impl FnMut(usize) -> Option<usize>,
) -> Option<usize> {
    if bytes.get(at) != Some(&b'[') {
        return None;
    }
    at = skip_space(bytes, at + 1);
    let mut is_first = true;
    loop {
        match bytes.get(at)? {
            b']' => return Some(at + 1),
            b',' if !is_first => at = skip_space(bytes, at + 1),
            _ if is_first => {}
            _ => return None,
        }
        is_first = false;
        let end = each(at)?;
        at = skip_space(bytes, end);
    }
}

/// Returns the unescaped text of `string`, which includes its quotes. Lone surrogates and invalid UTF-8
/// become U+FFFD: a client that accepts them must not hide the rest of the text from the meter.
pub fn text(string: &[u8]) -> Cow<'_, str> {
    let inner = string.strip_prefix(b"\"").unwrap_or(string);
    let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
    if memchr::memchr(b'\\', inner).is_none() {
        return match std::str::from_utf8(inner) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(inner),
        };
    }
    if let Ok(text) = serde_json::from_slice::<String>(string) {
        return Cow::Owned(text);
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        bytes.extend_from_slice(&rest[..at]);
        let (plain, after) = escape(&rest[at..]);
        bytes.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[at + after..];
    }
    bytes.extend_from_slice(rest);
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the character that an escape sequence encodes, and the sequence's length in bytes.
fn escape(bytes: &[u8]) -> (char, usize) {
    let unit = |at: usize| {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let Some(first) = unit(0) else {
        let plain = match bytes.get(1) {
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(byte) if byte.is_ascii() => char::from(*byte),
            _ => char::REPLACEMENT_CHARACTER,
        };
        return (plain, bytes.len().min(2));
    };
    if let (0xD800..=0xDBFF, Some(second @ 0xDC00..=0xDFFF)) = (first, unit(6)) {
        let pair = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return (
            char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER),
            12,
        );
    }
    (
        char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER),
        6,
    )
}

/// Returns the last member called `name`, which wins over earlier duplicates in every JSON reader.
pub fn member<'a>(members: &'a [Member<'a>], name: &str) -> Option<&'a Member<'a>> {
    members.iter().rev().find(|member| member.name == name)
}

pub(crate) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// Returns the offset behind the closing quote of the string that starts at `at`.
pub fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    string(bytes, at).map(|(end, _)| end)
}

/// Returns the same offset as [`string_end`], and whether the string has no escapes.
fn string(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let (mut at, mut is_plain) = (at + 1, true);
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some((at + 1, is_plain));
        }
        is_plain = false;
        at += 2;
    }
}

/// Returns the offset behind the value that starts at `at`: a string, an object, a list or a literal.
pub(crate) fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => string_end(bytes, at),
        b'{' | b'[' => {
            let (mut depth, mut at) = (0usize, at);
            loop {
                match bytes.get(at)? {
                    b'"' => {
                        at = string_end(bytes, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        _ => {
            let length = bytes[at..]
                .iter()
                .take_while(|b| !matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'))
                .count();
            (length > 0).then_some(at + length)
        }
    }
}

/// Whether brackets are never nested more than `most` levels deep. The result means nothing for text that is
/// not JSON.
pub fn is_flat(bytes: &[u8], most: usize) -> bool {
    // Fast path: few texts have more than `most` opening brackets at all.
    if memchr::memchr2_iter(b'[', b'{', bytes).nth(most).is_none() {
        return true;
    }
    let (mut depth, mut at) = (0usize, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => match string_end(bytes, at) {
                Some(end) => {
                    at = end;
                    continue;
                }
                None => return true,
            },
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > most {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn members_stand_where_they_were_written() {
        let text = " { \"a\" : [1,{\"b\":\"}\"}] ,\"c\\\"\":null , \"a\":\"x,y\" } tail";
        let (list, end) = members(text).unwrap();
        let seen: Vec<_> = list
            .iter()
            .map(|m| (m.name, &text[m.value.clone()]))
            .collect();
        assert_eq!(
            seen,
            [
                ("a", "[1,{\"b\":\"}\"}]"),
                ("c\\\"", "null"),
                ("a", "\"x,y\"")
            ]
        );
        assert_eq!(
            &text[member(&list, "a").unwrap().whole.clone()],
            "\"a\":\"x,y\""
        );
        assert_eq!(&text[end..], "} tail");
    }

    #[test]
    fn depth_is_that_of_brackets_outside_of_strings() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(is_flat(nested(5).as_bytes(), 5) && !is_flat(nested(6).as_bytes(), 5));
        assert!(is_flat(format!("[{}]", "[1],".repeat(900)).as_bytes(), 2));
        assert!(is_flat(b"[\"[[[[[[\\\"[[\"]", 1));
        assert!(!is_flat(b"{\"a\":{\"b\":[]}}", 2));
        assert!(is_flat(b"\"[[[[", 2) && is_flat(b"]]]][", 1));
    }

    #[test]
    fn a_text_is_read_whatever_is_wrong_with_it() {
        for (string, plain) in [
            (r#""a\ud83d b""#, "a\u{fffd} b"),
            (r#""\ud83d\ude00\udc00\n\/""#, "😀\u{fffd}\n/"),
            (r#""\u12""#, "u12"),
        ] {
            assert_eq!(text(string.as_bytes()), plain);
        }
        assert_eq!(text(b"\"a\xff\""), "a\u{fffd}");
        assert_eq!(text(b"\"a\xff\\ud800\""), "a\u{fffd}\u{fffd}");
    }

    #[test]
    fn members_are_given_as_often_as_they_are_written() {
        let mut seen = Vec::new();
        let whole = each_member(br#" {"a":1,"\u0061" : [2,"]"] ,"b":{}} "#, |name, value| {
            seen.push((name.to_owned(), String::from_utf8_lossy(value).into_owned()));
        });
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert!(whole);
        assert_eq!(
            seen,
            [pair("a", "1"), pair("a", "[2,\"]\"]"), pair("b", "{}")]
        );
        for broken in [
            "{",
            "{}x",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "[1]",
            "{\"a\":1 \"b\":2}",
        ] {
            assert!(!each_member(broken.as_bytes(), |_, _| {}), "{broken}");
        }
        for broken in ["[", "[1,]", "[1 2]", "{}", "[]]"] {
            assert!(!each_element(broken.as_bytes(), |_| {}), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn a_value_is_that_of_the_last_member(text in "\\{(\"[ab]\":([0-9]{1,3}|\"x\\\\\"\"|\\[1,\\{\\}\\]),? ?){0,4}\\}") {
            if let Some((list, _)) = members(&text) {
                let last = member(&list, "a").map(|member| &text[member.value.clone()]);
                prop_assert_eq!(value(text.as_bytes(), "a"), last.map(str::as_bytes));
            }
        }

        #[test]
        fn any_text_is_walked_without_panic(text in "[\\[\\]{}\",:\\\\ a1u]{0,40}|\\PC{0,60}") {
            let _ = members(&text);
            let _ = value(text.as_bytes(), "a");
            let _ = each_member(text.as_bytes(), |_, _| {});
            let _ = each_element(text.as_bytes(), |_| {});
            let _ = super::text(text.as_bytes());
        }

        #[test]
        fn a_text_walked_once_says_the_same(text in "(\\{(\"[ab]\":([0-9]{1,2}|\"x\\\\\"\"|\\[1,\\{\\}\\]|\\{\"a\":[\\]\\}0\\[]{0,2}\\}),? ?){0,4}\\}|[\\[\\]{}\",:a ]{0,20})") {
            fn walk(value: &Value<'_>, depth: usize, seen: &mut Vec<String>) {
                let inner = value.members(|name, value| {
                    seen.push(format!("{depth} {name}"));
                    walk(value, depth + 1, seen);
                }) || value.elements(|value| walk(value, depth + 1, seen));
                let written = String::from_utf8_lossy(value.bytes());
                seen.push(format!("{depth} {inner} {written}"));
            }
            fn scan(value: &[u8], depth: usize, seen: &mut Vec<String>) {
                let inner = each_member(value, |name, value| {
                    seen.push(format!("{depth} {name}"));
                    scan(value, depth + 1, seen);
                }) || each_element(value, |value| scan(value, depth + 1, seen));
                let written = String::from_utf8_lossy(value);
                seen.push(format!("{depth} {inner} {written}"));
            }
            let text = text.trim();
            let (mut once, mut often) = (Vec::new(), Vec::new());
            scan(text.as_bytes(), 0, &mut often);
            let value = Value::of(text.as_bytes());
            walk(&value, 0, &mut once);
            if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
                prop_assert!(value.is_all());
                prop_assert_eq!(once, often);
            }
        }

        #[test]
        fn strict_json_is_walked_to_its_end(list in proptest::collection::vec((".{0,6}", ".{0,9}"), 0..5)) {
            let object: serde_json::Map<_, _> = list
                .iter()
                .map(|(name, value)| (name.clone(), serde_json::Value::from(value.as_str())))
                .collect();
            let written = serde_json::Value::Object(object.clone()).to_string();
            let mut seen = serde_json::Map::new();
            let whole = each_member(written.as_bytes(), |name, value| {
                seen.insert(name.to_owned(), super::text(value).into_owned().into());
            });
            prop_assert!(whole);
            prop_assert_eq!(seen, object);
            let values: Vec<_> = list.iter().map(|(_, value)| value.clone()).collect();
            let written = serde_json::Value::from(values.clone()).to_string();
            let mut seen = Vec::new();
            let whole = each_element(written.as_bytes(), |value| seen.push(super::text(value).into_owned()));
            prop_assert!(whole);
            prop_assert_eq!(seen, values);
        }
    }
}
