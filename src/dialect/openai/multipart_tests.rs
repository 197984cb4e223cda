//! Forms that are parsed, and ambiguous forms that are refused.

use super::*;
use proptest::prelude::*;

const KIND: &str = "multipart/form-data; boundary=--x-1";
const KNOWN: &[&str] = &["model", "n", "stream"];

fn body<'a>(bytes: &'a [u8], content_type: &'a str) -> Body<'a> {
    Body {
        bytes,
        content_type: Some(content_type),
        model: None,
    }
}

fn read(bytes: &[u8]) -> Result<Form<'_>, Unreadable> {
    Form::read(&body(bytes, KIND), KNOWN, &["file"])
}

const FORM: &str = concat!(
    "----x-1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a;b=\\c.wav\"\r\nContent-Type: audio/wav\r\n\r\n\r\n-- ----x-1 is data here\r\n\r\n",
    "----x-1\r\ncontent-disposition: form-data; name=model\r\n\r\nm\r\n",
    "----x-1\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\n\r\n",
    "----x-1--\r\n",
);

#[test]
fn parts_stand_where_they_were_written() {
    let form = read(FORM.as_bytes()).unwrap();
    assert_eq!(form.field("model"), Ok(Some("m")));
    assert_eq!(
        (form.field("n"), form.flag("stream")),
        (Ok(None), Ok(false))
    );
    let files: Vec<_> = form.files().collect();
    assert_eq!(files, [b"\r\n-- ----x-1 is data here\r\n"]);
    assert_eq!(
        (form.length_without(&[]), form.length_without(&["model"])),
        (1, 0)
    );
    assert_eq!(form.with_model(None).unwrap(), FORM.as_bytes());
    let set = String::from_utf8(form.with_model(Some("new")).unwrap()).unwrap();
    assert_eq!(set, FORM.replace("\r\nm\r\n", "\r\nnew\r\n"));
    assert!(form.with_model(Some("a\r\n----x-1--")).is_err());
}

#[test]
fn a_field_that_is_missing_is_added() {
    for empty in ["----x-1--", "\r\n----x-1--\r\n"] {
        let form = read(empty.as_bytes()).unwrap();
        let out = form.with_model(Some("m")).unwrap();
        assert_eq!(read(&out).unwrap().field("model"), Ok(Some("m")));
    }
}

/// Returns a form of one part with this head and this value.
fn one(head: &str, value: &str) -> String {
    format!("----x-1\r\n{head}\r\n\r\n{value}\r\n----x-1--\r\n")
}

#[test]
fn malformed_framing_is_refused() {
    for bad in [
        "",
        "----x-1",
        "preamble\r\n----x-1--",
        "----x-1--\r\nContent",
        "----x-1 \r\n\r\n----x-1--",
        "----x-1\r\n----x-1--",
        "----x-1\r\n\r\n----x-1--",
        "----x-1\n\n----x-1--",
    ] {
        assert!(read(bad.as_bytes()).is_err(), "{bad:?}");
    }
    let head = "Content-Disposition: form-data; name=\"a\"";
    assert!(read(one(head, "v").as_bytes()).is_ok());
    for value in [
        "v\n----x-1",
        "v\r----x-1",
        "v\r\n----x-1junk",
        "v\r\n----x-1\t\r\n",
    ] {
        assert!(read(one(head, value).as_bytes()).is_err(), "{value:?}");
    }
}

