//! The reader of a tenant config: from JSON to a [`TenantConfig`], or to all its faults.
//!
//! Unknown fields are ignored, and `null` counts as an absent field. A fault must never end the reading, so
//! that an operator can correct all of them at once.

use super::cors;
use super::key::Key;
use super::node::{self, Fault, Faults, Node};
use super::secret::Owner;
use super::shape::{
    Auth, Caching, Endpoint, Group, Kind, LONGEST_TTL_SECONDS, LONGEST_WINDOW_SECONDS,
    MAX_CONCURRENT, MAX_NUMBER, Oauth, RateLimit, RealtimeEndpoint, RealtimeProviders,
    TenantConfig, TextProviders,
};
use super::url::{Origin, Url};
use crate::rules::amount::Tokens;
use crate::rules::hosted::{BOUNDED, HostedTools};
use crate::rules::model_name;
use crate::rules::price::Rate;
use crate::rules::server::Server;
use serde_json::Value;
use std::collections::BTreeMap;

/// Reads a tenant's config. The error lists all faults.
pub fn read_for(owner: Owner<'_>, value: &Value) -> Result<TenantConfig, Vec<Fault>> {
    let mut faults = Faults::default();
    let root = Node::root(value);
    let mut config = TenantConfig {
        groups: BTreeMap::new(),
        text: None,
        realtime: None,
        caching: Caching::UNWRITTEN,
        auth: Auth::default(),
        cors: None,
    };
    if root.is_object(&mut faults) {
        if let Some(groups) = root.section("user_groups", &mut faults) {
            config.groups = groups
                .entries()
                .map(|(name, node)| {
                    // The name is written into records (`group`) unchanged.
                    if !is_name(name) {
                        faults.add(node.path(), NAME_RULE);
                    }
                    (name.to_owned(), group(&node, &mut faults))
                })
                .collect();
        }
        if let Some(providers) = root.section("providers", &mut faults) {
            config.text = providers
                .section("text", &mut faults)
                .map(|node| text_providers(&node, owner, &mut faults));
            config.realtime = providers
                .section("realtime", &mut faults)
                .map(|node| realtime_providers(&node, owner, &mut faults));
        }
        if let Some(node) = root.section("caching", &mut faults) {
            config.caching = caching(&node, &mut faults);
        }
        if let Some(node) = root.section("auth", &mut faults) {
            config.auth = auth(&node, owner, &mut faults);
        }
        config.cors = root
            .section("cors", &mut faults)
            .map(|node| cors::cors(&node, &mut faults));
    }
    faults.none_or(config)
}

// After a fault the functions below continue with a placeholder; `read_for` then returns no config.

fn group(node: &Node, faults: &mut Faults) -> Group {
    if !node.is_object(faults) {
        return Group {
            tokens: 0,
            limit: None,
            max_concurrent: None,
            models: None,
        };
    }
    let tokens = node
        .required("tokens", faults)
        .and_then(|tokens| tokens.whole(0..=MAX_NUMBER, faults));
    let requests = node.field("rate_limit");
    let window = node.field("rate_limit_window");
    if requests.is_some() != window.is_some() {
        let (missing, present) = if window.is_none() {
            ("rate_limit_window", "rate_limit")
        } else {
            ("rate_limit", "rate_limit_window")
        };
        faults.add(
            node.child_path(missing),
            format!("is required beside {present}"),
        );
    }
    let requests = requests.and_then(|node| node.whole(0..=MAX_NUMBER, faults));
    let seconds = window.and_then(|node| node.whole(1..=LONGEST_WINDOW_SECONDS, faults));
    Group {
        tokens: tokens.unwrap_or_default(),
        limit: requests.zip(seconds).map(|(requests, seconds)| RateLimit {
            requests,
            window_millis: seconds * 1000,
        }),
        max_concurrent: node
            .field("max_concurrent")
            .and_then(|node| node.whole(1..=MAX_CONCURRENT, faults)),
        models: models_of_group(node, faults),
    }
}

