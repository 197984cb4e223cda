//! The tables of endpoints: [`Endpoint`] of `providers.text` and [`RealtimeEndpoint`] of `providers.realtime`.

use crate::rules::amount::Tokens;
use crate::rules::hosted::{BOUNDED, HostedTools};
use crate::rules::model_name;
use crate::rules::server::Server;
use crate::tables::{
    Goes, MAX_NUMBER, Node, Reading, Secret, ValueType, boolean, choice, defaulted, either, list,
    map, opened, span, table, url, whole, words,
};
use crate::url::Url;
use serde_json::{Value, json};
use std::time::Duration;

/// Wire format of an endpoint. `Demo`, the gateway's own demo, supports several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    OpenAi,
    Anthropic,
    Gemini,
    Demo,
}

const KINDS: [(&str, Kind); 4] = [
    ("openai", Kind::OpenAi),
    ("anthropic", Kind::Anthropic),
    ("gemini", Kind::Gemini),
    (DEMO, Kind::Demo),
];
const DEMO: &str = "demo";
const MAX_KEYS: usize = 64;
const MAX_WEIGHT: u64 = 1_000;
/// Longest of the [`Timeouts`].
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

table! {
    /// An endpoint of a provider.
    pub struct Endpoint unknown Kept {
        /// The wire format that it speaks: `openai`, `anthropic`, `gemini`, or `demo` for the gateway's own stand-in.
        /// Absent: follows from the URL.
        kind: Kind = choice(KINDS).or_from(kind_by_url);
        /// The full URL of its main call, chat completions or messages; the other calls sit beside it.
        /// At one of kind `gemini` the model is in the path: the URL of any model's `generateContent`, or what stands before it.
        /// Only an endpoint of kind `demo` may have none.
        url: Option<Url> = url().optional().shown("https://api.openai.com/v1/chat/completions");
        /// What stands behind the URL, which decides which members a body may have there and what they mean.
        /// Absent: a vendor that is known by its host, else `generic`.
        server: Server = choice(Server::named_all()).or_from(server_by_url);
        /// Whether it serves Responses. `false`: such calls are translated to Chat Completions.
        /// Absent: what is known of `server`, else `true`.
        responses: Option<bool> = boolean().optional().shown("false");
        /// Members of bodies that are forwarded to it besides those that its server is known to understand.
        /// They must not change how much is generated or read, or where.
        /// Betas and members that change the price pass if they are named here.
        members: Vec<String> = list(words().check(|name| is_member(name)), 0).default("[]");
        /// Tools that the provider runs itself.
        /// `remove`: they are taken out of a request, and named in `x-resullm-removed` of its answer.
        /// `refuse`: such a request is refused.
        /// An object: the tokens that one call of each costs; the others are taken out.
        hosted_tools: HostedTools = hosted_tools().default("remove").shown("{web_search: 2000}");
        /// The provider's key.
        /// It never reaches a client.
        api_key: Option<Secret> = provider_key(Goes::Beside("url")).optional();
        /// Further keys of the provider, at most 64.
        /// An account's calls stay with one of all keys, because a provider caches prompts by key; they move to the next one where the provider refuses it, or limits its rate.
        api_keys: Vec<Secret> = provider_keys().default("[]");
        /// The model of requests that name none.
        default_model: Option<String> = words().optional();
        /// The models that it serves, and no others; dated versions and `default_model` are among them.
        /// Absent or empty: any.
        models: Vec<String> = list(words(), 0).default("[]");
        /// Its share of the calls for a model that several endpoints list, relative to theirs.
        /// Endpoints of equal weight: the less loaded one of two is asked.
        weight: u64 = whole(1, MAX_WEIGHT).default("1");
        /// Timeouts of its calls.
        timeouts: Timeouts = defaulted();
        /// The most that its models can answer with, so that a call without a limit is not given one that they refuse.
        /// Known models need none.
        max_output_tokens: Option<u64> = whole(1, MAX_NUMBER).optional();
    }
    beside {
        /// Name in `endpoints`.
        name: String,
    }
    check has_url;
    finish judge_server;
    rule url_rule;
}

