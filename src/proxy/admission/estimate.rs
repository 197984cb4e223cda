//! Estimate: reads a call, chooses the endpoints that may serve it, and bounds what it can cost at each.
//!
//! Every bound in [`Terms`] is an upper bound of the provider's count. A guess must never get in here: the
//! hold relies on it.

use super::candidates::candidates;
use super::terms::Terms;
use super::token_counter::TokenCounter;
use crate::dialect::call::{Api, Body, Bounds, Call, Extras, Unreadable};
use crate::dialect::extras::{self, Decision};
use crate::dialect::translate::{TargetEndpoint, Translation};
use crate::dialect::{Dialect, members, shown, surplus, tokens, translate};
use crate::http1::head::Request;
use crate::proxy::admission::image_bounds::{family_of, with_images};
use crate::proxy::error::GatewayError;
use crate::rules::amount::Tokens;
use crate::rules::charge::Sizes;
use crate::rules::choice::{Choice, Way};
use crate::rules::config::Endpoint;
use crate::rules::model_name;
use crate::rules::models;
use crate::rules::server::Server;
use crate::store::tenants::Tenant;
use bytes::Bytes;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Output limit in tokens of a call that sets none, at an API that requires one, for a model whose own is not known.
const DEFAULT_TRANSLATED_LIMIT: u64 = 4_096;
/// Longest form that is parsed on the request's own thread; beyond it, walking the recordings takes too long.
const MAX_INLINE_FORM_BYTES: usize = 256 << 10;
/// Longest prompt that is kept in [`Terms::text`] during the answer, to be counted if the provider reports no
/// usage.
const MAX_KEPT_PROMPT_BYTES: usize = 16 << 10;

/// Call that a request asks for, by its path.
pub(crate) struct AskedCall<'a> {
    pub dialect: &'static dyn Dialect,
    /// Model that the path names.
    pub model: Option<Cow<'a, str>>,
}

/// Call as it is written for an endpoint.
struct Asked {
    dialect: &'static dyn Dialect,
    body: Bytes,
    call: Call,
    translated: Option<TranslatedCall>,
}

/// A parsed call with one of its endpoints, and its [`Terms`] there.
pub struct Estimate<'a> {
    pub tenant: &'a Arc<Tenant>,
    /// Dialect in which the endpoint is asked.
    pub dialect: &'static dyn Dialect,
    pub endpoint: &'a Endpoint,
    /// Model that the provider is sent, after the endpoint's renaming.
    pub model: Option<Arc<str>>,
    /// Whether `model` differs from the one that the client sent.
    pub renames_model: bool,
    /// Body as the client sent it, or as it was translated; `rewrite_body` changes it.
    pub body: Bytes,
    /// `None`: the client's API is the endpoint's.
    pub(crate) translated: Option<TranslatedCall>,
    pub call: Call,
    /// Decision on members and beta headers that cost extra: allowed at a price, or removed.
    pub extras: Decision,
    /// Shared with the [`Bill`](crate::proxy::settlement::bill::Bill).
    pub(crate) terms: Arc<Terms>,
    /// Most tokens of one answer of the model. `None`: unknown.
    pub max_output: Option<u64>,
    /// Whether the gateway answers itself: the endpoint has no call that counts tokens in the client's API.
    pub(crate) is_counted_here: bool,
}

/// What the client sent, where its call is translated for the endpoint.
pub(crate) struct TranslatedCall {
    pub translation: Translation,
    client: &'static dyn Dialect,
    body: Bytes,
}

impl Estimate<'_> {
    /// Returns the dialect in which the client asks and is answered.
    pub(crate) fn client_dialect(&self) -> &'static dyn Dialect {
        let translated = self.translated.as_ref();
        translated.map_or(self.dialect, |translated| translated.client)
    }

    /// Returns the body as the client sent it.
    pub(crate) fn client_body(&self) -> &Bytes {
        let translated = self.translated.as_ref();
        translated.map_or(&self.body, |translated| &translated.body)
    }

    /// Frees the body, once it is sent.
    pub(crate) fn drop_body(&mut self) {
        self.body = Bytes::new();
        if let Some(translated) = &mut self.translated {
            translated.body = Bytes::new();
        }
    }
}

/// Returns the header that names beta features: `openai-beta` or `anthropic-beta`. `None`: the API has none.
pub(crate) fn beta_header(api: Api) -> Option<&'static str> {
    match api {
        Api::OpenAi => Some("openai-beta"),
        Api::Anthropic => Some("anthropic-beta"),
        Api::Gemini => None,
    }
}

impl From<Unreadable> for GatewayError {
    fn from(Unreadable(why): Unreadable) -> GatewayError {
        GatewayError::InvalidBody(why)
    }
}

pub struct Estimator {
    pub counter: Arc<TokenCounter>,
    /// Bounds of images, pages and recordings, from the settings.
    pub bounds: Bounds,
}

