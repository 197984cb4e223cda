//! Canonical form of a request body: the bytes that are hashed to find its answer in the cache.
//!
//! Two bodies have one form exactly if every reader reads the same in both: order of members, spacing and escapes make
//! no difference, and everything else does. A body that readers could read in two ways has none.

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;

/// Reason that a body has no canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotCanonical {
    /// An object has a member of this name twice, which readers read in two ways.
    Duplicate(String),
    /// A number beyond the precision of some reader, a lone surrogate, or no JSON.
    Unclear,
}

/// Canonical form of a JSON body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Canonical {
    pub bytes: Vec<u8>,
    /// Whether the body names a URL whose content the provider fetches, which may change.
    pub is_remote: bool,
}

/// Members whose value may be the URL of content.
const URLS: &[&str] = &[
    "url",
    "image_url",
    "file_url",
    "video_url",
    "audio_url",
    "fileUri",
    "file_uri",
];

/// Whole numbers from here on are not exact in every reader.
const INEXACT: f64 = 9_007_199_254_740_992.0;

/// Returns the canonical form of a JSON text, without the members `left_out` of its outermost object.
pub(crate) fn of_json(body: &[u8], left_out: &[&str]) -> Result<Canonical, NotCanonical> {
    let found = Remarks::default();
    let reader = ValueReader {
        found: &found,
        left_out,
        member: "",
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = reader.deserialize(&mut json);
    let read = read.and_then(|bytes| json.end().map(|()| bytes));
    match (read, found.duplicate.into_inner()) {
        (_, Some(name)) => Err(NotCanonical::Duplicate(name)),
        (Ok(bytes), None) => Ok(Canonical {
            bytes,
            is_remote: found.is_remote.get(),
        }),
        (Err(_), None) => Err(NotCanonical::Unclear),
    }
}

/// Facts that are found on the way.
#[derive(Default)]
struct Remarks {
    duplicate: RefCell<Option<String>>,
    is_remote: Cell<bool>,
}

/// ValueReader of one value.
struct ValueReader<'a> {
    found: &'a Remarks,
    left_out: &'a [&'a str],
    /// Name of the member that the value stands in.
    member: &'a str,
}

fn sized(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut sized = Vec::with_capacity(bytes.len() + 9);
    sized.push(tag);
    sized.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    sized.extend_from_slice(bytes);
    sized
}

