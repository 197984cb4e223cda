//! [`Metadata`]: an issuer's discovery document (OpenID Connect Discovery 1.0), as far as sign-in needs it.
//!
//! `issuer` must be ours to the letter, or one issuer could speak for another.

use crate::url::Url;
use serde_json::Value;

/// Place of the discovery document below an issuer.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Issuer of a tenant's config, with the address of its discovery document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerUrl {
    /// `iss` of its tokens, to the letter.
    pub text: String,
    pub discovery: Url,
}

impl IssuerUrl {
    /// Parses an issuer: a URL without a query.
    pub fn parse(text: &str) -> Result<IssuerUrl, &'static str> {
        if text.contains('?') {
            return Err("an issuer has no query");
        }
        Url::parse(text)?;
        let discovery = Url::parse(&format!("{}{WELL_KNOWN}", text.trim_end_matches('/')))?;
        Ok(IssuerUrl {
            text: text.to_owned(),
            discovery,
        })
    }
}

/// How a client shows its secret at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    /// `client_secret_post`.
    Form,
    /// `client_secret_basic`.
    Header,
}

/// Addresses of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub jwks: Url,
    /// Absent: the issuer has no code flow.
    pub authorize: Option<Url>,
    pub token: Option<Url>,
    pub secret_place: SecretPlace,
}

impl Metadata {
    /// Reads a discovery document of this issuer. The error is for the operator's log.
    pub fn parse(text: &[u8], issuer: &str) -> Result<Metadata, &'static str> {
        let document: Value = serde_json::from_slice(text).map_err(|_| "is no JSON")?;
        if document["issuer"].as_str() != Some(issuer) {
            return Err("names another issuer");
        }
        let url = |name: &str| document[name].as_str().map(Url::parse).transpose();
        let jwks = url("jwks_uri").map_err(|_| "has a `jwks_uri` that is no URL")?;
        let authorize = url("authorization_endpoint");
        let token = url("token_endpoint");
        let ways = document["token_endpoint_auth_methods_supported"].as_array();
        // Without the list the issuer takes `client_secret_basic` (Discovery 1.0, section 3).
        let has_form = ways.is_some_and(|ways| ways.iter().any(|way| way == "client_secret_post"));
        Ok(Metadata {
            jwks: jwks.ok_or("has no `jwks_uri`")?,
            authorize: authorize.map_err(|_| "has an `authorization_endpoint` that is no URL")?,
            token: token.map_err(|_| "has a `token_endpoint` that is no URL")?,
            secret_place: match has_form {
                true => SecretPlace::Form,
                false => SecretPlace::Header,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn issuer_is_kept_to_the_letter() {
        for (text, discovery) in [
            (
                "https://a.example",
                "https://a.example/.well-known/openid-configuration",
            ),
            (
                "https://a.example/",
                "https://a.example/.well-known/openid-configuration",
            ),
            (
                "https://A.example/b",
                "https://a.example/b/.well-known/openid-configuration",
            ),
        ] {
            let issuer = IssuerUrl::parse(text).unwrap();
            assert_eq!(issuer.text, text);
            assert_eq!(issuer.discovery, Url::parse(discovery).unwrap());
        }
        for text in [
            "a.example",
            "https://a.example?b",
            "https://a.example/#b",
            "https://u@a.example",
            "",
        ] {
            assert!(IssuerUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn document_of_another_issuer_is_refused() {
        let document = |issuer: &str| {
            json!({"issuer": issuer, "jwks_uri": "https://a.example/keys",
                "token_endpoint": "https://a.example/token",
                "token_endpoint_auth_methods_supported": ["client_secret_post"]})
            .to_string()
        };
        let read = |text: &str| Metadata::parse(text.as_bytes(), "https://a.example");

        let metadata = read(&document("https://a.example")).unwrap();
        assert_eq!(metadata.jwks, Url::parse("https://a.example/keys").unwrap());
        assert_eq!(
            (metadata.authorize, metadata.secret_place),
            (None, SecretPlace::Form)
        );
        for issuer in [
            "https://a.example/",
            "https://A.example",
            "http://a.example",
            "",
        ] {
            assert!(read(&document(issuer)).is_err(), "{issuer}");
        }
        assert!(read(r#"{"issuer":"https://a.example"}"#).is_err());
        assert!(read(r#"{"issuer":"https://a.example","jwks_uri":"file:///etc/passwd"}"#).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = Metadata::parse(text.as_bytes(), "https://a.example");
            let _ = IssuerUrl::parse(&text);
        }
    }
}
