//! Serializes the request to the provider: a new head, and the client's body with the necessary changes
//! ([`rewrite_body`]).
//!
//! Of the client's headers only those listed here pass, and never one that carries a key.

use super::client::Destination;
use super::connection;
use crate::dialect::call::{Api, Body, Changes};
use crate::dialect::extras;
use crate::dialect::gemini::place;
use crate::dialect::openai::multipart::Form;
use crate::http1::head::Request;
use crate::http1::write::{self, InvalidHeaderValue};
use crate::local::credentials;
use crate::proxy::admission::estimate::{Estimate, beta_header};
use crate::proxy::admission::output_limit::output_limit;
use crate::proxy::error::GatewayError;
use crate::proxy::outcome::ProviderFault;
use crate::proxy::settlement::bill::Bill;
use crate::rules::tenant::TenantId;
use crate::tables::Secret;
use bytes::BytesMut;

/// Longest body in bytes that is appended to the head, so that both leave in one `write`.
const MAX_JOINED_BODY_BYTES: usize = 16 << 10;
const VERSION: &str = "anthropic-version";
const DEFAULT_VERSION: &[u8] = b"2023-06-01";
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Client headers that are passed to every provider.
const PASSED: &[&str] = &["accept", "user-agent"];

/// Returns the client headers that are passed to providers of one [`Api`] besides [`PASSED`].
fn passed_to(api: Api) -> &'static [&'static str] {
    match api {
        Api::OpenAi | Api::Gemini => &[],
        Api::Anthropic => &[VERSION],
    }
}

/// Tenant and account of a call.
pub struct Caller<'a> {
    pub tenant: &'a TenantId,
    pub account: &'a str,
}

impl Caller<'_> {
    /// Scopes a name that callers choose (`prompt_cache_key`, `idempotency-key`) to the account: for the
    /// provider all accounts are one customer, and none must get another's answer.
    fn scoped(&self, name: &str) -> String {
        credentials::hash(&format!("{}\0{}\0{name}", self.tenant, self.account))
    }
}

/// Returns the body with the output limit, the model and the other members that the endpoint needs changed.
pub(crate) fn rewrite_body(
    estimate: &Estimate<'_>,
    bill: &Bill,
    content_type: Option<&str>,
    caller: &Caller<'_>,
) -> Result<Vec<u8>, GatewayError> {
    let call = &estimate.call;
    let cache_key = call.cache_key.as_deref().map(|key| caller.scoped(key));
    let changes = Changes {
        cache_key: cache_key.as_deref(),
        model: estimate.model.as_deref().filter(|_| estimate.renames_model),
        limit: output_limit(estimate, bill.held_for_text()),
        removed: &estimate.extras.removed,
        calls: estimate.extras.calls,
    };
    if call.can_pass_unchanged && changes.are_none() {
        return Ok(estimate.body.to_vec());
    }
    let body = Body {
        bytes: &estimate.body,
        content_type,
        model: estimate.call.model.as_deref(),
    };
    Ok(estimate.dialect.rewrite(&body, &changes)?)
}

