//! An OpenID Connect issuer on loopback: discovery, keys, authorize, token and revoke endpoints.
//!
//! It signs anything that a test asks for. Its endpoints check what a real issuer checks: redirect URI, PKCE, client
//! secret, codes that work once. [`Issuer::set_keys`] and [`Issuer::set_documents`] make it rotate, stall or lie.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::provider::{Provider, Received};
use super::script::Script;

/// Client that the issuer knows.
pub const CLIENT_ID: &str = "client-for-tests";
pub const CLIENT_SECRET: &str = "client secret: for/tests?";

/// Key of the fixtures in `tests/people/keys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestKey {
    RsaOne,
    RsaTwo,
    P256One,
    P256Two,
    Ed25519One,
}

impl TestKey {
    /// Name of the file, and `kid` of the key.
    pub fn kid(self) -> &'static str {
        match self {
            TestKey::RsaOne => "rsa-one",
            TestKey::RsaTwo => "rsa-two",
            TestKey::P256One => "p256-one",
            TestKey::P256Two => "p256-two",
            TestKey::Ed25519One => "ed25519-one",
        }
    }

    pub fn algorithm(self) -> &'static str {
        match self {
            TestKey::RsaOne | TestKey::RsaTwo => "RS256",
            TestKey::P256One | TestKey::P256Two => "ES256",
            TestKey::Ed25519One => "EdDSA",
        }
    }

    /// The private key as PEM.
    pub fn pem(self) -> String {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/people/keys");
        let file = dir.join(format!("{}.pem", self.kid()));
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    fn der(self) -> Vec<u8> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(self.pem().as_bytes()).unwrap();
        key.secret_pkcs8_der().to_vec()
    }

    fn rsa(self) -> RsaKeyPair {
        RsaKeyPair::from_pkcs8(&self.der()).unwrap()
    }

    fn ecdsa(self) -> EcdsaKeyPair {
        let random = SystemRandom::new();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.der(), &random).unwrap()
    }

    fn ed25519(self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&self.der()).unwrap()
    }

    /// Bytes of the public key as a shared secret of HS256 would use them.
    pub fn public(self) -> Vec<u8> {
        match self.algorithm() {
            "RS256" => self.rsa().public_key().as_ref().to_vec(),
            "ES256" => self.ecdsa().public_key().as_ref().to_vec(),
            _ => self.ed25519().public_key().as_ref().to_vec(),
        }
    }

    pub fn jwk(self) -> Value {
        let (kid, alg) = (self.kid(), self.algorithm());
        match alg {
            "RS256" => {
                let public: RsaPublicKeyComponents<Vec<u8>> = self.rsa().public().into();
                json!({"kty": "RSA", "kid": kid, "alg": alg, "use": "sig", "n": encode(&public.n), "e": encode(&public.e)})
            }
            "ES256" => {
                let point = self.public();
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "alg": alg, "use": "sig",
                    "x": encode(&point[1..33]), "y": encode(&point[33..])})
            }
            _ => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": alg, "x": encode(&self.public())})
            }
        }
    }

    fn sign(self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self.algorithm() {
            "RS256" => {
                let pair = self.rsa();
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            "ES256" => self
                .ecdsa()
                .sign(&random, message)
                .unwrap()
                .as_ref()
                .to_vec(),
            _ => self.ed25519().sign(message).as_ref().to_vec(),
        }
    }

    /// Signs a token with its own header.
    pub fn token(self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm(), "kid": self.kid(), "typ": "JWT"});
        self.token_with(&header, claims)
    }

    /// Signs a token with any header.
    pub fn token_with(self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        format!("{message}.{}", encode(&self.sign(message.as_bytes())))
    }
}

