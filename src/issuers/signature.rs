//! Signatures of JWTs: `jsonwebtoken` takes the tokens apart, and `ring`, which the TLS of this process uses too,
//! does the arithmetic.
//!
//! A key has one algorithm, which comes from the issuer's key set. Secrets shared with an issuer (HS256) verify
//! nothing here, and the only private keys are those of Apple's clients.

use crate::rules::identity::jwks::{self, Key, PublicKey};
use crate::rules::identity::refused::WrongToken;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, EncodingKey, Header, Validation, decode, encode,
};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::LazyLock;

/// Makes `ring` do the arithmetic of `jsonwebtoken`, once.
static INSTALLED: LazyLock<()> = LazyLock::new(|| {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: signer,
        verifier_factory: verifier,
        key_utils: KeyUtils::new_unimplemented(),
    };
    // Nothing else in this process installs one.
    let _ = PROVIDER.install_default();
});

/// Verifies a token with a key of its issuer, and returns its claims. Nothing else about it is checked.
pub(super) fn claims(token: &str, key: &Key) -> Result<Value, WrongToken> {
    LazyLock::force(&INSTALLED);
    let algorithm = match key.algorithm() {
        jwks::Algorithm::Rs256 => Algorithm::RS256,
        jwks::Algorithm::Es256 => Algorithm::ES256,
        jwks::Algorithm::EdDsa => Algorithm::EdDSA,
    };
    let public = match &key.public {
        PublicKey::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
        PublicKey::P256(point) => DecodingKey::from_ec_der(point),
        PublicKey::Ed25519(point) => DecodingKey::from_ed_der(point),
    };
    let mut validation = Validation::new(algorithm);
    // `rules/identity` checks all claims.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims = HashSet::new();
    match decode::<Value>(token, &public, &validation) {
        Ok(token) => Ok(token.claims),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidSignature => WrongToken::WrongSignature,
            ErrorKind::InvalidAlgorithm => WrongToken::OtherAlgorithm,
            _ => WrongToken::Malformed,
        }),
    }
}

/// Signs claims with ES256. `key`: a P-256 key in PKCS #8. `None`: it is another kind of key.
pub(super) fn signed(kid: &str, claims: &impl Serialize, key: &[u8]) -> Option<String> {
    LazyLock::force(&INSTALLED);
    let header = Header {
        kid: Some(kid.to_owned()),
        ..Header::new(Algorithm::ES256)
    };
    encode(&header, claims, &EncodingKey::from_ec_der(key)).ok()
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    match algorithm {
        Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA => Ok(Box::new(RingVerifier {
            algorithm: *algorithm,
            key: key.clone(),
        })),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match (self.algorithm, self.key.kind()) {
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            _ => return Err(signature::Error::new()),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    if *algorithm != Algorithm::ES256 {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_bytes(), &random);
    match pair {
        Ok(pair) => Ok(Box::new(RingSigner { pair, random })),
        Err(_) => Err(ErrorKind::InvalidEcdsaKey.into()),
    }
}

struct RingSigner {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let signature = self.pair.sign(&self.random, message);
        let signature = signature.map_err(|_| signature::Error::new())?;
        Ok(signature.as_ref().to_vec())
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::identity::jwks::Jwks;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::json;

    fn p256() -> (Vec<u8>, Jwks) {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let point = &pair.public_key().as_ref()[1..];
        let part = |range| URL_SAFE_NO_PAD.encode(&point[range]);
        let set = json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "k", "x": part(0..32), "y": part(32..64)},
        ]});
        let keys = Jwks::parse(set.to_string().as_bytes()).unwrap();
        (pkcs8.as_ref().to_vec(), keys)
    }

    #[test]
    fn signed_token_is_verified_with_its_own_key_alone() {
        let ((private, keys), (_, others)) = (p256(), p256());
        let token = signed("k", &json!({"sub": "me"}), &private).unwrap();
        let key = keys.of("k").next().unwrap();
        assert_eq!(claims(&token, key), Ok(json!({"sub": "me"})));

        let other = others.of("k").next().unwrap();
        assert_eq!(claims(&token, other), Err(WrongToken::WrongSignature));
        let (start, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = start.split_once('.').unwrap();
        let claimed = URL_SAFE_NO_PAD.encode(r#"{"sub":"you"}"#);
        let forged = format!("{header}.{claimed}.{signature}");
        assert_eq!(claims(&forged, key), Err(WrongToken::WrongSignature));
        for bad in [
            format!("{start}."),
            start.to_owned(),
            String::new(),
            format!("{token}.x"),
        ] {
            assert!(claims(&bad, key).is_err(), "{bad}");
        }
        assert_eq!(signed("k", &json!({}), b"no key"), None);
    }

    #[test]
    fn algorithm_is_the_keys_and_not_the_tokens() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key());
        let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]});
        let keys = Jwks::parse(set.to_string().as_bytes()).unwrap();
        let key = keys.of("k").next().unwrap();
        let token = |algorithm: &str| {
            let header = json!({"alg": algorithm, "kid": "k"}).to_string();
            let message = format!(
                "{}.{}",
                URL_SAFE_NO_PAD.encode(header),
                URL_SAFE_NO_PAD.encode("{}")
            );
            let signature = URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes()));
            format!("{message}.{signature}")
        };

        assert_eq!(claims(&token("EdDSA"), key), Ok(json!({})));
        assert_eq!(
            claims(&token("ES256"), key),
            Err(WrongToken::OtherAlgorithm)
        );
        assert!(claims(&token("none"), key).is_err());
        let shared = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"k"}"#),
            URL_SAFE_NO_PAD.encode("{}")
        );
        let mac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, pair.public_key().as_ref());
        let mac = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&mac, shared.as_bytes()));
        assert_eq!(
            claims(&format!("{shared}.{mac}"), key),
            Err(WrongToken::OtherAlgorithm)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_refused(text in "\\PC{0,60}|[A-Za-z0-9_-]{0,20}[.][A-Za-z0-9_-]{0,20}[.][A-Za-z0-9_-]{0,90}") {
            let (_, keys) = p256();
            prop_assert!(claims(&text, keys.of("k").next().unwrap()).is_err());
        }
    }
}
