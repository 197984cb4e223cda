//! Parses the heads of a form: its `Content-Type`, and the few header lines before each part's value.
//!
//! Accepts only the headers and parameters that clients send. Readers of forms disagree about all others:
//! continuations (`name*0`), encoded values (`filename*`), charsets, nested forms.

use crate::dialect::call::Unreadable;

/// Charsets in which ASCII bytes are ASCII characters. In UTF-7 `+AG4-` is a name of one letter, `n`.
const CHARSETS: &[&str] = &["utf-8", "us-ascii", "iso-8859-1"];
/// Values of `Content-Transfer-Encoding` that leave a part's bytes as they are.
const CODINGS: &[&str] = &["7bit", "8bit", "binary"];
/// Headers that a part may have. `lines` returns their values in this order.
const PART_HEADERS: &[&str] = &[
    "content-disposition",
    "content-type",
    "content-transfer-encoding",
    "content-length",
];

pub(super) fn refused(why: &str) -> Unreadable {
    Unreadable(format!("The form cannot be read: {why}"))
}

/// Facts that a part's head states about its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PartHead<'a> {
    pub name: &'a str,
    pub has_filename: bool,
    pub is_nameless_file: bool,
    /// Its type is `text/plain` or absent. Some readers treat a part of any other type as a file.
    pub is_text: bool,
    /// Every reader decodes its bytes to the same text: it has no charset, or `utf-8`.
    pub is_utf8: bool,
    pub length: Option<u64>,
}

/// Parsed value of a header: the `kind` before the first semicolon, and the parameters.
struct Value<'a> {
    kind: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Value<'a> {
    /// Parses `text`. `known`: the parameters that are allowed, each at most once.
    fn read(text: &'a str, known: &[&str]) -> Result<Value<'a>, Unreadable> {
        let (kind, mut rest) = text.split_once(';').unwrap_or((text, ""));
        let mut value = Value {
            kind: kind.trim_matches([' ', '\t']),
            parameters: Vec::new(),
        };
        loop {
            rest = rest.trim_matches([' ', '\t']);
            if rest.is_empty() {
                return Ok(value);
            }
            let (name, parameter, after) = parameter(rest)
                .ok_or_else(|| refused("a header of it has a parameter that is not name=value"))?;
            value.check(name, known)?;
            value.parameters.push((name, parameter));
            rest = after;
        }
    }

    fn check(&self, name: &str, known: &[&str]) -> Result<(), Unreadable> {
        if name.contains('*') {
            return Err(refused(
                "a parameter's name has a * in it (as in filename*): send the plain parameter alone",
            ));
        }
        if !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            let known = known.join(" and ");
            return Err(refused(&format!(
                "a header of it has a parameter other than {known}"
            )));
        }
        if self.get(name).is_some() {
            return Err(refused("a parameter is written twice"));
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        let mut parameters = self.parameters.iter();
        let found = parameters.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| *value)
    }

    /// Returns the `charset` parameter. `None`: there is none, which means UTF-8.
    fn charset(&self) -> Result<Option<&'static str>, Unreadable> {
        let Some(charset) = self.get("charset") else {
            return Ok(None);
        };
        let known = CHARSETS
            .iter()
            .find(|known| known.eq_ignore_ascii_case(charset));
        let known = known.ok_or_else(|| {
            let charsets = CHARSETS.join(", ");
            refused(&format!("its charset is none of {charsets}"))
        })?;
        Ok(Some(known))
    }
}

/// Parses the parameter that `text` begins with, into its name, its value and the rest of the text.
///
/// Refuses a backslash before a quote, which is an escape to some readers and a backslash to others. An
/// unquoted value must be a token, or else some readers see no parameter at all; only a `boundary` is often
/// sent unquoted whatever it holds.
fn parameter(text: &str) -> Option<(&str, &str, &str)> {
    let (name, after) = text.split_once('=')?;
    let (value, after) = match after.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => {
            let (word, after) = after.split_at(after.find(';').unwrap_or(after.len()));
            let word = word.trim_end_matches([' ', '\t']);
            // Readers disagree about a quote or a blank in an unquoted value.
            let is_plain = match name.eq_ignore_ascii_case("boundary") || name.contains('*') {
                true => !word.is_empty() && !word.contains(['"', ' ', '\t', ',']),
                false => is_token(word) && !word.contains('\''),
            };
            if !is_plain {
                return None;
            }
            (word, after)
        }
    };
    if value.ends_with('\\') || !is_token(name) {
        return None;
    }
    let after = after.trim_start_matches([' ', '\t']);
    match after.strip_prefix(';') {
        Some(rest) => Some((name, value, rest)),
        None => after.is_empty().then_some((name, value, "")),
    }
}

fn is_token(text: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(sign)
}

