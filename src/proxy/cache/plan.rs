//! Plan: whether a call may be answered from the cache, and the key of its answer.
//!
//! The key covers everything that shapes an answer. A call of which something is not certain goes to its provider.

use crate::dialect::call::{Api, Body};
use crate::dialect::canonical::{self, NotCanonical};
use crate::dialect::openai::multipart::Form;
use crate::dialect::replay::Replay;
use crate::dialect::translate;
use crate::http1::head::Request;
use crate::proxy::admission::estimate::{Estimate, beta_header};
use crate::proxy::error::GatewayError;
use crate::rules::amount::Millis;
use crate::rules::choice;
use crate::rules::config::{CacheScope, Endpoint};
use crate::store::name::AnswerKey;
use ring::digest::{Context, SHA256};

/// Longest JSON body whose answer is kept, in bytes: its canonical form is made on the request's own thread.
const MAX_JSON_BYTES: usize = 256 << 10;
/// Longest form whose answer is kept, in bytes: its files are hashed on the request's own thread.
const MAX_FORM_BYTES: usize = 4 << 20;

/// Members of a body that say who asks, and shape no answer.
pub(crate) const WHO_ASKS: &[&str] = &["user", "safety_identifier", "metadata", "prompt_cache_key"];
/// Members of a body that shape no answer: [`WHO_ASKS`], and the form in which it is wanted.
const LEFT_OUT: &[&str] = &[
    "user",
    "safety_identifier",
    "metadata",
    "prompt_cache_key",
    "stream",
    "stream_options",
];
/// Fields of forms that hold a file.
const FILES: &[&str] = &["file"];

/// Treatment of a call by the cache.
pub(crate) enum Treatment {
    /// The tenant has no cache.
    Off,
    /// The call goes to its provider, and its answer is not kept.
    Bypass,
    Cached(Box<Plan>),
}

pub(crate) struct Plan {
    pub key: AnswerKey,
    pub life: Millis,
    pub fee_percentage: u64,
    pub takes_tools: bool,
    pub replay: &'static dyn Replay,
    /// Whether an answer that is kept may be given.
    pub reads: bool,
    /// Endpoints and models whose answers are kept; a fallback's is not.
    keepers: Vec<(String, Option<String>)>,
}

impl Plan {
    /// Whether the answer of an endpoint's model may be kept.
    pub(crate) fn keeps(&self, endpoint: &str, model: Option<&str>) -> bool {
        let mut keepers = self.keepers.iter();
        keepers.any(|(name, served)| name == endpoint && served.as_deref() == model)
    }
}

/// Decides how the cache treats a call of an account.
pub(crate) fn treat(
    request: &Request,
    estimate: &Estimate<'_>,
    account: &str,
) -> Result<Treatment, GatewayError> {
    let caching = &estimate.tenant.config.caching;
    let dialect = estimate.client_dialect();
    let Some(replay) = dialect.replay().filter(|_| caching.enabled) else {
        return Ok(Treatment::Off);
    };
    let life = match dialect.is_form() {
        true => caching.transcription_ttl_seconds,
        false => caching.text_ttl_seconds,
    };
    let wish = Wish::of(request);
    let is_fresh = wish == Wish::Fresh && caching.scope == CacheScope::User;
    let runs_tools = estimate.extras.calls.is_some() || !estimate.terms.hosted.prices.is_empty();
    if life == 0 || runs_tools || !(wish == Wish::Any || is_fresh) {
        return Ok(Treatment::Bypass);
    }
    let Some(body) = body_form(request, estimate)? else {
        return Ok(Treatment::Bypass);
    };
    let (place, keepers) = place(estimate);
    let mut hash = Hash(Context::new(&SHA256));
    hash.text(b"resullm answer 1");
    hash.text(estimate.tenant.id.as_str().as_bytes());
    hash.text(match caching.scope {
        CacheScope::Tenant => b"",
        CacheScope::User => account.as_bytes(),
    });
    hash.text(dialect.kept_as().as_bytes());
    hash.text(if caching.tools { b"tools" } else { b"" });
    for part in &place {
        hash.text(part.as_bytes());
    }
    for part in headers(request, dialect.api()) {
        hash.text(&part);
    }
    hash.text(&body);
    Ok(Treatment::Cached(Box::new(Plan {
        key: hash.finish(),
        life: Millis::from_secs(life),
        fee_percentage: caching.fee_percentage,
        takes_tools: caching.tools,
        replay,
        reads: !is_fresh,
        keepers,
    })))
}

