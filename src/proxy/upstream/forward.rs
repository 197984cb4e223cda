//! Forward: from an admitted call to the head of its answer.

use crate::demo;
use crate::dialect::call::{Api, Body, Bounds, Call, Changes, Unreadable};
use crate::dialect::extras::{self, Decision, Hosted};
use crate::dialect::openai::multipart::Form;
use crate::dialect::{Dialect, members, shown, surplus};
use crate::http1::head::Request;
use crate::http1::write;
use crate::local::credentials;
use crate::proxy::admission::admit::{self, Asked};
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::{Exchange, Terms};
use crate::proxy::pipeline::Pipeline;
use crate::proxy::relay::AskedOf;
use crate::proxy::upstream::connection::{self, Progress};
use crate::proxy::upstream::client::{Answer, Destination, Failure};
use crate::proxy::upstream::heartbeat::Ends;
use crate::rules::amount::Tokens;
use crate::rules::charge::{Charge, Sizes};
use crate::rules::choice::{self, Choice, Unserved};
use crate::rules::config::Endpoint;
use crate::rules::families::{self, Detail, Family};
use crate::rules::model_name;
use crate::rules::server::Server;
use crate::rules::strike::Credentials;
use crate::rules::tenant::TenantId;
use crate::settings;
use crate::store::name::KeyName;
use crate::store::tenants::Tenant;
use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::task::{Poll, ready};
use std::time::Instant;

/// Bytes of a form that is read where it is.
const LONGEST_INLINE_FORM: usize = 256 << 10;
const SMALL_BODY: u64 = 64 << 10;
/// A body up to this length leaves in one write with its head.
const JOINED: usize = 16 << 10;
const VERSION: &str = "anthropic-version";

/// Request headers that providers may see. Never one that carries a key.
const PASSED: &[&str] = &["accept", "user-agent"];

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Whose call it is.
struct Owner<'a> {
    tenant: &'a TenantId,
    account: &'a str,
}

impl Owner<'_> {
    /// A name that callers choose, made their own: at the provider they are all one customer, and one
    /// must not be given the answer of another.
    fn own(&self, name: &str) -> String {
        credentials::hash(&format!("{}\0{}\0{name}", self.tenant, self.account))
    }
}

fn passed_to(api: Api) -> &'static [&'static str] {
    match api {
        Api::OpenAi => &[],
        Api::Anthropic => &[VERSION],
    }
}

/// The header that names what is in beta.
fn beta(api: Api) -> &'static str {
    match api {
        Api::OpenAi => "openai-beta",
        Api::Anthropic => "anthropic-beta",
    }
}

