//! Reads what a request asks for by searching its body for the `stream` and `model` members.
//!
//! The body is not parsed as JSON: parsing a megabyte would cost the provider more than the gateway under
//! test.

use std::time::Duration;

use memchr::memmem;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Plain,
    Stream(Pause),
}

/// Pause after each event of a stream but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    None,
    Each(Duration),
    /// Stays silent after the first event, for this time or until the client disconnects, then closes.
    Idle(Option<Duration>),
}

impl Call {
    /// Reads `stream`, and the pace from `model` or from `pace:` in the prompt.
    pub fn read(body: &[u8]) -> Call {
        if member(body, b"\"stream\"").is_some_and(|value| value.starts_with(b"true")) {
            Call::Stream(match pause(model(body)) {
                Pause::None => pause(asked_in_prompt(body)),
                paced => paced,
            })
        } else {
            Call::Plain
        }
    }
}

/// Returns the bytes after the first `name` that is followed by a colon.
fn member<'a>(body: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    memmem::find_iter(body, name).find_map(|at| {
        let rest = body[at + name.len()..].trim_ascii_start();
        rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start)
    })
}

fn model(body: &[u8]) -> &str {
    let text = member(body, b"\"model\"").and_then(|value| value.strip_prefix(b"\""));
    let name = text.and_then(|text| text.split(|byte| *byte == b'"').next());
    name.and_then(|name| std::str::from_utf8(name).ok())
        .unwrap_or_default()
}

/// Returns the pace after `pace:` in the prompt, for gateways that accept only configured models.
fn asked_in_prompt(body: &[u8]) -> &str {
    const MARK: &[u8] = b"pace:";
    let Some(at) = memmem::find(body, MARK) else {
        return "";
    };
    let rest = &body[at + MARK.len()..];
    let end = rest
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-');
    std::str::from_utf8(&rest[..end.unwrap_or(rest.len())]).unwrap_or_default()
}

/// Parses `slow-MILLISECONDS`, `idle-SECONDS` or `idle`; anything else means no pause.
fn pause(model: &str) -> Pause {
    let number = |text: &str| text.parse::<u64>().ok();
    if let Some(millis) = model.strip_prefix("slow-").and_then(number) {
        return Pause::Each(Duration::from_millis(millis));
    }
    if let Some(seconds) = model.strip_prefix("idle-").and_then(number) {
        return Pause::Idle(Some(Duration::from_secs(seconds)));
    }
    match model {
        "idle" => Pause::Idle(None),
        _ => Pause::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_known_with_and_without_spaces() {
        for body in [
            br#"{"model":"gpt-4o","stream":true}"#.as_slice(),
            br#"{"stream" : true, "model": "gpt-4o"}"#,
            br#"{"stream_options":{"include_usage":true},"stream": true}"#,
        ] {
            assert_eq!(Call::read(body), Call::Stream(Pause::None));
        }
    }

    #[test]
    fn body_without_stream_true_is_plain() {
        for body in [
            br#"{"model":"gpt-4o"}"#.as_slice(),
            br#"{"stream":false}"#,
            br#"{"stream_options":{"include_usage":true}}"#,
            b"",
        ] {
            assert_eq!(Call::read(body), Call::Plain);
        }
    }

    #[test]
    fn the_models_name_sets_the_pace() {
        let call =
            |model: &str| Call::read(format!(r#"{{"model": "{model}","stream":true}}"#).as_bytes());
        let each = Pause::Each(Duration::from_millis(250));
        assert_eq!(call("slow-250"), Call::Stream(each));
        assert_eq!(call("idle"), Call::Stream(Pause::Idle(None)));
        let ten = Pause::Idle(Some(Duration::from_secs(10)));
        assert_eq!(call("idle-10"), Call::Stream(ten));
        assert_eq!(call("slow-x"), Call::Stream(Pause::None));
        let body = br#"{"messages":[{"content":"pace:idle-10"}],"stream":true}"#;
        assert_eq!(Call::read(body), Call::Stream(ten));
    }
}
