//! Where the members of a JSON object stand in its text.
//!
//! Texts that others wrote are changed only in the place that must change; everything else leaves
//! as it came. This walks one level, looking only at quotes, brackets and commas. It accepts every
//! JSON object and must never be used to decide whether a text is JSON.

use std::ops::Range;

/// One member. `name` is as written, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    pub name: &'a str,
    /// From the name's opening quote to the end of the value.
    pub whole: Range<usize>,
    pub value: Range<usize>,
}

/// An object's members in order, and where its closing brace stands.
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

/// The value of the last member of that name, without looking into any other. `None` also where the
/// text is no object.
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

/// The last member of that name, which is the one that counts in every JSON reader.
pub fn member<'a>(members: &'a [Member<'a>], name: &str) -> Option<&'a Member<'a>> {
    members.iter().rev().find(|member| member.name == name)
}

pub fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// The place after the closing quote of the string that starts at `at`.
pub fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        match bytes[at] {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// The place after the value that starts at `at`: a string, a bracketed value, or a bare word.
fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
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

/// A text's brackets are never open more than `most` deep. Of what is not JSON that says nothing.
pub fn is_flat(bytes: &[u8], most: usize) -> bool {
    // Few texts have so many brackets at all.
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

    proptest! {
        #[test]
        fn a_value_is_that_of_the_last_member(text in "\\{(\"[ab]\":([0-9]{1,3}|\"x\\\\\"\"|\\[1,\\{\\}\\]),? ?){0,4}\\}") {
            if let Some((list, _)) = members(&text) {
                let last = member(&list, "a").map(|member| &text[member.value.clone()]);
                prop_assert_eq!(value(text.as_bytes(), "a"), last.map(str::as_bytes));
            }
        }

        #[test]
        fn any_text_is_walked_without_panic(text in "[\\[\\]{}\",:\\\\ a1]{0,40}|\\PC{0,60}") {
            let _ = members(&text);
            let _ = value(text.as_bytes(), "a");
        }
    }
}