/// What the endpoint makes of all that a call asks for besides an answer.
fn decide(
    call: &Call,
    endpoint: &Endpoint,
    api: Api,
    request: &Request,
) -> Result<Decision, Unreadable> {
    members::check(call, endpoint.server, &endpoint.members)?;
    let headers = request.fields.all(beta(api));
    extras::decide(
        call,
        endpoint,
        headers.flat_map(|value| extras::dear_betas(api, value)),
    )
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
    pub(in crate::proxy) async fn forward(
        &self,
        session: &mut Session<'_>,
        exchange: &mut Exchange,
        tenant: &Arc<Tenant>,
        dialect: &'static dyn Dialect,
    ) -> Result<(), GatewayError> {
        let key = admit::authenticate(session.request())?;
        self.refusals.check(&key, exchange.started)?;
        let served = self.serve_key(session, exchange, tenant, dialect, &key);
        let refused = match served.await {
            Err(refused) if is_refusal(&refused) => refused,
            served => {
                let is_free = |charge: &Charge| charge.cost.is_zero();
                if exchange.charge.as_ref().is_some_and(is_free) {
                    self.refusals.add(&key, exchange.work, Instant::now());
                }
                return served;
            }
        };
        if exchange.account.is_empty() {
            // What a tenant has is nothing that a stranger is told.
            let found = self.store.find(&key, &tenant.id, &tenant.groups).await?;
            found.ok_or(GatewayError::UnknownKey)?;
        }
        self.refusals.add(&key, exchange.work, Instant::now());
        Err(refused)
    }

    async fn serve_key(
        &self,
        session: &mut Session<'_>,
        exchange: &mut Exchange,
        tenant: &Arc<Tenant>,
        dialect: &'static dyn Dialect,
        key: &KeyName,
    ) -> Result<(), GatewayError> {
        if session
            .body_length()
            .is_none_or(|length| length > SMALL_BODY)
        {
            // What is large is read and understood only for someone who is known.
            let found = self.store.find(key, &tenant.id, &tenant.groups).await?;
            found.ok_or(GatewayError::UnknownKey)?;
        }
        let bytes = self
            .intake(session, exchange, self.local.settings.server.max_body)
            .await?;
        exchange.work.read_bytes = bytes.len() as u64;
        let body = Body {
            bytes: &bytes,
            content_type: session.request().fields.get("content-type"),
        };
        let mut call = self
            .read(tenant.id.as_str(), dialect, &bytes, body.content_type)
            .await?;
        let model = call.model.clone();
        let model = model.as_deref();
        if let Some(Err(why)) = model.map(model_name::check) {
            return Err(GatewayError::Unreadable(format!("model {why}")));
        }
        let choice = choose(tenant, model, dialect.api())?;
        call.free &= !choice.endpoint.server.bills_free_calls();
        let family = family(&choice, model);
        if let Some(bounds) = bounds_of(family, choice.endpoint.server, self.bounds(), &bytes) {
            call = dialect.read(&body, &bounds)?;
        }
        let server = choice.endpoint.server;
        let beyond = surplus::beyond(family, server, dialect.is_form(), &bytes);
        call.beyond = Tokens::new(beyond);
        call.prompt = call.prompt.plus(call.beyond);
        let decision = decide(&call, choice.endpoint, dialect.api(), session.request())?;
        exchange.endpoint.clone_from(&choice.endpoint.name);
        exchange.call = dialect.path();
        exchange.model = choice.served(model).map(str::to_owned);
        let most = admit::most_output(&choice, model);
        exchange.terms = terms(&choice, &call, tenant, self.bounds(), &bytes);
        exchange.terms.hosted = decision.hosted;
        exchange.terms.shows_all &= decision.calls.is_none();
        let asked = Asked {
            tenant,
            key,
            body: &body,
            api: dialect.api(),
            endpoint: choice.endpoint,
            model: choice.served(model),
            is_exact: exchange.terms.is_exact,
            most,
        };
        let held = self.admit(exchange, &asked, &mut call).await?;
        let held = held.minus(exchange.terms.hosted.held);
        let owner = Owner {
            tenant: &tenant.id,
            account: &exchange.account,
        };
        let cache_key = call.cache_key.as_deref().map(|key| owner.own(key));
        let changes = Changes {
            cache_key: cache_key.as_deref(),
            model: choice.model,
            limit: admit::limit(&call, held, exchange.terms.rate, most, choice.endpoint),
            removed: &decision.removed,
            calls: decision.calls,
        };
        let body = match call.is_fit && changes.are_none() {
            true => bytes.to_vec(),
            false => dialect.rewrite(&body, &changes)?,
        };
        // What a stream would keep for as long as it lasts.
        drop(bytes);
        exchange.removed = decision.removed;
        let to = self.destination(choice.endpoint).await?;
        let owner = Owner {
            tenant: &tenant.id,
            account: &exchange.account,
        };
        let removed = &exchange.removed;
        let request = request(
            dialect,
            &choice,
            &to,
            session.request(),
            owner,
            body,
            removed,
        )?;
        let Some(hold) = &exchange.hold else {
            return Err(GatewayError::UnknownKey);
        };
        let mut ends = self.ends(hold.taken, std::mem::take(&mut session.watch));
        let answer = self
            .wait_for_answer(session, exchange, to, request, &mut ends)
            .await?;
        let found;
        let asked_of = AskedOf {
            dialect,
            call: &call,
            host: private_host(choice.endpoint),
            credentials: match tenant.credentials(choice.endpoint) {
                Some(known) => known,
                None => {
                    found = Credentials::of(choice.endpoint);
                    &found
                }
            },
        };
        let relayed = self
            .relay(session, exchange, answer, &asked_of, &mut ends)
            .await;
        session.watch = ends.patience;
        relayed
    }

    /// Reads a call. The recordings of a long form are walked off the request threads.
    async fn read(
        &self,
        tenant: &str,
        dialect: &'static dyn Dialect,
        bytes: &Bytes,
        content_type: Option<&str>,
    ) -> Result<Call, GatewayError> {
        let bounds = self.bounds();
        if !dialect.is_form() || bytes.len() <= LONGEST_INLINE_FORM {
            let body = Body {
                bytes,
                content_type,
            };
            return Ok(dialect.read(&body, &bounds)?);
        }
        let (bytes, content_type) = (bytes.clone(), content_type.map(str::to_owned));
        let read = move || {
            let body = Body {
                bytes: &bytes,
                content_type: content_type.as_deref(),
            };
            dialect.read(&body, &bounds)
        };
        match self.counter.run(tenant, read).await {
            Some(call) => Ok(call?),
            None => Err(GatewayError::Overloaded),
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
            detail: None,
            page: PAGE_TOKENS.max(image),
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
        session: &mut Session<'_>,
        exchange: &mut Exchange,
        to: Destination,
        request: connection::Request,
        ends: &mut Ends<'_>,
    ) -> Result<Answer<'_>, GatewayError> {
        let progress = Progress::default();
        let mut answer = pin!(self.upstream.send(to, &request, &progress));
        let answer = loop {
            let is_told = ends.is_draining();
            let waited = poll_fn(|cx| {
                if let Poll::Ready(ended) = ends.poll(cx, exchange) {
                    return Poll::Ready(Waited::Ended(ended));
                }
                if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                    return Poll::Ready(Waited::Answered(Box::new(answer.map_err(Into::into))));
                }
                exchange.accepted = progress.is_sent.load(Ordering::Relaxed);
                if progress.is_late.load(Ordering::Relaxed) && !is_told {
                    return Poll::Ready(Waited::Late);
                }
                ready!(ends.poll_unread(cx, exchange, session));
                Poll::Ready(Waited::Ended(GatewayError::ClientGone))
            });
            let begun = Instant::now();
            let waited = waited.await;
            exchange.waited += begun.elapsed();
            match waited {
                Waited::Answered(answer) => break *answer,
                Waited::Ended(error) => return Err(error),
                Waited::Late => {
                    let host = &exchange.endpoint;
                    let span = self.local.settings.upstream.first_byte_timeout;
                    let why = format!("no answer from {host} within {span:?}");
                    let error = GatewayError::UpstreamTimeout(why);
                    self.refuse_and_drain(session, exchange, error, ends).await;
                }
            }
        };
        let is_draining = ends.is_draining();
        let answer = answer.map_err(|error| {
            // A provider that breaks off before its answer has used nothing, as far as anyone knows.
            exchange.accepted &= matches!(error, GatewayError::UpstreamTimeout(_));
            if is_draining {
                GatewayError::ClientGone
            } else {
                error
            }
        })?;
        exchange.accepted = true;
        // What was sent is not kept any longer.
        exchange.share = None;
        Ok(answer)
    }
}