/// Returns the boundary of a form from its `Content-Type`. Refuses any type but `multipart/form-data`.
pub(super) fn boundary(content_type: &str) -> Result<&str, Unreadable> {
    let no_form = || Unreadable("The body must be multipart/form-data with a boundary".to_owned());
    // Checked first, so that the error for another type does not complain about its parameters.
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("multipart/form-data") {
        return Err(no_form());
    }
    let value = Value::read(content_type, &["boundary", "charset"])?;
    if value.charset()? == Some("iso-8859-1") {
        return Err(refused("its charset must be utf-8"));
    }
    let boundary = value.get("boundary").ok_or_else(no_form)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let fits = (1..=70).contains(&boundary.len())
        && !boundary.ends_with(' ')
        && boundary.bytes().all(plain);
    fits.then_some(boundary).ok_or_else(no_form)
}

/// Returns the `Content-Type` of a form in the spelling that every reader knows. Some readers see no form in
/// `Multipart/Form-Data`, and some decode texts by a charset that is named beside the boundary.
pub(super) fn content_type(boundary: &str) -> String {
    let mark = if is_token(boundary) { "" } else { "\"" };
    format!("multipart/form-data; boundary={mark}{boundary}{mark}")
}

pub(super) fn part(head: &str) -> Result<PartHead<'_>, Unreadable> {
    let [disposition, kind, coding, length] = lines(head)?;
    let disposition = disposition.ok_or_else(|| refused("a part has no content-disposition"))?;
    let disposition = Value::read(disposition, &["name", "filename"])?;
    if !disposition.kind.eq_ignore_ascii_case("form-data") {
        return Err(refused("a part is not form-data"));
    }
    let name = disposition.get("name").filter(|name| is_name(name));
    let name = name.ok_or_else(|| refused("a part has no plain name of ASCII characters"))?;
    let filename = disposition.get("filename");
    if filename.is_some_and(looks_like_parameters) {
        return Err(refused("a file's name looks like a parameter"));
    }
    if coding.is_some_and(|coding| {
        !CODINGS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(coding))
    }) {
        return Err(refused("a part is encoded"));
    }
    let length = length.map(|length| {
        let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
        let number = length.parse().ok().filter(|_| is_number);
        number.ok_or_else(|| refused("a part's content-length is not a number"))
    });
    let (is_text, is_utf8) = kind.map_or(Ok((true, true)), text_of)?;
    Ok(PartHead {
        name,
        has_filename: filename.is_some(),
        is_nameless_file: filename == Some(""),
        is_text,
        is_utf8,
        length: length.transpose()?,
    })
}

/// Parses the header lines of a part into their values, in the order of `PART_HEADERS`.
fn lines(head: &str) -> Result<[Option<&str>; 4], Unreadable> {
    let mut values = [None; 4];
    for line in head.split("\r\n") {
        let (name, value) = line
            .split_once(':')
            .filter(|(name, _)| is_token(name))
            .filter(|_| !line.contains(|c: char| c.is_control() && c != '\t'))
            .ok_or_else(|| refused("a part's head has a line that is no header"))?;
        let known = PART_HEADERS
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name))
            .ok_or_else(|| {
                let known = PART_HEADERS.join(", ");
                refused(&format!("a part has a header other than {known}"))
            })?;
        let value = value.trim_matches([' ', '\t']);
        if values[known].replace(value).is_some() {
            return Err(refused("a part has a header twice"));
        }
    }
    // Some readers skip the whole part then.
    if values.iter().flatten().any(|value| value.ends_with(';')) {
        return Err(refused("a part has a header that ends in a semicolon"));
    }
    Ok(values)
}

/// Returns whether a content type is `text/plain`, and whether its charset is UTF-8.
fn text_of(kind: &str) -> Result<(bool, bool), Unreadable> {
    let top = kind.split('/').next().unwrap_or_default();
    // Some readers parse a form inside a form.
    if ["multipart", "message"]
        .iter()
        .any(|nested| nested.eq_ignore_ascii_case(top))
    {
        return Err(refused("a part holds parts of its own"));
    }
    let is_text = kind
        .split(';')
        .next()
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/plain"));
    if !is_text {
        return Ok((false, true));
    }
    let value = Value::read(kind, &["charset"])?;
    let charset = value.charset()?;
    Ok((true, charset.is_none_or(|charset| charset == "utf-8")))
}

/// Whether every reader reads a field's name in the same way. To some readers `_charset_` is no field: it
/// sets the charset of the others.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && !b"\\%\"&".contains(&byte);
    !name.is_empty()
        && name.bytes().all(plain)
        && !name.eq_ignore_ascii_case("_charset_")
        && !looks_like_parameters(name)
}

/// Whether a value contains `name=`, which some readers search for even inside quotes.
fn looks_like_parameters(value: &str) -> bool {
    value.to_ascii_lowercase().contains("name=")
}