impl Estimator {
    /// Reads the body of a request as the call `asked` for, and estimates it at each endpoint that may serve it, in the
    /// order in which they are to be asked. There is at least one; those that refuse the call are left out.
    pub(crate) async fn estimate<'a>(
        &self,
        request: &Request,
        tenant: &'a Arc<Tenant>,
        asked: &AskedCall<'_>,
        body: Bytes,
    ) -> Result<Vec<Estimate<'a>>, GatewayError> {
        let dialect = asked.dialect;
        let mut call = self.read(request, tenant, asked, &body).await?;
        let asked = call.model.clone();
        let asked = asked.as_deref();
        if let Some(Err(why)) = asked.map(model_name::check) {
            return Err(GatewayError::InvalidBody(format!("model {why}")));
        }
        let candidates = candidates(tenant, asked, dialect)?;
        let (mut estimates, mut refused) = (Vec::with_capacity(candidates.len()), None);
        let last = candidates.len() - 1;
        for (nth, choice) in candidates.into_iter().enumerate() {
            let call = match nth == last {
                true => std::mem::take(&mut call),
                false => call.clone(),
            };
            let asked = Asked {
                dialect,
                body: body.clone(),
                call,
                translated: None,
            };
            match self.estimate_by_way(request, tenant, &choice, asked) {
                Ok(estimate) => estimates.push(estimate),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        // A count of the gateway's own stands in for no other endpoint.
        let counts = |estimate: &Estimate<'_>| estimate.is_counted_here;
        if !estimates.iter().all(counts) {
            estimates.retain(|estimate| !counts(estimate));
        }
        match refused {
            Some(refused) if estimates.is_empty() => Err(refused),
            _ => Ok(estimates),
        }
    }

    /// Estimates a call at one endpoint, which it is translated for if it speaks another API.
    fn estimate_by_way<'a>(
        &self,
        request: &Request,
        tenant: &'a Arc<Tenant>,
        choice: &Choice<'a, '_>,
        asked: Asked,
    ) -> Result<Estimate<'a>, GatewayError> {
        if translate::way(asked.dialect, choice.endpoint) != Some(Way::Translated) {
            return self.estimate_at(request, tenant, choice, asked);
        }
        if translate::is_count(asked.dialect) {
            return self.estimate_count(request, tenant, choice, asked);
        }
        let (asked, removed) = self.translate(choice, asked)?;
        let mut estimate = self.estimate_at(request, tenant, choice, asked)?;
        // The model stands in the translated body.
        estimate.renames_model = false;
        estimate.extras.removed = removed;
        Ok(estimate)
    }

    /// Estimates a call that the gateway answers itself, which costs nothing.
    fn estimate_count<'a>(
        &self,
        request: &Request,
        tenant: &'a Arc<Tenant>,
        choice: &Choice<'a, '_>,
        mut asked: Asked,
    ) -> Result<Estimate<'a>, GatewayError> {
        // Nothing of the body is forwarded.
        asked.call.unknown_members.clear();
        asked.call.extras = Extras::default();
        let mut estimate = self.estimate_at(request, tenant, choice, asked)?;
        estimate.is_counted_here = true;
        estimate.call.free = true;
        if let Some(terms) = Arc::get_mut(&mut estimate.terms) {
            terms.free = true;
        }
        Ok(estimate)
    }

    /// Translates a call for an endpoint. Returns the names of what was left out, too.
    fn translate(
        &self,
        choice: &Choice<'_, '_>,
        mut asked: Asked,
    ) -> Result<(Asked, Vec<String>), GatewayError> {
        let (endpoint, client) = (choice.endpoint, asked.dialect);
        let model = choice.model.or(asked.call.model.as_deref());
        let most = max_output(endpoint, model);
        let target = TargetEndpoint {
            kind: endpoint.kind,
            model,
            limit_name: endpoint.server.output_limit_name(),
            most_output: most,
            default_limit: most.unwrap_or(DEFAULT_TRANSLATED_LIMIT),
            now: now_in_seconds(),
        };
        // Hosted tools of one API are none of another's.
        let extras = &mut asked.call.extras;
        let names = extras.hosted.iter().map(|(name, _)| name.clone());
        extras.unbounded = names.collect();
        let mut removed = extras::decide(&asked.call, endpoint, std::iter::empty())?.removed;
        let translated = translate::request(client, &asked.body, &target)?;
        for name in translated.removed {
            if !removed.contains(&name) {
                removed.push(name);
            }
        }
        let native = translated.translation.dialect();
        let body = Bytes::from(translated.body);
        let mut call = native.read(&Body::json(&body), &self.bounds)?;
        call.limit = match (translated.limit, most) {
            // An API that requires a limit was given this one.
            (None, None) if call.limit.is_some() => call.limit,
            (limit, _) => limit,
        };
        call.model = asked.call.model;
        let kept = TranslatedCall {
            translation: translated.translation,
            client,
            body: asked.body,
        };
        let asked = Asked {
            dialect: native,
            body,
            call,
            translated: Some(kept),
        };
        Ok((asked, removed))
    }

    /// Estimates a call at one endpoint.
    fn estimate_at<'a>(
        &self,
        request: &Request,
        tenant: &'a Arc<Tenant>,
        choice: &Choice<'a, '_>,
        asked: Asked,
    ) -> Result<Estimate<'a>, GatewayError> {
        let Asked {
            dialect,
            ref body,
            mut call,
            translated,
        } = asked;
        let content_type = match translated {
            Some(_) => Some("application/json"),
            None => request.fields.get("content-type"),
        };
        let asked = call.model.clone();
        let asked = asked.as_deref();
        let (endpoint, server) = (choice.endpoint, choice.endpoint.server);
        let family = family_of(choice, asked);
        if let Some(bounds) = with_images(family, server, self.bounds, body) {
            call = dialect.read(&as_body(body, content_type, asked), &bounds)?;
        }
        call.free &= !server.bills_free_calls();
        let beyond = Tokens::new(surplus::beyond(family, server, dialect.is_form(), body));
        if !endpoint.refuses_unknown_members() {
            members::check(&call, server, &endpoint.members)?;
        }
        let is_native = translated.is_none();
        let header = beta_header(dialect.api()).filter(|_| is_native);
        let betas = header.into_iter().flat_map(|name| request.fields.all(name));
        let betas = betas.flat_map(|value| extras::surcharged_betas(dialect.api(), value));
        let extras = extras::decide(&call, endpoint, betas)?;
        let model = choice.model.or(asked);
        let mut terms = terms(tenant, endpoint, model, &call, &self.bounds, body);
        terms.prompt = terms.prompt.plus(beyond);
        terms.beyond = beyond;
        terms.hosted.clone_from(&extras.hosted);
        terms.shows_all &= extras.calls.is_none();
        Ok(Estimate {
            max_output: max_output(endpoint, model),
            is_counted_here: false,
            model: model.map(Arc::from),
            renames_model: choice.model.is_some(),
            tenant,
            dialect,
            endpoint,
            body: body.clone(),
            translated,
            call,
            extras,
            terms: Arc::new(terms),
        })
    }

    /// Parses a call. A form longer than [`MAX_INLINE_FORM_BYTES`] is parsed on the counting thread.
    async fn read(
        &self,
        request: &Request,
        tenant: &Tenant,
        asked: &AskedCall<'_>,
        body: &Bytes,
    ) -> Result<Call, GatewayError> {
        let (dialect, bounds) = (asked.dialect, self.bounds);
        let content_type = request.fields.get("content-type");
        if !dialect.is_form() || body.len() <= MAX_INLINE_FORM_BYTES {
            let model = asked.model.as_deref();
            return Ok(dialect.read(&as_body(body, content_type, model), &bounds)?);
        }
        let (body, content_type) = (body.clone(), content_type.map(str::to_owned));
        let read = move || dialect.read(&as_body(&body, content_type.as_deref(), None), &bounds);
        match self.counter.run(tenant.id.as_str(), read).await {
            Some(call) => Ok(call?),
            None => Err(GatewayError::Overloaded),
        }
    }
}

