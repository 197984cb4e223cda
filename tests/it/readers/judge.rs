//! The promise: no reader finds more in a forwarded body than the gateway estimated.
//!
//! A reader that refuses the body is ignored. Numbers are read like the most lenient server does: `"100"` is
//! 100, `true` is 1, and negative numbers and other values are unbounded.

use super::forwarding::Forwarded;
use resullm::dialect::call::Bounds;
use resullm::json;
use resullm::rules::amount::Tokens;
use serde_json::Value;
use std::collections::BTreeSet;

/// Limit members of any server.
const LIMITS: &[&str] = &[
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n_predict",
    "num_predict",
    "max_new_tokens",
    "max_length",
    "max_tokens_to_sample",
];

/// Members for the number of answers.
const ANSWERS: &[&str] = &["n", "n_cmpl", "best_of", "num_return_sequences"];

/// Members that may be forwarded only as false, because the estimate ignores them.
const NEVER: &[&str] = &[
    "store",
    "background",
    "previous_response_id",
    "conversation",
    "use_beam_search",
];

/// Prompt members in which an image counts as one.
const SHOW_IMAGES: &[&str] = &["messages", "input", "system"];

/// Members that every server of this call obeys.
fn obeyed(path: &str) -> &'static [&'static str] {
    match path {
        "chat/completions" => &[
            "model",
            "messages",
            "stream",
            "max_tokens",
            "max_completion_tokens",
            "n",
            "store",
            "tools",
        ],
        "responses" => &[
            "model",
            "input",
            "stream",
            "max_output_tokens",
            "store",
            "background",
            "tools",
        ],
        "completions" => &["model", "prompt", "stream", "max_tokens", "n", "best_of"],
        "messages" => &[
            "model",
            "messages",
            "system",
            "stream",
            "max_tokens",
            "tools",
        ],
        "embeddings" => &["model", "input"],
        _ => &["model", "prompt", "n", "stream"],
    }
}

const NO_BOUND: u64 = u64::MAX;

/// Bound above which parsers round numbers; no balance reaches it.
const ABSURD: u64 = 1 << 53;

fn number(value: &Value) -> u64 {
    let real = match value {
        Value::Bool(is) => return u64::from(*is),
        Value::Number(number) if number.is_u64() => return number.as_u64().unwrap_or(NO_BOUND),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().replace('_', "").parse().ok(),
        _ => None,
    };
    match real {
        Some(real) if real.is_finite() && real >= 0.0 => real.ceil() as u64,
        _ => NO_BOUND,
    }
}

/// Whether the most lenient server reads it as true.
fn is_yes(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => {
            let text = text.trim().to_ascii_lowercase();
            !["", "0", "false", "f", "no", "n", "off"].contains(&text.as_str())
        }
        _ => true,
    }
}

/// Describes a reading that exceeds the charge. `None`: it does not, or the reader refused the body.
pub fn breach(forwarded: &Forwarded, said: &Value) -> Option<String> {
    assert!(said["broken"].is_null(), "{said}");
    if !said["refused"].is_null() {
        return None;
    }
    let found = match forwarded.sent.is_form {
        true => of_form(forwarded, said),
        false => of_json(forwarded, said),
    };
    found.err()
}

