//! Authenticate, read, admit, forward: from a provider call to the head of its answer.

use super::error::GatewayError;
use super::exchange::{Exchange, Hold};
use super::pipeline::Pipeline;
use super::route::Call;
use super::upstream::{Answer, Destination, Failure};
use super::{intake, relay};
use crate::demo;
use crate::dialect::call::{self, Api, Changes, Limit, Unreadable};
use crate::dialect::openai::chat;
use crate::local::credentials;
use crate::rules::account::{Admission, Admit};
use crate::rules::amount::Tokens;
use crate::rules::choice::{self, Choice};
use crate::rules::config::{Endpoint, Kind};
use crate::rules::entry::Caller;
use crate::rules::window::Pace;
use crate::store::name::KeyName;
use crate::store::tenants::Tenant;
use crate::store::{Entry, StoreError};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body_util::Full;
use pingora::protocols::http::ServerSession;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// No answer is worth asking for with less: OpenAI's newer API itself takes no smaller limit.
const LEAST_ANSWER: u64 = 16;
/// What a call without a limit of its own may use at least.
const OPEN_ANSWER: u64 = 4_096;
/// An admission whose outcome is unknown is asked for again, under the same ID.
const ADMIT_TRIES: usize = 2;

/// Request headers that providers may see. Never one that carries a key.
const PASSED: &[&str] = &[
    "accept",
    "content-type",
    "openai-beta",
    "idempotency-key",
    "user-agent",
];

/// What was admitted.
struct Admitted {
    held: Tokens,
    pace: Option<Pace>,
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
        _call: Call,
    ) -> Result<(), GatewayError> {
        let key = authenticate(&session.req_header().headers)?;
        let body = intake::intake(session, self.local.settings.server.max_body).await?;
        let call = chat::read(&body)?;
        let providers = tenant.config.text.as_ref();
        let model = call.model.as_deref();
        let choice = providers
            .and_then(|providers| choice::choose(providers, model, |kind| kind != Kind::Anthropic))
            .ok_or_else(|| GatewayError::NoEndpoint {
                model: call.model.clone(),
            })?;
        let admitted = self.admit(exchange, tenant, &key, &call).await?;
        let changes = Changes {
            model: choice.model,
            limit: limit(&call, admitted.held, choice.endpoint),
        };
        let body = chat::rewrite(&body, &changes)?;
        let to = self.destination(choice.endpoint).await?;
        let request = request(&choice, &to, &session.req_header().headers, body)?;
        let mut ends = pin!(match &exchange.hold {
            Some(hold) => self.ends(hold, exchange.known.clone()),
            None => return Err(GatewayError::UnknownKey),
        });
        let answer = self
            .wait_for_answer(session, exchange, &to, request, ends.as_mut())
            .await?;
        let told = relay::Told {
            endpoint: &choice.endpoint.name,
            pace: admitted.pace,
            wants_usage: call.wants_usage,
        };
        self.relay(session, exchange, answer, told, ends).await
    }

    async fn admit(
        &self,
        exchange: &mut Exchange,
        tenant: &Tenant,
        key: &KeyName,
        call: &call::Call,
    ) -> Result<Admitted, GatewayError> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let output = call.limit.unwrap_or(OPEN_ANSWER);
        let least = call.prompt.plus(Tokens::new(output.min(LEAST_ANSWER)));
        let ask = Admit {
            id: &id,
            least,
            most: call
                .prompt
                .plus(Tokens::new(output).times(call.answers))
                .max(least),
            open: call.limit.is_none(),
            known: Tokens::ZERO,
            window: None,
            ttl: self.local.settings.accounts.hold_ttl.into(),
        };
        let caller = Caller {
            tenant: tenant.id.as_str(),
            key: key.as_str(),
            groups: &tenant.groups,
        };
        // The hold is counted from before it was asked for, by a clock of our own.
        let mut tries = 0;
        let taken = Instant::now();
        let entry = loop {
            tries += 1;
            match self.store.admit(key, caller, &ask).await {
                Err(StoreError::Unknown(_)) if tries < ADMIT_TRIES => {}
                entry => break entry,
            }
        };
        let Entry::Known {
            account, admission, ..
        } = entry.inspect_err(|_| self.metrics.store_errors.add(1))?
        else {
            return Err(GatewayError::UnknownKey);
        };
        match admission {
            Admission::Held { held, left, pace } => {
                exchange.hold = Some(Hold {
                    account,
                    id,
                    left,
                    taken,
                });
                exchange.prompt = call.prompt;
                Ok(Admitted { held, pace })
            }
            Admission::Spent { .. } => Err(GatewayError::Spent),
            Admission::Busy { .. } => Err(GatewayError::Held),
            Admission::Limited { wait, .. } => Err(GatewayError::TooFast { wait }),
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
        let sent = self.upstream.send(to, request);
        tokio::pin!(sent);
        tokio::select! {
            biased;
            answer = &mut sent => {
                let answer = answer?;
                exchange.accepted = answer.head.status.is_success();
                Ok(answer)
            }
            gone = relay::client_leaves(session) => Err(gone),
            ended = &mut ends => Err(ended),
        }
    }

    /// Returns when the request must end: its hold is gone or could not be renewed in time, or the
    /// gateway is shutting down. It lives as long as the request, so that nothing delays its clock.
    fn ends(
        &self,
        hold: &Hold,
        known: Arc<AtomicU64>,
    ) -> impl Future<Output = GatewayError> + Send + use<> {
        let (store, traffic) = (self.store.clone(), self.traffic.clone());
        let (account, id) = (hold.account.clone(), hold.id.clone());
        let ttl = self.local.settings.accounts.hold_ttl;
        let taken = hold.taken;
        let heartbeat = async move {
            let mut covered_until = taken + ttl;
            loop {
                tokio::time::sleep(ttl / 3).await;
                loop {
                    let sent = Instant::now();
                    let known = Tokens::new(known.load(Ordering::Relaxed));
                    match store.renew(&account, &id, known, ttl.into()).await {
                        Ok(true) => {
                            covered_until = sent + ttl;
                            break;
                        }
                        Ok(false) => {
                            return GatewayError::Ended("The hold of this request has ended");
                        }
                        Err(_) if Instant::now() + HOLD_MARGIN < covered_until => {
                            tokio::time::sleep(RENEW_PAUSE).await;
                        }
                        Err(_) => {
                            return GatewayError::Ended(
                                "The hold of this request could not be renewed",
                            );
                        }
                    }
                }
            }
        };
        async move {
            tokio::select! {
                ended = heartbeat => ended,
                () = traffic.is_cut() => GatewayError::Ended("The gateway is shutting down"),
            }
        }
    }
}

