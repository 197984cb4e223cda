//! Multipart forms that parsers could interpret differently: valid ones with a few changes to heads, framing
//! and bytes. The seed determines the form.

use super::pick;
use crate::fuzz::{Dice, mutated};

#[derive(Clone)]
struct Part {
    /// Header lines without line ends.
    head: Vec<Vec<u8>>,
    value: Vec<u8>,
}

struct Form {
    content_type: String,
    boundary: Vec<u8>,
    before: Vec<u8>,
    parts: Vec<Part>,
    after: Vec<u8>,
    line_end: &'static [u8],
    /// Bytes after the boundary on its line.
    padding: &'static [u8],
}

const BOUNDARY: &str = "b0undary";

fn field(name: &str, value: &[u8]) -> Part {
    Part {
        head: vec![format!("Content-Disposition: form-data; name=\"{name}\"").into_bytes()],
        value: value.to_vec(),
    }
}

fn file(name: &str, value: &[u8]) -> Part {
    let head = format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"a.bin\"");
    Part {
        head: vec![
            head.into_bytes(),
            b"Content-Type: application/octet-stream".to_vec(),
        ],
        value: value.to_vec(),
    }
}

fn good(path: &str, dice: &mut Dice) -> Form {
    let sound: &[u8] = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\x08\0\0\0\x80\x81\x80\x7f\x80\x81\x80\x7f";
    let mut parts = match path {
        "images/edits" => vec![
            field("model", b"m"),
            field("prompt", b"A cat, please"),
            field("n", b"2"),
            file("image", b"\x89PNG\r\n\x1a\n1234"),
            file("image[]", b"\x89PNG\r\n\x1a\n56"),
            field("size", b"1024x1024"),
        ],
        _ => vec![
            field("model", b"m"),
            file("file", sound),
            field("prompt", b"Names: Ann, Bob"),
            field("language", b"en"),
            field("stream", b"true"),
        ],
    };
    while parts.len() > 2 && dice.throw(3) == 0 {
        parts.remove(dice.throw(parts.len()));
    }
    Form {
        content_type: format!("multipart/form-data; boundary={BOUNDARY}"),
        boundary: BOUNDARY.as_bytes().to_vec(),
        before: Vec::new(),
        parts,
        after: b"\r\n".to_vec(),
        line_end: b"\r\n",
        padding: b"",
    }
}

/// Field names that change the cost of a call, and disguised ones.
const NAMES: &[&str] = &[
    "model",
    "n",
    "stream",
    "prompt",
    "file",
    "image",
    "image[]",
    "image[0]",
    "mask",
    "size",
    "user",
    "Model",
    "model[]",
    "model ",
    " n",
    "N",
    "n[0]",
    "_charset_",
    "mod\u{435}l",
    "\u{17f}tream",
    "model\0",
    "n%00",
    "%6e",
    "m\\odel",
    "&n",
    "n=1",
    "n;x",
    "a\" ; name=\"n",
    "a\\\"; name=\\\"n",
    "'n'",
    "",
];

const VALUES: &[&[u8]] = &[
    b"m",
    b"dear",
    b"10",
    b"010",
    b"+10",
    b" 10",
    b"1e1",
    b"1_0",
    b"0x10",
    b"-1",
    b"",
    b"true",
    b"True",
    b"1",
    b"yes",
    b"t",
    b"on",
    b"false",
    b"null",
    b"\xff\xfe\xfd\xfc",
    b"dear\0",
    b"dear\r\n",
    b"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9",
    b"\xef\xb7\xba",
    b"+AG4-",
    b"MTA=",
    b"=31=30",
    b"\r\n--b0undary--",
    b"\n--b0undary\nContent-Disposition: form-data; name=\"n\"\n\n10",
    b"\r--b0undary\r\n",
    b"--b0undary",
    b"\r\n--b0undaryx\r\n",
    b"\r\n --b0undary\r\n",
    b"\r\n--B0UNDARY\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n10",
];

/// Parameters appended to a header.
const PARAMETERS: &[&str] = &[
    "; name=\"n\"",
    "; name=n",
    ";name=dear",
    "; NAME=\"model\"",
    "; name*=utf-8''n",
    "; name*0=\"n\"",
    "; name*0*=utf-8''n",
    "; name*1=\"n\"",
    "; filename=\"a\"",
    "; filename=\"\"",
    "; filename=",
    "; filename=a b",
    "; filename*=utf-8''a",
    "; filename*0=a",
    "; filename=\"a\\\"; name=\\\"n\"",
    "; filename=\"C:\\a\"",
    "; filename=\"a; name=n\"",
    "; FILENAME=x",
    ";",
    "; ",
    "; x=\"",
    "; x=y",
    "; charset=utf-16",
    "; charset=utf-8",
    "; charset=us-ascii",
    "; charset=iso-8859-1",
    "; charset=\"UTF-8\"",
    ", form-data; name=\"n\"",
    " (comment)",
    "\r\n ; name=\"n\"",
    "\r\n\tx",
    "\n; name=\"n\"",
    "\r",
    "\0",
];

/// Header lines of a part.
const HEADERS: &[&str] = &[
    "Content-Type: text/plain",
    "Content-Type: text/plain; charset=utf-8",
    "Content-Type: text/plain; charset=us-ascii",
    "Content-Type: text/plain; charset=iso-8859-1",
    "Content-Type: text/plain; charset=utf-16",
    "Content-Type: text/plain;charset=utf-7",
    "Content-Type: text/plain; charset=utf-8; charset=utf-16",
    "Content-Type: application/octet-stream",
    "Content-Type: application/json",
    "Content-Type: image/png",
    "Content-Type: multipart/mixed; boundary=inner",
    "Content-Type: message/rfc822",
    "Content-Type:",
    "Content-Transfer-Encoding: base64",
    "Content-Transfer-Encoding: quoted-printable",
    "Content-Transfer-Encoding: binary",
    "Content-Transfer-Encoding: 7bit",
    "Content-Length: 2",
    "Content-Length: 1000",
    "Content-Disposition: form-data; name=\"n\"",
    "content-disposition: form-data; name=\"model\"",
    "Content-Disposition: attachment; name=\"n\"",
    "Content-Disposition : form-data; name=\"n\"",
    " Content-Disposition: form-data; name=\"n\"",
    "X-Other: a",
    "no header",
];