/// The host of a provider whose name tells an account of the operator's, or a place within its network.
fn private_host(endpoint: &Endpoint) -> Option<&str> {
    let host = endpoint.url.as_ref().map(|url| url.host.as_str())?;
    (!Server::is_everyones(host)).then_some(host)
}

/// Whether a call was refused for what its caller sent, or has left.
fn is_refusal(error: &GatewayError) -> bool {
    use GatewayError::{Held, NoEndpoint, NotServed, Spent, TooFast, TooManyInFlight, Unreadable};
    matches!(
        error,
        Unreadable(_)
            | NoEndpoint { .. }
            | NotServed { .. }
            | Spent
            | Held
            | TooManyInFlight
            | TooFast { .. }
    )
}

/// What was waited for before an answer.
enum Waited<'a> {
    Answered(Box<Result<Answer<'a>, GatewayError>>),
    /// The provider takes longer than a client is let wait.
    Late,
    Ended(GatewayError),
}

/// The family of what is asked for, and of what answers at the endpoint's URL whatever is asked for.
fn family(choice: &Choice<'_>, model: Option<&str>) -> Family {
    let server = choice.endpoint.server;
    let deployed = choice.endpoint.deployed();
    deployed.fold(
        families::of(server, choice.served(model)),
        |family, model| family.larger(families::of(server, Some(model))),
    )
}

