//! The gateway's handling of a body without a socket: refusal, forwarded bytes, and the estimate. It calls
//! the same functions in the same order as a request does.

use super::children::Sent;
use crate::fuzz::Dice;
use resullm::dialect::call::{Api, Body, Bounds, Call, Changes, Limit, Unreadable};
use resullm::dialect::openai::multipart::Form;
use resullm::dialect::{Dialect, extras, members, table};
use resullm::rules::choice;
use resullm::rules::config::{Endpoint, TextProviders};
use resullm::rules::model_name;
use resullm::rules::tenant::TenantId;
use resullm::settings::Secrets;
use resullm::store::config_secrets::ConfigSecrets;
use serde_json::{Value, json};

/// A provider call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub path: &'static str,
    /// Form fields with a file.
    pub files: &'static [&'static str],
    /// Form fields that no model reads.
    pub settings: &'static [&'static str],
    /// Other form fields of its server.
    pub fields: &'static [&'static str],
}

const fn json(path: &'static str) -> Kind {
    Kind {
        path,
        files: &[],
        settings: &[],
        fields: &[],
    }
}

pub const JSON: &[Kind] = &[
    json("chat/completions"),
    json("responses"),
    json("completions"),
    json("embeddings"),
    json("images/generations"),
    json("messages"),
];

pub const FORMS: &[Kind] = &[
    Kind {
        path: "audio/transcriptions",
        files: &["file"],
        settings: &["model", "stream", "response_format", "temperature"],
        fields: &[
            "language",
            "prompt",
            "timestamp_granularities[]",
            "timestamp_granularities",
        ],
    },
    Kind {
        path: "images/edits",
        files: &["image", "image[]", "mask"],
        settings: &[
            "model",
            "n",
            "stream",
            "size",
            "quality",
            "style",
            "background",
            "moderation",
            "response_format",
            "output_format",
            "output_compression",
            "partial_images",
            "input_fidelity",
            "user",
        ],
        fields: &["prompt"],
    },
];

impl Kind {
    pub fn is_form(&self) -> bool {
        !self.files.is_empty()
    }

    pub fn dialect(&self) -> &'static dyn Dialect {
        let words: Vec<&str> = self.path.split('/').collect();
        table::find(&words).expect("a served call")
    }
}

/// Server kinds with different known members, so that a body may pass at one of them.
const SERVERS: &[&str] = &[
    "generic",
    "ollama",
    "localai",
    "vllm",
    "llamacpp",
    "litellm",
    "openrouter",
    "openai",
];

/// A tenant with one endpoint of this server kind and this call's API.
pub fn tenant(origin: &str, server: &str, kind: Kind) -> Value {
    let main = match kind.dialect().api() {
        Api::OpenAi => "chat/completions",
        Api::Anthropic => "messages",
        Api::Gemini => "models",
    };
    let endpoint = json!({
        "url": format!("{origin}/v1/{main}"), "default_model": "the-default",
        "api_key": "sk-a-key-of-a-provider", "server": server,
    });
    let group = json!({"tokens": PLENTY, "rate_limit": 100_000, "rate_limit_window": 60});
    json!({
        "auth": {},
        "user_groups": {"anonymous": group},
        "providers": {"text": {"default": "it", "endpoints": {"it": endpoint}}},
    })
}

fn providers(server: &str, kind: Kind) -> TextProviders {
    let config = tenant("https://provider.example", server, kind);
    let secrets = ConfigSecrets::new(&Secrets::default());
    let config = secrets.check(&TenantId::default_tenant(), &config);
    let (config, _) = config.expect("a tenant's config");
    config.providers.text.expect("an endpoint")
}

/// Balance above the estimate of any realistic body.
pub const PLENTY: u64 = 1_000_000;

/// An endpoint, and the tokens available for the output.
pub struct Way {
    providers: TextProviders,
    kind: Kind,
    /// Tokens of the hold that remain for output.
    held: u64,
}

