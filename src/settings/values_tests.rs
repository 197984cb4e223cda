//! Tests of the value types of settings: accepted values, rejected values, error messages.

use super::*;
use crate::tables::tests::read;

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