/// The part of a token that is signed.
pub fn message(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    )
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// PKCE challenge of a verifier.
pub fn challenge(verifier: &str) -> String {
    encode(ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes()).as_ref())
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Value of a field in a query or form, decoded.
pub fn field(text: &str, name: &str) -> Option<String> {
    let mut fields = form_urlencoded::parse(text.as_bytes());
    fields
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

/// Answer to requests for a document.
type Document = Arc<dyn Fn() -> Script + Send + Sync>;

#[derive(Clone)]
struct Asked {
    challenge: String,
    redirect_uri: String,
    nonce: String,
}

struct State {
    keys: Vec<TestKey>,
    /// Replaces the key set.
    documents: Option<Document>,
    codes: HashMap<String, Asked>,
    /// Claims that ID tokens of the token endpoint have besides the usual ones.
    claims: Value,
    secret: Option<String>,
    revoked: Vec<String>,
}

pub struct Issuer {
    provider: Provider,
    state: Arc<Mutex<State>>,
}

impl Issuer {
    /// Starts an issuer with one key of each kind.
    pub fn start() -> Issuer {
        let state = Arc::new(Mutex::new(State {
            keys: vec![TestKey::RsaOne, TestKey::P256One, TestKey::Ed25519One],
            documents: None,
            codes: HashMap::new(),
            claims: json!({}),
            secret: Some(CLIENT_SECRET.to_owned()),
            revoked: Vec::new(),
        }));
        let shared = state.clone();
        let provider = Provider::start(move |request| answer(&mut lock(&shared), request));
        Issuer { provider, state }
    }

    /// The issuer's name, `iss` of its tokens.
    pub fn name(&self) -> String {
        self.provider.url("")
    }

    pub fn url(&self, path: &str) -> String {
        self.provider.url(path)
    }

    pub fn set_keys(&self, keys: &[TestKey]) {
        lock(&self.state).keys = keys.to_vec();
    }

    /// Answers for the key set with something else.
    pub fn set_documents(&self, documents: impl Fn() -> Script + Send + Sync + 'static) {
        lock(&self.state).documents = Some(Arc::new(documents));
    }

    /// Sets claims of the ID tokens that the token endpoint gives.
    pub fn set_claims(&self, claims: Value) {
        lock(&self.state).claims = claims;
    }

    /// Secret that the token endpoint wants. `None`: a JWT, as Apple does.
    pub fn set_secret(&self, secret: Option<&str>) {
        lock(&self.state).secret = secret.map(str::to_owned);
    }

    /// Tokens that were revoked.
    pub fn revoked(&self) -> Vec<String> {
        lock(&self.state).revoked.clone()
    }

    /// Requests for a path so far.
    pub fn asked(&self, path: &str) -> usize {
        let is_path = |request: &&Received| request.path.split('?').next() == Some(path);
        self.provider.requests().iter().filter(is_path).count()
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Received> {
        self.provider.requests()
    }

    /// The forms that the token endpoint got.
    pub fn forms(&self) -> Vec<Received> {
        let requests = self.provider.requests().into_iter();
        requests
            .filter(|request| request.path == "/token")
            .collect()
    }

    /// Claims of a good token for [`CLIENT_ID`].
    pub fn claims(&self, subject: &str) -> Value {
        json!({"iss": self.name(), "aud": CLIENT_ID, "sub": subject, "iat": now(), "exp": now() + 600})
    }

    /// A good token.
    pub fn token(&self, subject: &str) -> String {
        TestKey::RsaOne.token(&self.claims(subject))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(state: &mut State, request: &Received) -> Script {
    let base = format!("http://{}", request.header("host").unwrap_or_default());
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    match path {
        "/.well-known/openid-configuration" => Script::json(
            200,
            &json!({
                "issuer": base,
                "jwks_uri": format!("{base}/keys"),
                "authorization_endpoint": format!("{base}/authorize"),
                "token_endpoint": format!("{base}/token"),
            }),
        ),
        "/keys" => match &state.documents {
            Some(documents) => documents(),
            None => Script::json(
                200,
                &json!({"keys": state.keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}),
            ),
        },
        "/authorize" => authorize(state, query, &base),
        "/token" => token(state, request, &base),
        "/revoke" => {
            let revoked = field(&request.text(), "token").unwrap_or_default();
            state.revoked.push(revoked);
            Script::json(200, &json!({}))
        }
        _ => Script::json(404, &json!({})),
    }
}

/// Signs the browser in at once. With `form_post` the answer is the form that a page would post.
fn authorize(state: &mut State, query: &str, base: &str) -> Script {
    let get = |name: &str| field(query, name).unwrap_or_default();
    if get("client_id") != CLIENT_ID
        || get("response_type") != "code"
        || get("code_challenge_method") != "S256"
    {
        return Script::json(400, &json!({"error": "invalid_request"}));
    }
    let code = format!("code {}&", state.codes.len());
    let asked = Asked {
        challenge: get("code_challenge"),
        redirect_uri: get("redirect_uri"),
        nonce: get("nonce"),
    };
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("code", &code)
        .append_pair("state", &get("state"));
    let to = asked.redirect_uri.clone();
    state.codes.insert(code, asked);
    if get("response_mode") == "form_post" {
        form.append_pair("user", r#"{"name":{"firstName":"A"}}"#);
        return Script::new()
            .head(200, &[("x-form-action", to.as_str())])
            .bytes(form.finish());
    }
    form.append_pair("iss", base);
    let location = format!("{to}?{}", form.finish());
    Script::new().head(
        302,
        &[("location", location.as_str()), ("content-length", "0")],
    )
}

fn token(state: &mut State, request: &Received, base: &str) -> Script {
    let text = request.text();
    let get = |name: &str| field(&text, name).unwrap_or_default();
    let refuse = |error: &str| Script::json(400, &json!({"error": error}));
    let secret = match request.header("authorization") {
        Some(basic) => basic_secret(basic),
        None => get("client_secret"),
    };
    let is_known = match &state.secret {
        Some(expected) => secret == *expected,
        None => secret.split('.').count() == 3,
    };
    if !is_known || get("grant_type") != "authorization_code" {
        return refuse("invalid_client");
    }
    let Some(asked) = state.codes.remove(&get("code")) else {
        return refuse("invalid_grant");
    };
    if challenge(&get("code_verifier")) != asked.challenge
        || get("redirect_uri") != asked.redirect_uri
    {
        return refuse("invalid_grant");
    }
    let mut claims = json!({
        "iss": base, "aud": CLIENT_ID, "sub": "somebody", "iat": now(), "exp": now() + 600, "nonce": asked.nonce,
    });
    for (name, value) in state.claims.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let id_token = state.keys[0].token(&claims);
    Script::json(
        200,
        &json!({"access_token": "a", "token_type": "Bearer", "id_token": id_token, "refresh_token": "r"}),
    )
}

/// Secret in `authorization: Basic`, whose parts are form-encoded (RFC 6749, section 2.3.1).
fn basic_secret(header: &str) -> String {
    let encoded = header.strip_prefix("Basic ").unwrap_or_default();
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .unwrap_or_default();
    let decoded = String::from_utf8_lossy(&decoded).into_owned();
    let (id, secret) = decoded.split_once(':').unwrap_or_default();
    let plain = |text: &str| field(&format!("a={text}"), "a").unwrap_or_default();
    if plain(id) == CLIENT_ID {
        plain(secret)
    } else {
        String::new()
    }
}