/// Reads `models` of a group. An empty list is a fault: some would read it as all models, others as none.
fn models_of_group(node: &Node, faults: &mut Faults) -> Option<Vec<String>> {
    let list = node.field("models")?;
    let elements = node.elements("models", faults);
    if list.value().as_array().is_some_and(Vec::is_empty) {
        faults.add(list.path(), "must name a model; leave it out to allow all");
    }
    let mut models = Vec::new();
    for each in elements {
        let Some(name) = each.words(faults) else {
            continue;
        };
        if let Err(why) = model_name::check(&name) {
            faults.add(each.path(), why);
        }
        models.push(name);
    }
    Some(models)
}

/// Fields of `providers.text` that change the price of calls if they are misspelt, so a typo is a fault.
const PRICED: &[&str] = &["rates", "only_listed", "fallbacks", "default", "endpoints"];

fn text_providers(node: &Node, owner: Owner<'_>, faults: &mut Faults) -> TextProviders {
    node.no_slips(PRICED, faults);
    let endpoints: Vec<Endpoint> = endpoints(node, faults)
        .into_iter()
        .map(|(name, node)| endpoint(name, &node, owner, faults))
        .collect();
    let names: Vec<&str> = endpoints.iter().map(|each| each.name.as_str()).collect();
    let default = default_endpoint(node, &names, faults);
    let fallbacks = node
        .elements("fallbacks", faults)
        .iter()
        .filter_map(|each| endpoint_name(each, &names, faults))
        .collect();
    let rates = node.section("rates", faults).map(|rates| {
        let rates = rates
            .entries()
            .map(|(model, node)| (model.to_owned(), rate(&node, faults)));
        rates.collect()
    });
    TextProviders {
        default,
        endpoints,
        fallbacks,
        rates: rates.unwrap_or_default(),
        only_listed: node
            .field("only_listed")
            .and_then(|only| only.yes(faults))
            .unwrap_or_default(),
    }
}

/// Reads a rate: one number for every kind of token, or one for each. `cache_read` and `cache_write` default
/// to `input`.
fn rate(node: &Node, faults: &mut Faults) -> Rate {
    if !node.is_map() {
        return Rate::flat(node.rate(faults).unwrap_or_default());
    }
    let known = ["input", "output", "cache_read", "cache_write"];
    node.only(&known, faults);
    let mut part = |name: &str| node.field(name).and_then(|part| part.rate(faults));
    let input = part("input").unwrap_or(Rate::default().input);
    Rate {
        input,
        output: part("output").unwrap_or(Rate::default().output),
        cache_read: part("cache_read").unwrap_or(input),
        cache_write: part("cache_write").unwrap_or(input),
    }
}

fn endpoint(name: String, node: &Node, owner: Owner<'_>, faults: &mut Faults) -> Endpoint {
    let given = node
        .field("kind")
        .and_then(|kind| kind_given(&kind, faults));
    let written = match given {
        Some(Kind::Demo) => node.field("url"),
        _ => node.required("url", faults),
    };
    let url = written.and_then(|written| {
        let text = written.text(faults)?;
        Url::parse(&text)
            .map_err(|message| faults.add(written.path(), message))
            .ok()
    });
    let follows = url.as_ref().map_or(Kind::OpenAi, kind_of);
    let kind = given.unwrap_or(follows);
    let models = node.elements("models", faults);
    Endpoint {
        name,
        kind,
        server: server(node, kind, url.as_ref(), faults),
        members: members(node, faults),
        hosted_tools: hosted_tools(node, faults),
        api_key: api_key(node, owner, url.as_ref().map(Url::origin).as_ref(), faults),
        url,
        default_model: words(node, "default_model", faults),
        models: models
            .iter()
            .filter_map(|each| each.words(faults))
            .collect(),
        max_output_tokens: node
            .field("max_output_tokens")
            .and_then(|most| most.whole(1..=MAX_NUMBER, faults)),
    }
}

fn kind_given(node: &Node, faults: &mut Faults) -> Option<Kind> {
    match node.text(faults)?.as_str() {
        "openai" => Some(Kind::OpenAi),
        "anthropic" => Some(Kind::Anthropic),
        "demo" => Some(Kind::Demo),
        _ => {
            faults.add(node.path(), "expected openai, anthropic or demo");
            None
        }
    }
}

