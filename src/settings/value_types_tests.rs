//! Tests of each [`ValueType`]: accepted values, rejected values, error messages.

use super::*;

fn read<T>(form: &ValueType<T>, text: &str) -> Result<T, String> {
    (form.read)(&YamlNode::plain(text))
}

#[test]
fn sizes_are_bytes_with_a_unit_or_without() {
    let cases = [
        ("1", Some(1)),
        ("10B", Some(10)),
        ("1KiB", Some(1024)),
        ("32MiB", Some(32 << 20)),
        ("2 GiB", Some(2 << 30)),
        ("10MB", Some(10_000_000)),
        ("0", None),
        ("", None),
        ("1.5MB", None),
        ("-1", None),
        ("10M", None),
        ("many", None),
        ("99999999999GiB", None),
    ];
    for (text, meant) in cases {
        assert_eq!(read(&size(), text).ok(), meant, "{text}");
    }
    assert_eq!(
        read(&size(), "many").unwrap_err(),
        "expected a size such as 32MiB, not \"many\""
    );
}

#[test]
fn durations_are_sums_of_numbers_with_units() {
    let cases = [
        ("500ms", Some(500)),
        ("30s", Some(30_000)),
        ("1m30s", Some(90_000)),
        ("24h", Some(86_400_000)),
        ("1d12h", Some(129_600_000)),
        ("0s", Some(0)),
        ("", None),
        ("30", None),
        ("s", None),
        ("1.5s", None),
        ("1x", None),
        ("4000d", None),
        ("99999999999999999999s", None),
    ];
    for (text, millis) in cases {
        let meant = millis.map(Duration::from_millis);
        assert_eq!(read(&span(Duration::ZERO), text).ok(), meant, "{text}");
    }
    let least = span(Duration::from_secs(5));
    assert_eq!(
        read(&least, "4s").unwrap_err(),
        "expected a duration such as 30s or 1m30s, at least 5s, not \"4s\""
    );
}

#[test]
fn addresses_are_a_host_and_a_port() {
    for text in [
        "localhost:3000",
        "0.0.0.0:0",
        "[::1]:3000",
        "my-host.example:1",
    ] {
        assert!(read(&address(), text).is_ok(), "{text}");
    }
    for text in [
        "localhost",
        ":3000",
        "::1:3000",
        "h:70000",
        "h:+1",
        "[::x]:1",
        "*:1",
        "h:",
    ] {
        assert!(read(&address(), text).is_err(), "{text}");
    }
}

#[test]
fn networks_are_addresses_with_a_length() {
    let meant = |text| read(&network(), text).ok().map(|(a, n)| format!("{a}/{n}"));
    assert_eq!(meant("10.0.0.1").as_deref(), Some("10.0.0.1/32"));
    assert_eq!(meant("10.0.0.0/8").as_deref(), Some("10.0.0.0/8"));
    assert_eq!(meant("fd00::/8").as_deref(), Some("fd00::/8"));
    assert_eq!(meant("::1").as_deref(), Some("::1/128"));
    for text in ["10.0.0.0/33", "fd00::/129", "10.0.0", "10.0.0.0/x", "host"] {
        assert_eq!(meant(text), None, "{text}");
    }
}

#[test]
fn log_levels_may_differ_by_target() {
    for text in ["info", "WARN", "off", "info,resullm::store=debug, x=trace"] {
        assert!(read(&log_levels(), text).is_ok(), "{text}");
    }
    for text in ["loud", "info,", "x=", "resullm"] {
        assert!(read(&log_levels(), text).is_err(), "{text}");
    }
}

#[test]
fn a_list_may_be_one_text_with_commas() {
    let form = list(address(), 1);
    assert_eq!(read(&form, "a:1, [::1]:2").unwrap(), ["a:1", "[::1]:2"]);
    assert!(read(&form, "a:1,").is_err());
    let empty = YamlNode {
        kind: NodeKind::List(vec![]),
        ..YamlNode::plain("")
    };
    assert_eq!(
        (form.read)(&empty).unwrap_err(),
        "expected a list of at least 1"
    );
}

#[test]
fn counts_and_choices_name_what_they_take() {
    let threads = count::<usize>(1, 64);
    assert_eq!(read(&threads, "64"), Ok(64));
    assert_eq!(
        read(&threads, "65").unwrap_err(),
        "expected a whole number from 1 to 64, not \"65\""
    );
    assert_eq!(
        read(&count::<u64>(1, u64::MAX), "0").unwrap_err(),
        "expected a whole number of at least 1, not \"0\""
    );
    let sides = choice(&[("left", 1), ("right", 2)]);
    assert_eq!(read(&sides, "right"), Ok(2));
    assert_eq!(
        read(&sides, "up").unwrap_err(),
        "expected left or right, not \"up\""
    );
    assert_eq!(
        read(&boolean(), "yes").unwrap_err(),
        "expected true or false, not \"yes\""
    );
}

