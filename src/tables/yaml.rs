//! Parses YAML into a tree whose keys and values know their line and column, so that later faults can name a
//! place.
//!
//! Environment references (`${NAME}`, `${NAME:-default}`) are expanded in values while the tree is built.
//! This file knows no setting. It rejects anchors, aliases, tags, duplicate keys, several documents and
//! nesting beyond `MAX_DEPTH`.

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Number, Value};

use super::node::joined;
use super::references::{Env, expand, reveal, shield};

/// Nesting limit: prevents a stack overflow of the recursive [`Builder`]. A settings file is a few levels
/// deep.
const MAX_DEPTH: usize = 64;

/// Line and column, both counted from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    pub const START: Place = Place { line: 1, column: 1 };
}

/// A key of a mapping, and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    pub name: String,
    pub place: Place,
}

/// A value, and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct YamlNode {
    pub place: Place,
    pub kind: NodeKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum NodeKind {
    Map(Vec<(Key, YamlNode)>),
    List(Vec<YamlNode>),
    /// A `quoted` scalar is always a string, even `"12"`; block scalars count as quoted.
    Scalar {
        text: String,
        quoted: bool,
    },
}

/// An error in the YAML text itself.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntaxError {
    pub place: Place,
    pub path: String,
    pub message: String,
}

/// Parses `text`; returns the tree as far as it could be parsed, and all errors.
pub fn parse(text: &str, env: Env) -> (Option<YamlNode>, Vec<SyntaxError>) {
    let text = match shield(text) {
        Ok(text) => text,
        Err((line, column)) => {
            let flaw = SyntaxError {
                place: Place { line, column },
                path: String::new(),
                message: "a character of the private use area".to_owned(),
            };
            return (None, vec![flaw]);
        }
    };
    let mut builder = Builder {
        parser: Parser::new_from_str(&text),
        env,
        flaws: Vec::new(),
    };
    let root = builder.document().unwrap_or(None);
    (root, builder.flaws)
}

impl YamlNode {
    /// Whether the value is empty or YAML's `null`, which both leave a setting at its default.
    pub(crate) fn is_unset(&self) -> bool {
        match &self.kind {
            NodeKind::Scalar { text, quoted } => text.is_empty() || (!quoted && is_null(text)),
            NodeKind::Map(_) | NodeKind::List(_) => false,
        }
    }

    /// Converts the value for the reader of settings: every scalar is a text, and one that is unset is null.
    pub fn texts(&self) -> Value {
        match &self.kind {
            NodeKind::Map(entries) => {
                let entries = entries.iter();
                let entries = entries.map(|(key, node)| (key.name.clone(), node.texts()));
                Value::Object(entries.collect())
            }
            NodeKind::List(items) => items.iter().map(YamlNode::texts).collect(),
            NodeKind::Scalar { .. } if self.is_unset() => Value::Null,
            NodeKind::Scalar { text, .. } => Value::String(text.clone()),
        }
    }

    /// Converts the value to JSON by YAML's core schema. Numbers that JSON cannot express (`.inf`, `.nan`)
    /// stay strings.
    pub fn json(&self) -> Value {
        match &self.kind {
            NodeKind::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, node)| (key.name.clone(), node.json()))
                    .collect::<Map<_, _>>(),
            ),
            NodeKind::List(items) => Value::Array(items.iter().map(YamlNode::json).collect()),
            NodeKind::Scalar { text, quoted: true } => Value::String(text.clone()),
            NodeKind::Scalar { text, .. } => plain_json(text),
        }
    }

    /// Returns the place of a dotted path (`user_groups.anonymous.tokens`, `fallbacks.0`, `fallbacks[0]`): of
    /// the key in a mapping, of the item in a list, or else of the deepest ancestor that exists.
    pub(crate) fn place_of(&self, path: &str) -> Option<Place> {
        let path = path.trim_start_matches('.');
        let (place, node, rest) = match &self.kind {
            // Keys may contain dots themselves (`gpt-4.1`), so the longest matching key is used.
            NodeKind::Map(entries) => entries
                .iter()
                .filter_map(|(key, node)| {
                    let rest = path.strip_prefix(key.name.as_str())?;
                    let ends = rest.is_empty() || rest.starts_with(['.', '[']);
                    ends.then_some((key.place, node, rest))
                })
                .min_by_key(|(_, _, rest)| rest.len())?,
            NodeKind::List(items) => {
                let path = path.trim_start_matches('[');
                let end = path.find(|c: char| !c.is_ascii_digit());
                let (index, rest) = path.split_at(end.unwrap_or(path.len()));
                let item = items.get(index.parse::<usize>().ok()?)?;
                (item.place, item, rest.trim_start_matches(']'))
            }
            NodeKind::Scalar { .. } => return None,
        };
        node.place_of(rest).or(Some(place))
    }
}

/// Error that ends the parse; the [`SyntaxError`] is already recorded.
struct Stop;

struct Builder<'t, 'e> {
    parser: Parser<'t, StrInput<'t>>,
    env: Env<'e>,
    flaws: Vec<SyntaxError>,
}