/// The forwarded body with its estimate.
#[derive(Debug)]
pub struct Forwarded {
    pub kind: Kind,
    pub sent: Sent,
    pub call: Call,
    pub model: Option<String>,
    /// Output limit of one answer, if the body carries one.
    pub limit: Option<u64>,
    /// Whether unknown members pass because the server refuses them.
    pub is_open: bool,
    /// Sizes of a form's files, and of its text, in bytes.
    pub files: Vec<usize>,
    pub text: u64,
}

/// Limit member of OpenAI's chats.
const OPEN: &str = "max_completion_tokens";
const OLD: &str = "max_tokens";

impl Way {
    pub fn new(kind: Kind, server: &str, held: u64) -> Way {
        Way {
            providers: providers(server, kind),
            kind,
            held,
        }
    }

    /// One way for every server kind, with a small and with a large balance.
    pub fn all(kind: Kind) -> Vec<Way> {
        let servers: &[&str] = match kind.dialect().api() {
            Api::OpenAi => SERVERS,
            Api::Anthropic => &["generic", "litellm", "anthropic"],
            Api::Gemini => &["generic", "gemini"],
        };
        let ways = servers.iter().flat_map(|server| {
            let holds = [40, PLENTY].into_iter();
            holds.map(move |held| Way::new(kind, server, held))
        });
        ways.collect()
    }

    pub fn any<'w>(ways: &'w [Way], dice: &mut Dice) -> &'w Way {
        &ways[dice.throw(ways.len())]
    }

    pub fn forward(&self, content_type: &str, bytes: &[u8]) -> Result<Forwarded, Unreadable> {
        let dialect = self.kind.dialect();
        let body = Body {
            bytes,
            content_type: Some(content_type),
            model: None,
        };
        let call = dialect.read(&body, &Bounds::default())?;
        let asked = call.model.as_deref();
        if let Some(Err(why)) = asked.map(model_name::check) {
            return Err(Unreadable(why));
        }
        let way = |endpoint: &Endpoint| {
            let speaks = dialect.api().is_spoken_by(endpoint.kind);
            speaks.then_some(choice::Way::Native)
        };
        let choices = choice::equals(&self.providers, asked, way)
            .map_err(|unserved| Unreadable(format!("{unserved:?}")))?;
        let choice = choices[0];
        let server = choice.endpoint.server;
        members::check(&call, server, &[])?;
        let decision = extras::decide(&call, choice.endpoint, std::iter::empty())?;
        let limit = self.limit(&call, server.is_openai());
        let changes = Changes {
            model: choice.model,
            limit,
            removed: &decision.removed,
            calls: decision.calls,
            cache_key: None,
        };
        let written = match call.can_pass_unchanged && changes.are_none() {
            true => bytes.to_vec(),
            false => dialect.rewrite(&body, &changes)?,
        };
        let model = choice.served(asked).map(str::to_owned);
        let (files, text) = self.parts(&body);
        let content_type = match self.kind.is_form() {
            true => Form::content_type(content_type)?,
            false => content_type.to_owned(),
        };
        Ok(Forwarded {
            kind: self.kind,
            sent: Sent {
                is_form: self.kind.is_form(),
                content_type: content_type.into_bytes(),
                bytes: written,
            },
            model,
            limit: limit.map(|limit| limit.tokens).or(call.limit),
            is_open: server.refuses_unknown_members(),
            files,
            text,
            call,
        })
    }

    /// Limit that is written where the hold is smaller than the possible output.
    fn limit(&self, call: &Call, is_openai: bool) -> Option<Limit> {
        let tokens = self.held / call.answers;
        let is_enough = is_openai && call.limit.is_some_and(|limit| limit <= tokens);
        if call.free || call.answer.is_some() || is_enough {
            return None;
        }
        Some(Limit {
            tokens: call.limit.map_or(tokens, |limit| limit.min(tokens)),
            name: if is_openai { OPEN } else { OLD },
            always: !is_openai,
        })
    }

    fn parts(&self, body: &Body<'_>) -> (Vec<usize>, u64) {
        if !self.kind.is_form() {
            return (Vec::new(), 0);
        }
        let form = Form::read(body, &[], self.kind.files).expect("what was read");
        let text = form.length_without(self.kind.settings);
        (form.files().map(<[u8]>::len).collect(), text)
    }
}