/// Returns the `server` of an endpoint: the one that the config names, otherwise the one known by the host of
/// its URL.
fn server(node: &Node, kind: Kind, url: Option<&Url>, faults: &mut Faults) -> Server {
    if kind == Kind::Demo {
        return Server::Demo;
    }
    let given = node.field("server").and_then(|node| {
        let name = node.text(faults)?;
        let server = Server::named(&name);
        if server.is_none() {
            let names: Vec<&str> = Server::names().collect();
            faults.add(node.path(), format!("expected one of {}", names.join(", ")));
        }
        server
    });
    let server = given.unwrap_or_else(|| url.map_or(Server::Generic, |url| Server::at(&url.host)));
    // A vendor's documentation covers its own API. For another vendor's API at the same host, the members it
    // obeys and the output it hides are unknown, so it counts as `Generic`.
    match (kind, server) {
        (Kind::OpenAi, Server::Anthropic) => Server::Generic,
        (Kind::Anthropic, Server::OpenAi | Server::Azure) => Server::Generic,
        _ => server,
    }
}

/// Reads `members`: names of body members, exactly as they are written in a body.
fn members(node: &Node, faults: &mut Faults) -> Vec<String> {
    let plain = |name: &String| {
        (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    };
    let mut members = Vec::new();
    for each in node.elements("members", faults) {
        let Some(name) = each.words(faults) else {
            continue;
        };
        if !plain(&name) {
            faults.add(
                each.path(),
                "a member is 1 to 64 letters, digits, _, . and -",
            );
        }
        members.push(name);
    }
    members
}

/// Reads `hosted_tools`: `remove`, `refuse`, or the price of one call by the tool's name.
fn hosted_tools(node: &Node, faults: &mut Faults) -> HostedTools {
    let Some(node) = node.field("hosted_tools") else {
        return HostedTools::default();
    };
    if node.is_map() {
        node.only(BOUNDED, faults);
        let prices = node.entries().filter_map(|(name, price)| {
            let price = price.whole(1..=MAX_NUMBER, faults)?;
            Some((name.to_owned(), Tokens::new(price)))
        });
        return HostedTools::Priced(prices.collect());
    }
    match node.text(faults).as_deref() {
        Some("refuse") => HostedTools::Refuse,
        Some("remove") | None => HostedTools::Remove,
        Some(_) => {
            let expected = "expected remove, refuse or an object with the tokens of one call";
            faults.add(node.path(), expected);
            HostedTools::Remove
        }
    }
}

fn kind_of(url: &Url) -> Kind {
    let anthropic = url.host == "anthropic.com" || url.host.ends_with(".anthropic.com");
    if anthropic || url.path().ends_with("/messages") {
        Kind::Anthropic
    } else {
        Kind::OpenAi
    }
}

fn realtime_providers(node: &Node, owner: Owner<'_>, faults: &mut Faults) -> RealtimeProviders {
    let endpoints: Vec<RealtimeEndpoint> = endpoints(node, faults)
        .into_iter()
        .map(|(name, node)| RealtimeEndpoint {
            name,
            model: words(&node, "model", faults),
            voice: words(&node, "voice", faults),
            // A realtime endpoint has no URL yet, so a variable of the operator (`env`) is refused here.
            api_key: api_key(&node, owner, None, faults),
            sample_rate_hertz: node
                .field("sampleRate")
                .and_then(|rate| rate.whole(1..=MAX_NUMBER, faults)),
            encoding: words(&node, "encoding", faults),
        })
        .collect();
    let names: Vec<&str> = endpoints.iter().map(|each| each.name.as_str()).collect();
    RealtimeProviders {
        default: default_endpoint(node, &names, faults),
        endpoints,
    }
}

/// Rule for names of endpoints and groups, which are written to headers, paths, records and logs.
const NAME_RULE: &str = "a name is 1 to 64 letters, digits, _, . and -";

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

/// Returns the entries of `endpoints` in the order of the JSON. An entry with a bad name or the wrong type is
/// listed too, so that a reference to it is not reported as missing.
fn endpoints<'v>(node: &Node<'v>, faults: &mut Faults) -> Vec<(String, Node<'v>)> {
    let Some(section) = node
        .required("endpoints", faults)
        .filter(|section| section.is_object(faults))
    else {
        return Vec::new();
    };
    let mut list = Vec::new();
    for (name, node) in section.entries() {
        if !is_name(name) {
            faults.add(node.path(), NAME_RULE);
        }
        node.is_object(faults);
        list.push((name.to_owned(), node));
    }
    list
}