/// Writes the request, once: head and, where it is short, body in one buffer. `key`: the provider's.
pub(crate) fn write(
    estimate: &Estimate<'_>,
    to: &Destination,
    client: &Request,
    caller: &Caller<'_>,
    key: Option<&Secret>,
    body: Vec<u8>,
) -> Result<connection::ProviderRequest, GatewayError> {
    let (endpoint, dialect) = (estimate.endpoint, estimate.dialect);
    let bad = |InvalidHeaderValue| {
        let name = &endpoint.name;
        let why = format!("endpoint {name}: a header that is not one line");
        GatewayError::ProviderFailed(ProviderFault::Blocked, why)
    };
    let is_joined = body.len() <= MAX_JOINED_BODY_BYTES;
    let mut head = BytesMut::with_capacity(512 + if is_joined { body.len() } else { 0 });
    write_target(&mut head, estimate, client);
    let host = match &endpoint.url {
        Some(url) => url.authority(),
        None => format!("{}:{}", to.host, to.port),
    };
    write::header(&mut head, "host", host.as_bytes()).map_err(bad)?;
    let removed = &estimate.extras.removed;
    write_passed(&mut head, dialect.api(), client, removed).map_err(bad)?;
    if let (Api::OpenAi, Some(given)) = (dialect.api(), client.fields.get(IDEMPOTENCY_KEY)) {
        let scoped = caller.scoped(given);
        write::header(&mut head, IDEMPOTENCY_KEY, scoped.as_bytes()).map_err(bad)?;
    }
    // A compressed answer could not be metered.
    write::header(&mut head, "accept-encoding", b"identity").map_err(bad)?;
    // A body parsed as JSON is sent as JSON, whatever the client's `content-type`. A form keeps its own,
    // which names its boundary.
    let kind = match client.fields.get("content-type") {
        Some(kind) if dialect.is_form() => Form::content_type(kind)?,
        _ => "application/json".to_owned(),
    };
    write::header(&mut head, "content-type", kind.as_bytes()).map_err(bad)?;
    write_key(&mut head, key, dialect.api()).map_err(bad)?;
    write::number(&mut head, "content-length", body.len() as u64);
    head.extend_from_slice(b"\r\n");
    if !is_joined {
        return Ok(connection::ProviderRequest { head, body });
    }
    head.extend_from_slice(&body);
    Ok(connection::ProviderRequest {
        head,
        body: Vec::new(),
    })
}

fn write_target(head: &mut BytesMut, estimate: &Estimate<'_>, client: &Request) {
    let dialect = estimate.dialect;
    let (api, call) = (dialect.api(), dialect.path());
    let beside = |main: &str| match &estimate.endpoint.url {
        Some(url) => url.beside(main, call),
        None => format!("/v1/{call}"),
    };
    let path = match api {
        Api::OpenAi => beside("chat/completions"),
        Api::Anthropic => beside("messages"),
        Api::Gemini => {
            let url = estimate.endpoint.url.as_ref();
            let url = url.map_or("", |url| url.path_and_query.as_str());
            let model = estimate.model.as_deref().unwrap_or_default();
            place::target(url, call, model, estimate.call.stream)
        }
    };
    head.extend_from_slice(b"POST ");
    head.extend_from_slice(path.as_bytes());
    // Anthropic's tools mark beta calls as `?beta=true` too. Nothing else of a query is passed.
    if api == Api::Anthropic && client.query() == Some("beta=true") {
        let separator = if path.contains('?') { "&" } else { "?" };
        head.extend_from_slice(separator.as_bytes());
        head.extend_from_slice(b"beta=true");
    }
    head.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Writes the client headers that pass ([`PASSED`], [`passed_to`]), without the beta features that were
/// removed.
fn write_passed(
    head: &mut BytesMut,
    api: Api,
    client: &Request,
    removed: &[String],
) -> Result<(), InvalidHeaderValue> {
    for name in PASSED.iter().chain(passed_to(api)) {
        for value in client.fields.all(name) {
            write::header(head, name, value)?;
        }
    }
    if let Some(name) = beta_header(api) {
        for value in client.fields.all(name) {
            let kept = extras::kept_betas(value, removed);
            if !kept.is_empty() {
                write::header(head, name, &kept)?;
            }
        }
    }
    if api == Api::Anthropic && !client.fields.has(VERSION) {
        write::header(head, VERSION, DEFAULT_VERSION)?;
    }
    Ok(())
}

/// Writes the operator's key in the header that the provider's API expects.
fn write_key(
    head: &mut BytesMut,
    key: Option<&Secret>,
    api: Api,
) -> Result<(), InvalidHeaderValue> {
    let Some(key) = key else {
        return Ok(());
    };
    match api {
        Api::OpenAi => {
            let value = format!("Bearer {}", key.expose());
            write::header(head, "authorization", value.as_bytes())
        }
        Api::Anthropic => write::header(head, "x-api-key", key.expose().as_bytes()),
        Api::Gemini => write::header(head, "x-goog-api-key", key.expose().as_bytes()),
    }
}
