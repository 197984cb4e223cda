//! The software or vendor behind an endpoint ([`Server`]), which decides the meaning of body members there.
//!
//! A server is recognised by its host or named in `server` of a tenant config. Any other is `generic`, of
//! which only behaviour common to all servers may be assumed.

/// Software or vendor of an endpoint. `Demo` is the gateway's own demo.
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

/// Servers by their `server` name in a tenant config, with the hosts of the vendors: a name, or `*.` and a
/// suffix.
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
    /// Returns the servers by the names that a config may give.
    pub fn named_all() -> impl Iterator<Item = (&'static str, Server)> {
        NAMES.iter().map(|(name, server, _)| (*name, *server))
    }

    pub fn name(self) -> &'static str {
        let mut names = NAMES.iter();
        names
            .find(|(_, server, _)| *server == self)
            .map_or("demo", |(name, ..)| name)
    }

    /// Returns the server at a host; a trailing dot is ignored. Unknown hosts are `Generic`.
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

    /// Whether a host is the same for all customers of a vendor, so that its name reveals none of them.
    pub fn is_shared_host(host: &str) -> bool {
        // Azure alone gives each of its customers a host of their own.
        !matches!(Server::at(host), Generic | Azure)
    }

    /// Whether the server refuses bodies with unknown members, so that members unknown to the gateway can be
    /// forwarded. The demo ignores all unknown members.
    pub fn refuses_unknown_members(self) -> bool {
        matches!(self, OpenAi | Azure | Anthropic | Demo)
    }

    /// Whether the server has no Responses, by its documentation.
    pub(crate) fn lacks_responses(self) -> bool {
        matches!(
            self,
            Mistral | DeepSeek | Gemini | Together | Cerebras | Moonshot | Zhipu | Tgi
        )
    }

    /// Whether the server bills moderations, which are free at OpenAI.
    pub fn bills_free_calls(self) -> bool {
        self == Mistral
    }

    /// Whether the server is OpenAI's own, which renamed `max_tokens` to `max_completion_tokens` and whose
    /// newer models refuse the old name.
    pub fn is_openai(self) -> bool {
        matches!(self, OpenAi | Azure)
    }

    /// Returns the name of the output limit in Chat Completions. OpenAI renamed it, and its newer models refuse the old
    /// name; other servers know the old name.
    pub fn output_limit_name(self) -> &'static str {
        match self.is_openai() {
            true => "max_completion_tokens",
            false => "max_tokens",
        }
    }
}

/// A set of servers, as bits.
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

    /// Returns the union of both sets.
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
            assert_eq!(server.name(), *name);
            assert!(!seen.has(*server), "{name}");
            seen = seen.and(Servers::of(&[*server]));
        }
        assert!(Servers::ALL.has(Demo) && Servers::ALL.has(DashScope));
        assert_eq!(Demo.name(), "demo");
    }
}