/// Length-prefixed hashing: no two lists of parts are one text.
struct Hash(Context);

impl Hash {
    fn text(&mut self, text: &[u8]) {
        self.0.update(&(text.len() as u64).to_be_bytes());
        self.0.update(text);
    }

    fn finish(self) -> AnswerKey {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.0.finish().as_ref());
        AnswerKey::new(hash)
    }
}

/// Wish of the client, by its `cache-control`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Any,
    /// `no-cache`: an answer of now. It replaces a kept one only for the account itself: with it, callers would draw
    /// again until they like what the others get.
    Fresh,
    /// `no-store`: nothing is kept.
    Nothing,
}

impl Wish {
    fn of(request: &Request) -> Wish {
        let mut wish = Wish::Any;
        for value in request.fields.all("cache-control") {
            for word in value.split(|byte| *byte == b',') {
                let word = word.trim_ascii();
                if word.eq_ignore_ascii_case(b"no-store") {
                    return Wish::Nothing;
                }
                if word.eq_ignore_ascii_case(b"no-cache") {
                    wish = Wish::Fresh;
                }
            }
        }
        wish
    }
}

/// Returns the canonical form of a body. `None`: it is too long, names content that may change, or is not certain.
fn body_form(request: &Request, estimate: &Estimate<'_>) -> Result<Option<Vec<u8>>, GatewayError> {
    let bytes = estimate.client_body();
    if estimate.client_dialect().is_form() {
        let body = Body {
            bytes,
            content_type: request.fields.get("content-type"),
            model: None,
        };
        let form = Form::read(&body, &[], FILES)?;
        let is_short = bytes.len() <= MAX_FORM_BYTES;
        return Ok(is_short.then(|| form.canonical(LEFT_OUT)));
    }
    if bytes.len() > MAX_JSON_BYTES {
        return Ok(None);
    }
    match canonical::of_json(bytes, LEFT_OUT) {
        Ok(form) => Ok(Some(form.bytes).filter(|_| !form.is_remote)),
        Err(NotCanonical::Duplicate(name)) => {
            let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
            let why = format!("{shown} is written twice in one object");
            Err(GatewayError::InvalidBody(why))
        }
        Err(NotCanonical::Unclear) => Ok(None),
    }
}

type Keepers = Vec<(String, Option<String>)>;

/// Returns the endpoints and models that a call asks for, as parts of the key and as names. Where an endpoint leads is
/// part of the key, so a config that leads elsewhere begins anew.
fn place(estimate: &Estimate<'_>) -> (Vec<String>, Keepers) {
    let (mut parts, mut keepers) = (Vec::new(), Vec::new());
    let asked = estimate.call.model.as_deref();
    let way = |endpoint: &Endpoint| translate::way(estimate.client_dialect(), endpoint);
    let text = estimate.tenant.config.providers.text.as_ref();
    let equals = text.and_then(|text| choice::equals(text, asked, way).ok());
    for choice in equals.unwrap_or_default() {
        let endpoint = choice.endpoint;
        let served = choice.served(asked).map(str::to_owned);
        let url = endpoint.url.as_ref();
        parts.push(endpoint.name.clone());
        parts.push(url.map_or_else(String::new, |url| {
            format!("{}{}", url.authority(), url.path_and_query)
        }));
        parts.push(served.clone().unwrap_or_default());
        keepers.push((endpoint.name.clone(), served));
    }
    (parts, keepers)
}

/// Whether an `accept` takes the JSON that every provider answers with. Another one may be obeyed.
fn takes_json(accept: &str) -> bool {
    accept.split(',').any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let kinds = ["*/*", "application/*", "application/json"];
        kinds.iter().any(|known| kind.eq_ignore_ascii_case(known))
    })
}

/// Returns the headers that shape an answer.
fn headers(request: &Request, api: Api) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    for name in [Some("anthropic-version"), beta_header(api)]
        .into_iter()
        .flatten()
    {
        parts.push(name.as_bytes().to_vec());
        parts.extend(request.fields.all(name).map(<[u8]>::to_vec));
    }
    if let Some(accept) = request
        .fields
        .get("accept")
        .filter(|accept| !takes_json(accept))
    {
        parts.push(b"accept".to_vec());
        parts.push(accept.as_bytes().to_vec());
    }
    // The query of a call of Gemini says who asks, and in which form it is answered.
    let query = request.query().filter(|_| api != Api::Gemini);
    parts.push(query.unwrap_or_default().as_bytes().to_vec());
    parts
}
