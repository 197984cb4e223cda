//! The choice of the endpoint of a tenant that serves a call, and the refusal of models that none may serve.
//!
//! Pure: it reads the tenant's [`TextProviders`] and the requested model, and must never contact an endpoint.

use super::config::{Endpoint, Kind, TextProviders};
use super::model_name;

/// Endpoint and model that serve a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice<'p, 'm> {
    pub endpoint: &'p Endpoint,
    /// Model to send to the endpoint, if it differs from the client's.
    pub model: Option<&'m str>,
}

impl<'m> Choice<'_, 'm> {
    /// Returns the model that the endpoint is asked for. `asked`: the client's.
    pub fn served(&self, asked: Option<&'m str>) -> Option<&'m str> {
        self.model.or(asked)
    }
}

/// Reason that no endpoint serves a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// No endpoint supports the call's API.
    NoEndpoint,
    /// The model is not in the tenant's lists.
    NotListed,
}

/// Chooses the endpoint for a call.
///
/// `<endpoint>/<model>` selects its endpoint; otherwise one that lists the model; otherwise the first that
/// supports the call's API, the tenant's `default` before the others. An endpoint with a `models` list serves
/// nothing else.
pub fn choose<'p: 'm, 'm>(
    providers: &'p TextProviders,
    model: Option<&'m str>,
    speaks: impl Fn(Kind) -> bool,
) -> Result<Choice<'p, 'm>, Unserved> {
    let able = || {
        let endpoints = providers.endpoints.iter();
        endpoints.filter(|endpoint| speaks(endpoint.kind))
    };
    let named = |name: &str| able().find(|endpoint| endpoint.name == name);
    let addressed = model.and_then(|model| {
        let (name, rest) = model.split_once('/')?;
        Some((named(name)?, rest))
    });
    if let Some((endpoint, rest)) = addressed
        && providers.serves(endpoint, Some(rest))
    {
        let model = Some(rest);
        return Ok(Choice { endpoint, model });
    }
    if let Some(endpoint) = model.and_then(|model| listed(able, model)) {
        let model = None;
        return Ok(Choice { endpoint, model });
    }
    if addressed.is_some() {
        return Err(Unserved::NotListed);
    }
    let first = able().next().ok_or(Unserved::NoEndpoint)?;
    let asked = |endpoint: &'p Endpoint| model.or(endpoint.default_model.as_deref());
    let endpoint = named(&providers.default)
        .or_else(|| able().find(|endpoint| providers.serves(endpoint, asked(endpoint))))
        .unwrap_or(first);
    if !providers.serves(endpoint, asked(endpoint)) {
        return Err(Unserved::NotListed);
    }
    let model = match model {
        Some(_) => None,
        None => endpoint.default_model.as_deref(),
    };
    Ok(Choice { endpoint, model })
}

/// Returns the first endpoint whose list has the model; otherwise the first whose list has the model that
/// this one is a version of.
fn listed<'a, I: Iterator<Item = &'a Endpoint>>(
    able: impl Fn() -> I,
    model: &str,
) -> Option<&'a Endpoint> {
    let with_lists = || able().filter(|endpoint| !endpoint.models.is_empty());
    let has_itself = |endpoint: &&Endpoint| {
        let mut named = endpoint.named();
        named.any(|name| model_name::is_same(model, name, endpoint.server))
    };
    with_lists()
        .find(has_itself)
        .or_else(|| with_lists().find(|endpoint| endpoint.names(model)))
}

