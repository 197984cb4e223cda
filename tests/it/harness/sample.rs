//! A tenant config for tests: like the bundled sample, with a large balance and a scripted provider as its
//! default endpoint.

use serde_json::{Map, Value, json};

use super::provider::Provider;

/// Provider key of the sample tenant; no client may see it.
pub const PROVIDER_KEY: &str = "sk-provider-key-for-tests";

#[derive(Clone, Debug)]
#[must_use]
pub struct Sample {
    config: Value,
}

/// Sample whose default endpoint `openai` speaks chat completions.
pub fn sample(provider: &Provider) -> Sample {
    sample_at(&provider.url("/v1/chat/completions"))
}

/// Sample whose default endpoint has this URL.
pub fn sample_at(url: &str) -> Sample {
    let config = json!({
        "auth": {},
        "user_groups": {
            "anonymous": {"tokens": 100_000, "rate_limit": 10_000, "rate_limit_window": 60},
        },
        "providers": {
            "text": {"default": "openai", "endpoints": {}},
        },
    });
    Sample { config }.endpoint("openai", url, "gpt-4o")
}

impl Sample {
    /// Sets the balance of an anonymous key.
    pub fn tokens(self, tokens: u64) -> Sample {
        self.set("user_groups.anonymous.tokens", json!(tokens))
    }

    pub fn rate_limit(self, requests: u64, window_secs: u64) -> Sample {
        self.set("user_groups.anonymous.rate_limit", json!(requests))
            .set(
                "user_groups.anonymous.rate_limit_window",
                json!(window_secs),
            )
    }

    /// Adds a text endpoint; its kind follows from the URL.
    pub fn endpoint(self, name: &str, url: &str, default_model: &str) -> Sample {
        self.set(
            &format!("providers.text.endpoints.{name}"),
            json!({"url": url, "default_model": default_model, "api_key": PROVIDER_KEY}),
        )
    }

    /// Sets an endpoint's `server`. `openai` and `anthropic` report all that their models generate.
    pub fn server(self, endpoint: &str, server: &str) -> Sample {
        self.set(
            &format!("providers.text.endpoints.{endpoint}.server"),
            json!(server),
        )
    }

    pub fn fallbacks(self, names: &[&str]) -> Sample {
        self.set("providers.text.fallbacks", json!(names))
    }

    pub fn caching(self, fee_percentage: u64) -> Sample {
        self.set(
            "caching",
            json!({
                "enabled": true,
                "text_ttl": 86_400,
                "transcription_ttl": 3_600,
                "fee_percentage": fee_percentage,
            }),
        )
    }

    /// Sets any field by its dotted path, creating missing objects.
    pub fn set(mut self, path: &str, value: Value) -> Sample {
        let mut place = &mut self.config;
        for name in path.split('.') {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[name];
        }
        *place = value;
        self
    }
}

impl From<Sample> for Value {
    fn from(sample: Sample) -> Value {
        sample.config
    }
}