table! {
    /// Timeouts of an endpoint, where they are other than the operator's (`upstream`).
    pub struct Timeouts unknown KeptUnlessSlip {
        /// Timeout for connecting.
        connect: Option<Duration> = wait().optional().shown("2s");
        /// Timeout until an answer begins.
        first_byte: Option<Duration> = wait().optional().shown("30s");
        /// The longest silence between two chunks of an answer.
        idle: Option<Duration> = wait().optional().shown("30s");
    }
}

fn wait() -> ValueType<Duration> {
    span(Duration::from_millis(1)).check(|wait| match *wait > LONGEST_WAIT {
        true => Err("must not be longer than 1h"),
        false => Ok(()),
    })
}

impl Endpoint {
    /// Returns `api_key` and `api_keys`.
    pub fn keys(&self) -> impl Iterator<Item = &Secret> {
        self.api_key.iter().chain(&self.api_keys)
    }

    pub(super) fn named_all(entries: Vec<(String, Endpoint)>) -> Vec<Endpoint> {
        let named = |(name, endpoint)| Endpoint { name, ..endpoint };
        entries.into_iter().map(named).collect()
    }

    /// Whether its server refuses bodies with unknown members, so that members unknown to the gateway can be forwarded.
    pub fn refuses_unknown_members(&self) -> bool {
        // Google does so in its own API, which Protocol Buffers define, and not in the one that it imitates.
        let is_googles = self.kind == Kind::Gemini && self.server == Server::Gemini;
        is_googles || self.server.refuses_unknown_members()
    }

    /// Whether it serves Responses itself.
    pub fn has_responses(&self) -> bool {
        self.responses.unwrap_or(!self.server.lacks_responses())
    }

    /// Whether `default_model` or `models` has a model, or one that it is a dated version of.
    pub fn names(&self, model: &str) -> bool {
        self.named()
            .any(|name| model_name::is_version(model, name, self.server))
    }

    /// Returns `default_model` and `models`.
    pub fn named(&self) -> impl Iterator<Item = &String> {
        self.default_model.iter().chain(&self.models)
    }

    /// Returns `<name>` of an Azure URL with `/deployments/<name>`, and `default_model`: they answer whatever
    /// model a body asks for.
    pub fn deployed(&self) -> impl Iterator<Item = &str> {
        let url = self.url.as_ref().filter(|_| self.server == Server::Azure);
        let (_, rest) = url
            .and_then(|url| url.path().split_once("/deployments/"))
            .unzip();
        let deployment = rest.and_then(|rest| rest.split('/').next());
        let default = self.default_model.as_deref();
        deployment
            .into_iter()
            .chain(default.filter(move |_| deployment.is_some()))
    }
}

fn url_of(endpoint: &Node<'_>) -> Option<Url> {
    let url = endpoint.field("url")?;
    Url::parse(url.value().as_str()?).ok()
}

fn kind_by_url(endpoint: &Node<'_>) -> Kind {
    let is_anthropic = |url: Url| {
        url.host == "anthropic.com"
            || url.host.ends_with(".anthropic.com")
            || url.path().ends_with("/messages")
    };
    let Some(url) = url_of(endpoint) else {
        return Kind::OpenAi;
    };
    // Google's host serves OpenAI's API too, below `openai`.
    let is_googles = Server::at(&url.host) == Server::Gemini && !url.path().contains("/openai");
    match () {
        () if is_googles || is_gemini_path(url.path()) => Kind::Gemini,
        () if is_anthropic(url) => Kind::Anthropic,
        () => Kind::OpenAi,
    }
}

/// Whether a path is that of a main call of Gemini.
fn is_gemini_path(path: &str) -> bool {
    [":generateContent", ":streamGenerateContent"]
        .iter()
        .any(|end| path.ends_with(end))
}

