//! Authenticate, read, admit, forward: from a provider call to the head of its answer.

use super::error::GatewayError;
use super::exchange::{self, Exchange, Hold};
use super::pipeline::Pipeline;
use super::upstream::{Answer, Destination, Failure};
use super::watch::{Ends, client_leaves};
use crate::demo;
use crate::dialect::call::{self, Api, Body, Bounds, Changes, Limit, Unreadable};
use crate::dialect::{Dialect, tokens};
use crate::local::credentials;
use crate::rules::account::{Admission, Admit};
use crate::rules::amount::Tokens;
use crate::rules::choice::{self, Choice};
use crate::rules::config::{Endpoint, Kind};
use crate::rules::entry::Caller;
use crate::rules::models;
use crate::rules::price::Rate;
use crate::settings;
use crate::store::name::KeyName;
use crate::store::tenants::Tenant;
use crate::store::{Admitted, StoreError};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body_util::Full;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// No answer is worth asking for with less: OpenAI's newer API itself takes no smaller limit.
const LEAST_ANSWER: u64 = 16;
/// What a call without a limit of its own may use at least.
const OPEN_ANSWER: u64 = 4_096;

/// Request headers that providers may see. Never one that carries a key.
const PASSED: &[&str] = &["accept", "user-agent"];

fn passed_to(api: Api) -> &'static [&'static str] {
    match api {
        Api::OpenAi => &["openai-beta", "idempotency-key"],
        Api::Anthropic => &["anthropic-version", "anthropic-beta"],
    }
}

impl From<Unreadable> for GatewayError {
    fn from(Unreadable(why): Unreadable) -> GatewayError {
        GatewayError::Unreadable(why)
    }
}

impl From<Failure> for GatewayError {
    fn from(failure: Failure) -> GatewayError {
        match failure {
            Failure::Connect(why) | Failure::Broken(why) => GatewayError::Upstream(why),
            Failure::Timeout(why) => GatewayError::UpstreamTimeout(why),
        }
    }
}

impl Pipeline {
    pub(super) async fn forward(
        &self,
        session: &mut ServerSession,
        exchange: &mut Exchange,
        tenant: &Tenant,
        dialect: &'static dyn Dialect,
    ) -> Result<(), GatewayError> {
        let key = authenticate(&session.req_header().headers)?;
        let bytes = self
            .intake(session, self.local.settings.server.max_body)
            .await?;
        let content_type = session
            .req_header()
            .headers
            .get(header::CONTENT_TYPE)
            .cloned();
        let body = Body {
            bytes: &bytes,
            content_type: content_type.as_ref().and_then(|kind| kind.to_str().ok()),
        };
        let mut call = dialect.read(&body, &self.bounds())?;
        let providers = tenant.config.text.as_ref();
        let model = call.model.as_deref();
        let choice = providers
            .and_then(|providers| {
                choice::choose(providers, model, |kind| speaks(kind, dialect.api()))
            })
            .ok_or_else(|| GatewayError::NoEndpoint {
                model: call.model.clone(),
            })?;
        exchange.endpoint.clone_from(&choice.endpoint.name);
        exchange.call = dialect.path();
        exchange.model = choice.model.or(model).map(str::to_owned);
        let most = most_output(&choice, model);
        exchange.rate = providers
            .map(|providers| providers.rate(choice.model.or(model)))
            .unwrap_or_default();
        let admitted = self.admit(exchange, tenant, &key, &call, most).await;
        // Bytes are a rough bound. Before a call is refused for them, its prompt is counted.
        let held = match admitted {
            Err(GatewayError::Spent | GatewayError::Held)
                if let Some(counted) = counted(&body, &call, choice.endpoint) =>
            {
                call.prompt = counted;
                self.admit(exchange, tenant, &key, &call, most).await?
            }
            admitted => admitted?,
        };
        let changes = Changes {
            model: choice.model,
            limit: limit(&call, held, exchange.rate, most, choice.endpoint),
        };
        let body = dialect.rewrite(&body, &changes)?;
        let to = self.destination(choice.endpoint).await?;
        let request = request(dialect, &choice, &to, session.req_header(), body)?;
        let mut ends = pin!(match &exchange.hold {
            Some(hold) => self.ends(hold, exchange.known.clone()),
            None => return Err(GatewayError::UnknownKey),
        });
        let answer = self
            .wait_for_answer(session, exchange, &to, request, ends.as_mut())
            .await?;
        self.relay(session, exchange, answer, dialect, &call, ends)
            .await
    }

