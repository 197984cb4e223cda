//! The keys of an issuer: a JWK Set (RFC 7517), read into the few kinds that ID tokens are verified with.
//!
//! The algorithm is the key's, never the token's: RSA means RS256, P-256 means ES256, Ed25519 means EdDSA. Keys for
//! encryption, secrets (`oct`) and keys of other sizes are passed over.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// Most keys of one issuer that are kept.
const MAX_KEYS: usize = 64;
/// Most entries of a set that are looked at.
const MAX_ENTRIES: usize = 256;
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
const MAX_EXPONENT_BYTES: usize = 4;
const COORDINATE_BYTES: usize = 32;

/// Algorithm that ID tokens are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    /// Returns the algorithm that `alg` of a token names. `none` and those with shared secrets are unknown.
    pub(super) fn of_token(name: &str) -> Option<Algorithm> {
        match name {
            "RS256" => Some(Algorithm::Rs256),
            "ES256" => Some(Algorithm::Es256),
            "EdDSA" => Some(Algorithm::EdDsa),
            _ => None,
        }
    }

    /// Whether `alg` of a key allows this algorithm.
    fn is_named(self, name: Option<&Value>) -> bool {
        match name {
            None => true,
            Some(name) => match name.as_str() {
                Some("Ed25519") => self == Algorithm::EdDsa,
                Some(name) => Algorithm::of_token(name) == Some(self),
                None => false,
            },
        }
    }
}

/// Numbers of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// Modulus and exponent, without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// Point on P-256, uncompressed: 4, then both coordinates.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// One key of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub kid: String,
    pub public: PublicKey,
}

impl Key {
    pub fn algorithm(&self) -> Algorithm {
        match self.public {
            PublicKey::Rsa { .. } => Algorithm::Rs256,
            PublicKey::P256(_) => Algorithm::Es256,
            PublicKey::Ed25519(_) => Algorithm::EdDsa,
        }
    }
}

/// Keys of an issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jwks(Vec<Key>);

impl Jwks {
    /// Reads a JWK Set. The error is for the operator's log.
    pub fn parse(text: &[u8]) -> Result<Jwks, &'static str> {
        let set: Value = serde_json::from_slice(text).map_err(|_| "is no JSON")?;
        let entries = set["keys"].as_array().ok_or("has no list `keys`")?;
        let keys = entries.iter().take(MAX_ENTRIES).filter_map(key);
        let keys: Vec<Key> = keys.take(MAX_KEYS).collect();
        match keys.is_empty() {
            true => Err("has no key that ID tokens can be verified with"),
            false => Ok(Jwks(keys)),
        }
    }

    pub fn has(&self, kid: &str) -> bool {
        self.0.iter().any(|key| key.kid == kid)
    }

    /// Returns the keys of a `kid`: one, unless an issuer gives two kinds of key the same name.
    pub fn of(&self, kid: &str) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |key| key.kid == kid)
    }
}

fn key(entry: &Value) -> Option<Key> {
    let is_sig = entry.get("use").is_none_or(|used| used == "sig");
    let verifies = |operations: &Value| {
        let mut named = operations.as_array().into_iter().flatten();
        named.any(|operation| operation == "verify")
    };
    if !is_sig || !entry.get("key_ops").is_none_or(verifies) {
        return None;
    }
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(entry[name].as_str()?).ok();
    let public = match (entry["kty"].as_str()?, entry["crv"].as_str()) {
        ("RSA", _) => rsa(&bytes("n")?, &bytes("e")?)?,
        ("EC", Some("P-256")) => {
            let (x, y) = (bytes("x")?, bytes("y")?);
            let is_point = x.len() == COORDINATE_BYTES && y.len() == COORDINATE_BYTES;
            is_point.then(|| PublicKey::P256([&[4], x.as_slice(), &y].concat()))?
        }
        ("OKP", Some("Ed25519")) => {
            let x = bytes("x").filter(|x| x.len() == COORDINATE_BYTES)?;
            PublicKey::Ed25519(x)
        }
        _ => return None,
    };
    let key = Key {
        kid: entry["kid"]
            .as_str()
            .filter(|kid| !kid.is_empty())?
            .to_owned(),
        public,
    };
    key.algorithm().is_named(entry.get("alg")).then_some(key)
}