/// A request whose hold was not renewed ends this long before the hold does.
const HOLD_MARGIN: Duration = Duration::from_secs(2);
const RENEW_PAUSE: Duration = Duration::from_millis(250);

/// What may end a request from our side.
pub(super) type Ends<'a> = Pin<&'a mut (dyn Future<Output = GatewayError> + Send)>;

fn authenticate(headers: &HeaderMap) -> Result<KeyName, GatewayError> {
    let key = credentials::key(headers).ok_or(GatewayError::NoKey)?;
    KeyName::parse(key).ok_or(GatewayError::UnknownKey)
}

/// The limit to send, where the provider could otherwise be asked for more than is held.
fn limit(call: &call::Call, held: Tokens, endpoint: &Endpoint) -> Option<Limit> {
    let tokens = held.minus(call.prompt).count() / call.answers;
    if call.limit.is_some_and(|limit| limit <= tokens) {
        return None;
    }
    // OpenAI itself has renamed the limit and its newer models refuse the old name; the others who
    // speak its API know the old one.
    let openai = endpoint
        .url
        .as_ref()
        .is_some_and(|url| url.host.ends_with("api.openai.com"));
    let name = if openai {
        "max_completion_tokens"
    } else {
        "max_tokens"
    };
    Some(Limit { tokens, name })
}

fn request(
    choice: &Choice<'_>,
    to: &Destination,
    client: &HeaderMap,
    body: Vec<u8>,
) -> Result<super::upstream::Request, GatewayError> {
    let endpoint = choice.endpoint;
    let bad = |error: &dyn std::fmt::Display| {
        GatewayError::Upstream(format!("endpoint {}: {error}", endpoint.name))
    };
    let (path, host) = match &endpoint.url {
        Some(url) => (url.path_and_query.as_str(), url.authority()),
        None => ("/v1/chat/completions", format!("{}:{}", to.host, to.port)),
    };
    let mut request = http::Request::post(path)
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| bad(&error))?;
    let headers = request.headers_mut();
    for name in PASSED {
        let name = HeaderName::from_static(name);
        for value in client.get_all(&name) {
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
    headers
        .entry(header::CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/json"));
    if let Some(key) = &endpoint.api_key {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
            .map_err(|error| bad(&error))?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    Ok(request)
}

/// The API whose shape the answers of this call have.
pub(super) const API: Api = Api::OpenAi;
