//! The choice of the endpoints of a tenant that may serve a call, and the refusal of models that none may serve.
//!
//! [`equals`] serve a call equally well, [`fallbacks`] serve it when those fail.
//! Pure: it reads the tenant's [`TextProviders`] and the requested model, and must never contact an endpoint.

use super::config::{Endpoint, TextProviders};
use super::model_name;

/// How a call is written for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As the client wrote it.
    Native,
    /// Translated to the endpoint's API.
    Translated,
}

const WAYS: [Way; 2] = [Way::Native, Way::Translated];

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

/// Returns the endpoints that serve a call equally well, in the order of the config; there is at least one.
///
/// `<endpoint>/<model>` selects its endpoint; otherwise all that list the model; otherwise the first that
/// supports the call, the tenant's `default` before the others. An endpoint with a `models` list serves
/// nothing else. Endpoints of the call's own API go before those that it is translated for. `way`: how the call is
/// written for an endpoint; `None`: not at all.
pub fn equals<'p: 'm, 'm>(
    providers: &'p TextProviders,
    model: Option<&'m str>,
    way: impl Fn(&Endpoint) -> Option<Way>,
) -> Result<Vec<Choice<'p, 'm>>, Unserved> {
    let way = &way;
    let able = |by: Way| {
        let endpoints = providers.endpoints.iter();
        endpoints.filter(move |endpoint| way(endpoint) == Some(by))
    };
    let addressed = model.and_then(|model| {
        let (name, rest) = model.split_once('/')?;
        let mut endpoints = WAYS.into_iter().flat_map(&able);
        Some((endpoints.find(|endpoint| endpoint.name == name)?, rest))
    });
    if let Some((endpoint, rest)) = addressed
        && providers.serves(endpoint, Some(rest))
    {
        let model = Some(rest);
        return Ok(vec![Choice { endpoint, model }]);
    }
    for by in WAYS {
        let listed = model.map(|model| listed(|| able(by), model));
        if let Some(listed) = listed.filter(|listed| !listed.is_empty()) {
            return Ok(listed);
        }
    }
    if addressed.is_some() {
        return Err(Unserved::NotListed);
    }
    let mut unserved = Unserved::NoEndpoint;
    for by in WAYS {
        match unlisted(providers, || able(by), model) {
            Ok(choice) => return Ok(vec![choice]),
            Err(Unserved::NotListed) => unserved = Unserved::NotListed,
            Err(Unserved::NoEndpoint) => {}
        }
    }
    Err(unserved)
}

/// Returns the endpoint that serves a model which no endpoint lists.
fn unlisted<'p: 'm, 'm, I: Iterator<Item = &'p Endpoint>>(
    providers: &'p TextProviders,
    able: impl Fn() -> I,
    model: Option<&'m str>,
) -> Result<Choice<'p, 'm>, Unserved> {
    let first = able().next().ok_or(Unserved::NoEndpoint)?;
    let asked = |endpoint: &'p Endpoint| model.or(endpoint.default_model.as_deref());
    let endpoint = able()
        .find(|endpoint| endpoint.name == providers.default)
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

/// Returns the endpoints whose lists have the model; if there are none, those whose lists have the model that this one
/// is a version of.
fn listed<'p, 'm, I: Iterator<Item = &'p Endpoint>>(
    able: impl Fn() -> I,
    model: &'m str,
) -> Vec<Choice<'p, 'm>> {
    let with_lists = || able().filter(|endpoint| !endpoint.models.is_empty());
    let has_itself = |endpoint: &&Endpoint| {
        let mut named = endpoint.named();
        named.any(|name| model_name::is_same(model, name, endpoint.server))
    };
    let choice = |endpoint| Choice {
        endpoint,
        model: None,
    };
    let listed: Vec<_> = with_lists().filter(has_itself).map(choice).collect();
    if !listed.is_empty() {
        return listed;
    }
    let has_base = |endpoint: &&Endpoint| endpoint.names(model);
    with_lists().filter(has_base).map(choice).collect()
}

/// Returns the fallbacks of a call, in order: the endpoints to ask when its [`equals`] fail. `asked`: the client's
/// model.
pub fn fallbacks<'p: 'm, 'm>(
    providers: &'p TextProviders,
    equals: &[Choice<'p, 'm>],
    asked: Option<&'m str>,
    way: impl Fn(&Endpoint) -> Option<Way>,
) -> Vec<Choice<'p, 'm>> {
    let Some(first) = equals.first() else {
        return Vec::new();
    };
    let mut fallbacks: Vec<Choice<'p, 'm>> = Vec::new();
    for name in &providers.fallbacks {
        let mut endpoints = providers.endpoints.iter();
        let Some(endpoint) = endpoints.find(|endpoint| endpoint.name == *name) else {
            continue;
        };
        let mut known = equals.iter().chain(&fallbacks);
        if way(endpoint).is_none() || known.any(|known| known.endpoint.name == *name) {
            continue;
        }
        fallbacks.extend(fallback(providers, first, endpoint, asked));
    }
    fallbacks
}