    async fn admit(
        &self,
        exchange: &mut Exchange,
        tenant: &Tenant,
        key: &KeyName,
        call: &call::Call,
        most: Option<u64>,
    ) -> Result<Tokens, GatewayError> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let most = most.unwrap_or(u64::MAX);
        let output = call.limit.unwrap_or(OPEN_ANSWER.min(most));
        let rate = exchange.rate;
        let prompt = rate.most_for_prompt(call.prompt);
        let with_answers =
            |tokens: u64| prompt.plus(rate.for_output(Tokens::new(tokens).times(call.answers)));
        // What has a size of its own, or none, cannot be made smaller.
        let whole = call
            .answer
            .map(|answer| prompt.plus(rate.for_output(answer)));
        let whole = if call.free { Some(Tokens::ZERO) } else { whole };
        let least = whole.unwrap_or_else(|| with_answers(output.min(LEAST_ANSWER)));
        let ask = Admit {
            id: &id,
            least,
            most: whole.unwrap_or_else(|| with_answers(output)),
            open: match (call.limit, whole) {
                (None, None) => with_answers(most),
                _ => Tokens::ZERO,
            },
            known: rate
                .most_for_prompt(exchange::likely(call.prompt))
                .min(least),
            window: None,
            ttl: self.local.settings.accounts.hold_ttl.into(),
        };
        let caller = Caller {
            tenant: tenant.id.as_str(),
            key: key.as_str(),
            groups: &tenant.groups,
        };
        // The hold is counted from before it was asked for, by a clock of our own. Where the answer
        // does not come, the same ID is asked for again.
        let taken = Instant::now();
        let mut entry = self.store.admit(key, caller, &ask).await;
        if matches!(entry, Err(StoreError::Unknown(_))) {
            entry = self.store.admit(key, caller, &ask).await;
            if entry.is_err() {
                self.settler.release_later(key.clone(), id.clone());
            }
        }
        let Admitted::Known {
            account,
            group,
            admission,
        } = entry.inspect_err(|_| self.metrics.store_errors.add(1))?
        else {
            return Err(GatewayError::UnknownKey);
        };
        let (left, pace) = match admission {
            Admission::Granted { left, pace, .. }
            | Admission::Spent { left, pace }
            | Admission::Held { left, pace } => (left, pace),
            Admission::Limited { left, pace, .. } => (left, Some(pace)),
        };
        exchange.left = Some(left);
        exchange.pace = pace;
        exchange.account = account.id();
        exchange.group = group;
        match admission {
            Admission::Granted { held, .. } => {
                self.settler.journal.begin(&account, &id, ask.known);
                exchange.hold = Some(Hold {
                    account,
                    id,
                    held,
                    taken,
                });
                exchange.prompt = call.prompt;
                exchange.free = call.free;
                exchange.unreported = call.unreported;
                Ok(held)
            }
            Admission::Spent { .. } => Err(GatewayError::Spent),
            Admission::Held { .. } => Err(GatewayError::Held),
            Admission::Limited { wait, .. } => Err(GatewayError::TooFast { wait }),
        }
    }

    fn bounds(&self) -> Bounds {
        let settings::Bounds {
            image,
            image_answer,
            sound_second,
        } = self.local.settings.bounds;
        Bounds {
            image,
            image_answer,
            sound_second,
        }
    }

    async fn destination(&self, endpoint: &Endpoint) -> Result<Destination, GatewayError> {
        if let Some(url) = &endpoint.url {
            return Ok(Destination {
                https: url.https,
                host: url.host.clone(),
                port: url.port,
                ours: false,
            });
        }
        let failed =
            |error: std::io::Error| GatewayError::Upstream(format!("the demo provider: {error}"));
        let address = self
            .demo
            .get_or_try_init(demo::start)
            .await
            .map_err(failed)?
            .address();
        Ok(Destination {
            https: false,
            host: address.ip().to_string(),
            port: address.port(),
            ours: true,
        })
    }

    async fn wait_for_answer(
        &self,
        session: &mut ServerSession,
        exchange: &mut Exchange,
        to: &Destination,
        request: super::upstream::Request,
        mut ends: Ends<'_>,
    ) -> Result<Answer<'_>, GatewayError> {
        let sent = AtomicBool::new(false);
        let answer = self.upstream.send(to, request, &sent);
        tokio::select! {
            biased;
            ended = &mut ends => Err(ended),
            answer = answer => {
                let answer = answer?;
                exchange.accepted = answer.head.status.is_success();
                Ok(answer)
            }
            gone = client_leaves(session) => {
                // The provider is at work on a prompt that nobody will read the answer to.
                exchange.accepted = sent.load(Ordering::Relaxed);
                Err(gone)
            }
        }
    }
}

pub(super) fn authenticate(headers: &HeaderMap) -> Result<KeyName, GatewayError> {
    let key = credentials::key(headers).ok_or(GatewayError::NoKey)?;
    KeyName::parse(key).ok_or(GatewayError::UnknownKey)
}

/// Prompts longer than this are not worth counting for a balance that their bytes exceed.
const COUNTED: usize = 1 << 20;

/// What stands for more than its letters. Where one of these words is, letters are not counted: it
/// may be only a word, but that costs no more than a rough bound.
const HIDDEN: [&str; 9] = [
    "image",
    "file",
    "document",
    "audio",
    "video",
    "web_",
    "container",
    "mcp",
    "input_token",
];