#[test]
fn a_token_is_long_and_never_repeated() {
    assert!(read(&token(), "12345678").is_ok());
    for text in ["hunter2", "with a space in it", "umläute-sind-schön"] {
        let message = read(&token(), text).unwrap_err();
        assert!(message.contains("at least 8 visible"), "{message}");
        assert!(!message.contains(text), "{message}");
    }
}

#[test]
fn a_seal_key_is_32_bytes_and_never_repeated() {
    let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
    let bytes: Vec<u8> = (0..32).collect();
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    for text in [hex, base64, &format!("{base64}="), &format!(" {hex} ")] {
        let key = read(&seal_key(), text).unwrap();
        assert_eq!(key.0.as_slice(), bytes, "{text}");
        assert_eq!(format!("{key:?}"), "***");
    }
    let url_safe = "__________________________________________8";
    assert_eq!(read(&seal_key(), url_safe).unwrap().0, [255; 32]);
    assert_eq!(
        read(&seal_key(), &url_safe.replace('_', "/")).unwrap().0,
        [255; 32]
    );
    for text in [
        "",
        "s3cret-key",
        &hex[..62],
        &format!("{hex}00"),
        &hex.replace("00", "zz"),
        &base64[1..],
    ] {
        let message = read(&seal_key(), text).unwrap_err();
        assert!(message.contains("32 bytes"), "{message}");
        assert!(text.is_empty() || !message.contains(text), "{message}");
    }
}

#[test]
fn an_approval_names_a_variable_and_where_it_may_go() {
    let shown = |text: &str| {
        let one = read(&approval(), text).ok()?;
        let scheme = if one.https { "https" } else { "http" };
        Some(format!(
            "{} {scheme} {} {} {:?}",
            one.name, one.host, one.port, one.tenants
        ))
    };
    for (text, meant) in [
        (
            "OPENAI_API_KEY=api.openai.com",
            "OPENAI_API_KEY https api.openai.com 443 []",
        ),
        (
            "A=https://API.Openai.com:8443",
            "A https api.openai.com 8443 []",
        ),
        ("A=http://127.0.0.1:8000", "A http 127.0.0.1 8000 []"),
        ("A=http://[::1]", "A http ::1 80 []"),
        (
            "A=[0:0::1]:1 for abc  x-y_z",
            r#"A https ::1 1 ["abc", "x-y_z"]"#,
        ),
    ] {
        assert_eq!(shown(text).as_deref(), Some(meant), "{text}");
    }
    for text in [
        "A",
        "A=",
        "=h",
        "A b=h",
        "1A=h",
        "A=h/path",
        "A=h:x",
        "A=h:0",
        "A=*",
        "A=ftp://h",
        "A=h for",
        "A=h abc",
        "A=h for a:b",
        "A=https://",
        "sk-s3cret",
    ] {
        let message = read(&approval(), text).map(|one| one.name).unwrap_err();
        assert_eq!(message, APPROVED, "{text}");
    }
}

#[test]
fn names_that_clients_ask_for_have_one_spelling() {
    let exact = |name: &str| Some(HostName::Exact(name.to_owned()));
    for (text, meant) in [
        ("GW.Example.", exact("gw.example")),
        ("[0:0::1]", exact("::1")),
        ("::1", exact("::1")),
        ("10.0.0.1", exact("10.0.0.1")),
        ("*.B.example", Some(HostName::Below("b.example".to_owned()))),
        ("*", Some(HostName::Any)),
        ("gw.example:443", None),
        ("https://gw.example", None),
        ("gw.example/x", None),
        ("a.*.example", None),
        ("*.", None),
        ("*.10.0.0.1", None),
        ("a b", None),
        ("", None),
    ] {
        assert_eq!(read(&host_name(), text).ok(), meant, "{text}");
    }
}

#[test]
fn the_public_url_is_an_origin_and_perhaps_a_path() {
    for (text, meant) in [
        (
            "https://GW.example",
            Some(("https://gw.example", "gw.example", "")),
        ),
        (
            "HTTPS://gw.example:443/llm/",
            Some(("https://gw.example", "gw.example", "/llm")),
        ),
        (
            "http://[0::1]:3000/a/b",
            Some(("http://[::1]:3000", "::1", "/a/b")),
        ),
        ("gw.example", None),
        ("ftp://gw.example", None),
        ("https://", None),
        ("https://gw.example:0", None),
        ("https://u:p@gw.example", None),
        ("https://gw.example/?q", None),
        ("https://gw.example/#f", None),
        ("https://gw.example//x", None),
        ("https://gw.example/../x", None),
        ("https://gw.example/a b", None),
    ] {
        let url = read(&public_url(), text).ok();
        let url = url.as_ref();
        let parts = url.map(|url| (&*url.origin, &*url.host, &*url.path));
        assert_eq!(parts, meant, "{text}");
    }
}