const TYPES: &[&str] = &[
    "multipart/form-data; boundary=\"b0undary\"",
    "Multipart/Form-Data; Boundary=b0undary",
    "multipart/form-data;boundary=b0undary",
    "multipart/form-data; charset=utf-8; boundary=b0undary",
    "multipart/form-data; boundary=b0undary; charset=us-ascii",
    "multipart/form-data; boundary=b0undary; charset=utf-8",
    "multipart/form-data; boundary=b0undary; charset=iso-8859-1",
    "multipart/form-data; boundary=b0undary; charset=utf-16",
    "multipart/form-data; boundary=b0undary; boundary=other",
    "multipart/form-data; boundary=other; boundary*=utf-8''b0undary",
    "multipart/form-data; boundary*0=b0un; boundary*1=dary",
    "multipart/form-data; boundary=b0undary, x",
    "multipart/form-data; boundary=b0undary ",
    "multipart/form-data; boundary=\"b0un\\dary\"",
    "multipart/form-data; boundary='b0undary'",
    "multipart/form-data; boundary=b0un",
    "multipart/form-data; boundary=b0undary;",
    "multipart/mixed; boundary=b0undary",
    "application/x-www-form-urlencoded",
];

/// Changes one part or the list of parts.
fn change_part(form: &mut Form, dice: &mut Dice) {
    let at = dice.throw(form.parts.len());
    let place = dice.throw(form.parts.len() + 1);
    let part = &mut form.parts[at];
    match dice.throw(12) {
        0 => {
            let again = part.clone();
            form.parts.insert(place, again);
        }
        1 => form
            .parts
            .insert(place, field(pick(NAMES, dice), pick(VALUES, dice))),
        2 => form
            .parts
            .insert(place, file(pick(NAMES, dice), pick(VALUES, dice))),
        3 => part.value = pick(VALUES, dice).to_vec(),
        4 => {
            let end = dice.throw(part.value.len() + 1);
            part.value
                .splice(end..end, pick(VALUES, dice).iter().copied());
        }
        5 | 6 => part.head[0].extend_from_slice(pick(PARAMETERS, dice).as_bytes()),
        7 => {
            let header = part.head.last_mut().expect("a header");
            header.extend_from_slice(pick(PARAMETERS, dice).as_bytes());
        }
        8 | 9 => {
            let place = dice.throw(part.head.len() + 1);
            part.head
                .insert(place, pick(HEADERS, dice).as_bytes().to_vec());
        }
        10 => {
            // Without quotes, or with other ones.
            let mark: &[u8] = pick(&[b"", b"'", b"\\\"", b"\"\""], dice);
            let written = part.head[0].clone();
            let marked = written.split(|byte| *byte == b'"').collect::<Vec<_>>();
            part.head[0] = marked.join(mark);
        }
        _ => part.head = vec![pick(HEADERS, dice).as_bytes().to_vec()],
    }
}

/// Changes the framing of a form.
fn change_frame(form: &mut Form, dice: &mut Dice) {
    const AROUND: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b"a preamble\r\n",
        b"--b0undary\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n10\r\n",
        b"--other\r\n",
        b" ",
        b"\xef\xbb\xbf",
    ];
    match dice.throw(6) {
        0 | 1 => form.content_type = pick(TYPES, dice).to_owned(),
        2 => form.before = pick(AROUND, dice).to_vec(),
        3 => form.after.extend_from_slice(pick(AROUND, dice)),
        4 => form.line_end = pick(&[b"\n" as &[u8], b"\r", b"\r\r\n", b"\n\r"], dice),
        _ => form.padding = pick(&[b" " as &[u8], b"\t", b"  \t", b"-", b"x", b"\0"], dice),
    }
}

impl Form {
    fn write(&self) -> Vec<u8> {
        let mut out = self.before.clone();
        let boundary = |out: &mut Vec<u8>, end: &[u8]| {
            out.extend_from_slice(b"--");
            out.extend_from_slice(&self.boundary);
            out.extend_from_slice(end);
        };
        for part in &self.parts {
            boundary(&mut out, self.padding);
            out.extend_from_slice(self.line_end);
            for line in &part.head {
                out.extend_from_slice(line);
                out.extend_from_slice(self.line_end);
            }
            out.extend_from_slice(self.line_end);
            out.extend_from_slice(&part.value);
            out.extend_from_slice(self.line_end);
        }
        boundary(&mut out, b"--");
        out.extend_from_slice(&self.after);
        out
    }
}

/// Content type and form for this seed.
pub fn form(path: &str, dice: &mut Dice) -> (String, Vec<u8>) {
    let mut form = good(path, dice);
    let changes = [0, 1, 1, 1, 1, 2, 2, 3][dice.throw(8)];
    for _ in 0..changes {
        if dice.throw(4) == 0 {
            change_frame(&mut form, dice);
        } else {
            change_part(&mut form, dice);
        }
    }
    let mut bytes = form.write();
    if dice.throw(12) == 0 {
        bytes = mutated(&bytes, std::slice::from_ref(&bytes), dice);
    }
    (form.content_type, bytes)
}