impl<'t> Builder<'t, '_> {
    fn next(&mut self) -> Result<(Event<'t>, Place), Stop> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, place(&span.start))),
            Some(Err(error)) => {
                let message = format!("not valid YAML: {}", reveal(error.info()));
                self.flaw(place(error.marker()), "", message);
                Err(Stop)
            }
            None => Ok((Event::StreamEnd, Place::START)),
        }
    }

    fn flaw(&mut self, place: Place, path: &str, message: impl Into<String>) {
        self.flaws.push(SyntaxError {
            place,
            path: path.to_owned(),
            message: message.into(),
        });
    }

    fn document(&mut self) -> Result<Option<YamlNode>, Stop> {
        let mut root = None;
        loop {
            let (event, place) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::Nothing
                | Event::StreamStart
                | Event::DocumentStart(_)
                | Event::DocumentEnd => {}
                _ if root.is_some() => {
                    self.flaw(place, "", "a second document; one file holds one");
                    return Ok(root);
                }
                event => root = Some(self.node(event, place, "", MAX_DEPTH)?),
            }
        }
    }

    fn node(
        &mut self,
        event: Event<'t>,
        place: Place,
        path: &str,
        deeper: usize,
    ) -> Result<YamlNode, Stop> {
        if deeper == 0 {
            let message = format!("nested more than {MAX_DEPTH} levels deep");
            self.flaw(place, path, message);
            return Err(Stop);
        }
        let kind = match event {
            Event::MappingStart(anchor, tag) => {
                self.refuse_properties(place, path, anchor, tag.is_some());
                NodeKind::Map(self.entries(path, deeper - 1)?)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_properties(place, path, anchor, tag.is_some());
                NodeKind::List(self.items(path, deeper - 1)?)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_properties(place, path, anchor, tag.is_some());
                let written = reveal(&text);
                let text = expand(&written, self.env).unwrap_or_else(|message| {
                    self.flaw(place, path, message);
                    String::new()
                });
                // A reference to an unset variable is an empty string; an absent value is `null`.
                let emptied = text.is_empty() && !written.is_empty();
                NodeKind::Scalar {
                    text,
                    quoted: style != ScalarStyle::Plain || emptied,
                }
            }
            Event::Alias(_) => {
                self.flaw(place, path, "aliases (*name) are not supported");
                NodeKind::Scalar {
                    text: String::new(),
                    quoted: false,
                }
            }
            _ => {
                self.flaw(place, path, "not valid YAML: a value is missing");
                return Err(Stop);
            }
        };
        Ok(YamlNode { place, kind })
    }

    /// Records a [`SyntaxError`] for an anchor or a tag.
    fn refuse_properties(&mut self, place: Place, path: &str, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.flaw(place, path, "anchors (&name) are not supported");
        }
        if tagged {
            self.flaw(place, path, "tags (!name) are not supported");
        }
    }

    /// Parses a mapping up to its end; a duplicate key is a [`SyntaxError`] and the first one is kept.
    fn entries(&mut self, path: &str, deeper: usize) -> Result<Vec<(Key, YamlNode)>, Stop> {
        let mut entries: Vec<(Key, YamlNode)> = Vec::new();
        loop {
            let (event, place) = self.next()?;
            let name = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(text, _, anchor, tag) => {
                    self.refuse_properties(place, path, anchor, tag.is_some());
                    reveal(&text)
                }
                _ => {
                    self.flaw(place, path, "a key must be a plain name");
                    return Err(Stop);
                }
            };
            let key_path = joined(path, &name);
            let (event, value_place) = self.next()?;
            let node = self.node(event, value_place, &key_path, deeper)?;
            if let Some((first, _)) = entries.iter().find(|(key, _)| key.name == name) {
                let line = first.place.line;
                let message = format!("duplicate key {name:?}, first written in line {line}");
                self.flaw(place, &key_path, message);
            } else {
                entries.push((Key { name, place }, node));
            }
        }
    }

    fn items(&mut self, path: &str, deeper: usize) -> Result<Vec<YamlNode>, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, place) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            let item_path = format!("{path}[{}]", items.len());
            items.push(self.node(event, place, &item_path, deeper)?);
        }
    }
}