/// Whether `list`, with models as clients write them, includes the model that a call is served with. `model`
/// and `endpoint` are those chosen for the call.
pub fn is_among(
    providers: &TextProviders,
    list: &[String],
    endpoint: &Endpoint,
    model: Option<&str>,
    speaks: impl Fn(Kind) -> bool,
) -> bool {
    let Some(model) = model else {
        return false;
    };
    list.iter().any(|written| {
        let choice = choose(providers, Some(written), &speaks);
        choice.is_ok_and(|choice| {
            let name = choice.model.unwrap_or(written);
            let server = choice.endpoint.server;
            choice.endpoint.name == endpoint.name && model_name::is_version(model, name, server)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::config;
    use crate::rules::price::Rate;
    use serde_json::json;

    fn providers() -> TextProviders {
        let config = json!({"providers": {"text": {"default": "b", "endpoints": {
            "a": {"url": "https://a.example/v1/chat/completions", "models": ["x", "y"]},
            "b": {"url": "https://b.example/v1/chat/completions", "default_model": "m"},
            "c": {"url": "https://api.anthropic.com/v1/messages", "models": ["z"]},
        }}}});
        config::read(&config).unwrap().providers.text.unwrap()
    }

    #[test]
    fn the_model_names_its_endpoint_or_the_default_has_it() {
        let providers = providers();
        let chosen = |model: Option<&'static str>| {
            let choice = choose(&providers, model, |kind| kind != Kind::Anthropic).unwrap();
            (
                choice.endpoint.name.clone(),
                choice.model.map(str::to_owned),
            )
        };
        assert_eq!(chosen(Some("b/gpt/4")), ("b".into(), Some("gpt/4".into())));
        assert_eq!(chosen(Some("a/Y")), ("a".into(), Some("Y".into())));
        assert_eq!(chosen(Some("y")), ("a".into(), None));
        assert_eq!(chosen(Some("X-2024-08-06")), ("a".into(), None));
        assert_eq!(chosen(Some("org/y")), ("b".into(), None));
        assert_eq!(chosen(Some("z")), ("b".into(), None));
        assert_eq!(chosen(Some("c/z")), ("b".into(), None));
        assert_eq!(chosen(None), ("b".into(), Some("m".into())));
        let none = choose(&providers, None, |kind| kind == Kind::Demo);
        assert_eq!(none, Err(Unserved::NoEndpoint));
    }

    fn unserved(providers: &TextProviders, model: Option<&str>, kind: Kind) -> bool {
        choose(providers, model, |speaks| speaks == kind) == Err(Unserved::NotListed)
    }

    #[test]
    fn endpoint_with_a_model_list_serves_only_listed_models() {
        let mut providers = providers();
        for model in ["a/z", "a/x-mini", "a/"] {
            assert!(unserved(&providers, Some(model), Kind::OpenAi), "{model}");
        }
        assert!(unserved(&providers, Some("other"), Kind::Anthropic));
        // Without a `model`, the endpoint would choose one itself, and it is unknown which.
        assert!(unserved(&providers, None, Kind::Anthropic));
        providers.endpoints[1].models = vec!["n".to_owned()];
        for model in ["m", "b/m", "n-2024-08-06", "b/N"] {
            let served = choose(&providers, Some(model), |kind| kind == Kind::OpenAi);
            assert_eq!(served.unwrap().endpoint.name, "b", "{model}");
        }
        assert!(unserved(&providers, Some("other"), Kind::OpenAi));
        // Another endpoint lists `a/z`, which could be read as model `z` of endpoint `a`.
        providers.endpoints[1].models.push("a/z".to_owned());
        let served = choose(&providers, Some("a/z"), |kind| kind == Kind::OpenAi).unwrap();
        assert_eq!((served.endpoint.name.as_str(), served.model), ("b", None));
    }

    #[test]
    fn only_listed_serves_listed_and_rated_models() {
        let mut providers = providers();
        providers.only_listed = true;
        providers.rates = [
            ("r".to_owned(), Rate::flat(1)),
            ("*".to_owned(), Rate::flat(2)),
        ]
        .into();
        for model in [
            "m",
            "b/m",
            "M-latest",
            "r",
            "b/R-20240806",
            "ft:r:o::i",
            "x",
        ] {
            assert!(!unserved(&providers, Some(model), Kind::OpenAi), "{model}");
        }
        for model in ["other", "b/other", "r:70b", "r-mini", "*", "a/r"] {
            assert!(unserved(&providers, Some(model), Kind::OpenAi), "{model}");
        }
        assert!(!unserved(&providers, None, Kind::OpenAi));
        providers.endpoints[1].default_model = None;
        assert!(unserved(&providers, None, Kind::OpenAi));
    }

    #[test]
    fn a_list_of_what_clients_write_is_read_as_their_calls_are() {
        let providers = providers();
        let among = |list: &[&str], model: &'static str| {
            let list: Vec<String> = list.iter().map(ToString::to_string).collect();
            let speaks = |kind| kind == Kind::OpenAi;
            let choice = choose(&providers, Some(model), speaks).unwrap();
            let served = choice.served(Some(model));
            is_among(&providers, &list, choice.endpoint, served, speaks)
        };
        assert!(among(&["x"], "a/x") && among(&["a/x"], "X") && among(&["b/q"], "q"));
        assert!(among(&["q"], "q-2024-08-06") && !among(&["q-2024-08-06"], "q"));
        assert!(!among(&["x"], "y") && !among(&["x"], "b/x") && !among(&["q"], "q-mini"));
        assert!(!among(&["a/q", "nobody/q"], "q"));
    }

    #[test]
    fn without_a_default_that_speaks_the_first_that_does_has_it() {
        let providers = providers();
        let choice = choose(&providers, Some("z"), |kind| kind == Kind::Anthropic).unwrap();
        assert_eq!(choice.endpoint.name, "c");
        let dated = Some("z@20250514");
        let choice = choose(&providers, dated, |kind| kind == Kind::Anthropic).unwrap();
        assert_eq!(choice.endpoint.name, "c");
    }
}