fn rsa(n: &[u8], e: &[u8]) -> Option<PublicKey> {
    let stripped = |number: &[u8]| {
        let start = number.iter().position(|byte| *byte != 0);
        start.map_or(Vec::new(), |start| number[start..].to_vec())
    };
    let (n, e) = (stripped(n), stripped(e));
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    let is_odd = e.last()? & 1 == 1;
    let is_usual = is_odd && e.as_slice() != [1] && e.len() <= MAX_EXPONENT_BYTES;
    (RSA_BITS.contains(&bits) && is_usual).then_some(PublicKey::Rsa { n, e })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn number(bytes: usize, first: u8) -> String {
        let mut number = vec![1; bytes];
        number[0] = first;
        URL_SAFE_NO_PAD.encode(number)
    }

    fn read(entries: Value) -> Result<Jwks, &'static str> {
        Jwks::parse(json!({"keys": entries}).to_string().as_bytes())
    }

    #[test]
    fn keys_are_taken_by_their_kind() {
        let coordinate = number(32, 7);
        let set = read(json!([
            {"kty": "RSA", "kid": "r", "use": "sig", "alg": "RS256", "n": number(256, 128), "e": "AQAB"},
            {"kty": "EC", "kid": "p", "crv": "P-256", "x": coordinate, "y": coordinate, "key_ops": ["verify"]},
            {"kty": "OKP", "kid": "e", "crv": "Ed25519", "x": coordinate, "alg": "Ed25519"},
        ]))
        .unwrap();

        let kinds = ["r", "p", "e"].map(|kid| set.of(kid).next().unwrap().algorithm());
        assert_eq!(
            kinds,
            [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa]
        );
        assert!(set.has("r") && !set.has("x"));
    }

    #[test]
    fn unusable_keys_are_passed_over() {
        let coordinate = number(32, 7);
        let good = json!({"kty": "RSA", "kid": "a", "n": number(256, 128), "e": "AQAB"});
        assert!(read(json!([good])).is_ok());
        let change = |name: &str, value: Value| {
            let mut key = good.clone();
            key[name] = value;
            key
        };
        for key in [
            change("n", json!(number(255, 128))),
            change("n", json!(number(256, 127))),
            change("n", json!(number(1025, 1))),
            change("n", json!("")),
            change("n", json!("!")),
            change("e", json!("AQ")),
            change("e", json!("Ag")),
            change("e", json!("AQAAAAE")),
            change("use", json!("enc")),
            change("alg", json!("RS512")),
            change("alg", json!("HS256")),
            change("alg", json!(1)),
            change("key_ops", json!(["encrypt"])),
            change("kid", json!("")),
            change("kid", Value::Null),
            json!({"kty": "oct", "kid": "a", "k": "c2VjcmV0"}),
            json!({"kty": "EC", "kid": "a", "crv": "P-384", "x": coordinate, "y": coordinate}),
            json!({"kty": "EC", "kid": "a", "crv": "P-256", "x": number(31, 7), "y": coordinate}),
            json!({"kty": "EC", "kid": "a", "crv": "P-256", "x": coordinate, "y": coordinate, "alg": "RS256"}),
            json!({"kty": "OKP", "kid": "a", "crv": "X25519", "x": coordinate}),
            json!(1),
        ] {
            assert!(read(json!([key.clone()])).is_err(), "{key}");
        }
    }

    #[test]
    fn number_of_keys_is_bounded() {
        let key = |n: usize| json!({"kty": "OKP", "kid": n.to_string(), "crv": "Ed25519", "x": number(32, 7)});
        let set = read((0..MAX_ENTRIES + 9).map(key).collect()).unwrap();
        assert_eq!(set.0.len(), MAX_KEYS);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = Jwks::parse(text.as_bytes());
            let _ = read(json!([{"kty": "RSA", "kid": "a", "n": text, "e": text}]));
        }
    }
}
