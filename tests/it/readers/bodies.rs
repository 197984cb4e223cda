//! JSON bodies that parsers could interpret differently: valid ones with a few changes to members, tokens and
//! bytes. The seed determines the body.

use super::pick;
use crate::fuzz::{Dice, mutated};
use serde_json::Value;

/// A JSON value as written.
#[derive(Clone)]
enum Node {
    Text(String),
    List(Vec<Node>),
    /// Names include their quotes.
    Object(Vec<(String, Node)>),
}

const CHATS: &[&str] = &[
    r#"{"model":"m","max_tokens":16,"messages":[{"role":"user","content":"Hello there"}]}"#,
    r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"max_completion_tokens":20,"messages":[{"role":"system","content":"Be brief"},{"role":"user","content":[{"type":"text","text":"What is it?"},{"type":"image_url","image_url":{"url":"https://x.example/a.png","detail":"low"}}]}]}"#,
    r#"{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"4"}],"tools":[{"type":"function","function":{"name":"f","description":"Adds","parameters":{"type":"object","properties":{"a":{"type":"number"}}}}}],"n":2,"temperature":0.5}"#,
    r#"{"model":"m","n_predict":9,"store":false,"n":1,"metadata":{"a":"b"},"response_format":{"type":"json_object"},"user":"u","stop":["x"],"messages":[{"role":"user","content":"Hi"}]}"#,
];

const RESPONSES: &[&str] = &[
    r#"{"model":"m","max_output_tokens":20,"input":"Hello there","instructions":"Be brief","store":true}"#,
    r#"{"model":"m","stream":true,"input":[{"role":"user","content":[{"type":"input_text","text":"Hi"},{"type":"input_image","image_url":"https://x.example/a.png"}]},{"type":"function_call_output","call_id":"c","output":"4"}],"tools":[{"type":"function","name":"f","parameters":{}},{"type":"web_search"}],"reasoning":{"effort":"low"}}"#,
];

const COMPLETIONS: &[&str] = &[
    r#"{"model":"m","prompt":"Once upon a time","max_tokens":16}"#,
    r#"{"model":"m","prompt":["Once","upon a time"],"n":2,"best_of":3,"max_tokens":5,"suffix":"end","logprobs":1,"stream":true}"#,
    r#"{"model":"m","prompt":[1,2,3],"echo":true,"n_predict":7}"#,
];

const EMBEDDINGS: &[&str] = &[
    r#"{"model":"m","input":"Hello there","encoding_format":"float"}"#,
    r#"{"model":"m","input":["a","bc"],"dimensions":8,"user":"u"}"#,
];

const IMAGES: &[&str] = &[
    r#"{"model":"m","prompt":"A cat","n":2,"size":"1024x1024"}"#,
    r#"{"prompt":"A cat","stream":true,"quality":"low"}"#,
];

const MESSAGES: &[&str] = &[
    r#"{"model":"m","max_tokens":16,"messages":[{"role":"user","content":"Hello there"}]}"#,
    r#"{"model":"m","max_tokens":30,"stream":true,"system":[{"type":"text","text":"Be brief","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"text","text":"Hi"},{"type":"image","source":{"type":"url","url":"https://x.example/a.png"}},{"type":"tool_result","tool_use_id":"t","content":"4"}]}],"tools":[{"name":"f","input_schema":{"type":"object"}},{"type":"web_search_20250305","name":"web_search"}],"metadata":{"user_id":"u"}}"#,
];

fn seeds(path: &str) -> &'static [&'static str] {
    match path {
        "chat/completions" => CHATS,
        "responses" => RESPONSES,
        "completions" => COMPLETIONS,
        "embeddings" => EMBEDDINGS,
        "images/generations" => IMAGES,
        _ => MESSAGES,
    }
}

/// Members that raise the cost of a call or change its route.
const DEAR: &[&str] = &[
    "model",
    "messages",
    "input",
    "prompt",
    "tools",
    "system",
    "stream",
    "store",
    "n",
    "n_cmpl",
    "best_of",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n_predict",
    "num_predict",
    "max_new_tokens",
    "max_length",
    "logprobs",
    "options",
    "background",
    "use_beam_search",
    "service_tier",
    "thinking",
    "reasoning",
    "stream_options",
    "chat_template_kwargs",
    "__proto__",
    "temperature",
    "top_k",
    "user",
    "stop",
];