/// A word that every body with an image in it has.
static IMAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"image"));
/// It may be written with escapes, where it is a value.
static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\\u00"));

/// Tokens of a page, at most: a full page of text and its picture.
const PAGE_TOKENS: u64 = 8_000;

/// Tokens of an image where the model's family is not known: the most of any open model.
const UNKNOWN_IMAGE_TOKENS: u64 = 16_384;

/// Bounds of a family whose images are counted otherwise, where there may be some. The operator's own bound
/// is never lowered.
fn bounds_of(family: Family, server: Server, bounds: Bounds, body: &[u8]) -> Option<Bounds> {
    let image = match family.image {
        Some(image) => image,
        None if families::reads_anew(server) => UNKNOWN_IMAGE_TOKENS,
        None => bounds.image,
    };
    let is_set = bounds.image != Bounds::default().image;
    let least = if is_set { bounds.image } else { 0 };
    let image = image.max(least);
    let detail = family.detail.map(|known| Detail {
        low: known.low.max(least),
        high: known.high.max(least),
    });
    let has_images = || IMAGE.find(body).is_some() || ESCAPE.find(body).is_some();
    let is_other = image != bounds.image || detail.is_some();
    (is_other && has_images()).then_some(Bounds {
        image,
        detail,
        ..bounds
    })
}

fn choose<'a>(
    tenant: &'a Tenant,
    model: Option<&'a str>,
    api: Api,
) -> Result<Choice<'a>, GatewayError> {
    let providers = tenant.config.text.as_ref();
    let choice = providers.map_or(Err(Unserved::NoEndpoint), |providers| {
        choice::choose(providers, model, |kind| api.is_spoken_by(kind))
    });
    let model = || model.map(str::to_owned);
    choice.map_err(|unserved| match unserved {
        Unserved::NoEndpoint => GatewayError::NoEndpoint { model: model() },
        Unserved::NotListed => GatewayError::NotServed { model: model() },
    })
}

/// The longest prompt that is kept beside its answer, to be counted if the provider does not say.
const KEPT_PROMPT_BYTES: usize = 16 << 10;

/// What the call costs at its endpoint.
fn terms<'a>(
    choice: &Choice<'a>,
    call: &'a Call,
    tenant: &Arc<Tenant>,
    bounds: Bounds,
    body: &Bytes,
) -> Terms {
    let model = choice.served(call.model.as_deref());
    let providers = tenant.config.text.as_ref();
    let rate = providers.map(|providers| providers.rate(choice.endpoint, model));
    let is_counted = call.answer.is_none() && body.len() <= KEPT_PROMPT_BYTES;
    Terms {
        rate: rate.unwrap_or_default(),
        rates: Some(tenant.clone()),
        prompt: call.prompt,
        text: is_counted.then(|| body.clone()),
        beyond: call.beyond,
        is_exact: admit::is_exact(choice.endpoint, model),
        free: call.free,
        no_text: call.answer.is_some_and(|answer| answer.is_zero()),
        unreported: call.unreported,
        shows_all: shown::shows_all(choice.endpoint.server, model, call),
        has_many: call.answers > 1,
        reports_one: call.answers > 1 && shown::reports_one(choice.endpoint.server),
        sizes: Sizes {
            image_answer: bounds.image_answer,
            sound_second: bounds.sound_second,
        },
        hosted: Hosted::default(),
    }
}