fn expect(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

fn images(forwarded: &Forwarded) -> u64 {
    let answer = forwarded.call.answer.map_or(0, Tokens::count);
    answer / Bounds::default().image_answer
}

fn of_json(forwarded: &Forwarded, said: &Value) -> Result<(), String> {
    let call = &forwarded.call;
    // A server that refuses unknown members does not obey them, but may match names regardless of case.
    let refuses = |name: &str| {
        let mut strangers = call.unknown_members.iter();
        let is_obeyed = obeyed(forwarded.kind.path).contains(&name);
        forwarded.is_open && !is_obeyed && strangers.any(|it| it.eq_ignore_ascii_case(name))
    };
    let mut seen = BTreeSet::new();
    json::each_member(&forwarded.sent.bytes, |name, _| {
        seen.insert(name.to_owned());
    });
    for name in said["names"].as_array().expect("names") {
        let name = name.as_str().expect("a name");
        expect(seen.contains(name) || refuses(name), || {
            format!("{name} is a member")
        })?;
    }
    let value = |name: &&str| {
        let value = &said["values"][*name];
        (!value.is_null() && !refuses(name)).then_some(value)
    };
    for name in LIMITS {
        let most = forwarded.limit.unwrap_or(0);
        let limit = value(name).map_or(0, number);
        expect(limit <= most || most > ABSURD, || {
            format!("{name} is {limit}, more than {most}")
        })?;
    }
    let texts = match forwarded.kind.path {
        "completions" => said["texts"]["prompt"].as_u64().unwrap_or(1),
        _ => 1,
    };
    let asked = ANSWERS.iter().filter_map(value).map(number);
    let answers = asked.fold(1, u64::max).saturating_mul(texts);
    let most = call.answers.max(images(forwarded));
    let is_absurd = most > ABSURD || call.answer == Some(Tokens::MAX);
    expect(answers <= most || is_absurd, || {
        format!("{answers} answers, more than {most}")
    })?;
    let stream = value(&"stream").is_some_and(is_yes);
    expect(stream == call.stream, || format!("stream is {stream}"))?;
    // `background` of an image is a setting.
    let is_image = forwarded.kind.path == "images/generations";
    for name in NEVER
        .iter()
        .filter(|name| !is_image || **name != "background")
    {
        expect(!value(name).is_some_and(is_yes), || {
            format!("{name} is asked for")
        })?;
    }
    let model = &said["values"]["model"];
    let is_it = match &forwarded.model {
        Some(forwarded) => model == forwarded,
        None => model.is_null(),
    };
    expect(is_it, || format!("the model is {model}"))?;
    expect(said["hosted"] == 0 || refuses("tools"), || {
        "a hosted tool is left".to_owned()
    })?;
    // It also refuses unknown members of content parts.
    let holds_more = forwarded.is_open
        && call
            .unknown_members
            .iter()
            .any(|it| it.starts_with("content."));
    let mut shown = 0;
    for (name, found) in said["prompts"].as_object().expect("members") {
        let count = |at: usize| found[at].as_u64().expect("a count");
        if !refuses(name) {
            shown += count(0);
        }
        if !refuses(name) && !holds_more && SHOW_IMAGES.contains(&name.as_str()) {
            shown += count(1) * Bounds::default().image;
        }
    }
    let prompt = call.prompt.count();
    expect(shown <= prompt, || {
        format!("the prompt is {shown}, more than {prompt}")
    })
}

/// A name as a lenient server reads it.
fn loosely(name: &str) -> String {
    let bare = name.split('[').next().unwrap_or(name);
    bare.trim().to_ascii_lowercase()
}

fn of_form(forwarded: &Forwarded, said: &Value) -> Result<(), String> {
    let (kind, call) = (&forwarded.kind, &forwarded.call);
    let is_seen = |name: &str| {
        let lists = [kind.files, kind.settings, kind.fields];
        let strangers = call.unknown_members.iter().any(|stranger| stranger == name);
        strangers || lists.iter().any(|list| list.contains(&name))
    };
    let (mut text, mut model, mut stream, mut n) = (0, None, false, 1);
    for field in said["fields"].as_array().expect("fields") {
        let name = field[0].as_str().expect("a name");
        let value = field[1].as_str().expect("a value");
        expect(is_seen(name), || format!("{name:?} is a field"))?;
        match loosely(name).as_str() {
            "model" if !value.is_empty() => {
                let is_it = forwarded.model.as_deref() == Some(value);
                expect(is_it, || format!("the model is {value:?}"))?;
                model = Some(value);
            }
            "stream" => stream |= is_yes(&field[1]),
            "n" if !value.is_empty() => n = n.max(number(&field[1])),
            _ => {}
        }
        if !kind.settings.contains(&name) && !kind.files.contains(&name) {
            text += value.len() as u64;
        }
    }
    expect(model == forwarded.model.as_deref(), || {
        "there is no model".to_owned()
    })?;
    expect(stream == call.stream, || format!("stream is {stream}"))?;
    if kind.settings.contains(&"n") {
        let most = images(forwarded);
        expect(
            n <= most || most > ABSURD / Bounds::default().image_answer,
            || format!("{n} answers, more than {most}"),
        )?;
    }
    let most = forwarded.text;
    expect(text <= most, || {
        format!("{text} bytes of text, more than {most}")
    })?;
    let files = said["files"].as_array().expect("files");
    let sizes = files
        .iter()
        .map(|file| file[1].as_u64().expect("a size") as usize);
    let (bytes, most) = (sizes.sum::<usize>(), forwarded.files.iter().sum());
    expect(files.len() <= forwarded.files.len(), || {
        format!("{} files, more than {:?}", files.len(), forwarded.files)
    })?;
    expect(bytes <= most, || {
        format!("files of {bytes} bytes, more than {most}")
    })?;
    for file in files {
        let name = file[0].as_str().expect("a name");
        expect(is_seen(name), || format!("{name:?} is a file"))?;
    }
    Ok(())
}