/// Part heads that form readers interpret differently, grouped by a piece of the refusal's text.
const CROOKED_HEADS: &[(&str, &[&str])] = &[
    (
        "has no content-disposition",
        &["Content-Type: text/plain", "Content-Length: 1"],
    ),
    (
        "has no plain name",
        &[
            "Content-Disposition: form-data",
            "Content-Disposition: form-data; name=\"\"",
            "Content-Disposition: form-data; name=\"mo\\del\"",
            "Content-Disposition: form-data; name=\"mod%65l\"",
            "Content-Disposition: form-data; name=\"me\u{17f}\u{17f}age\"",
            "Content-Disposition: form-data; name=\"\u{ff4e}\"",
            "Content-Disposition: form-data; name=\"a\tb\"",
            "Content-Disposition: form-data; name=\"_charset_\"",
            "Content-Disposition: form-data; name=\"x; name=n\"",
        ],
    ),
    (
        "is not form-data",
        &[
            "Content-Disposition: attachment; name=\"a\"",
            "Content-Disposition: ; name=\"a\"",
        ],
    ),
    (
        "has a * in it",
        &[
            "Content-Disposition: form-data; name*=utf-8''model",
            "Content-Disposition: form-data; name=\"x\"; name*0=\"n\"",
            "Content-Disposition: form-data; name=\"y\"; name*0=\"mod\"; name*1=\"el\"",
            "Content-Disposition: form-data; name=\"x\"; NAME*1*=\"n\"",
            "Content-Disposition: form-data; name=\"x\"; filename*=utf-8''",
            "Content-Disposition: form-data; name=\"x\"; filename=\"f\"; filename*=utf-8''f",
            "Content-Disposition: form-data; name=\"x\"; *=y",
        ],
    ),
    (
        "other than name and filename",
        &[
            "Content-Disposition: form-data; name=\"a\"; size=1",
            "Content-Disposition: form-data; name=\"a\"; charset=utf-7",
            "Content-Disposition: form-data; name=\"a\"; names=n",
        ],
    ),
    (
        "parameter is written twice",
        &[
            "Content-Disposition: form-data; name=\"a\"; name=\"model\"",
            "Content-Disposition: form-data; name=\"a\"; Name=\"a\"",
            "Content-Disposition: form-data; name=a; filename=f; FILENAME=g",
        ],
    ),
    (
        "not name=value",
        &[
            "Content-Disposition: form-data; filename=\"\\\"; name=\"model\"",
            "Content-Disposition: form-data; name=\"a\" junk",
            "Content-Disposition: form-data; name=\"a\"; junk",
            "Content-Disposition: form-data;; name=\"a\"",
            "Content-Disposition: form-data; name=",
            "Content-Disposition: form-data; name =\"a\"",
            "Content-Disposition: form-data; name= \"a\"",
            "Content-Disposition: form-data; name=a\"b",
            "Content-Disposition: form-data; name=a b",
            "Content-Disposition: form-data; name=a, name=b",
            "Content-Disposition: form-data; name='a'",
            "Content-Disposition: form-data; name=a[]",
            "Content-Disposition: form-data; name=\"a\"; filename='f'",
            "Content-Disposition: form-data; na\u{17f}e=\"a\"",
            "Content-Disposition: form-data; \u{ff4e}ame=\"n\"; name=\"a\"",
            "Content-Disposition: form-data; name=\"a\"; \u{fb01}lename=\"f\"",
        ],
    ),
    (
        "looks like a parameter",
        &[
            "Content-Disposition: form-data; filename=\"f; name=n\"; name=\"x\"",
            "Content-Disposition: form-data; name=\"x\"; filename=\"; FileName=f\"",
        ],
    ),
    (
        "a line that is no header",
        &[
            "Content-Disposition : form-data; name=\"a\"",
            "Content-Disposition: form-data;\r\n name=\"a\"",
            "Content-Disposition: form-data; name=\"a\"\nX: y",
            "Content-Disposition: form-data; name=\"a\"\r\n: y",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Di\u{17f}position: x",
            "Content-Disposition: form-data; name=\"a\0\"",
        ],
    ),
    (
        "ends in a semicolon",
        &[
            "Content-Disposition: form-data; name=\"a\";",
            "Content-Disposition: form-data; name=\"a\"; ",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Type: text/plain;",
        ],
    ),
    (
        "a header twice",
        &[
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Type: text/plain\r\ncontent-type: text/plain",
        ],
    ),
    (
        "a header other than",
        &[
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Encoding: gzip",
            "Content-Disposition: form-data; name=\"a\"\r\nX-J: 1",
        ],
    ),
    (
        "is encoded",
        &[
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: 8bit, base64",
        ],
    ),
    (
        "holds parts of its own",
        &[
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Type: multipart/mixed; boundary=b",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Type: message/rfc822",
        ],
    ),
    (
        "its charset is none of",
        &["Content-Disposition: form-data; name=\"a\"\r\nContent-Type: text/plain; charset=utf-7"],
    ),
    (
        "content-length is not a number",
        &["Content-Disposition: form-data; name=\"a\"\r\nContent-Length: +1"],
    ),
    (
        "is not as long as it says",
        &["Content-Disposition: form-data; name=\"a\"\r\nContent-Length: 2"],
    ),
    (
        "must be written",
        &[
            "Content-Disposition: form-data; name=\"Model\"",
            "Content-Disposition: form-data; name=\"model[]\"",
            "Content-Disposition: form-data; name=\" model\"",
            "Content-Disposition: form-data; name=\"model \"",
        ],
    ),
    (
        "must not be a file",
        &["Content-Disposition: form-data; name=\"model\"; filename=\"m\""],
    ),
    (
        "must be text/plain",
        &[
            "Content-Disposition: form-data; name=\"model\"; filename=\"\"",
            "Content-Disposition: form-data; name=\"model\"\r\nContent-Type: application/octet-stream",
            "Content-Disposition: form-data; name=\"model\"\r\nContent-Type:",
        ],
    ),
];