/// The request as it leaves, written once.
fn request(
    dialect: &dyn Dialect,
    choice: &Choice<'_>,
    to: &Destination,
    client: &Request,
    owner: Owner<'_>,
    body: Vec<u8>,
    removed: &[String],
) -> Result<connection::Request, GatewayError> {
    let endpoint = choice.endpoint;
    let bad = |_| {
        let name = &endpoint.name;
        GatewayError::Upstream(format!("endpoint {name}: a header that is not one line"))
    };
    let (api, call) = (dialect.api(), dialect.path());
    let main = match api {
        Api::OpenAi => "chat/completions",
        Api::Anthropic => "messages",
    };
    let (path, host) = match &endpoint.url {
        Some(url) => (url.beside(main, call), url.authority()),
        None => (format!("/v1/{call}"), format!("{}:{}", to.host, to.port)),
    };
    let mut head = BytesMut::with_capacity(512 + if body.len() > JOINED { 0 } else { body.len() });
    head.extend_from_slice(b"POST ");
    head.extend_from_slice(path.as_bytes());
    // Anthropic's tools mark what is in beta here too; nothing else in a query is the provider's.
    if api == Api::Anthropic && client.query() == Some("beta=true") {
        let separator = if path.contains('?') { "&" } else { "?" };
        head.extend_from_slice(separator.as_bytes());
        head.extend_from_slice(b"beta=true");
    }
    head.extend_from_slice(b" HTTP/1.1\r\n");
    write::header(&mut head, "host", host.as_bytes()).map_err(bad)?;
    for name in PASSED.iter().chain(passed_to(api)) {
        for value in client.fields.all(name) {
            write::header(&mut head, name, value).map_err(bad)?;
        }
    }
    for value in client.fields.all(beta(api)) {
        let kept = extras::kept_betas(value, removed);
        if !kept.is_empty() {
            write::header(&mut head, beta(api), &kept).map_err(bad)?;
        }
    }
    if let (Api::OpenAi, Some(given)) = (api, client.fields.get(IDEMPOTENCY_KEY)) {
        write::header(&mut head, IDEMPOTENCY_KEY, owner.own(given).as_bytes()).map_err(bad)?;
    }
    // What is metered must not be compressed.
    write::header(&mut head, "accept-encoding", b"identity").map_err(bad)?;
    // What was read as JSON leaves as JSON, whatever the client called it; a form names its boundary.
    let kind = match client.fields.get("content-type") {
        Some(kind) if dialect.is_form() => Form::content_type(kind)?,
        _ => "application/json".to_owned(),
    };
    write::header(&mut head, "content-type", kind.as_bytes()).map_err(bad)?;
    if api == Api::Anthropic && !client.fields.has(VERSION) {
        write::header(&mut head, VERSION, b"2023-06-01").map_err(bad)?;
    }
    if let Some(key) = &endpoint.api_key {
        let written = match api {
            Api::OpenAi => {
                let value = format!("Bearer {}", key.expose());
                write::header(&mut head, "authorization", value.as_bytes())
            }
            Api::Anthropic => write::header(&mut head, "x-api-key", key.expose().as_bytes()),
        };
        written.map_err(bad)?;
    }
    write::number(&mut head, "content-length", body.len() as u64);
    head.extend_from_slice(b"\r\n");
    if body.len() > JOINED {
        return Ok(connection::Request { head, body });
    }
    head.extend_from_slice(&body);
    Ok(connection::Request {
        head,
        body: Vec::new(),
    })
}