fn as_body<'a>(
    bytes: &'a Bytes,
    content_type: Option<&'a str>,
    model: Option<&'a str>,
) -> Body<'a> {
    Body {
        bytes,
        content_type,
        model,
    }
}

/// Returns the terms by what the body says: without tokens beyond its bytes, and without hosted tools.
fn terms(
    tenant: &Arc<Tenant>,
    endpoint: &Endpoint,
    model: Option<&str>,
    call: &Call,
    bounds: &Bounds,
    body: &Bytes,
) -> Terms {
    let providers = tenant.config.providers.text.as_ref();
    let rate = providers.map(|providers| providers.rate(endpoint, model));
    let is_kept = call.answer.is_none() && body.len() <= MAX_KEPT_PROMPT_BYTES;
    let has_many = call.answers > 1;
    Terms {
        rate: rate.unwrap_or_default(),
        tenant: tenant.clone(),
        prompt: call.prompt,
        beyond: Tokens::ZERO,
        text: is_kept.then(|| body.clone()),
        // A model's name tells its vocabulary only at its maker's own API.
        is_exact: endpoint.server.is_openai() && model.is_some_and(tokens::is_known),
        free: call.free,
        no_text: call.answer.is_some_and(|answer| answer.is_zero()),
        unreported: call.unreported,
        shows_all: shown::shows_all(endpoint.server, model, call),
        has_many,
        reports_one: has_many && shown::reports_one(endpoint.server),
        sizes: Sizes {
            image_answer: bounds.image_answer,
            sound_second: bounds.sound_second,
        },
        hosted: extras::Hosted::default(),
    }
}

fn now_in_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// Returns the most tokens of one answer of a model: as configured for the [`Endpoint`], or as its maker
/// publishes.
fn max_output(endpoint: &Endpoint, model: Option<&str>) -> Option<u64> {
    // A model's name tells its limit only at its maker's own API.
    let is_makers = matches!(
        endpoint.server,
        Server::OpenAi | Server::Azure | Server::Anthropic | Server::Gemini
    );
    let published = || models::most_output(model.filter(|_| is_makers)?);
    endpoint.max_output_tokens.or_else(published)
}
