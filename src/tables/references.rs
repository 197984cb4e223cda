//! Environment references in values: `${NAME}`, `${NAME:-default}`, and `$${` for a literal `${`.
//!
//! YAML would parse the braces as a mapping. So [`shield`] replaces the characters of references before
//! parsing, [`reveal`] restores them in the parsed scalars, and [`expand`] inserts the values. A variable's
//! value is never parsed as YAML.

/// Looks up an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Offset that maps the ASCII characters of a reference to a Unicode private use plane, one to one.
const HIDDEN_OFFSET: u32 = 0xF_0000;

/// Hides references from the YAML parser, which would read the braces of `{ token: ${TOKEN} }` as another
/// mapping. The text keeps its length in characters, so lines and columns stay correct. The error is the line
/// and column of a character that is already in the private use range.
pub(crate) fn shield(text: &str) -> Result<String, (usize, usize)> {
    let shielded = |c: char| (HIDDEN_OFFSET..HIDDEN_OFFSET + 0x80).contains(&u32::from(c));
    for (index, line) in text.lines().enumerate() {
        if let Some(column) = line.chars().position(shielded) {
            return Err((index + 1, column + 1));
        }
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let length = reference_length(from);
        let (reference, after) = from.split_at(length.unwrap_or(1));
        match length {
            Some(_) => out.extend(reference.chars().map(hidden)),
            None => out.push_str(reference),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Returns the length in bytes of the reference, or escaped reference, at the start of `from`. It must close
/// in the same line.
fn reference_length(from: &str) -> Option<usize> {
    let line = from.lines().next().unwrap_or(from);
    if let Some(inner) = line.strip_prefix("$${") {
        let end = inner.find(['}', '"', '\'']);
        let closed = end.filter(|&end| inner[end..].starts_with('}'));
        return Some(3 + closed.map_or(0, |end| end + 1));
    }
    let inner = line.strip_prefix("${")?;
    let name = inner.find(|c: char| !is_name_char(c))?;
    let tail = &inner[name..];
    let end = match tail.strip_prefix(":-") {
        Some(_) => tail.find('}')?,
        None => tail.starts_with('}').then_some(0)?,
    };
    (name > 0).then_some(2 + name + end + 1)
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn hidden(c: char) -> char {
    let moved = char::from_u32(HIDDEN_OFFSET + u32::from(c));
    moved.filter(|_| c.is_ascii()).unwrap_or(c)
}

/// Undoes [`shield`] in a parsed scalar.
pub fn reveal(text: &str) -> String {
    let revealed = |c: char| match u32::from(c).checked_sub(HIDDEN_OFFSET) {
        Some(ascii @ 0..0x80) => char::from_u32(ascii).unwrap_or(c),
        _ => c,
    };
    text.chars().map(revealed).collect()
}

/// Replaces every reference by its value, once (values are not expanded again). Error messages never quote
/// the text, which may be a secret.
pub(crate) fn expand(text: &str, env: Env) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = from.strip_prefix("$${") {
            out.push_str("${");
            rest = after;
        } else if let Some(inner) = from.strip_prefix("${") {
            let (reference, after) = inner.split_once('}').ok_or(REFERENCE)?;
            let (name, default) = reference.split_once(":-").unwrap_or((reference, ""));
            if name.is_empty() || !name.chars().all(is_name_char) || default.contains("${") {
                return Err(REFERENCE.to_owned());
            }
            let found = env(name).filter(|value| !value.is_empty());
            out.push_str(found.as_deref().unwrap_or(default));
            rest = after;
        } else {
            out.push('$');
            rest = &from[1..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

const REFERENCE: &str = "expected a reference such as ${NAME} or ${NAME:-default}; \
    a literal ${ is written $${";

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "COUNT" => Some("42".to_owned()),
            "NESTED" => Some("${COUNT}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced_once() {
        let cases = [
            ("plain $5 and $", "plain $5 and $"),
            ("${COUNT}", "42"),
            ("a${COUNT}b${COUNT}", "a42b42"),
            ("${UNSET}", ""),
            ("${UNSET:-x: {y}", "x: {y"),
            ("${EMPTY:-full}", "full"),
            ("${COUNT:-0}", "42"),
            ("${NESTED}", "${COUNT}"),
            ("$${COUNT}", "${COUNT}"),
        ];
        for (text, meant) in cases {
            assert_eq!(expand(text, &env).as_deref(), Ok(meant), "{text}");
        }
    }

    #[test]
    fn malformed_reference_is_refused_without_repeating_it() {
        for text in ["${no", "${}", "${A:-${B}}", "${a-b}"] {
            assert_eq!(expand(text, &env), Err(REFERENCE.to_owned()), "{text}");
        }
    }

    #[test]
    fn hidden_references_keep_their_length_and_come_back() {
        let texts = [
            "a: {b: ${B}, c: ${C:-ü}}",
            "a: $${B} $${ \"$${\" '$${'",
            "a: ${b: c}, d: $",
            "a: ${\nb: }",
        ];
        for text in texts {
            let hidden = shield(text).unwrap();
            assert_eq!(hidden.chars().count(), text.chars().count());
            assert_eq!(reveal(&hidden), text);
        }
        assert!(!shield(texts[0]).unwrap().contains("${"));
        assert!(shield(texts[2]).unwrap().contains("${b: c}"));
    }

    #[test]
    fn a_character_that_would_pass_for_a_hidden_one_is_refused() {
        assert_eq!(shield("a\nb: \u{F0041}"), Err((2, 4)));
    }
}
