//! Which endpoint of a tenant serves a call.

use super::config::{Endpoint, Kind, TextProviders};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    pub endpoint: &'a Endpoint,
    /// What the endpoint is to be asked for, where that is not what the client wrote.
    pub model: Option<&'a str>,
}

/// `<endpoint>/<model>` names its endpoint; else one that lists the model has it; else the first
/// that speaks the call's API, the tenant's default before the others.
pub fn choose<'a>(
    providers: &'a TextProviders,
    model: Option<&'a str>,
    speaks: impl Fn(Kind) -> bool,
) -> Option<Choice<'a>> {
    let mut able = providers
        .endpoints
        .iter()
        .filter(|endpoint| speaks(endpoint.kind));
    let named = |name: &str| {
        providers
            .endpoints
            .iter()
            .find(|endpoint| endpoint.name == name && speaks(endpoint.kind))
    };
    if let Some((name, rest)) = model.and_then(|model| model.split_once('/'))
        && let Some(endpoint) = named(name)
    {
        return Some(Choice {
            endpoint,
            model: Some(rest),
        });
    }
    let listed = |endpoint: &&Endpoint| {
        model.is_some_and(|model| endpoint.models.iter().any(|listed| listed == model))
    };
    let endpoint = able
        .clone()
        .find(listed)
        .or_else(|| named(&providers.default))
        .or_else(|| able.next())?;
    let model = match model {
        Some(_) => None,
        None => endpoint.default_model.as_deref(),
    };
    Some(Choice { endpoint, model })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::config;
    use serde_json::json;

    fn providers() -> TextProviders {
        let config = json!({"providers": {"text": {"default": "b", "endpoints": {
            "a": {"url": "https://a.example/v1/chat/completions", "models": ["x", "y"]},
            "b": {"url": "https://b.example/v1/chat/completions", "default_model": "m"},
            "c": {"url": "https://api.anthropic.com/v1/messages", "models": ["z"]},
        }}}});
        config::read(&config).unwrap().text.unwrap()
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
        assert_eq!(chosen(Some("a/gpt/4")), ("a".into(), Some("gpt/4".into())));
        assert_eq!(chosen(Some("y")), ("a".into(), None));
        assert_eq!(chosen(Some("org/y")), ("b".into(), None));
        assert_eq!(chosen(Some("z")), ("b".into(), None));
        assert_eq!(chosen(Some("c/z")), ("b".into(), None));
        assert_eq!(chosen(None), ("b".into(), Some("m".into())));
        assert!(choose(&providers, None, |kind| kind == Kind::Demo).is_none());
    }

    #[test]
    fn without_a_default_that_speaks_the_first_that_does_has_it() {
        let providers = providers();
        let choice = choose(&providers, Some("z"), |kind| kind == Kind::Anthropic).unwrap();
        assert_eq!(choice.endpoint.name, "c");
        let choice = choose(&providers, Some("other"), |kind| kind == Kind::Anthropic).unwrap();
        assert_eq!(choice.endpoint.name, "c");
    }
}
