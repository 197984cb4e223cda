//! Forward: from an admitted call to the head of its answer.

use super::admit::{self, Asked};
use super::error::GatewayError;
use super::exchange::Exchange;
use super::pipeline::Pipeline;
use super::upstream::{Answer, Destination, Failure};
use super::watch::{Ends, client_leaves};
use crate::demo;
use crate::dialect::Dialect;
use crate::dialect::call::{Api, Body, Bounds, Changes, Unreadable};
use crate::rules::choice::{self, Choice};
use crate::rules::config::{Endpoint, Kind};
use crate::settings;
use crate::store::tenants::Tenant;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body_util::Full;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

const LONGEST_MODEL: usize = 256;
const SMALL_BODY: u64 = 64 << 10;

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
        let key = admit::authenticate(&session.req_header().headers)?;
        if !is_small(&session.req_header().headers) {
            // What is large is read and understood only for someone who is known.
            let found = self.store.find(&key, &tenant.id, &tenant.groups).await?;
            found.ok_or(GatewayError::UnknownKey)?;
        }
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
        // It is written into logs and headers, and no model has such a name.
        if call
            .model
            .as_ref()
            .is_some_and(|model| model.len() > LONGEST_MODEL)
        {
            let rule = format!("model must have at most {LONGEST_MODEL} characters");
            return Err(GatewayError::Unreadable(rule));
        }
        let providers = tenant.config.text.as_ref();
        let model = call.model.clone();
        let model = model.as_deref();
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
        let most = admit::most_output(&choice, model);
        exchange.rate = providers
            .map(|providers| providers.rate(choice.model.or(model)))
            .unwrap_or_default();
        let asked = Asked {
            tenant,
            key: &key,
            body: &body,
            endpoint: choice.endpoint,
            most,
        };
        let held = self.admit(exchange, &asked, &mut call).await?;
        let changes = Changes {
            model: choice.model,
            limit: admit::limit(&call, held, exchange.rate, most, choice.endpoint),
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

/// A body that costs less to read than to ask whose it is.
fn is_small(headers: &HeaderMap) -> bool {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    length
        .and_then(|length| length.parse::<u64>().ok())
        .is_some_and(|length| length <= SMALL_BODY)
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