/// Values that parsers interpret differently.
const ODD: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "100",
    "50000",
    "1e3",
    "1E+3",
    "1e-3",
    "1.0",
    "12.5",
    "0.1e1",
    "1e400",
    "-1e400",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "01",
    "+1",
    "1.",
    ".5",
    "0x10",
    "1_000",
    "NaN",
    "Infinity",
    "-Infinity",
    "nil",
    "None",
    "True",
    "undefined",
    "'a'",
    "\"100\"",
    "\"50000\"",
    "\"1e3\"",
    "\" 100 \"",
    "\"true\"",
    "\"no\"",
    "\"\"",
    "\"m\"",
    "\"dear\"",
    "\"d\\u0065ar\"",
    "\"it/dear\"",
    "\"dear\\u0000\"",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"\\udc00\\ud800\"",
    "\"\u{fdfa}\"",
    "\"\\ufdfa\"",
    "\"\\x41\"",
    "\"\\/\"",
    "\"\u{2028}\"",
    "\"a\\",
    "[]",
    "{}",
    "[100]",
    "[1,2,3]",
    "[[1],[2]]",
    "[\"a\",\"b\",\"c\"]",
    "[\"a\",1]",
    "[null]",
    "{\"a\":1}",
    "{\"num_predict\":50000}",
    "{\"max_tokens\":50000}",
    "{\"type\":\"web_search\"}",
    "[{\"type\":\"web_search\"}]",
    "[{\"type\":\"function\",\"Type\":\"web_search\"}]",
    "[{\"role\":\"user\",\"content\":\"A longer text than there was before in this place\"}]",
    "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x.example/b.png\"}}",
];

/// White space and skipped bytes of some parsers.
const BLANKS: &[&[u8]] = &[
    b" ",
    b"\n",
    b"\r\n",
    b"\t",
    b"\x0c",
    b"\x0b",
    b"\0",
    b"\x1e",
    b"\xc2\xa0",
    b"\xe2\x80\xa8",
    b"\xef\xbb\xbf",
    b"\xe3\x80\x80",
    b"/* a */",
    b"// a\n",
    b"# a\n",
    b"<!-- a -->",
];

/// Byte sequences inside strings that parsers treat differently.
const BYTES: &[&[u8]] = &[
    b"\xff",
    b"\xc0\x80",
    b"\xc1\xa1",
    b"\xe0\x80\xa2",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc3",
    b"\x80",
    b"\0",
    b"\x1f",
    b"\x7f",
    b"\n",
    b"\\u0000",
    b"\\ud800",
    b"\\u00",
    b"\\a",
    b"\\\"",
    b"\"",
    b"\xef\xb7\xba",
];

/// Bytes before or after a body.
const AROUND: &[&[u8]] = &[
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\x1e",
    b"\0",
    b" ",
    b"\n\n",
    b"{}",
    b"{\"max_tokens\":50000}",
    b",",
    b"]",
    b"}",
    b"null",
    b")]}'\n",
    b";",
    b"\x1a",
];

impl Node {
    fn of(value: &Value) -> Node {
        match value {
            Value::Array(list) => Node::List(list.iter().map(Node::of).collect()),
            Value::Object(members) => {
                let member = |(name, value): (&String, &Value)| {
                    (Value::from(name.as_str()).to_string(), Node::of(value))
                };
                Node::Object(members.iter().map(member).collect())
            }
            scalar => Node::Text(scalar.to_string()),
        }
    }

    /// Number of objects within it.
    fn objects(&self) -> usize {
        match self {
            Node::Text(_) => 0,
            Node::List(list) => list.iter().map(Node::objects).sum(),
            Node::Object(members) => {
                1 + members
                    .iter()
                    .map(|(_, value)| value.objects())
                    .sum::<usize>()
            }
        }
    }

    /// Members of the object with this index, outermost first.
    fn object(&mut self, at: &mut usize) -> Option<&mut Vec<(String, Node)>> {
        match self {
            Node::Text(_) => None,
            Node::List(list) => list.iter_mut().find_map(|node| node.object(at)),
            Node::Object(members) => {
                if *at == 0 {
                    return Some(members);
                }
                *at -= 1;
                members.iter_mut().find_map(|(_, node)| node.object(at))
            }
        }
    }

    fn write(&self, out: &mut Vec<u8>, tokens: &mut Vec<usize>) {
        tokens.push(out.len());
        match self {
            Node::Text(text) => out.extend_from_slice(text.as_bytes()),
            Node::List(list) => {
                out.push(b'[');
                for (at, node) in list.iter().enumerate() {
                    out.extend_from_slice(if at > 0 { b"," } else { b"" });
                    node.write(out, tokens);
                }
                tokens.push(out.len());
                out.push(b']');
            }
            Node::Object(members) => {
                out.push(b'{');
                for (at, (name, node)) in members.iter().enumerate() {
                    out.extend_from_slice(if at > 0 { b"," } else { b"" });
                    tokens.push(out.len());
                    out.extend_from_slice(name.as_bytes());
                    tokens.push(out.len());
                    out.push(b':');
                    node.write(out, tokens);
                }
                tokens.push(out.len());
                out.push(b'}');
            }
        }
    }
}

