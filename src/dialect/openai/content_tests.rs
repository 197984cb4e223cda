//! Upper bounds of every kind of content part.

use super::*;
use crate::rules::families::Detail;

fn part(value: &RawValue, bounds: &Bounds) -> Result<Tokens, Unreadable> {
    super::part(value, bounds, &mut UnknownMembers::default())
}
use proptest::prelude::*;

const IMAGE: u64 = 4_000;

fn of(text: &str) -> u64 {
    let value: &RawValue = serde_json::from_str(text).expect(text);
    let tokens = part(value, &Bounds::default()).map_err(|Unreadable(why)| why);
    tokens.expect(text).count()
}

#[test]
fn every_kind_of_part_has_its_bound() {
    for (text, expected) in [
        (r#"{"type":"text","text":"Hello"}"#, 5),
        (r#"{"type":"input_text","text":"a\"b"}"#, 4),
        (r#"{"type":"refusal","refusal":"no"}"#, 2),
        (
            r#"{"type":"image_url","image_url":{"url":"https://x.example/a.png","detail":"high"}}"#,
            IMAGE + 4,
        ),
        (
            r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}"#,
            IMAGE,
        ),
        (
            r#"{"type":"input_image","image_url":"https://x.example/a.png"}"#,
            IMAGE,
        ),
        (
            r#"{"type":"file","file":{"file_url":"https://a"}}"#,
            20 * IMAGE,
        ),
        (
            r#"{"type":"file","file":{"file_data":" https://x.example/a"}}"#,
            21 * IMAGE,
        ),
        (
            r#"{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERi0"}}"#,
            5 + IMAGE,
        ),
        (
            r#"{"type":"input_file","file_url":"https://a"}"#,
            20 * IMAGE,
        ),
        // Not understood, and yet they refer to an image, a video or a file.
        (
            r#"{"type":"image_url","image_url":"https://x.example/a.png"}"#,
            IMAGE,
        ),
        (r#"{"image_url":{"url":"https://x.example/a.png"}}"#, IMAGE),
        (
            r#"{"type":"video_url","video_url":{"url":"https://x.example/a.mp4"}}"#,
            20 * IMAGE,
        ),
        (r#"{"type":"file","file":"file-1"}"#, 20 * IMAGE),
        (r#"{"type":"thinking","thinking":"Hm"}"#, 35),
    ] {
        assert_eq!(of(text), expected, "{text}");
    }
}

#[test]
fn a_text_counts_wherever_it_hides() {
    let text = "x".repeat(100_000);
    for written in [
        format!(r#"{{"type":"text","text":"{text}"}}"#),
        format!(r#"{{"type":"text","text":"","url":"{text}"}}"#),
        format!(r#"{{"type":"text","text":"","{text}":1}}"#),
        format!(r#"{{"type":"text","text":"","image_url":{{"url":"https://{text}"}}}}"#),
        format!(r#"{{"type":"text","text":{{"{text}":1}}}}"#),
        format!(r#"{{"type":"{text}"}}"#),
        format!(r#"{{"image_url":{{"url":"https://{text}"}}}}"#),
        format!(r#"{{"type":"image_url","image_url":"https://{text}"}}"#),
        format!(r#"{{"type":"image_url","image_url":{{"url":"https://a","detail":"{text}"}}}}"#),
        format!(r#"{{"type":"image_url","image_url":{{"url":"https://a","{text}":1}}}}"#),
        format!(r#"{{"type":"image_url","image_url":{{"url":"data:text/plain,{text}"}}}}"#),
        format!(r#"{{"type":"image_url","image_url":{{"url":"\u0044ata:text/plain,{text}"}}}}"#),
        format!(r#"{{"type":"image_url","text":"{text}","image_url":{{"url":"https://a"}}}}"#),
        format!(r#"{{"type":"input_image","image_url":"data:application/pdf;base64,{text}"}}"#),
        format!(r#"{{"type":"file","file":{{"file_data":"{text}"}}}}"#),
        format!(r#"{{"type":"file","file":{{"file_url":"https://f","url":"{text}"}}}}"#),
        format!(r#"{{"type":"file","file":{{"file_url":"https://f","{text}":1}}}}"#),
        format!(r#"{{"type":"file","file":["{text}"]}}"#),
        format!(r#"{{"type":"input_audio","input_audio":{{"data":"{text}","format":"wav"}}}}"#),
    ] {
        let value: &RawValue = serde_json::from_str(&written).unwrap();
        let read = self::part(value, &Bounds::default());
        let least = Tokens::new(100_000);
        assert!(
            read.is_ok_and(|tokens| tokens >= least),
            "{}",
            &written[..60]
        );
    }
}

/// Some servers look at the members of a part and ignore its `type`.
#[test]
fn an_image_or_a_file_counts_whatever_the_type_of_its_part() {
    let bounds = Bounds::default();
    let named = named(&bounds).count();
    for (beside, bound) in [
        (r#""image_url":{"url":"https://x"}"#, bounds.image),
        (r#""image_url":"https://x""#, bounds.image),
        (r#""video_url":{"url":"https://x"}"#, named),
        (r#""file":{"file_url":"https://x"}"#, named),
    ] {
        for kind in ["text", "input_text", "reasoning_text", "whatever"] {
            let tokens = of(&format!(r#"{{"type":"{kind}","text":"a",{beside}}}"#));
            assert!(tokens >= bound, "{kind} {beside}: {tokens}");
        }
    }
    let one = of(r#"{"type":"image_url","image_url":{"url":"https://x"}}"#);
    assert_eq!(one, bounds.image);
}

#[test]
fn ambiguous_and_foreign_parts_are_refused() {
    for text in [
        r#"{"type":"text","type":"image_url"}"#,
        r#"{"type":"text","Type":"image_url"}"#,
        r#"{"\u0074ype":"text"}"#,
        r#"{"type":"image_url","image_url":{"url":"https://a","url":"https://b"}}"#,
        r#"{"type":"file","file":{"file_url":"https://a","File_URL":"b"}}"#,
        "7",
        // Files in the operator's account, and on the server's disk.
        r#"{"type":"input_image","file_id":"file-1"}"#,
        r#"{"type":"input_file","file_id":"file-1"}"#,
        r#"{"type":"file","file":{"file_id":"file-1"}}"#,
        r#"{"type":"odd","file_id":"file-1"}"#,
        r#"{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}"#,
        r#"{"type":"image_url","image_url":{"url":" file:/x"}}"#,
        r#"{"type":"image_url","image_url":"ms://file"}"#,
        r#"{"type":"image_url","image_url":{"url":"/etc/passwd"}}"#,
        r#"{"type":"image_url","image_url":{"url":{"url":"file:///x"}}}"#,
        r#"{"type":"image_url","image_url":["file:///x"]}"#,
        r#"{"type":"input_audio","input_audio":{"data":"file:/x"}}"#,
        r#"{"type":"input_file","file_url":"gs://bucket/x"}"#,
        r#"{"type":"file","file":{"file_data":"s3://bucket/x"}}"#,
        r#"{"type":"video_url","video_url":{"url":"file:///x"}}"#,
        r#"{"type":"input_audio","input_audio":{"data":"https://x.example/a.mp3"}}"#,
        r#"{"type":"input_audio","input_audio":{"data":"https:\/\/x.example"}}"#,
        r#"{"type":"input_audio","input_audio":"https://x.example"}"#,
    ] {
        let value: &RawValue = serde_json::from_str(text).unwrap();
        assert!(part(value, &Bounds::default()).is_err(), "{text}");
    }
}

#[test]
fn an_image_counts_by_its_detail_where_that_bounds_it() {
    let bounds = Bounds {
        image: 36_001,
        detail: Some(Detail {
            low: 309,
            high: 3_001,
        }),
        ..Bounds::default()
    };
    for (text, tokens) in [
        (
            r#"{"type":"input_image","image_url":"https://i","detail":"low"}"#,
            309 + 3,
        ),
        (
            r#"{"type":"input_image","image_url":"https://i","detail":"high"}"#,
            3_001 + 4,
        ),
        (
            r#"{"type":"input_image","image_url":"https://i","detail":"auto"}"#,
            36_001 + 4,
        ),
        (
            r#"{"type":"input_image","image_url":"https://i","detail":"LOW"}"#,
            36_001 + 3,
        ),
        (r#"{"type":"input_image","image_url":"https://i"}"#, 36_001),
        (
            r#"{"type":"image_url","image_url":{"url":"https://i","detail":"low"}}"#,
            309 + 3,
        ),
        (
            r#"{"type":"image_url","image_url":{"url":"https://i"},"detail":"low"}"#,
            36_001 + 3,
        ),
        (
            r#"{"type":"image_url","image_url":{"url":"https://i","detail":"original"}}"#,
            36_001 + 8,
        ),
    ] {
        let value: &RawValue = serde_json::from_str(text).unwrap();
        assert_eq!(part(value, &bounds), Ok(Tokens::new(tokens)), "{text}");
    }
}

#[test]
fn no_bound_is_large_enough_to_wrap() {
    let bounds = Bounds {
        page: u64::MAX,
        ..Bounds::default()
    };
    let value: &RawValue =
        serde_json::from_str(r#"{"type":"input_file","file_url":"https://f"}"#).unwrap();
    assert_eq!(part(value, &bounds), Ok(Tokens::MAX));
}

proptest! {
    #[test]
    fn any_part_is_read_without_panic(
        written in "(\\{|\\}|\\[|\\]|\"|,|:|\\\\|é|\"type\":|\"text\"|\"image_url\"|\"url\":|\"file\"|\"file_data\":|1){0,30}",
    ) {
        for text in [written.clone(), format!(r#"{{"type":"file","file":{{{written}}}}}"#)] {
            if let Ok(value) = serde_json::from_str::<&RawValue>(&text) {
                let _ = part(value, &Bounds::default());
            }
        }
    }

    #[test]
    fn text_never_counts_less_than_its_bytes(text in "\\PC{0,40}", name in "\\PC{1,10}") {
        for object in [
            serde_json::json!({"type": "text", "text": text}),
            serde_json::json!({"type": text}),
            serde_json::json!({"type": "image_url", "image_url": {"url": "u", (name.as_str()): text}}),
            serde_json::json!({"type": "text", (name.as_str()): text}),
            serde_json::json!({"type": "text", "text": {(text.as_str()): 1}}),
        ] {
            let value = serde_json::value::to_raw_value(&object).unwrap();
            if let Ok(tokens) = part(&value, &Bounds::default()) {
                prop_assert!(tokens.count() >= text.len() as u64, "{object}");
            }
        }
    }
}
