//! Test texts for tokenizers: the same in every run, of all kinds that some tokenizer splits into many
//! tokens.

use std::sync::LazyLock;

use serde_json::{Value, json};
use unicode_normalization::UnicodeNormalization;

use crate::fuzz::Dice;

/// Common English words of the gateway's list.
pub static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    include_str!("../../../../src/dialect/words.txt")
        .lines()
        .collect()
});

/// Characters that a Unicode normal form lengthens, all composed ones first.
pub static GROWING: LazyLock<Vec<char>> = LazyLock::new(|| {
    let all = || '\0'..=char::MAX;
    let longer = |sign: char, bytes: usize| bytes > sign.len_utf8();
    let composed = |sign: &char| {
        longer(*sign, bytes(sign.nfc())) || longer(*sign, bytes(std::iter::once(*sign).nfkc()))
    };
    let mut signs: Vec<char> = all().filter(composed).collect();
    let apart = all().filter(|sign| !composed(sign));
    signs.extend(apart.filter(|sign| longer(*sign, bytes(std::iter::once(*sign).nfkd()))));
    signs
});

fn bytes(form: impl Iterator<Item = char>) -> usize {
    form.map(char::len_utf8).sum()
}

/// Scripts that most vocabularies encode byte by byte, and unassigned ranges.
const RANGES: &[(u32, u32)] = &[
    (0x00, 0x7f),
    (0x80, 0x2ff),
    (0x300, 0x36f),
    (0x370, 0x58f),
    (0x590, 0x8ff),
    (0x900, 0xdff),
    (0xe00, 0xfff),
    (0x1000, 0x10ff),
    (0x1100, 0x11ff),
    (0x1200, 0x1cff),
    (0x1d00, 0x1fff),
    (0x2000, 0x2bff),
    (0x2c00, 0x33ff),
    (0x3041, 0x30ff),
    (0x4e00, 0x9fff),
    (0xa000, 0xabff),
    (0xac00, 0xd7a3),
    (0xe000, 0xf8ff),
    (0xf900, 0xfaff),
    (0xfb00, 0xffff),
    (0x10000, 0x11fff),
    (0x12000, 0x16fff),
    (0x1b000, 0x1d0ff),
    (0x1d100, 0x1d7ff),
    (0x1e000, 0x1f2ff),
    (0x1f300, 0x1faff),
    (0x20000, 0x323af),
    (0xe0000, 0xe01ef),
    (0xf0000, 0x10ffff),
];

const SPACES: &[char] = &[
    ' ', ' ', ' ', '\t', '\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{a0}', '\u{1680}', '\u{2003}',
    '\u{2028}', '\u{202f}', '\u{3000}', '\u{2581}', '\u{200b}', '\u{feff}',
];

/// Special tokens of vocabularies, and texts that resemble them.
const MARKS: &[&str] = &[
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|eot_id|>",
    "<|start|>",
    "<|channel|>",
    "[INST]",
    "[/INST]",
    "[TOOL_CALLS]",
    "<s>",
    "</s>",
    "<unk>",
    "<pad>",
    "<0x0A>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<bos>",
    "<tool_call>",
    "<think>",
    "<|",
    "|>",
    "\n\nHuman:",
    "\n\nAssistant:",
    "<｜begin▁of▁sentence｜>",
    "<｜User｜>",
    "▁",
    "▁▁",
    "Ġ",
    "<META>",
    "<EOT>",
    "<unused0>",
    "<mask>",
    "<reserved_106>",
    "<|reserved_special_token_0|>",
];

const CODE: &[&str] = &[
    "fn ",
    "def ",
    "return ",
    "self.",
    "->",
    "=>",
    "::",
    "{}",
    "()",
    "[];",
    "\n    ",
    "\n\t\t",
    "==",
    "!=",
    "&&",
    "/*",
    "*/",
    "//",
    "#include <",
    "std",
    "0x7fff",
    "1e-9",
    "\"",
    "'",
    "\\n",
    "${",
    "}",
    "x_1",
    "camelCase",
    "PascalCase",
    "SCREAMING_CASE",
    "kebab-case",
    "<div class=\"",
    "</div>",
    ";",
];

const JOINTS: &[&str] = &[
    "", "", " ", " ", "  ", "\n", ". ", ", ", "-", "_", "/", "'", "'s ", "1", "\u{301}", "é", "字",
    "\r\n", "\u{a0}", "\"", "(", ")", "\\", "#", "@", "\t",
];

pub const EVERY_PLACE: usize = PLACES.len();