/// A closer bound of a prompt than its bytes: its tokens, with a margin for vocabularies that cut
/// finer than the one at hand. The frame of JSON around it is more than a provider's own.
fn counted(body: &Body<'_>, call: &call::Call, endpoint: &Endpoint) -> Option<Tokens> {
    let text = std::str::from_utf8(body.bytes)
        .ok()
        .filter(|text| text.len() <= COUNTED)?;
    if call.answer.is_some() || HIDDEN.iter().any(|word| text.contains(word)) {
        return None;
    }
    let tokens = tokens::count(text);
    let with_margin = if is_openai(endpoint) {
        tokens + tokens / 10
    } else {
        tokens + tokens / 2
    };
    let counted = Tokens::new(with_margin + 16);
    (counted < call.prompt).then_some(counted)
}

/// OpenAI itself, or the same behind Azure.
fn is_openai(endpoint: &Endpoint) -> bool {
    let host = endpoint
        .url
        .as_ref()
        .map(|url| url.host.as_str())
        .unwrap_or_default();
    host == "api.openai.com" || host.ends_with(".openai.azure.com")
}

/// The most one answer of the model that will be asked can have.
fn most_output(choice: &Choice<'_>, model: Option<&str>) -> Option<u64> {
    let model = choice.model.or(model);
    choice
        .endpoint
        .max_output_tokens
        .or_else(|| models::most_output(model?))
}

/// The limit to send, where the provider could otherwise be asked for more than is held.
fn limit(
    call: &call::Call,
    held: Tokens,
    rate: Rate,
    most: Option<u64>,
    endpoint: &Endpoint,
) -> Option<Limit> {
    let for_output = held.minus(rate.most_for_prompt(call.prompt));
    let tokens = rate.output_for(for_output) / call.answers;
    // Output that costs nothing, or has a size of its own, needs no limit.
    if rate.output == 0
        || call.free
        || call.answer.is_some()
        || call.limit.or(most).is_some_and(|limit| limit <= tokens)
    {
        return None;
    }
    // OpenAI itself has renamed the limit and its newer models refuse the old name; the others who
    // speak its API know the old one.
    let openai = is_openai(endpoint);
    let name = if openai {
        "max_completion_tokens"
    } else {
        "max_tokens"
    };
    Some(Limit {
        tokens,
        name,
        always: !openai,
    })
}

fn speaks(kind: Kind, api: Api) -> bool {
    match kind {
        Kind::Demo => true,
        Kind::OpenAi => api == Api::OpenAi,
        Kind::Anthropic => api == Api::Anthropic,
    }
}

fn request(
    dialect: &dyn Dialect,
    choice: &Choice<'_>,
    to: &Destination,
    client: &RequestHeader,
    body: Vec<u8>,
) -> Result<super::upstream::Request, GatewayError> {
    let endpoint = choice.endpoint;
    let bad = |error: &dyn std::fmt::Display| {
        GatewayError::Upstream(format!("endpoint {}: {error}", endpoint.name))
    };
    let (api, call) = (dialect.api(), dialect.path());
    let main = match api {
        Api::OpenAi => "chat/completions",
        Api::Anthropic => "messages",
    };
    let (mut path, host) = match &endpoint.url {
        Some(url) => (url.beside(main, call), url.authority()),
        None => (format!("/v1/{call}"), format!("{}:{}", to.host, to.port)),
    };
    // Anthropic's tools mark what is in beta here too; nothing else in a query is the provider's.
    if api == Api::Anthropic && client.uri.query() == Some("beta=true") {
        path.push_str(if path.contains('?') {
            "&beta=true"
        } else {
            "?beta=true"
        });
    }
    let mut request = http::Request::post(path)
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| bad(&error))?;
    let headers = request.headers_mut();
    for name in PASSED.iter().chain(passed_to(api)) {
        let name = HeaderName::from_static(name);
        for value in client.headers.get_all(&name) {
            headers.append(&name, value.clone());
        }
    }
    headers.insert(
        header::HOST,
        HeaderValue::from_str(&host).map_err(|error| bad(&error))?,
    );
    // What is metered must not be compressed.
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    // What was read as JSON leaves as JSON, whatever the client called it; a form names its frontier.
    let form = client
        .headers
        .get(header::CONTENT_TYPE)
        .filter(|_| dialect.is_form());
    let kind = form
        .cloned()
        .unwrap_or(HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_TYPE, kind);
    if api == Api::Anthropic {
        headers
            .entry("anthropic-version")
            .or_insert(HeaderValue::from_static("2023-06-01"));
    }
    if let Some(key) = &endpoint.api_key {
        let (name, value) = match api {
            Api::OpenAi => (header::AUTHORIZATION, format!("Bearer {}", key.expose())),
            Api::Anthropic => (
                HeaderName::from_static("x-api-key"),
                key.expose().to_owned(),
            ),
        };
        let mut value = HeaderValue::from_str(&value).map_err(|error| bad(&error))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(request)
}
