//! Which software or vendor stands behind an endpoint: it decides what a member of a body means there.
//!
//! Known by its host, or named in the config; anything else is `generic`, of which only what every
//! server understands alike is assumed.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    OpenAi,
    Azure,
    Anthropic,
    Demo,
    Generic,
    Vllm,
    Sglang,
    Ollama,
    LlamaCpp,
    LocalAi,
    LmStudio,
    Tgi,
    Textgen,
    LiteLlm,
    OpenRouter,
    Groq,
    Mistral,
    DeepSeek,
    Xai,
    Gemini,
    Together,
    Fireworks,
    Cerebras,
    Perplexity,
    Moonshot,
    Zhipu,
    DashScope,
}

use Server::*;

/// Every server by its name in a config, with the hosts it is known by: a name, or `*.` and the end of
/// many.
const NAMES: &[(&str, Server, &[&str])] = &[
    ("openai", OpenAi, &["api.openai.com", "*.api.openai.com"]),
    (
        "azure",
        Azure,
        &[
            "*.openai.azure.com",
            "*.cognitiveservices.azure.com",
            "*.services.ai.azure.com",
        ],
    ),
    ("anthropic", Anthropic, &["api.anthropic.com"]),
    ("generic", Generic, &[]),
    ("vllm", Vllm, &[]),
    ("sglang", Sglang, &[]),
    ("ollama", Ollama, &["ollama.com"]),
    ("llamacpp", LlamaCpp, &[]),
    ("localai", LocalAi, &[]),
    ("lmstudio", LmStudio, &[]),
    ("tgi", Tgi, &[]),
    ("textgen", Textgen, &[]),
    ("litellm", LiteLlm, &[]),
    ("openrouter", OpenRouter, &["openrouter.ai"]),
    ("groq", Groq, &["api.groq.com"]),
    ("mistral", Mistral, &["api.mistral.ai"]),
    ("deepseek", DeepSeek, &["api.deepseek.com"]),
    ("xai", Xai, &["api.x.ai", "*.api.x.ai"]),
    ("gemini", Gemini, &["generativelanguage.googleapis.com"]),
    (
        "together",
        Together,
        &["api.together.xyz", "api.together.ai"],
    ),
    ("fireworks", Fireworks, &["api.fireworks.ai"]),
    ("cerebras", Cerebras, &["api.cerebras.ai"]),
    ("perplexity", Perplexity, &["api.perplexity.ai"]),
    (
        "moonshot",
        Moonshot,
        &["api.moonshot.ai", "api.moonshot.cn"],
    ),
    ("zhipu", Zhipu, &["open.bigmodel.cn", "api.z.ai"]),
    (
        "dashscope",
        DashScope,
        &[
            "dashscope.aliyuncs.com",
            "dashscope-intl.aliyuncs.com",
            "dashscope-us.aliyuncs.com",
        ],
    ),
];

impl Server {
    /// The names that a config may give.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, ..)| *name)
    }

    pub fn named(name: &str) -> Option<Server> {
        let mut names = NAMES.iter();
        names
            .find(|(known, ..)| *known == name)
            .map(|(_, server, _)| *server)
    }

    pub fn name(self) -> &'static str {
        let mut names = NAMES.iter();
        names
            .find(|(_, server, _)| *server == self)
            .map_or("demo", |(name, ..)| name)
    }

    /// The server at a host. A name with a dot at its end is the same host.
    pub fn at(host: &str) -> Server {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let fits = |pattern: &&'static str| match pattern.strip_prefix('*') {
            Some(end) => host.len() > end.len() && host.ends_with(end),
            None => host == *pattern,
        };
        let mut names = NAMES.iter();
        names
            .find(|(.., hosts)| hosts.iter().any(fits))
            .map_or(Generic, |(_, server, _)| *server)
    }

    /// A vendor's host that is the same for all its customers: its name says nothing of any of them.
    pub fn is_everyones(host: &str) -> bool {
        // Of the vendors, only Azure gives each of its customers one.
        !matches!(Server::at(host), Generic | Azure)
    }

    /// It refuses a body with a member that it does not know, so what nobody here knows may go there.
    /// The stand-in obeys none.
    pub fn refuses_unknown_members(self) -> bool {
        matches!(self, OpenAi | Azure | Anthropic | Demo)
    }

    /// It bills the calls that OpenAI gives away: moderations.
    pub fn bills_free_calls(self) -> bool {
        self == Mistral
    }

    /// It is OpenAI's own, which has renamed the limit and whose newer models refuse the old name.
    pub fn is_openai(self) -> bool {
        matches!(self, OpenAi | Azure)
    }
}

/// Some of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Servers(u32);

impl Servers {
    pub const ALL: Servers = Servers(u32::MAX);

    pub const fn of(servers: &[Server]) -> Servers {
        let (mut set, mut at) = (0, 0);
        while at < servers.len() {
            set |= 1 << servers[at] as u32;
            at += 1;
        }
        Servers(set)
    }

    pub const fn and(self, other: Servers) -> Servers {
        Servers(self.0 | other.0)
    }

    pub const fn has(self, server: Server) -> bool {
        self.0 & (1 << server as u32) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendor_is_known_by_its_host() {
        for (host, server) in [
            ("api.openai.com", OpenAi),
            ("EU.api.openai.com.", OpenAi),
            ("mine.openai.azure.com", Azure),
            ("mine.cognitiveservices.azure.com", Azure),
            ("api.anthropic.com", Anthropic),
            ("api.groq.com", Groq),
            ("openai.example", Generic),
            ("api.openai.com.evil.example", Generic),
            ("xapi.openai.com", Generic),
            ("openai.azure.com", Generic),
            ("127.0.0.1", Generic),
        ] {
            assert_eq!(Server::at(host), server, "{host}");
        }
    }

    #[test]
    fn every_name_names_its_server_and_no_two_share_a_bit() {
        let mut seen = Servers(0);
        for (name, server, _) in NAMES {
            assert_eq!(Server::named(name), Some(*server));
            assert_eq!(server.name(), *name);
            assert!(!seen.has(*server), "{name}");
            seen = seen.and(Servers::of(&[*server]));
        }
        assert!(Servers::ALL.has(Demo) && Servers::ALL.has(DashScope));
        assert_eq!((Server::named("gpt"), Demo.name()), (None, "demo"));
    }
}