fn place(marker: &saphyr_parser::Marker) -> Place {
    Place {
        line: marker.line().max(1),
        column: marker.col() + 1,
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn plain_json(text: &str) -> Value {
    match text {
        _ if is_null(text) => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

/// Parses a YAML number. Unlike Rust, YAML allows `+1`, `.5` and `0x1F`, but not the word `inf`.
fn number(text: &str) -> Option<Number> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let number = u64::from_str_radix(digits, radix).ok();
            return number
                .filter(|_| !digits.starts_with('+'))
                .map(Number::from);
        }
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    if let Ok(whole) = text.parse::<u64>() {
        return Some(whole.into());
    }
    text.parse().ok().and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn env(name: &str) -> Option<String> {
        match name {
            "TOKEN" => Some("s3cret, {x}: #1".to_owned()),
            "COUNT" => Some("42".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn read(text: &str) -> YamlNode {
        let (node, flaws) = parse(text, &env);
        assert_eq!(flaws, []);
        node.unwrap()
    }

    fn flaws(text: &str) -> Vec<String> {
        let (_, flaws) = parse(text, &env);
        let line = |f: SyntaxError| {
            format!(
                "{}:{} {} {}",
                f.place.line, f.place.column, f.path, f.message
            )
        };
        flaws.into_iter().map(line).collect()
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let cases = [
            ("", json!(null)),
            ("~", json!(null)),
            ("null", json!(null)),
            ("true", json!(true)),
            ("False", json!(false)),
            ("yes", json!("yes")),
            ("12", json!(12)),
            ("-12", json!(-12)),
            ("+12", json!(12)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("9007199254740991", json!(9_007_199_254_740_991_u64)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            (".inf", json!(".inf")),
            ("inf", json!("inf")),
            ("1.2.3", json!("1.2.3")),
            ("2024-12-17", json!("2024-12-17")),
            ("\"12\"", json!("12")),
            ("'true'", json!("true")),
        ];
        for (text, meant) in cases {
            assert_eq!(
                read(&format!("a: {text}")).json(),
                json!({ "a": meant }),
                "{text}"
            );
        }
    }

    #[test]
    fn keys_keep_their_order_and_places() {
        let node = read("# first\nzeta: 1\nalpha:\n  list: [a, b]\n  gpt-4.1: 2\n");
        assert_eq!(
            node.json().to_string(),
            r#"{"zeta":1,"alpha":{"list":["a","b"],"gpt-4.1":2}}"#
        );
        let at = |path| {
            node.place_of(path)
                .map(|place| (place.line, place.column))
                .unwrap()
        };
        assert_eq!(at("zeta"), (2, 1));
        assert_eq!(at("alpha.list"), (4, 3));
        assert_eq!(at("alpha.list[1]"), (4, 13));
        assert_eq!(at("alpha.list.1"), (4, 13));
        assert_eq!(at("alpha.gpt-4.1"), (5, 3));
        assert_eq!(at("alpha.missing.deep"), (3, 1));
        assert_eq!(node.place_of("missing"), None);
    }

    #[test]
    fn references_are_replaced_in_flow_and_block_and_in_part() {
        let text = "a: {t: ${TOKEN}, n: ${COUNT}, q: \"${COUNT}\", u: ${UNSET}, d: ${UNSET:-x, y}}\n\
                    b: v${COUNT}.${UNSET:-0}\nc: {e: $${COUNT}, f: '$${'}\nd: ${EMPTY:-full}\ne: cost $5\n";
        assert_eq!(
            read(text).json(),
            json!({
                "a": {"t": "s3cret, {x}: #1", "n": 42, "q": "42", "u": "", "d": "x, y"},
                "b": "v42.0", "c": {"e": "${COUNT}", "f": "${"}, "d": "full", "e": "cost $5",
            })
        );
        assert_eq!(
            read(text).place_of("a.d"),
            Some(Place {
                line: 1,
                column: 59
            })
        );
    }

    #[test]
    fn a_reference_to_nothing_is_unset() {
        let node = read("token: ${UNSET}\nnothing:\nquoted: ''\nsome: x");
        let NodeKind::Map(entries) = node.kind else {
            panic!("a mapping")
        };
        let unset: Vec<bool> = entries.iter().map(|(_, node)| node.is_unset()).collect();
        assert_eq!(unset, [true, true, true, false]);
    }

    #[test]
    fn unsupported_yaml_is_refused_with_its_place() {
        assert_eq!(
            flaws("a:\n  b: 1\n  b: 2\n"),
            ["3:3 a.b duplicate key \"b\", first written in line 2"]
        );
        assert_eq!(
            flaws("a: &x 1\nb: *x\n"),
            [
                "1:4 a anchors (&name) are not supported",
                "2:4 b aliases (*name) are not supported"
            ]
        );
        assert_eq!(
            flaws("a: !!str 1\n"),
            ["1:4 a tags (!name) are not supported"]
        );
        assert_eq!(
            flaws("a: 1\n---\nb: 2\n"),
            ["3:1  a second document; one file holds one"]
        );
        assert_eq!(flaws("? [a]\n: 1\n"), ["1:3  a key must be a plain name"]);
        assert_eq!(
            flaws("a: \u{F0041}"),
            ["1:4  a character of the private use area"]
        );
        let broken = flaws("a: [1\nb: 2\n");
        assert!(broken[0].contains("not valid YAML"), "{broken:?}");
    }

    #[test]
    fn depth_is_bounded() {
        assert!(parse(&"[".repeat(100_000), &env).0.is_none());
        let deep = format!("{}1{}", "[".repeat(80), "]".repeat(80));
        assert!(flaws(&deep)[0].contains("nested more than 64 levels deep"));
    }

    #[test]
    fn an_empty_text_is_no_tree() {
        assert_eq!(parse("# nothing\n", &env), (None, vec![]));
    }
}