#[test]
fn a_part_that_could_be_read_in_two_ways_is_refused() {
    for (why, heads) in CROOKED_HEADS {
        for head in *heads {
            let Err(Unreadable(told)) = read(one(head, "v").as_bytes()).map(|_| ()) else {
                panic!("{head} is read");
            };
            assert!(told.contains(why), "{head}: {told}");
        }
    }
    let field = "----x-1\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n1\r\n";
    let twice = format!("{field}{field}----x-1--");
    assert!(read(twice.as_bytes()).is_err());
    assert!(
        read(b"----x-1\r\nContent-Disposition: form-data; name=\"a\xff\"\r\n\r\n\r\n----x-1--")
            .is_err()
    );
    let latin = "Content-Disposition: form-data; name=\"a\"\r\nContent-Type: text/plain; charset=iso-8859-1";
    assert!(read(one(latin, "v").as_bytes()).is_ok());
    assert!(read(one(latin, "\u{e9}").as_bytes()).is_err());
}

/// Heads of one field and one file as real clients send them, with their headers in the clients' order.
const CLIENTS: &[(&str, &str, &str)] = &[
    (
        "OpenAI's Python SDK, httpx, undici and browsers",
        "Content-Disposition: form-data; name=\"model\"",
        "Content-Disposition: form-data; name=\"file\"; filename=\"h\u{f6}r zu.wav\"\r\nContent-Type: audio/wav",
    ),
    (
        "Chromium, of a name with quotes and line ends",
        "Content-Disposition: form-data; name=\"model\"",
        "Content-Disposition: form-data; name=\"file\"; filename=\"a%22b%0D%0A.wav\"\r\nContent-Type: application/octet-stream",
    ),
    (
        "Python's requests",
        "Content-Disposition: form-data; name=\"model\"",
        "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"",
    ),
    (
        "aiohttp",
        "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=\"model\"",
        "Content-Type: application/octet-stream\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"",
    ),
    (
        "Go's mime/multipart",
        "Content-Disposition: form-data; name=\"model\"",
        "Content-Disposition: form-data; name=\"file\"; filename=\"a \\\\ b.wav\"\r\nContent-Type: application/octet-stream",
    ),
    (
        "curl",
        "Content-Disposition: form-data; name=\"model\"",
        "Content-Disposition: form-data; name=\"file\"; filename=\"a;b.wav\"\r\nContent-Type: audio/wav",
    ),
    (
        "OkHttp",
        "Content-Disposition: form-data; name=\"model\"\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 1",
        "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\nContent-Length: 4",
    ),
    (
        "Apache HttpClient",
        "Content-Disposition: form-data; name=\"model\"\r\nContent-Type: text/plain; charset=ISO-8859-1\r\nContent-Transfer-Encoding: 8bit",
        "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary",
    ),
    (
        "OpenAI's .NET SDK",
        "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=model",
        "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"",
    ),
];

#[test]
fn the_forms_of_real_clients_are_read_and_rewritten() {
    for (client, field, file) in CLIENTS {
        let text = format!(
            "----x-1\r\n{field}\r\n\r\nm\r\n----x-1\r\n{file}\r\n\r\nRIFF\r\n----x-1--\r\n"
        );

        let form = read(text.as_bytes()).unwrap_or_else(|why| panic!("{client}: {why:?}"));
        let files: Vec<_> = form.files().collect();
        let written = form.with_model(Some("longer")).unwrap();

        assert_eq!(form.field("model"), Ok(Some("m")), "{client}");
        assert_eq!(files, [b"RIFF"], "{client}");
        let again = read(&written).unwrap_or_else(|why| panic!("{client}: {why:?}"));
        assert_eq!(again.field("model"), Ok(Some("longer")), "{client}");
        assert_eq!(again.files().collect::<Vec<_>>(), files, "{client}");
    }
}

#[test]
fn the_number_of_parts_is_bounded() {
    let field = "----x-1\r\nContent-Disposition: form-data; name=\"a[]\"\r\n\r\n1\r\n";
    let end = "----x-1--";
    assert!(read((field.repeat(200) + end).as_bytes()).is_ok());
    assert!(read((field.repeat(201) + end).as_bytes()).is_err());
}

/// Most readers replace `\xff` with three bytes, and some with two.
#[test]
fn a_field_that_is_not_utf_8_is_refused() {
    let form = b"----x-1\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\xff\r\n----x-1--";
    assert_eq!(read(form).unwrap_err(), refused("a field is not UTF-8"));
}

#[test]
fn binary_field_counts_as_a_file_and_as_a_text() {
    for head in [
        "Content-Disposition: form-data; name=\"a\"\r\nContent-Type: application/octet-stream",
        "Content-Disposition: form-data; name=\"a\"; filename=\"\"",
    ] {
        let form = one(head, "12");
        let form = read(form.as_bytes()).unwrap();
        assert_eq!(form.files().collect::<Vec<_>>(), [b"12"]);
        assert_eq!(form.length_without(&[]), 2);
    }
}

