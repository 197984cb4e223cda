//! Parses `multipart/form-data` bodies (forms with files): the byte range of each part, and edits to them.
//!
//! No bytes are copied. Framing is parsed strictly: a form that one reader takes for a field and another for
//! a piece of a file is refused, because the provider may be the other reader.

mod head;

use crate::dialect::call::{Body, Unreadable};
use crate::dialect::splice::Splice;
use crate::dialect::unknown_members::UnknownMembers;
use head::refused;
use memchr::memmem;
use ring::digest;
use std::ops::Range;

/// Upper bound of the parts of a form: no API call has as many fields.
const MAX_PARTS: usize = 200;

#[derive(Debug)]
struct Part<'a> {
    name: &'a str,
    /// Every reader treats it as a file.
    is_file: bool,
    /// Every reader treats it as the same text. A part that is neither text nor surely a file may be a file
    /// to some.
    is_text: bool,
    /// Its head has a `Content-Length` or a charset, which need not be true of another value.
    describes_value: bool,
    head: Range<usize>,
    value: Range<usize>,
}

/// Parsed `multipart/form-data` body, borrowed from its bytes.
#[derive(Debug)]
pub struct Form<'a> {
    bytes: &'a [u8],
    boundary: &'a str,
    /// Offset of the first boundary.
    start: usize,
    parts: Vec<Part<'a>>,
}

impl<'a> Form<'a> {
    /// Parses a body. `known` are the fields that the gateway itself reads or writes, `files` those that hold
    /// a file even without a `filename`.
    pub fn read(body: &Body<'a>, known: &[&str], files: &[&str]) -> Result<Form<'a>, Unreadable> {
        let boundary = head::boundary(body.content_type.unwrap_or_default())?;
        let (start, ranges) = ranges(body.bytes, boundary)?;
        let mut form = Form {
            bytes: body.bytes,
            boundary,
            start,
            parts: Vec::with_capacity(ranges.len()),
        };
        for range in ranges {
            let mut part = part(body.bytes, range)?;
            part.is_file |= files.contains(&part.name);
            // Readers replace each byte that is not UTF-8 with two or three bytes.
            if !part.is_file && std::str::from_utf8(&body.bytes[part.value.clone()]).is_err() {
                return Err(refused("a field is not UTF-8"));
            }
            form.check(&part, known)?;
            form.parts.push(part);
        }
        Ok(form)
    }

    /// Refuses a field that readers could take for another one. A provider that reads names loosely may find
    /// a known field in `Model` or `model[]`; of two fields with one name some readers take the first and
    /// some the last.
    fn check(&self, part: &Part<'_>, known: &[&str]) -> Result<(), Unreadable> {
        let name = part.name;
        let bare = name.split('[').next().unwrap_or(name).trim();
        let is_twice = || self.parts.iter().any(|other| other.name == name);
        let Some(known) = known.iter().find(|known| known.eq_ignore_ascii_case(bare)) else {
            if !part.is_file && !name.ends_with("[]") && is_twice() {
                return Err(Unreadable(format!("{name} is written twice")));
            }
            return Ok(());
        };
        if *known != name {
            return Err(Unreadable(format!("{name} must be written {known}")));
        }
        if part.is_file {
            return Err(Unreadable(format!("{name} must not be a file")));
        }
        if !part.is_text {
            return Err(Unreadable(format!("{name} must be text/plain in UTF-8")));
        }
        if is_twice() {
            return Err(Unreadable(format!("{name} is written twice")));
        }
        Ok(())
    }

    /// Returns the text of a field. `None`: it is absent or empty.
    pub fn field(&self, name: &str) -> Result<Option<&'a str>, Unreadable> {
        let Some(part) = self.parts.iter().find(|part| part.name == name) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&self.bytes[part.value.clone()])
            .map_err(|_| Unreadable(format!("{name} is not UTF-8")))?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// Returns a field as a whole number. `None`: it is absent or empty.
    pub fn count(&self, name: &str) -> Result<Option<u64>, Unreadable> {
        let number = self.field(name)?.map(str::parse);
        number
            .transpose()
            .map_err(|_| Unreadable(format!("{name} must be a whole number")))
    }

