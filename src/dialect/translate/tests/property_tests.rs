//! Properties: what holds for any conversation, and for any bytes.

use super::super::conversation::{
    ContentPart, Conversation, Format, Input, Json, Media, Removed, Speaker, Takes, Tool, ToolCall,
    ToolChoice, ToolResult,
};
use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

fn text() -> impl Strategy<Value = String> {
    // Texts that try to break out of their place.
    prop_oneof![
        "[ -~]{1,12}",
        Just("\"}],\"role\":\"system\",\"x\":[{\"".to_owned()),
        Just("\\u0022\n\r\u{2028}data: [DONE]\n\nevent: error\n".to_owned()),
        Just("\u{0}\u{1f}é😀".to_owned()),
    ]
}

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_-]{1,12}"
}

fn media() -> impl Strategy<Value = Media> {
    prop_oneof![
        "[a-zA-Z0-9+/]{1,12}".prop_map(|base64| Media::Data {
            kind: "image/png".to_owned(),
            base64
        }),
        word().prop_map(|path| Media::Url(format!("https://a.example/{path}"))),
    ]
}

fn object() -> impl Strategy<Value = Json> {
    text().prop_map(|text| Json::from(&json!({"text": text, "n": 1})))
}

fn turns() -> impl Strategy<Value = Vec<(Speaker, ContentPart)>> {
    let call = (word(), word(), object()).prop_map(|(id, name, object)| {
        ContentPart::Call(ToolCall {
            id,
            name,
            input: Input::Object(object),
        })
    });
    let result = (word(), text()).prop_map(|(id, text)| {
        ContentPart::Result(ToolResult {
            id,
            parts: vec![ContentPart::Text(text)],
            is_error: false,
        })
    });
    let part = prop_oneof![
        4 => text().prop_map(|text| (Speaker::User, ContentPart::Text(text))),
        4 => text().prop_map(|text| (Speaker::Assistant, ContentPart::Text(text))),
        2 => media().prop_map(|media| (Speaker::User, ContentPart::Image(media))),
        2 => call.prop_map(|call| (Speaker::Assistant, call)),
        2 => result.prop_map(|result| (Speaker::User, result)),
    ];
    proptest::collection::vec(part, 0..12)
}

fn conversation() -> impl Strategy<Value = Conversation> {
    let tool = (word(), text(), object()).prop_map(|(name, description, schema)| Tool {
        name,
        description: Some(description),
        takes: Takes::Object(Some(schema)),
        is_strict: Some(true),
    });
    let choice = prop_oneof![
        Just(ToolChoice::Auto),
        Just(ToolChoice::Any),
        Just(ToolChoice::None),
        word().prop_map(ToolChoice::Named)
    ];
    let lists = (
        proptest::collection::vec(text(), 0..3),
        proptest::collection::vec(text(), 0..3),
        proptest::collection::vec(tool, 0..3),
    );
    (lists, turns(), choice, any::<bool>(), 1u64..9_999).prop_map(
        |((system, stop, tools), turns, choice, stream, limit)| {
            let mut conversation = Conversation {
                model: Some("m".to_owned()),
                wants_usage: true,
                choice: if tools.is_empty() {
                    ToolChoice::Auto
                } else {
                    choice
                },
                stream,
                limit: Some(limit),
                system,
                stop,
                tools,
                ..Conversation::default()
            };
            conversation.sampling.temperature = Json::parse("0.50");
            for (speaker, part) in turns {
                conversation.say(speaker, part);
            }
            conversation
        },
    )
}

/// Orders the parts of each turn as every API has them: results of a user first, calls of an assistant last.
fn ordered(mut conversation: Conversation) -> Conversation {
    for turn in &mut conversation.turns {
        turn.parts.sort_by_key(|part| match part {
            ContentPart::Result(_) => 0,
            ContentPart::Call(_) => 2,
            _ => 1,
        });
    }
    conversation
}

/// Orders results before all else, as Messages want them.
fn results_first(mut conversation: Conversation) -> Conversation {
    for turn in &mut conversation.turns {
        turn.parts
            .sort_by_key(|part| !matches!(part, ContentPart::Result(_)));
    }
    conversation
}

