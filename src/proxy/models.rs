//! `GET models`: what a tenant's endpoints serve, in the shape of the API that asks.
//!
//! The list is the tenant's config, not a provider's account: what the operator could use is not its
//! end users' to browse.

use super::error::GatewayError;
use super::exchange::Exchange;
use super::pipeline::Pipeline;
use super::session::Session;
use super::{admit, reply};
use crate::dialect::call::Api;
use crate::local::answer;
use crate::rules::config::TextProviders;
use crate::store::tenants::Tenant;
use serde_json::{Value, json};

/// A client that names a version of Anthropic's API speaks that.
const ANTHROPIC_VERSION: &str = "anthropic-version";

impl Pipeline {
    pub(super) async fn models(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        tenant: &Tenant,
        wanted: &[&str],
    ) -> Result<(), GatewayError> {
        let request = session.request();
        let api = if request.fields.has(ANTHROPIC_VERSION) {
            Api::Anthropic
        } else {
            Api::OpenAi
        };
        exchange.api = Some(api);
        let key = admit::authenticate(request)?;
        let found = self.store.find(&key, &tenant.id, &tenant.groups).await?;
        found.ok_or(GatewayError::UnknownKey)?;
        let models = tenant.config.text.as_ref().map(models).unwrap_or_default();
        let body = if wanted.is_empty() {
            list(api, &models)
        } else {
            // A model's name may have slashes in it.
            let name = wanted.join("/");
            let model = models.iter().find(|(model, _)| *model == name);
            let (model, owner) = model.ok_or(GatewayError::NoEndpoint { model: Some(name) })?;
            one(api, model, owner)
        };
        let written = reply::send(session, exchange, answer::json(200, &body)).await;
        written.map_err(|_| GatewayError::ClientGone)
    }
}

/// Every model that is named, with the first endpoint that has it.
fn models(providers: &TextProviders) -> Vec<(&str, &str)> {
    let mut models: Vec<(&str, &str)> = Vec::new();
    for endpoint in &providers.endpoints {
        for model in endpoint.default_model.iter().chain(&endpoint.models) {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::config;

    #[test]
    fn a_model_is_listed_once_in_the_shape_that_was_asked_for() {
        let config = json!({"providers": {"text": {"default": "a", "endpoints": {
            "a": {"url": "https://a.example/", "default_model": "m1", "models": ["m2", "m1"]},
            "b": {"url": "https://b.example/", "models": ["m2", "org/m3"]},
        }}}});
        let providers = config::read(&config).unwrap().text.unwrap();
        let models = models(&providers);
        assert_eq!(models, [("m1", "a"), ("m2", "a"), ("org/m3", "b")]);
        assert_eq!(list(Api::OpenAi, &models)["data"][2]["owned_by"], "b");
        assert_eq!(list(Api::Anthropic, &models)["last_id"], "org/m3");
    }
}