fn server_by_url(endpoint: &Node<'_>) -> Server {
    url_of(endpoint).map_or(Server::Generic, |url| Server::at(&url.host))
}

/// A vendor's documentation covers its own API. For another vendor's API at the same host, the members it
/// obeys and the output it hides are unknown, so it counts as `Generic`.
fn judge_server(mut endpoint: Endpoint) -> Endpoint {
    endpoint.server = match (endpoint.kind, endpoint.server) {
        (Kind::Demo, _) => Server::Demo,
        (Kind::OpenAi, Server::Anthropic) => Server::Generic,
        (Kind::Anthropic, Server::OpenAi | Server::Azure) => Server::Generic,
        (Kind::Gemini, Server::OpenAi | Server::Azure | Server::Anthropic) => Server::Generic,
        (_, server) => server,
    };
    endpoint
}

fn has_url(endpoint: &Node<'_>, reading: &mut Reading<'_>) {
    let kind = endpoint.field("kind");
    let is_demo = kind.is_some_and(|kind| kind.value() == DEMO);
    if !is_demo && endpoint.field("url").is_none() {
        reading.fault_at(endpoint.child_path("url"), "is required");
    }
}

fn url_rule() -> Value {
    json!({
        "if": {"properties": {"kind": {"const": DEMO}}, "required": ["kind"]},
        "else": {"properties": {"url": {"type": "string"}}, "required": ["url"]},
    })
}

/// Checks an entry of `members`: a name of a body member, exactly as it is written in a body.
fn is_member(name: &str) -> Result<(), &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    match (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        true => Ok(()),
        false => Err("a member is 1 to 64 letters, digits, _, . and -"),
    }
}

fn hosted_tools() -> ValueType<HostedTools> {
    let priced = map(whole(1, MAX_NUMBER), Some(BOUNDED)).map(|prices| {
        let prices = prices.into_iter();
        HostedTools::Priced(
            prices
                .map(|(tool, price)| (tool, Tokens::new(price)))
                .collect(),
        )
    });
    let refuses = choice([("remove", false), ("refuse", true)]);
    let word = refuses.map(|refuses| match refuses {
        true => HostedTools::Refuse,
        false => HostedTools::Remove,
    });
    either(priced, word)
}

fn provider_keys() -> ValueType<Vec<Secret>> {
    let keys = list(provider_key(Goes::Beside("url")), 0);
    let keys = keys.check(|keys| match keys.len() > MAX_KEYS {
        true => Err("must not be longer than 64"),
        false => Ok(()),
    });
    keys.with_schema(json!({"maxItems": MAX_KEYS}))
}

/// A provider's key, which becomes the value of a header.
fn provider_key(goes: Goes) -> ValueType<Secret> {
    let key = opened(goes).check(|key| match key.expose() {
        "" => Err("must not be empty"),
        key if !key.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err("expected visible ASCII characters only, without spaces or line ends")
        }
        _ => Ok(()),
    });
    key.with_schema(json!({"pattern": "^[!-~]+$"}))
}

table! {
    /// An endpoint for live conversations.
    pub struct RealtimeEndpoint unknown Kept {
        /// The model of a session that names none.
        model: Option<String> = words().optional();
        /// The voice that it speaks with.
        voice: Option<String> = words().optional();
        /// Samples of audio a second.
        sample_rate_hertz: Option<u64> = whole(1, MAX_NUMBER).optional().named("sampleRate");
        /// How its audio is encoded.
        encoding: Option<String> = words().optional().shown("pcm_s16le");
        /// The provider's key.
        /// It never reaches a client.
        api_key: Option<Secret> = provider_key(Goes::Unknown).optional();
    }
    beside {
        /// Name in `endpoints`.
        name: String,
    }
}

impl RealtimeEndpoint {
    pub(super) fn named_all(entries: Vec<(String, RealtimeEndpoint)>) -> Vec<RealtimeEndpoint> {
        let named = |(name, endpoint)| RealtimeEndpoint { name, ..endpoint };
        entries.into_iter().map(named).collect()
    }
}
