//! `GET models`: the models that a tenant's endpoints serve, in the shape of the API that asks.
//!
//! The list comes from the tenant's config, never from a provider: the operator's account there is not for
//! end users.

use crate::dialect::call::Api;
use crate::local::answer;
use crate::proxy::admission::authenticate::{authenticate, require_known};
use crate::proxy::downstream::reply::{self, ReplyContext};
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::rules::choice::{self, Way, equals};
use crate::rules::config::{Endpoint, Group, TextProviders};
use crate::rules::issued_key::IssuedKey;
use crate::store::Ledger;
use crate::store::tenants::Tenant;
use serde_json::{Value, json};
use std::net::IpAddr;

/// Header by which a client of Anthropic's API is told from OpenAI's.
const ANTHROPIC_VERSION: &str = "anthropic-version";
/// Header by which a client of Gemini's API is told from OpenAI's.
const GEMINI_KEY: &str = "x-goog-api-key";

/// What is asked for.
pub(crate) struct Asked<'a> {
    /// API that the path tells.
    pub api: Api,
    /// Segments of the name of a model; empty: all models.
    pub wanted: &'a [&'a str],
    /// The client's.
    pub address: IpAddr,
}

/// Answers `GET models` and `GET models/<name>` with what the key may ask for.
pub(crate) async fn answer(
    store: &dyn Ledger,
    session: &mut Session<'_>,
    reply: &mut ReplyContext,
    tenant: &Tenant,
    asked: Asked<'_>,
) -> Result<(), GatewayError> {
    let Asked {
        wanted, address, ..
    } = asked;
    let request = session.request();
    let has = |name: &str| request.fields.has(name);
    let api = match asked.api {
        Api::Gemini => Api::Gemini,
        _ if has(GEMINI_KEY) => Api::Gemini,
        _ if has(ANTHROPIC_VERSION) => Api::Anthropic,
        _ => Api::OpenAi,
    };
    reply.set_api(Some(api));
    let key = authenticate(request, tenant)?;
    let account = require_known(store, tenant, &key).await?;
    let issued = account.standing.issued.as_deref();
    if issued.is_some_and(|key| key.addresses.is_some() && !key.is_for(address)) {
        return Err(GatewayError::AddressNotAllowed);
    }
    let group = tenant.config.group(&account.standing.group);
    let models = tenant.config.providers.text.as_ref();
    let models = models
        .map(|text| models_of(text, group, issued))
        .unwrap_or_default();
    let body = if wanted.is_empty() {
        list(api, &models)
    } else {
        // A model's name may have slashes in it.
        let name = wanted.join("/");
        let name = match api {
            Api::Gemini => name.strip_prefix("models/").unwrap_or(&name).to_owned(),
            _ => name,
        };
        let model = models.iter().find(|(model, _)| *model == name);
        let (model, owner) = model.ok_or(GatewayError::NoEndpoint { model: Some(name) })?;
        one(api, model, owner)
    };
    let written = reply::send(session, reply, answer::json(200, &body)).await;
    written.map_err(|_| GatewayError::ClientGone)
}

/// Models that a key of a group may ask for, as clients write them, with the name of the endpoint that answers.
fn models_of<'a>(
    providers: &'a TextProviders,
    group: Option<&'a Group>,
    key: Option<&'a IssuedKey>,
) -> Vec<(&'a str, &'a str)> {
    let of_group = group.and_then(|group| group.models.as_ref());
    let of_key = key.and_then(|key| key.models.as_ref());
    let Some(written) = of_key.or(of_group) else {
        return named(providers);
    };
    let mut models: Vec<(&str, &str)> = Vec::new();
    for model in written {
        // Calls of every API reach every endpoint, translated where they must be.
        let way = |_: &Endpoint| Some(Way::Native);
        let endpoint = || {
            let first = *equals(providers, Some(model), way).ok()?.first()?;
            let is_for_group = of_group.is_none_or(|list| {
                let served = first.served(Some(model));
                choice::is_among(providers, list, first.endpoint, served, way)
            });
            is_for_group.then_some(first.endpoint)
        };
        if let Some(endpoint) = endpoint()
            && models.iter().all(|(listed, _)| listed != model)
        {
            models.push((model, &endpoint.name));
        }
    }
    models
}

/// Every model that the config names, with the first endpoint that lists it.
fn named(providers: &TextProviders) -> Vec<(&str, &str)> {
    let mut models: Vec<(&str, &str)> = Vec::new();
    for endpoint in &providers.endpoints {
        for model in endpoint.named() {
            if models.iter().all(|(listed, _)| listed != model) {
                models.push((model, &endpoint.name));
            }
        }
    }
    models
}

fn one(api: Api, model: &str, owner: &str) -> Value {
    match api {
        Api::OpenAi => json!({"id": model, "object": "model", "created": 0, "owned_by": owner}),
        Api::Anthropic => json!({
            "type": "model", "id": model, "display_name": model, "created_at": "1970-01-01T00:00:00Z",
        }),
        Api::Gemini => json!({
            "name": format!("models/{model}"), "displayName": model,
            "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"],
        }),
    }
}

fn list(api: Api, models: &[(&str, &str)]) -> Value {
    let data: Vec<Value> = models
        .iter()
        .map(|(model, owner)| one(api, model, owner))
        .collect();
    match api {
        Api::OpenAi => json!({"object": "list", "data": data}),
        Api::Anthropic => json!({
            "data": data,
            "has_more": false,
            "first_id": models.first().map(|(model, _)| model),
            "last_id": models.last().map(|(model, _)| model),
        }),
        Api::Gemini => json!({"models": data}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::config;

    #[test]
    fn a_model_is_listed_once_in_the_shape_that_was_asked_for() {
        let groups = json!({"members": {"tokens": 1},
            "anonymous": {"tokens": 1, "models": ["b/m2", "M1", "nobody/m", "b/m2"]}});
        let config = json!({"user_groups": groups, "providers": {"text": {"default": "a", "endpoints": {
            "a": {"url": "https://a.example/", "default_model": "m1", "models": ["m2", "m1"]},
            "b": {"url": "https://b.example/", "models": ["m2", "org/m3"]},
        }}}});
        let config = config::read(&config).unwrap();
        let providers = config.providers.text.as_ref().unwrap();
        let models = models_of(providers, config.group("members"), None);
        assert_eq!(models, [("m1", "a"), ("m2", "a"), ("org/m3", "b")]);
        assert_eq!(list(Api::OpenAi, &models)["data"][2]["owned_by"], "b");
        assert_eq!(list(Api::Anthropic, &models)["last_id"], "org/m3");
        // An account of an unknown group has the rights of `anonymous`.
        for group in ["anonymous", "gone"] {
            let models = models_of(providers, config.group(group), None);
            assert_eq!(models, [("b/m2", "b"), ("M1", "a")]);
        }
        let key = json!({"source": "session", "start": "user_", "entry": "e", "created": 0, "models": ["m1", "m2"]});
        let key: IssuedKey = serde_json::from_value(key).unwrap();
        for (group, listed) in [
            ("members", vec![("m1", "a"), ("m2", "a")]),
            ("gone", vec![("m1", "a")]),
        ] {
            let models = models_of(providers, config.group(group), Some(&key));
            assert_eq!(models, listed);
        }
    }
}