/// Another spelling of a name that some parser treats as equal.
fn respelt(name: &str, dice: &mut Dice) -> String {
    let at = dice.throw(name.len().saturating_sub(2)) + 1;
    let (before, after) = name.split_at(name.floor_char_boundary(at.min(name.len() - 1)));
    let first = after.chars().next().unwrap_or('"');
    match dice.throw(16) {
        0 => name.to_uppercase(),
        1 => format!("{before}{}", after.to_uppercase()),
        2 => format!(
            "{before}{}{}",
            first.to_uppercase(),
            &after[first.len_utf8()..]
        ),
        3 => name.replacen('s', "\u{17f}", 1),
        4 => name.replacen('k', "\u{212a}", 1),
        5 => format!(
            "{before}\\u{:04x}{}",
            u32::from(first),
            &after[first.len_utf8()..]
        ),
        6 => name.replace('_', "-"),
        7 => name.replace('_', ""),
        8 => name.replacen('e', "\u{435}", 1),
        9 => format!("{before} {after}"),
        10 => format!("{before}\\u0000{after}"),
        11 => format!("{before}\u{200b}{after}"),
        12 => format!("{}[]\"", name.trim_end_matches('"')),
        13 => name.trim_matches('"').to_owned(),
        14 => name.replace('"', "'"),
        _ => name.replacen('i', "\u{131}", 1),
    }
}

/// Changes the members of one object.
fn change(node: &mut Node, dice: &mut Dice) {
    let all = node.objects();
    // Half of all changes affect the top level.
    let mut at = if dice.throw(2) == 0 {
        0
    } else {
        dice.throw(all)
    };
    let Some(members) = node.object(&mut at) else {
        return;
    };
    let odd = Node::Text(pick(ODD, dice).to_owned());
    let place = dice.throw(members.len() + 1);
    let one = dice.throw(members.len());
    let known = format!("\"{}\"", pick(DEAR, dice));
    match dice.throw(9) {
        0 if !members.is_empty() => {
            let again = members[one].clone();
            members.insert(place, again);
        }
        1 if !members.is_empty() => {
            let name = members[one].0.clone();
            members.insert(place, (name, odd));
        }
        2 if !members.is_empty() => {
            let name = respelt(&members[one].0, dice);
            members.insert(place, (name, odd));
        }
        3 if !members.is_empty() => members[one].0 = respelt(&members[one].0, dice),
        4 => members.insert(place, (respelt(&known, dice), odd)),
        5 | 6 if !members.is_empty() => members[one].1 = odd,
        7 if !members.is_empty() => drop(members.remove(one)),
        _ => members.insert(place, (known, odd)),
    }
}

fn deeper(node: Node, dice: &mut Dice) -> Node {
    let levels = [1, 2, 120, 127, 129, 1_100][dice.throw(6)];
    let wrap = |node, _| Node::List(vec![node]);
    (0..levels).fold(node, wrap)
}

/// Body for this seed.
pub fn body(path: &str, dice: &mut Dice) -> Vec<u8> {
    let seeds = seeds(path);
    let seed = pick(seeds, dice);
    let mut node = Node::of(&serde_json::from_str(seed).expect("a seed"));
    let changes = [0, 1, 1, 1, 1, 2, 2, 3][dice.throw(8)];
    for _ in 0..changes {
        change(&mut node, dice);
    }
    if dice.throw(60) == 0
        && let Node::Object(members) = &mut node
        && !members.is_empty()
    {
        let at = dice.throw(members.len());
        let value = std::mem::replace(&mut members[at].1, Node::Text(String::new()));
        members[at].1 = deeper(value, dice);
    }
    let (mut bytes, mut tokens) = (Vec::new(), Vec::new());
    node.write(&mut bytes, &mut tokens);
    let put = |bytes: &mut Vec<u8>, at: usize, what: &[u8]| {
        bytes.splice(at..at, what.iter().copied());
    };
    match dice.throw(24) {
        0..=2 => put(
            &mut bytes,
            tokens[dice.throw(tokens.len())],
            pick(BLANKS, dice),
        ),
        3 | 4 => {
            let at = dice.throw(bytes.len());
            put(&mut bytes, at, pick(BYTES, dice));
        }
        5 => put(&mut bytes, 0, pick(AROUND, dice)),
        6 => bytes.extend_from_slice(pick(AROUND, dice)),
        7 => put(&mut bytes, tokens[dice.throw(tokens.len())], b","),
        8 => bytes = utf16(&bytes),
        9 | 10 => {
            let others: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
            bytes = mutated(&bytes, &others, dice);
        }
        _ => {}
    }
    bytes
}

/// UTF-16, which some parsers detect.
fn utf16(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}