/// Returns the model that a fallback is asked for: that of the first choice where it may serve it, else its
/// `default_model`. `None`: it serves neither.
fn fallback<'p: 'm, 'm>(
    providers: &'p TextProviders,
    first: &Choice<'p, 'm>,
    endpoint: &'p Endpoint,
    asked: Option<&'m str>,
) -> Option<Choice<'p, 'm>> {
    let served = first.served(asked);
    let takes_any = endpoint.models.is_empty() && endpoint.kind == first.endpoint.kind;
    let has_it = served.is_some_and(|model| !endpoint.models.is_empty() && endpoint.names(model));
    if (takes_any || has_it) && providers.serves(endpoint, served) {
        let model = first.model;
        return Some(Choice { endpoint, model });
    }
    let model = endpoint.default_model.as_deref();
    let serves = model.is_some() && providers.serves(endpoint, model);
    serves.then_some(Choice { endpoint, model })
}

/// Whether `list`, with models as clients write them, includes the model that a call is served with. `model`
/// and `endpoint` are those chosen for the call.
pub fn is_among(
    providers: &TextProviders,
    list: &[String],
    endpoint: &Endpoint,
    model: Option<&str>,
    way: impl Fn(&Endpoint) -> Option<Way>,
) -> bool {
    let Some(model) = model else {
        return false;
    };
    list.iter().any(|written| {
        let choices = equals(providers, Some(written), &way).unwrap_or_default();
        choices.iter().any(|choice| {
            let name = choice.model.unwrap_or(written);
            let server = choice.endpoint.server;
            choice.endpoint.name == endpoint.name && model_name::is_version(model, name, server)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::config::{self, Kind};
    use crate::rules::price::Rate;
    use serde_json::json;

    fn natively(speaks: impl Fn(Kind) -> bool) -> impl Fn(&Endpoint) -> Option<Way> {
        move |endpoint| speaks(endpoint.kind).then_some(Way::Native)
    }

    fn choose<'p: 'm, 'm>(
        providers: &'p TextProviders,
        model: Option<&'m str>,
        speaks: impl Fn(Kind) -> bool,
    ) -> Result<Choice<'p, 'm>, Unserved> {
        equals(providers, model, natively(speaks)).map(|equals| equals[0])
    }

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
            is_among(&providers, &list, choice.endpoint, served, natively(speaks))
        };
        assert!(among(&["x"], "a/x") && among(&["a/x"], "X") && among(&["b/q"], "q"));
        assert!(among(&["q"], "q-2024-08-06") && !among(&["q-2024-08-06"], "q"));
        assert!(!among(&["x"], "y") && !among(&["x"], "b/x") && !among(&["q"], "q-mini"));
        assert!(!among(&["a/q", "nobody/q"], "q"));
    }

    #[test]
    fn endpoints_that_list_a_model_are_equals_and_fallbacks_follow() {
        let config = json!({"providers": {"text": {
            "default": "a", "fallbacks": ["e", "b", "d", "c", "e", "a"], "endpoints": {
            "a": {"url": "https://a.example/v1/chat/completions", "models": ["x", "y"]},
            "b": {"url": "https://b.example/v1/chat/completions", "models": ["X", "z"]},
            "c": {"url": "https://c.example/v1/chat/completions", "models": ["z"], "default_model": "w"},
            "d": {"url": "https://d.example/v1/chat/completions"},
            "e": {"url": "https://e.example/v1/chat/completions", "models": ["y"]},
            "f": {"url": "https://f.example/v1/messages", "models": ["x"]},
        }}}});
        let providers = config::read(&config).unwrap().providers.text.unwrap();
        let asked = |model: &'static str| {
            let speaks = |kind| kind == Kind::OpenAi;
            let named = |choices: &[Choice<'_, '_>]| {
                let named = choices.iter().map(|choice| {
                    let model = choice.served(Some(model)).unwrap();
                    format!("{}:{model}", choice.endpoint.name)
                });
                named.collect::<Vec<_>>().join(" ")
            };
            let equals = equals(&providers, Some(model), natively(speaks)).unwrap();
            let fallbacks = fallbacks(&providers, &equals, Some(model), natively(speaks));
            (named(&equals), named(&fallbacks))
        };
        let expected = |equals: &str, fallbacks: &str| (equals.to_owned(), fallbacks.to_owned());
        assert_eq!(asked("x"), expected("a:x b:x", "d:x c:w"));
        assert_eq!(
            asked("x-2024-08-06"),
            expected("a:x-2024-08-06 b:x-2024-08-06", "d:x-2024-08-06 c:w")
        );
        assert_eq!(asked("b/x"), expected("b:x", "d:x c:w a:x"));
        assert_eq!(asked("y"), expected("a:y e:y", "d:y c:w"));
        assert_eq!(asked("d/q"), expected("d:q", "c:w"));
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
