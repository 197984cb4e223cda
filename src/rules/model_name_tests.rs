//! Tests of names that mean the same model, server by server.

use super::*;
use proptest::prelude::*;

fn every_server() -> impl Iterator<Item = Server> {
    Server::named_all().map(|(_, server)| server).chain([Demo])
}

#[test]
fn a_name_that_could_be_read_as_another_is_refused() {
    for bad in [
        "",
        " o1",
        "o1 ",
        "o1\u{a0}",
        "o\n1",
        "o1\0",
        "o1\u{200b}",
        "\u{feff}o1",
        "/o1",
        "o1/",
        "openai//o1",
        "openai/",
        "openai/ o1",
        "./o1",
        "a/../o1",
        &"x".repeat(257),
    ] {
        assert!(check(bad).is_err(), "{bad:?}");
    }
    for good in [
        "o1",
        "Meine Modelle/sehr gut.gguf",
        "accounts/fireworks/models/x",
        "ft:gpt-4o-mini-2024-07-18:org::id",
        "通义千问",
        "...",
        &"x".repeat(256),
    ] {
        assert_eq!(check(good), Ok(()), "{good:?}");
    }
}

#[test]
fn each_server_adds_what_it_does_not_need_to_be_told() {
    for (one, other, server, same) in [
        ("LLAMA3:70b", "llama3:70B", Ollama, true),
        ("library/llama3", "llama3:latest", Ollama, true),
        ("registry.ollama.ai/library/llama3", "Llama3", Ollama, true),
        ("llama3:70b", "llama3", Ollama, false),
        ("mine/llama3", "llama3", Ollama, false),
        ("deep\u{17f}eek\u{212a}", "deepseekk", Ollama, true),
        ("models/gemini-2.5-pro", "gemini-2.5-pro", Gemini, true),
        ("models/o1", "o1", OpenAi, false),
        ("library/llama3", "llama3", Vllm, false),
        ("library/llama3", "llama3", Generic, true),
        ("models/x", "X", Generic, true),
        ("accounts/fireworks/models/x", "x", Fireworks, true),
        ("O1", "o1", OpenAi, true),
        ("models/", "", Gemini, false),
    ] {
        assert_eq!(
            is_same(one, other, server),
            same,
            "{one} {other} {server:?}"
        );
    }
}

#[test]
fn model_version_is_a_date() {
    for version in [
        "gpt-4o",
        "gpt-4o-2024-08-06",
        "gpt-4o-20240806",
        "GPT-4o@20240806",
        "gpt-4o-latest",
    ] {
        for server in every_server() {
            assert!(
                is_version(version, "gpt-4o", server),
                "{version} {server:?}"
            );
        }
    }
    for other in [
        "gpt-4o-mini",
        "gpt-4o-pro",
        "gpt-4o-0613",
        "gpt-4o-2024-13-06",
        "gpt-4o-2024-08-32",
        "gpt-4o-9024-08-06",
        "gpt-4o-2024-08-06-x",
        "gpt-4o20240806",
        "gpt-4o:20240806",
        "gpt-4o@latest",
        "gpt-4o:free",
        "gpt-4",
        "ft:gpt-4o:org::id",
        "x-gpt-4o",
    ] {
        for server in every_server() {
            assert!(!is_version(other, "gpt-4o", server), "{other} {server:?}");
        }
    }
    // Google numbers versions.
    let (version, name) = ("gemini-2.0-flash-001", "gemini-2.0-flash");
    assert!(is_version(version, name, Gemini) && !is_version(version, name, OpenAi));
    assert!(!is_version("gemini-2.0-flash-01", name, Gemini));
    assert!(!is_version("llama3:8b-20240806", "llama3:8b", Ollama));
    assert!(!is_version("-2024-08-06", "", OpenAi));
}

#[test]
fn a_tuned_model_is_rated_as_itself_then_as_its_base() {
    let names = |model| rated_as(model, OpenAi).collect::<Vec<_>>();
    assert_eq!(
        names("ft:gpt-4o-mini-2024-07-18:org:x:id"),
        [
            "ft:gpt-4o-mini-2024-07-18:org:x:id",
            "ft:gpt-4o-mini-2024-07-18",
            "ft:gpt-4o-mini",
            "gpt-4o-mini-2024-07-18",
            "gpt-4o-mini",
        ]
    );
    assert_eq!(names("o1-2024-12-17"), ["o1-2024-12-17", "o1"]);
    assert_eq!(names("o1-pro"), ["o1-pro"]);
    assert_eq!(names("ft::x"), ["ft::x"]);
}

#[test]
fn a_tag_is_a_name_or_a_variant_or_nobody_knows() {
    let cut = |model, server| bases(model, server).collect::<Vec<_>>();
    assert_eq!(
        cut("openai/o1:nitro:free", OpenRouter),
        ["openai/o1:nitro", "openai/o1"]
    );
    assert_eq!(cut("llama3:70b", Ollama), [""; 0]);
    assert_eq!(cut("llama3:70b", Generic), ["llama3"]);
    assert_eq!(cut("ft:gpt-4o:org::id", Generic), [""; 0]);
    assert_eq!((tag(OpenRouter), tag(Ollama)), (Tag::Variant, Tag::Name));
    assert_eq!(tag(Generic), Tag::Unknown);
}

fn in_letters(name: &str, large: &[bool]) -> String {
    let letters = name.chars().zip(large.iter().cycle());
    let letters = letters.map(|(char, large)| match large {
        true => char.to_ascii_uppercase(),
        false => char.to_ascii_lowercase(),
    });
    letters.collect()
}

proptest! {
    #[test]
    fn large_and_small_letters_are_the_same_everywhere(
        name in "[a-z][a-z0-9.:/-]{0,20}[a-z]",
        large in proptest::collection::vec(any::<bool>(), 1..9),
    ) {
        let other = in_letters(&name, &large);
        for server in every_server() {
            prop_assert!(is_same(&name, &other, server), "{} {:?}", other, server);
            let rated = |name| rated_as(name, server).map(str::to_ascii_lowercase).collect::<Vec<_>>();
            prop_assert_eq!(rated(&name), rated(&other));
        }
    }

    #[test]
    fn a_spelling_that_its_server_completes_is_the_same(
        name in "[a-z][a-z0-9.-]{0,20}",
        large in proptest::collection::vec(any::<bool>(), 1..9),
    ) {
        for (spelling, server) in [
            (format!("library/{name}"), Ollama),
            (format!("{name}:latest"), Ollama),
            (format!("registry.ollama.ai/library/{name}:latest"), Ollama),
            (format!("library/{name}:latest"), Generic),
            (format!("models/{name}"), Gemini),
            (format!("models/{name}"), LiteLlm),
        ] {
            let spelling = in_letters(&spelling, &large);
            prop_assert!(is_same(&spelling, &name, server), "{} {:?}", spelling, server);
            prop_assert_eq!(check(&spelling), Ok(()));
        }
    }

    #[test]
    fn any_name_is_read_without_panic(one in "\\PC{0,20}|(ft:|models/|[a-z:@-]|2024-?08-?06|-latest|:latest){0,6}", other in "\\PC{0,9}") {
        let _ = check(&one);
        for server in [Ollama, Gemini, Generic, OpenRouter, OpenAi] {
            prop_assert!(is_same(&one, &one, server));
            let _ = is_version(&one, &other, server);
            let _ = rated_as(&one, server).chain(bases(&one, server)).count();
        }
    }
}