const KINDS: &[fn(&mut Dice) -> String] = &[
    of_any,
    of_a_range,
    of_many_ranges,
    of_growing,
    of_marked_letters,
    of_one_sign,
    of_a_pattern,
    of_emoji,
    of_ideographs,
    of_jamo,
    of_spaces,
    of_controls,
    of_digits,
    of_base64,
    of_code,
    of_json,
    of_marks,
    of_joined_words,
    of_joined_words,
    of_cut_words,
    of_strange_words,
    of_everything,
];

/// `count` texts, cycling through the kinds.
pub fn texts(count: usize) -> Vec<String> {
    let mut dice = Dice::new(1);
    let kinds = KINDS.iter().cycle().take(count);
    kinds.map(|kind| kind(&mut dice)).collect()
}

/// Every lengthened character alone, repeated, and between letters.
pub fn growing() -> impl Iterator<Item = String> {
    let signs = GROWING.iter();
    signs.flat_map(|sign| {
        [
            sign.to_string(),
            sign.to_string().repeat(9),
            format!("a{sign}b {sign}"),
        ]
    })
}

/// Contexts of a word: `w` is the word, `W` has a capital. It is repeated, so that slack of one word does not
/// hide a deficit of another.
const PLACES: &[&str] = &[
    "w ",
    " w",
    "  w",
    "   w",
    "\tw",
    "\nw",
    "W",
    "xW",
    "wW",
    "-w",
    "(w)",
    "\"w\"",
    "1w",
    "w1",
    " W",
    "  W",
    "    W",
    "\nW",
    "w_",
    "w.",
    "é w",
    "字w",
    "/w",
    "#W",
    "_w",
    "\u{a0}w",
    "w\u{301} ",
    "w, W. ",
];
const IN_A_ROW: usize = 6;

/// Every common word in the first `places` contexts.
pub fn words(places: usize) -> impl Iterator<Item = String> {
    let words = WORDS.iter().enumerate();
    words.flat_map(move |(at, word)| {
        let (first, rest) = word.split_at(1);
        let large = first.to_ascii_uppercase() + rest;
        let place = move |number: usize| PLACES[(at + number) % PLACES.len()];
        (0..places).map(move |number| {
            let sign = |sign: char| match sign {
                'w' => (*word).to_owned(),
                'W' => large.clone(),
                sign => sign.to_string(),
            };
            let text: String = place(number).chars().map(sign).collect();
            text.repeat(IN_A_ROW)
        })
    })
}

fn one<T: Clone>(dice: &mut Dice, of: &[T]) -> T {
    of[dice.throw(of.len())].clone()
}

/// Mostly short lengths, sometimes long ones.
fn length(dice: &mut Dice) -> usize {
    let most = one(dice, &[3, 12, 40, 40, 150]);
    1 + dice.throw(most)
}

fn many(dice: &mut Dice, each: impl Fn(&mut Dice) -> char) -> String {
    (0..length(dice)).map(|_| each(dice)).collect()
}

fn sign(dice: &mut Dice, (first, last): (u32, u32)) -> char {
    let code = first + dice.throw((last - first + 1) as usize) as u32;
    char::from_u32(code).unwrap_or('\u{fffd}')
}

fn of_any(dice: &mut Dice) -> String {
    many(dice, |dice| sign(dice, (0, 0x0010_ffff)))
}

fn of_a_range(dice: &mut Dice) -> String {
    let range = one(dice, RANGES);
    many(dice, |dice| sign(dice, range))
}

fn of_many_ranges(dice: &mut Dice) -> String {
    many(dice, |dice| {
        let range = one(dice, RANGES);
        sign(dice, range)
    })
}

fn of_growing(dice: &mut Dice) -> String {
    many(dice, |dice| one(dice, &GROWING))
}

/// Letters with combining marks.
fn of_marked_letters(dice: &mut Dice) -> String {
    let letters: Vec<char> = "aeiouAEIOUcdnsyzÅãêơαωЖकড়がガ각".chars().collect();
    many(dice, |dice| match dice.throw(3) {
        0 => one(dice, &letters),
        1 => sign(dice, (0x300, 0x36f)),
        _ => one(
            dice,
            &[
                '\u{345}', '\u{93c}', '\u{5b8}', '\u{3099}', '\u{1dce}', '\u{e38}', '\u{0f71}',
            ],
        ),
    })
}

fn of_one_sign(dice: &mut Dice) -> String {
    let range = one(dice, RANGES);
    let times = one(dice, &[2, 17, 70, 333, 900]);
    sign(dice, range).to_string().repeat(times)
}