#[test]
fn a_form_leaves_with_the_content_type_that_every_reader_knows() {
    for (kind, expected) in [
        ("Multipart/Form-Data; Boundary=a;", "a"),
        ("multipart/form-data; charset=us-ascii; boundary=\"a\"", "a"),
        ("multipart/form-data; boundary====a==", "\"===a==\""),
        ("multipart/form-data; boundary=\"a b\"", "\"a b\""),
    ] {
        let expected = format!("multipart/form-data; boundary={expected}");
        assert_eq!(Form::content_type(kind).unwrap(), expected);
    }
}

#[test]
fn a_boundary_is_taken_from_the_content_type() {
    for (kind, expected) in [
        ("multipart/form-data; boundary=abc", Some("abc")),
        (
            "Multipart/Form-Data;charset=utf-8 ; Boundary=\"a b=c\" ;",
            Some("a b=c"),
        ),
        ("multipart/form-data; boundary====abc==", Some("===abc==")),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ("multipart/form-data; boundary=a; boundary=b", None),
        ("multipart/form-data; boundary=A; boundary*=utf-8''B", None),
        (
            "multipart/form-data; boundary=A; boundary*=utf-8''A%0D%0AX-J%3A%201",
            None,
        ),
        ("multipart/form-data; boundary*0=A; boundary*1=B", None),
        ("multipart/form-data; boundary=A; BOUNDARY*0=B", None),
        ("multipart/form-data; boundary=a; charset=utf-7", None),
        ("multipart/form-data; boundary=a; charset=iso-8859-1", None),
        ("multipart/form-data; boundary=a; type=b", None),
        ("multipart/form-data; boundary=a; b\u{1d0f}undary=b", None),
        ("multipart/form-data; boundary =a", None),
        ("multipart/form-data, multipart/form-data; boundary=a", None),
        ("multipart/form-data; boundary=a, b", None),
        ("multipart/form-data; boundary=\"a", None),
        ("multipart/form-data; boundary=\"a \"", None),
        ("multipart/form-data; boundary=\"a\"b", None),
        ("multipart/form-data; boundary=a\u{e9}", None),
        ("multipart/mixed; boundary=abc", None),
        ("application/json", None),
    ] {
        assert_eq!(head::boundary(kind).ok(), expected, "{kind}");
    }
}

#[test]
fn fields_are_numbers_and_flags() {
    let head = "Content-Disposition: form-data; name=\"n\"";
    for (value, expected) in [
        ("3", Some(Some(3))),
        ("", Some(None)),
        ("2.0", None),
        ("-1", None),
    ] {
        let text = one(head, value);
        assert_eq!(read(text.as_bytes()).unwrap().count("n").ok(), expected);
        let text = one(&head.replace("\"n\"", "\"stream\""), "maybe");
        assert!(read(text.as_bytes()).unwrap().flag("stream").is_err());
    }
}

proptest! {
    #[test]
    fn form_round_trips_unchanged(
        fields in proptest::collection::vec(("[a-k]{1,4}", proptest::collection::vec(any::<u8>(), 0..40)), 0..6),
    ) {
        let mut bytes = Vec::new();
        for (name, value) in &fields {
            bytes.extend(format!("----x-1\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n").bytes());
            bytes.extend(value);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"----x-1--\r\n");
        let form = read(&bytes).unwrap();
        let values: Vec<_> = form.files().collect();
        let expected: Vec<_> = fields.iter().map(|(_, value)| value.as_slice()).collect();
        prop_assert_eq!(&values, &expected);
        prop_assert_eq!(form.with_model(None).unwrap(), bytes.clone());
        let added = form.with_model(Some("m")).unwrap();
        prop_assert!(added.ends_with(&bytes));
        let added = read(&added).unwrap();
        prop_assert_eq!(added.field("model"), Ok(Some("m")));
        prop_assert_eq!(added.files().count(), fields.len());
    }

    #[test]
    fn any_bytes_are_read_without_panic(
        text in "((\r|\n|-|x|1|:|;|=|\"|name|Content-Disposition: form-data|----x-1|\r\n----x-1|\r\n){0,12})(----x-1--)?",
        kind in "\\PC{0,20}|multipart/form-data; ?boundary=\\PC{0,5}",
    ) {
        let framed = format!("----x-1\r\n{text}");
        for bytes in [text.as_bytes(), framed.as_bytes()] {
            let _ = read(bytes).map(|form| form.with_model(Some("m")));
            let _ = Form::read(&body(bytes, &kind), KNOWN, &[]);
        }
    }
}