impl<'de> DeserializeSeed<'de> for ValueReader<'_> {
    type Value = Vec<u8>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Vec<u8>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueReader<'_> {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<u8>, E> {
        Ok(b"n".to_vec())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Vec<u8>, E> {
        Ok(if value { b"t".to_vec() } else { b"f".to_vec() })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Vec<u8>, E> {
        Ok(sized(b'i', &i128::from(value).to_be_bytes()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Vec<u8>, E> {
        Ok(sized(b'i', &i128::from(value).to_be_bytes()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Vec<u8>, E> {
        if value.abs() >= INEXACT {
            return Err(E::custom("inexact"));
        }
        Ok(sized(b'd', &value.to_bits().to_be_bytes()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u8>, E> {
        let start = text.trim_start().get(..4).unwrap_or_default();
        if URLS.contains(&self.member) && start.eq_ignore_ascii_case("http") {
            self.found.is_remote.set(true);
        }
        Ok(sized(b's', text.as_bytes()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        loop {
            let item = ValueReader {
                found: self.found,
                left_out: &[],
                member: self.member,
            };
            match list.next_element_seed(item)? {
                Some(item) => bytes.extend(item),
                None => return Ok(sized(b'l', &bytes)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Vec<u8>, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(name) = object.next_key::<String>()? {
            let reader = ValueReader {
                found: self.found,
                left_out: &[],
                member: &name,
            };
            let value = object.next_value_seed(reader)?;
            if members.contains_key(&name) {
                self.found.duplicate.replace(Some(name));
                return Err(A::Error::custom("duplicate"));
            }
            members.insert(name, value);
        }
        let mut bytes = Vec::new();
        for (name, value) in members {
            if !self.left_out.contains(&name.as_str()) {
                bytes.extend(sized(b's', name.as_bytes()));
                bytes.extend(value);
            }
        }
        Ok(sized(b'o', &bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn form(text: &str) -> Result<Vec<u8>, NotCanonical> {
        of_json(text.as_bytes(), &["user"]).map(|form| form.bytes)
    }

    #[test]
    fn spelling_makes_no_difference() {
        let one =
            form(r#"{"model":"m","messages":[{"role":"user","content":"caf\u00e9 /"}],"n":2}"#);
        let other = form(
            "{ \"n\" : 2,\n\"messages\":[ {\"content\":\"café \\/\",\"r\\u006fle\":\"user\"} ], \"user\": \"me\", \"model\": \"m\"}",
        );
        assert!(one.is_ok());
        assert_eq!(one, other);
    }

    #[test]
    fn everything_else_does() {
        let texts = [
            r#"{"a":1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":"1"}"#,
            r#"{"a":true}"#,
            r#"{"a":null}"#,
            r#"{"a":[1]}"#,
            r#"{"a":[[1]]}"#,
            r#"{"a":[1,1]}"#,
            r#"{"a":{"a":1}}"#,
            r#"{"b":1}"#,
            r#"{"a":{"user":1}}"#,
            r#"{"a":{"user":2}}"#,
            r#"{"a":"x","b":"y"}"#,
            r#"{"a":"xb","":"y"}"#,
            r#"{"a":-1}"#,
            r#"{"a":0.5}"#,
            r#"{}"#,
            r#"[]"#,
            r#"{"a":""}"#,
            r#"{"a":"\u0000"}"#,
            r#"{"A":1}"#,
        ];
        let forms: Vec<_> = texts.iter().map(|text| form(text).unwrap()).collect();
        for (index, one) in forms.iter().enumerate() {
            assert!(!forms[..index].contains(one), "{}", texts[index]);
        }
    }

    #[test]
    fn what_readers_read_in_two_ways_has_no_form() {
        let duplicate = |name: &str| Err(NotCanonical::Duplicate(name.to_owned()));
        assert_eq!(form(r#"{"a":{"b":1,"\u0062":2}}"#), duplicate("b"));
        assert_eq!(form(r#"{"user":1,"user":2}"#), duplicate("user"));
        for text in [
            r#"{"a":18446744073709551617}"#,
            r#"{"a":1e300}"#,
            r#"{"a":"\ud83d"}"#,
            r#"{"a":1} x"#,
            "{",
            "",
        ] {
            assert_eq!(form(text), Err(NotCanonical::Unclear), "{text}");
        }
    }

    #[test]
    fn content_that_a_provider_fetches_is_noticed() {
        let is_remote = |body: Value| of_json(body.to_string().as_bytes(), &[]).unwrap().is_remote;
        assert!(is_remote(
            json!({"image_url": {"url": "https://a.example/x.png"}})
        ));
        assert!(is_remote(
            json!({"input": [{"type": "input_image", "image_url": "HTTP://a.example"}]})
        ));
        assert!(is_remote(
            json!({"source": {"type": "url", "url": ["http://a.example"]}})
        ));
        assert!(!is_remote(
            json!({"image_url": {"url": "data:image/png;base64,aaaa"}})
        ));
        assert!(!is_remote(
            json!({"content": "see https://a.example", "url": {"type": "string"}})
        ));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c\u{e9}]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c]{0,2}", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn equal_forms_are_equal_values(one in any_json(), other in any_json()) {
            let (form_of_one, form_of_other) = (form(&one.to_string()), form(&other.to_string()));
            prop_assert!(form_of_one.is_ok());
            let strip = |mut value: Value| {
                if let Some(object) = value.as_object_mut() { object.remove("user"); }
                value
            };
            prop_assert_eq!(form_of_one == form_of_other, strip(one) == strip(other));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = of_json(&bytes, &[]);
        }
    }
}