    /// Returns a field as a boolean, false if it is absent or empty.
    pub fn flag(&self, name: &str) -> Result<bool, Unreadable> {
        let text = self.field(name)?.unwrap_or("false").to_ascii_lowercase();
        match text.as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(Unreadable(format!("{name} must be true or false"))),
        }
    }

    /// Returns the values of all parts that any reader could treat as files.
    pub fn files(&self) -> impl Iterator<Item = &'a [u8]> {
        let files = self
            .parts
            .iter()
            .filter(|part| part.is_file || !part.is_text);
        files.map(|part| &self.bytes[part.value.clone()])
    }

    /// Sums the bytes of all fields but `names`. Parts that are surely files are left out.
    pub fn length_without(&self, names: &[&str]) -> u64 {
        self.parts
            .iter()
            .filter(|part| !part.is_file && !names.contains(&part.name))
            .map(|part| part.value.len() as u64)
            .sum()
    }

    /// Returns the names of all fields that are in none of the lists `known`.
    pub fn unknown_members(&self, known: &[&[&str]]) -> Result<Vec<String>, Unreadable> {
        let mut unknown_members = UnknownMembers::default();
        for part in &self.parts {
            if !known.iter().any(|known| known.contains(&part.name)) {
                unknown_members.record("", part.name);
            }
        }
        unknown_members.names()
    }

    /// Returns the canonical form: what readers read in it, but the fields `left_out`. Files count by their hash.
    pub(crate) fn canonical(&self, left_out: &[&str]) -> Vec<u8> {
        let mut parts: Vec<&Part<'_>> = self.parts.iter().collect();
        parts.retain(|part| !left_out.contains(&part.name));
        // Stable: of several parts of one name the order matters.
        parts.sort_by_key(|part| part.name);
        let mut form = Vec::new();
        for part in parts {
            let hash = digest::digest(&digest::SHA256, &self.bytes[part.value.clone()]);
            form.extend_from_slice(&(part.name.len() as u64).to_be_bytes());
            form.extend_from_slice(part.name.as_bytes());
            form.push(u8::from(part.is_file));
            if !part.is_text {
                // The name and the type of a file tell some providers its format, and others whether it is one.
                let head = digest::digest(&digest::SHA256, &self.bytes[part.head.clone()]);
                form.extend_from_slice(head.as_ref());
            }
            form.extend_from_slice(hash.as_ref());
        }
        form
    }

    /// Returns the `Content-Type` to send the form with.
    pub fn content_type(content_type: &str) -> Result<String, Unreadable> {
        Ok(head::content_type(head::boundary(content_type)?))
    }

    /// Returns the form with `model` set, or unchanged if it is `None`.
    pub fn with_model(&self, model: Option<&str>) -> Result<Vec<u8>, Unreadable> {
        match model {
            Some(model) => self.with("model", model),
            None => Ok(self.bytes.to_vec()),
        }
    }

    /// Returns the form with one field's value replaced, or with the field added before all others.
    fn with(&self, name: &str, value: &str) -> Result<Vec<u8>, Unreadable> {
        if value.contains(char::is_control) {
            return Err(Unreadable(format!("{name} must be one line of text")));
        }
        let mut splice = Splice::default();
        match self.parts.iter().find(|part| part.name == name) {
            Some(part) => {
                if part.describes_value {
                    splice.put(part.head.clone(), plain_head(name));
                }
                splice.put(part.value.clone(), value);
            }
            None => splice.put(
                self.start..self.start,
                format!("--{}\r\n{}{value}\r\n", self.boundary, plain_head(name)),
            ),
        }
        Ok(splice.apply(self.bytes))
    }
}

/// Returns the head of a field that the gateway writes, its empty line included.
fn plain_head(name: &str) -> String {
    format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n")
}

/// Finds the offset of the first boundary, and the range of each part.
fn ranges(bytes: &[u8], boundary: &str) -> Result<(usize, Vec<Range<usize>>), Unreadable> {
    let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let delimiter = format!("--{boundary}");
    if !bytes[start..].starts_with(delimiter.as_bytes()) {
        return Err(refused("it does not begin with its boundary"));
    }
    if memmem::find(bytes, format!("\r{delimiter}").as_bytes()).is_some() {
        return Err(refused("a boundary stands after half a line end"));
    }
    let mut parts = Vec::new();
    let first = start + delimiter.len();
    let mut at = first;
    let line = format!("\n{delimiter}");
    let mut next = memmem::find_iter(&bytes[first..], line.as_bytes()).map(|found| first + found);
    loop {
        let after = &bytes[at..];
        if after.starts_with(b"--") {
            return match &after[2..] {
                b"" | b"\r\n" => Ok((start, parts)),
                _ => Err(refused("something follows its end")),
            };
        }
        if !after.starts_with(b"\r\n") {
            return Err(refused("a boundary does not end its line"));
        }
        let end = next
            .next()
            .ok_or_else(|| refused("it ends before its last boundary"))?;
        let content = at + 2;
        if end <= content || bytes[end - 1] != b'\r' {
            return Err(refused("a boundary does not begin a line of its own"));
        }
        if parts.len() == MAX_PARTS {
            return Err(refused("it has more than 200 parts"));
        }
        parts.push(content..end - 1);
        at = end + line.len();
    }
}

fn part(bytes: &[u8], whole: Range<usize>) -> Result<Part<'_>, Unreadable> {
    let head_end = memmem::find(&bytes[whole.clone()], b"\r\n\r\n")
        .ok_or_else(|| refused("a part's head does not end"))?;
    let head = std::str::from_utf8(&bytes[whole.start..whole.start + head_end])
        .map_err(|_| refused("a part's head is not UTF-8"))?;
    let head = head::part(head)?;
    let start = whole.start + head_end + 4;
    let value = start..whole.end;
    if head
        .length
        .is_some_and(|length| length != value.len() as u64)
    {
        return Err(refused("a part is not as long as it says"));
    }
    if !head.has_filename && !head.is_utf8 && !bytes[value.clone()].is_ascii() {
        return Err(refused("a field has characters that its charset has not"));
    }
    Ok(Part {
        name: head.name,
        // Some readers treat a part with an empty `filename` as a field.
        is_file: head.has_filename && !head.is_nameless_file,
        is_text: head.is_text && !head.has_filename,
        describes_value: head.length.is_some() || !head.is_utf8,
        head: whole.start..start,
        value,
    })
}

#[cfg(test)]
#[path = "multipart_tests.rs"]
mod tests;