fn of_a_pattern(dice: &mut Dice) -> String {
    let piece = of_many_ranges(dice);
    let piece: String = piece.chars().take(5).collect();
    piece.repeat(1 + dice.throw(60))
}

fn of_emoji(dice: &mut Dice) -> String {
    let beside = [
        '\u{200d}',
        '\u{200d}',
        '\u{fe0f}',
        '\u{20e3}',
        '\u{1f3fd}',
        '\u{e0067}',
        '\u{e007f}',
        '1',
        ' ',
    ];
    many(dice, |dice| match dice.throw(4) {
        0 | 1 => sign(dice, (0x1f300, 0x1faff)),
        2 => sign(dice, (0x1f1e6, 0x1f1ff)),
        _ => one(dice, &beside),
    })
}

fn of_ideographs(dice: &mut Dice) -> String {
    many(dice, |dice| match dice.throw(6) {
        0 => sign(dice, (0x3400, 0x4dbf)),
        1 => sign(dice, (0x20000, 0x2a6df)),
        2 => sign(dice, (0x3041, 0x30ff)),
        _ => sign(dice, (0x4e00, 0x9fff)),
    })
}

fn of_jamo(dice: &mut Dice) -> String {
    many(dice, |dice| match dice.throw(4) {
        0 => sign(dice, (0xac00, 0xd7a3)),
        1 => sign(dice, (0x3131, 0x318e)),
        _ => sign(dice, (0x1100, 0x11ff)),
    })
}

fn of_spaces(dice: &mut Dice) -> String {
    many(dice, |dice| match dice.throw(8) {
        0 => one(dice, &['a', 'Z', '.', '字']),
        _ => one(dice, SPACES),
    })
}

fn of_controls(dice: &mut Dice) -> String {
    many(dice, |dice| match dice.throw(4) {
        0 => sign(dice, (0x7f, 0x9f)),
        1 => sign(dice, (0x200b, 0x206f)),
        _ => sign(dice, (0, 0x1f)),
    })
}

fn of_digits(dice: &mut Dice) -> String {
    many(dice, |dice| match dice.throw(12) {
        0 => one(dice, &['.', ',', '-', ' ', 'e']),
        1 => sign(dice, (0x660, 0x669)),
        2 => sign(dice, (0x2460, 0x24ff)),
        _ => sign(dice, (0x30, 0x39)),
    })
}

fn of_base64(dice: &mut Dice) -> String {
    let signs: Vec<char> = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        .chars()
        .collect();
    let length = 4 * length(dice);
    (0..length).map(|_| one(dice, &signs)).collect()
}

fn of_pieces(dice: &mut Dice, pieces: &[&str]) -> String {
    (0..length(dice)).map(|_| one(dice, pieces)).collect()
}

fn of_code(dice: &mut Dice) -> String {
    of_pieces(dice, CODE)
}

fn of_json(dice: &mut Dice) -> String {
    let mut value = serde_json::json!([of_any(dice), dice.throw(1 << 30), nothing(dice)]);
    for _ in 0..dice.throw(5) {
        let name = one(dice, &WORDS);
        value = serde_json::json!({"x": of_digits(dice), name: [value, 1e15, true]});
    }
    match dice.throw(2) {
        0 => value.to_string(),
        _ => serde_json::to_string_pretty(&value).unwrap(),
    }
}

fn nothing(dice: &mut Dice) -> serde_json::Value {
    match dice.throw(2) {
        0 => serde_json::Value::Null,
        _ => serde_json::json!({"": 0.1}),
    }
}

fn of_marks(dice: &mut Dice) -> String {
    (0..length(dice))
        .map(|_| match dice.throw(3) {
            0 => one(dice, &WORDS),
            _ => one(dice, MARKS),
        })
        .collect()
}

/// Words with fewer tokens than bytes, joined by characters that some vocabularies merge with them.
fn of_joined_words(dice: &mut Dice) -> String {
    let joint = one(dice, JOINTS);
    let is_mixed = dice.throw(3) == 0;
    let mut text = String::new();
    for _ in 0..length(dice) {
        let word = one(dice, &WORDS);
        match dice.throw(3) {
            0 => text.push_str(word),
            1 => text.push_str(&word.to_ascii_uppercase()),
            _ => {
                let (first, rest) = word.split_at(1);
                text.push_str(&first.to_ascii_uppercase());
                text.push_str(rest);
            }
        }
        text.push_str(if is_mixed { one(dice, JOINTS) } else { joint });
    }
    text
}

