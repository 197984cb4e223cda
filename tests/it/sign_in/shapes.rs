//! Tokens as vendors write them: each signs in with the config that the documentation gives, and the same vendor's
//! anonymous users do not.

use super::{assert_refused, setup, sign_in, tenant};
use crate::harness::Gateway;
use crate::harness::issuer::{Issuer, TestKey, now};
use serde_json::{Value, json};

const SHAPES: &str = include_str!("../../people/shapes.json");

/// Puts the issuer and the times into a fixture.
fn filled(value: &Value, issuer: &Issuer) -> Value {
    match value {
        Value::String(text) if text == "<issuer>" => json!(issuer.name()),
        Value::String(text) if text == "<now>" => json!(now()),
        Value::String(text) if text == "<end>" => json!(now() + 60),
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| (name.clone(), filled(value, issuer)));
            Value::Object(members.collect())
        }
        Value::Array(items) => items.iter().map(|item| filled(item, issuer)).collect(),
        other => other.clone(),
    }
}

#[test]
fn vendors_tokens_sign_in_and_their_anonymous_users_do_not() {
    let issuer = Issuer::start();
    let shapes: Value = serde_json::from_str(SHAPES).unwrap();
    let shapes = filled(&shapes, &issuer);
    let shapes = shapes.as_object().unwrap();
    assert!(shapes.len() >= 5);
    let mut config = tenant();
    for (vendor, shape) in shapes {
        config = config.set(&format!("auth.oidc.{vendor}"), shape["config"].clone());
    }
    let gateway = Gateway::start(setup(&issuer).tenant("abc", config));

    for (vendor, shape) in shapes {
        let kind = format!("oidc/{vendor}");
        let good = sign_in(&gateway, &kind, &TestKey::RsaOne.token(&shape["claims"]));
        assert_eq!(good.status, 200, "{vendor}: {}", good.text());
        for (index, change) in shape["refused"].as_array().unwrap().iter().enumerate() {
            let mut claims = shape["claims"].clone();
            for (name, value) in change.as_object().unwrap() {
                claims[name] = value.clone();
            }
            let token = TestKey::RsaOne.token(&claims);
            assert_refused(
                &sign_in(&gateway, &kind, &token),
                &format!("{vendor} {index}"),
            );
        }
    }
}