fn default_endpoint(node: &Node, names: &[&str], faults: &mut Faults) -> String {
    node.required("default", faults)
        .and_then(|default| endpoint_name(&default, names, faults))
        .unwrap_or_default()
}

fn endpoint_name(node: &Node, names: &[&str], faults: &mut Faults) -> Option<String> {
    let name = node.text(faults)?;
    if !names.contains(&name.as_str()) {
        let list = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ").escape_debug().to_string()
        };
        faults.add(node.path(), format!("names no endpoint; there are: {list}"));
    }
    Some(name)
}

/// Reads `api_key`, which becomes the value of a header.
fn api_key(
    node: &Node,
    owner: Owner<'_>,
    goes: Option<&Origin>,
    faults: &mut Faults,
) -> Option<Key> {
    let key = secret(node, "api_key", owner, goes, faults)?;
    let path = node.child_path("api_key");
    if key.expose().is_empty() {
        faults.add(path, "must not be empty");
        return None;
    }
    if !key.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        faults.add(
            path,
            "expected visible ASCII characters only, without spaces or line ends",
        );
    }
    Some(key)
}

fn words(node: &Node, name: &str, faults: &mut Faults) -> Option<String> {
    node.field(name)?.words(faults)
}

fn caching(node: &Node, faults: &mut Faults) -> Caching {
    let mut whole = |name, most, unwritten| {
        node.field(name)
            .and_then(|node| node.whole(0..=most, faults))
            .unwrap_or(unwritten)
    };
    let unwritten = Caching::UNWRITTEN;
    Caching {
        text_ttl_seconds: whole("text_ttl", LONGEST_TTL_SECONDS, unwritten.text_ttl_seconds),
        transcription_ttl_seconds: whole(
            "transcription_ttl",
            LONGEST_TTL_SECONDS,
            unwritten.transcription_ttl_seconds,
        ),
        fee_percentage: whole("fee_percentage", 100, unwritten.fee_percentage),
        enabled: node
            .field("enabled")
            .and_then(|node| node.yes(faults))
            .unwrap_or(unwritten.enabled),
    }
}

// Hosts that receive the secrets of sign-in and billing. If a URL in a config could ever replace one, the
// check must use that URL's host, or a tenant could send an operator's secret anywhere.
const STRIPE: &str = "api.stripe.com";
const GOOGLE: &str = "oauth2.googleapis.com";
const APPLE: &str = "appleid.apple.com";

fn auth(node: &Node, owner: Owner<'_>, faults: &mut Faults) -> Auth {
    let stripe = Origin::of(STRIPE);
    Auth {
        stripe_api_key: node
            .section("stripe", faults)
            .and_then(|node| secret_line(&node, "api_key", owner, Some(&stripe), faults)),
        google: oauth(node, "google_oauth", owner, GOOGLE, faults),
        apple: oauth(node, "apple_oauth", owner, APPLE, faults),
    }
}

fn oauth(
    node: &Node,
    name: &str,
    owner: Owner<'_>,
    host: &str,
    faults: &mut Faults,
) -> Option<Oauth> {
    let node = node.section(name, faults)?;
    let client_id = node
        .required("client_id", faults)
        .and_then(|id| id.line(faults));
    let goes = Origin::of(host);
    Some(Oauth {
        client_id: client_id.unwrap_or_default(),
        client_secret: secret_line(&node, "client_secret", owner, Some(&goes), faults),
    })
}

/// Reads a secret; the only way from a config to a [`Key`]. `goes`: origin it is sent to; `None` if the
/// config does not say.
fn secret(
    node: &Node,
    name: &str,
    owner: Owner<'_>,
    goes: Option<&Origin>,
    faults: &mut Faults,
) -> Option<Key> {
    let field = node.field(name)?;
    owner
        .secret(&field, goes)
        .map_err(|message| faults.add(field.path(), message))
        .ok()
}

/// Reads a secret for a header or a form: it must have no control characters.
fn secret_line(
    node: &Node,
    name: &str,
    owner: Owner<'_>,
    goes: Option<&Origin>,
    faults: &mut Faults,
) -> Option<Key> {
    let key = secret(node, name, owner, goes, faults)?;
    if key.expose().chars().any(char::is_control) {
        faults.add(node.child_path(name), node::NOT_A_LINE);
        return None;
    }
    Some(key)
}