/// A common word at the position where a long one is split.
fn of_cut_words(dice: &mut Dice) -> String {
    let range = one(dice, RANGES);
    let filler = sign(dice, range);
    let filler = if filler.is_alphabetic() { filler } else { 'q' };
    let mut text = filler.to_string().repeat(512 / filler.len_utf8());
    while text.len() < 512 {
        text.insert(0, 'x');
    }
    text.push_str(one(dice, &WORDS));
    text
}

/// Invented words from syllables, endings and accents of many languages.
fn of_strange_words(dice: &mut Dice) -> String {
    const PARTS: &[&str] = &[
        "ver", "ant", "woord", "heid", "schaft", "keit", "ung", "lı", "ğı", "öö", "ää", "ij",
        "naq", "tuq", "ller", "szcz", "ński", "ção", "être", "ới", "ước", "ство", "ного", "ίζω",
        "الم", "ים", "kä", "ye", " ", " ", " ", ", ",
    ];
    of_pieces(dice, PARTS)
}

fn of_everything(dice: &mut Dice) -> String {
    let last = KINDS.len() - 1;
    (0..3).map(|_| KINDS[dice.throw(last)](dice)).collect()
}

/// A JSON value that printing lengthens: exponents, escapes, depth.
fn value(dice: &mut Dice, depth: usize) -> Value {
    match dice.throw(if depth < 5 { 9 } else { 6 }) {
        0 => json!(1e15),
        1 => json!(one(dice, &[1e20, -1.5e-300, 0.1, 1e5, 123.456])),
        2 => json!(dice.throw(1 << 30)),
        3 => json!(
            one(dice, &["", "<>&'", "\n\n\"\\", "é字😀", "a", "\u{1}\u{7f}"]).repeat(length(dice))
        ),
        4 => one(dice, &[Value::Null, json!(true), json!({}), json!([])]),
        5 => json!(KINDS[dice.throw(KINDS.len() - 1)](dice)),
        6 => (0..dice.throw(12))
            .map(|_| value(dice, depth + 1))
            .collect(),
        _ => {
            let members = (0..dice.throw(6)).map(|at| {
                let name = format!("{}{at}", one(dice, &["x", "<", "é", "longer_name", "'"]));
                (name, value(dice, depth + 1))
            });
            Value::Object(members.collect())
        }
    }
}

fn object(dice: &mut Dice) -> Value {
    json!({"a": value(dice, 0), "b": value(dice, 0)})
}

fn tool(dice: &mut Dice) -> Value {
    let described = KINDS[dice.throw(KINDS.len() - 1)](dice);
    let properties =
        json!({"x": {"type": "number", "description": described, "enum": [value(dice, 0)]}});
    let parameters =
        json!({"type": "object", "properties": properties, "examples": [value(dice, 0)]});
    json!({"type": "function", "function": {"name": "f", "description": described, "parameters": parameters}})
}

/// A chat in an order that every template accepts: tool call, result, answer.
fn chat(dice: &mut Dice) -> Value {
    let text = |dice: &mut Dice| KINDS[dice.throw(KINDS.len() - 1)](dice);
    let mut messages = Vec::new();
    for turn in 0..1 + dice.throw(4) {
        let parts: Vec<Value> = (0..1 + dice.throw(9))
            .map(|_| json!({"type": "text", "text": one(dice, &["a", "", "字"])}))
            .collect();
        messages.push(match dice.throw(2) {
            0 => json!({"role": "user", "content": text(dice)}),
            _ => json!({"role": "user", "content": parts}),
        });
        if dice.throw(3) > 0 {
            let id = format!("call{turn:05}");
            let function = json!({"name": "f", "arguments": object(dice).to_string()});
            let call = json!({"id": id, "type": "function", "function": function});
            messages.push(json!({"role": "assistant", "content": "", "tool_calls": [call]}));
            let given = match dice.throw(2) {
                0 => text(dice),
                _ => object(dice).to_string(),
            };
            messages.push(json!({"role": "tool", "tool_call_id": id, "content": given}));
        }
        messages.push(json!({"role": "assistant", "content": "x".to_owned() + &text(dice) + "x"}));
    }
    messages.push(json!({"role": "user", "content": "x"}));
    let mut body = json!({"messages": messages});
    if dice.throw(2) == 0 {
        body["tools"] = (0..1 + dice.throw(3)).map(|_| tool(dice)).collect();
    }
    body
}

/// `count` bodies of chat completions.
pub fn chats(count: usize) -> Vec<Value> {
    let mut dice = Dice::new(2);
    (0..count).map(|_| chat(&mut dice)).collect()
}
