//! Forms with files (`multipart/form-data`): where their parts stand, and edits to them.
//!
//! Nothing is copied. Framing is read strictly: what one reader of forms takes for a field and
//! another for a piece of a file is refused, because the provider may be the other.

mod head;

use crate::dialect::call::{Body, Unreadable};
use crate::dialect::splice::Splice;
use crate::dialect::stranger::Strangers;
use head::refused;
use memchr::memmem;
use std::ops::Range;

/// More than any call has fields.
const MOST_PARTS: usize = 200;

#[derive(Debug)]
struct Part<'a> {
    name: &'a str,
    /// Every reader takes it for a file.
    is_file: bool,
    /// Every reader takes it for the same text. What is neither text nor surely a file may be one to some.
    is_text: bool,
    /// What its head says of the value, a length or a charset, need not be true of another one.
    describes_value: bool,
    head: Range<usize>,
    value: Range<usize>,
}

#[derive(Debug)]
pub struct Form<'a> {
    bytes: &'a [u8],
    boundary: &'a str,
    /// Where the first boundary stands.
    start: usize,
    parts: Vec<Part<'a>>,
}

impl<'a> Form<'a> {
    /// `known` are the fields that the gateway itself reads or writes, `files` those that hold a
    /// file even where nothing in them says so.
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
            // Readers make two or three bytes of each that is not UTF-8.
            if !part.is_file && std::str::from_utf8(&body.bytes[part.value.clone()]).is_err() {
                return Err(refused("a field is not UTF-8"));
            }
            form.check(&part, known)?;
            form.parts.push(part);
        }
        Ok(form)
    }

    /// A name in disguise would be one field here and another at a provider that reads names
    /// loosely; of two fields with one name some take the first and some the last.
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

    /// A field's text. An empty one counts as absent.
    pub fn field(&self, name: &str) -> Result<Option<&'a str>, Unreadable> {
        let Some(part) = self.parts.iter().find(|part| part.name == name) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&self.bytes[part.value.clone()])
            .map_err(|_| Unreadable(format!("{name} is not UTF-8")))?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    pub fn count(&self, name: &str) -> Result<Option<u64>, Unreadable> {
        let number = self.field(name)?.map(str::parse);
        number
            .transpose()
            .map_err(|_| Unreadable(format!("{name} must be a whole number")))
    }

    pub fn flag(&self, name: &str) -> Result<bool, Unreadable> {
        let text = self.field(name)?.unwrap_or("false").to_ascii_lowercase();
        match text.as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(Unreadable(format!("{name} must be true or false"))),
        }
    }

    /// What is a file to any reader.
    pub fn files(&self) -> impl Iterator<Item = &'a [u8]> {
        let files = self
            .parts
            .iter()
            .filter(|part| part.is_file || !part.is_text);
        files.map(|part| &self.bytes[part.value.clone()])
    }

    /// The bytes of all fields but those of `names`, files left out.
    pub fn length_without(&self, names: &[&str]) -> u64 {
        self.parts
            .iter()
            .filter(|part| !part.is_file && !names.contains(&part.name))
            .map(|part| part.value.len() as u64)
            .sum()
    }

    /// The names of all fields but those.
    pub fn strangers(&self, known: &[&[&str]]) -> Result<Vec<String>, Unreadable> {
        let mut strangers = Strangers::default();
        for part in &self.parts {
            if !known.iter().any(|known| known.contains(&part.name)) {
                strangers.name("", part.name);
            }
        }
        strangers.names()
    }

    /// The content type to send it with.
    pub fn content_type(content_type: &str) -> Result<String, Unreadable> {
        Ok(head::content_type(head::boundary(content_type)?))
    }

    /// The form with that model, where there is one to be set.
    pub fn with_model(&self, model: Option<&str>) -> Result<Vec<u8>, Unreadable> {
        match model {
            Some(model) => self.with("model", model),
            None => Ok(self.bytes.to_vec()),
        }
    }

    /// The form with one field's value replaced, or the field added before all others.
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

/// The head of a field that we write, the empty line included.
fn plain_head(name: &str) -> String {
    format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n")
}

/// Where the first boundary stands, and where each part does.
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
        if parts.len() == MOST_PARTS {
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
        // Without a name some readers take it for a field.
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