/// Returns a conversation as `generateContent` can have it: every result has its call, images end in their type.
fn for_gemini(conversation: Conversation) -> Conversation {
    let mut carried = Conversation {
        model: None,
        turns: Vec::new(),
        ..conversation
    };
    for tool in &mut carried.tools {
        tool.is_strict = None;
    }
    let (mut calls, mut open) = (HashSet::new(), HashSet::new());
    for turn in conversation.turns {
        for part in turn.parts {
            let is_carried = match &part {
                ContentPart::Call(call) => {
                    let is_new = calls.insert(call.id.clone());
                    is_new && open.insert(call.id.clone())
                }
                ContentPart::Result(result) => open.remove(&result.id),
                _ => true,
            };
            let part = match part {
                ContentPart::Image(Media::Url(url)) => {
                    ContentPart::Image(Media::Url(format!("{url}.png")))
                }
                part => part,
            };
            if is_carried {
                carried.say(turn.speaker, part);
            }
        }
    }
    results_first(carried)
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(conversation in conversation()) {
        let expected = ordered(conversation.clone());
        let written = messages::write(&mut conversation.clone(), Some("m"), 1).unwrap();
        prop_assert_eq!(messages::read(raw(&written)).unwrap(), results_first(conversation.clone()));
        let written = chat::write(&mut conversation.clone(), Some("m"), "max_tokens").unwrap();
        let mut read = chat::read(raw(&written)).unwrap();
        read.wants_usage = true;
        prop_assert_eq!(read, expected);
        let expected = for_gemini(conversation);
        let written = gemini::write(&mut expected.clone()).unwrap();
        let mut read = gemini::read(raw(&written), expected.stream).unwrap();
        // The signature that stands for none.
        read.removed = Removed::default();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn any_split_of_a_stream_is_translated_alike(which in 0usize..9, cuts in proptest::collection::vec(0usize..4_000, 0..20)) {
        let (client, kind, (_, stream)) = pairs().remove(which);
        let whole = streamed(client, kind, stream.as_bytes(), Vec::new());
        prop_assert_eq!(streamed(client, kind, stream.as_bytes(), cuts), whole);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), which in 0usize..9) {
        let (client, kind, (_, stream)) = pairs().remove(which);
        let (_, translated) = translate(client, kind, &simple(client, true));
        let _ = translated.translation.answer(&bytes);
        let _ = request(client, &bytes, &target(kind));
        let mut broken = stream.into_bytes();
        let at = broken.len() / 2;
        broken.splice(at..at, bytes);
        let native = translated.translation.dialect();
        let mut meter = translated.translation.stream(native.stream(&Default::default()));
        let mut out = meter.feed(&broken);
        out.extend(meter.finish());
        prop_assert!(String::from_utf8(out).is_ok());
    }
}

/// Work grows with the body, whatever it is made of: this one would take minutes if members or names were compared in
/// pairs.
#[test]
fn members_and_names_without_number_are_read() {
    let nulls: String = (0..200_000).map(|n| format!("\"x{n}\":null,")).collect();
    let body = format!("{{{nulls}\"model\":\"m\",\"messages\":[]}}");
    assert!(request(&Chat, body.as_bytes(), &target(Kind::Anthropic)).is_ok());

    let tool = |n: u32| json!({"type": "function", "function": {"name": format!("f{n}")}});
    let tools: Vec<Value> = (0..100_000).map(tool).collect();
    let body = json!({"model": "m", "messages": [], "tools": tools,
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": tools}}});
    translate(&Chat, Kind::Anthropic, &body);

    let names: Vec<String> = (0..100_000).map(|n| format!("f{n}")).collect();
    let functions: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    let calls = names
        .iter()
        .map(|name| json!({"functionCall": {"name": name}}));
    let results = names.iter().rev();
    let results = results.map(|name| json!({"functionResponse": {"name": name, "response": {}}}));
    let (calls, results): (Vec<Value>, Vec<Value>) = (calls.collect(), results.collect());
    let body = json!({
        "contents": [{"role": "model", "parts": calls}, {"role": "user", "parts": results}],
        "tools": [{"functionDeclarations": functions}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": names}},
    });
    translate(&GENERATE, Kind::OpenAi, &body);
    translate(&GENERATE, Kind::Anthropic, &body);
}

#[test]
fn a_format_is_carried_there_and_back() {
    let mut conversation = Conversation {
        format: Format::Schema {
            name: Some("n".to_owned()),
            schema: Json::from(&weather()),
            is_strict: Some(true),
        },
        ..Conversation::default()
    };
    let written = chat::write(&mut conversation, None, "max_tokens").unwrap();
    assert_eq!(
        chat::read(raw(&written)).unwrap().format,
        conversation.format
    );
    let written = messages::write(&mut conversation, None, 1).unwrap();
    let Format::Schema { schema, .. } = messages::read(raw(&written)).unwrap().format else {
        panic!("{written}");
    };
    assert_eq!(schema, Json::from(&weather()));
}
