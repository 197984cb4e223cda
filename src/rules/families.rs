//! Model families ([`Family`]): the upper bound of a prompt's tokens beyond its bytes.
//!
//! Servers render hidden system prompts and tool frames, and count images by rules of their own. The figures
//! are published by the vendors or measured on published templates; `docs/bounds.md` has the sources.
//! The model's name decides wherever it is served, except at the vendors' own hosts, whose frames are small.

use super::server::Server;

/// Upper bounds in tokens beyond the bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Of every prompt.
    pub prompt: u64,
    /// In addition, of a prompt with tools.
    pub tools: u64,
    /// Of one image. `None`: `bounds.image`.
    pub image: Option<u64>,
    /// Of one image with `detail`, if a published rule for it bounds the image differently.
    pub detail: Option<Detail>,
}

/// Upper bounds of one image in tokens, for `detail` of `low` and `high`. Any other `detail` counts as
/// [`Family::image`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail {
    pub low: u64,
    pub high: u64,
}

impl Family {
    const PLAIN: Family = Family {
        prompt: 0,
        tools: 0,
        image: None,
        detail: None,
    };
}

/// Families by prefix of the model's name, longer prefixes first: tokens of every prompt, tokens with tools,
/// tokens of an image.
const FAMILIES: &[(&str, u64, u64, u64)] = &[
    // OpenAI counts images in tiles of 512 pixels, or in patches of 32 pixels times a factor.
    ("gpt-4o-mini", 0, 100, 48_169),
    ("gpt-4.1-mini", 0, 100, 6_637),
    ("gpt-4.1-nano", 0, 100, 10_078),
    ("gpt-4.1", 0, 100, 1_445),
    ("gpt-4.5", 0, 100, 1_445),
    ("gpt-4o", 0, 100, 1_445),
    ("gpt-5-mini", 0, 100, 6_637),
    ("gpt-5-nano", 0, 100, 10_078),
    ("gpt-5-codex-mini", 0, 100, 6_637),
    ("gpt-5.2", 0, 100, 4_917),
    ("gpt-5.3", 0, 100, 4_917),
    ("gpt-5.4", 0, 100, 12_001),
    ("gpt-5.5", 0, 100, 12_001),
    ("gpt-5-", 0, 100, 1_190),
    // No image has more than 30,000 patches, and no published factor exceeds 2.46.
    ("gpt-5.6", 0, 100, 36_001),
    ("gpt-5", 0, 100, 73_801),
    ("gpt-6", 0, 100, 73_801),
    ("gpt-image", 0, 0, 6_821),
    ("computer-use", 0, 0, 1_097),
    ("o4-mini", 0, 100, 7_047),
    ("o1", 0, 100, 1_275),
    ("o3", 0, 100, 1_275),
    // Anthropic. The tool frame is counted by the parser of its API.
    ("claude-opus-4-7", 0, 0, 4_784),
    ("claude-opus-4-8", 0, 0, 4_784),
    ("claude-3", 0, 0, 1_661),
    ("claude-opus-4", 0, 0, 1_661),
    ("claude-sonnet-4", 0, 0, 1_661),
    ("claude-haiku-4", 0, 0, 1_661),
    ("claude", 0, 0, 4_784),
    // Open models, rendered by their published templates.
    ("gpt-oss", 75, 600, 4_000),
    ("llama-3", 36, 103, 6_404),
    ("llama3", 36, 103, 6_404),
    ("llama-4", 36, 400, 2_467),
    ("llama4", 36, 400, 2_467),
    ("devstral", 1_244, 60, 4_160),
    ("mistral-small", 525, 60, 3_080),
    ("magistral", 1_244, 60, 4_160),
    ("command-", 473, 695, 3_328),
    ("hermes", 198, 60, 4_000),
    ("granite", 49, 238, 4_000),
    ("functionary", 93, 233, 4_000),
    ("kimi-k3", 117, 60, 4_096),
    ("kimi", 16, 60, 4_096),
    ("deepseek", 494, 130, 1_121),
    ("glm", 10, 415, 15_000),
    ("nemotron", 56, 316, 4_000),
    ("qwen", 52, 988, 16_384),
    ("qwq", 10, 116, 16_384),
    ("gemma", 37, 60, 4_128),
    ("gemini-3", 0, 200, 2_240),
    ("gemini", 0, 200, 4_128),
    ("phi", 6, 60, 10_100),
    ("grok", 1_000, 60, 1_792),
    ("pixtral", 3, 60, 4_160),
];

/// Bounds of an image with `detail`, by prefix of the model's name, longer prefixes first: `low`, `high`.
const DETAILS: &[(&str, u64, u64)] = &[
    ("gpt-4o-mini", 2_833, 48_169),
    ("gpt-4.1-mini", 6_637, 6_637),
    ("gpt-4.1-nano", 10_078, 10_078),
    ("gpt-4.1", 85, 1_445),
    ("gpt-4o", 85, 1_445),
    // `low` has more tokens than `high` here: 4,096 patches instead of 2,500.
    ("gpt-5.4", 4_917, 3_001),
    ("gpt-5.5", 309, 3_001),
    ("gpt-5.6", 309, 3_001),
    ("gpt-5-mini", 6_637, 6_637),
    ("gpt-5-nano", 10_078, 10_078),
    ("gpt-5-codex-mini", 6_637, 6_637),
    ("gpt-5-", 70, 1_190),
    ("o1", 75, 1_275),
    ("o3", 75, 1_275),
];

/// Hidden prompt that xAI adds, whatever the model is called.
const XAI_PROMPT: u64 = 1_000;

impl Family {
    /// Returns the larger of each bound. `detail` is known only if both have it.
    pub fn larger(self, other: Family) -> Family {
        Family {
            prompt: self.prompt.max(other.prompt),
            tools: self.tools.max(other.tools),
            image: self.image.max(other.image),
            detail: self.detail.zip(other.detail).map(|(one, other)| Detail {
                low: one.low.max(other.low),
                high: one.high.max(other.high),
            }),
        }
    }
}

/// Returns the family of a model at a server.
pub fn of(server: Server, model: Option<&str>) -> Family {
    let name = model.map(plain).unwrap_or_default();
    let known = FAMILIES.iter().find(|(start, ..)| begins(name, start));
    // `detail` is known to be obeyed at OpenAI's and Azure's own hosts only.
    let obeys = matches!(server, Server::OpenAi | Server::Azure);
    let detail = DETAILS
        .iter()
        .find(|(start, ..)| obeys && begins(name, start));
    let family = known.map_or(Family::PLAIN, |(_, prompt, tools, image)| Family {
        prompt: *prompt,
        tools: *tools,
        image: Some(*image),
        detail: detail.map(|(_, low, high)| Detail {
            low: *low,
            high: *high,
        }),
    });
    match server {
        // The parsers of these APIs count the frames themselves.
        Server::OpenAi | Server::Azure | Server::Anthropic | Server::Demo => Family {
            image: family.image,
            detail: family.detail,
            ..Family::PLAIN
        },
        Server::Xai => Family {
            prompt: family.prompt.max(XAI_PROMPT),
            ..family
        },
        _ => family,
    }
}

/// Returns a model's name without its prefixes: an organisation or folder, the `ft:` of a fine-tune, `meta-`.
fn plain(model: &str) -> &str {
    const MAKER: &str = "meta-";
    const TUNED: &str = "ft:";
    let name = model.rsplit('/').next().unwrap_or_default();
    let name = match name.get(..TUNED.len()) {
        Some(mark) if mark.eq_ignore_ascii_case(TUNED) => &name[TUNED.len()..],
        _ => name,
    };
    match name.get(..MAKER.len()) {
        Some(maker) if maker.eq_ignore_ascii_case(MAKER) => &name[MAKER.len()..],
        _ => name,
    }
}

/// Whether a name begins with `start`, ignoring case. A trailing dash of `start` also matches a colon or the
/// end of the name: `gpt-5-` matches `gpt-5`, but not `gpt-5.6`.
fn begins(name: &str, start: &str) -> bool {
    let (name, start) = (name.as_bytes(), start.as_bytes());
    match name.get(..start.len()) {
        Some(head) if head.eq_ignore_ascii_case(start) => true,
        // A colon is followed by a tag or by the owner of a fine-tune.
        Some(head) => {
            start.ends_with(b"-") && head.ends_with(b":") && {
                let (head, start) = (&head[..head.len() - 1], &start[..start.len() - 1]);
                head.eq_ignore_ascii_case(start)
            }
        }
        None => start
            .strip_suffix(b"-")
            .is_some_and(|start| name.eq_ignore_ascii_case(start)),
    }
}

/// Whether a server of this kind may normalise a body's text or render parts of it again, which adds tokens.
pub fn rerenders_bodies(server: Server) -> bool {
    !matches!(server, Server::OpenAi | Server::Azure | Server::Demo)
}

/// Whether the server renders tools by a template of its own.
pub fn renders_tools(server: Server) -> bool {
    rerenders_bodies(server) && server != Server::Anthropic
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the table rows of a section of `docs/bounds.md`, from the name on.
    fn rows(heading: &str) -> Vec<&'static str> {
        let page = include_str!("../../docs/bounds.md");
        let section = page.split(heading).nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        section
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .collect()
    }

    #[test]
    fn the_published_table_of_details_is_this_one() {
        let published = rows("## Images by `detail`");
        assert_eq!(published.len(), DETAILS.len());
        for ((name, low, high), row) in DETAILS.iter().zip(published) {
            let figures = format!("{name}` | {low} | {high} | ");
            assert!(row.replace(',', "").starts_with(&figures), "{row}");
        }
    }

    #[test]
    fn detail_bounds_an_image_where_it_is_obeyed() {
        let detail = |server, model| of(server, Some(model)).detail;
        let of_low = |server, model| detail(server, model).map(|detail| detail.low);
        assert_eq!(of_low(Server::OpenAi, "gpt-5.6-sol"), Some(309));
        assert_eq!(of_low(Server::Azure, "gpt-4o"), Some(85));
        assert_eq!(of_low(Server::OpenAi, "gpt-5.4-mini"), Some(4_917));
        assert_eq!(of_low(Server::OpenAi, "gpt-5-2025-08-07"), Some(70));
        for model in [
            "gpt-5-mini",
            "gpt-5-nano",
            "gpt-5-codex-mini",
            "gpt-6",
            "gpt-5.1",
            "gpt-5.2",
        ] {
            let held = of(Server::OpenAi, Some(model));
            let low = held.detail.map_or(held.image, |detail| Some(detail.low));
            assert_eq!(low, held.image, "{model}");
        }
        assert_eq!(of_low(Server::OpenRouter, "openai/gpt-5.6"), None);
        assert_eq!(of_low(Server::Generic, "gpt-4o"), None);
    }

    #[test]
    fn the_published_table_is_this_one() {
        let published = rows("## Model families");
        assert_eq!(published.len(), FAMILIES.len());
        for ((name, prompt, tools, image), row) in FAMILIES.iter().zip(published) {
            let figures = format!("{name}` | {prompt} | {tools} | {image} | ");
            assert!(row.replace(',', "").starts_with(&figures), "{row}");
        }
    }

    #[test]
    fn the_longer_name_stands_first() {
        let families = FAMILIES.iter().map(|(name, ..)| *name).collect();
        let details = DETAILS.iter().map(|(name, ..)| *name).collect();
        for names in [families, details] {
            let names: Vec<&str> = names;
            for (at, name) in names.iter().enumerate() {
                let hides = names[..at].iter().find(|start| name.starts_with(**start));
                assert_eq!(hides, None, "{name}");
            }
        }
    }

    #[test]
    fn a_family_is_known_by_its_name_wherever_it_is_served() {
        let image = |server, model| of(server, Some(model)).image;
        assert_eq!(
            image(Server::OpenAi, "gpt-4o-mini-2024-07-18"),
            Some(48_169)
        );
        assert_eq!(image(Server::OpenRouter, "openai/gpt-4o"), Some(1_445));
        assert_eq!(image(Server::Anthropic, "claude-sonnet-4-5"), Some(1_661));
        assert_eq!(image(Server::Anthropic, "claude-next"), Some(4_784));
        assert_eq!(image(Server::Vllm, "Qwen/Qwen3-VL-8B"), Some(16_384));
        assert_eq!(image(Server::OpenAi, "gpt-5"), Some(1_190));
        assert_eq!(image(Server::OpenAi, "gpt-5.6"), Some(36_001));
        for tuned in ["ft:gpt-4o-mini-2024-07-18:org::id", "FT:gpt-4o-mini:org"] {
            assert_eq!(image(Server::OpenAi, tuned), Some(48_169));
        }
        assert_eq!(image(Server::OpenAi, "ft:gpt-5:org::id"), Some(1_190));
        assert_eq!(image(Server::Generic, "m"), None);
    }

    #[test]
    fn hidden_prompts_count_where_they_are_rendered() {
        let prompt = |server, model| of(server, Some(model)).prompt;
        assert_eq!(prompt(Server::OpenAi, "gpt-oss-120b"), 0);
        assert_eq!(prompt(Server::Groq, "openai/gpt-oss-120b"), 75);
        assert_eq!(prompt(Server::Ollama, "Llama3.1:70b"), 36);
        assert_eq!(prompt(Server::Vllm, "meta-llama/Meta-Llama-3.1-8B"), 36);
        assert_eq!(prompt(Server::Xai, "new-model"), XAI_PROMPT);
        assert_eq!(of(Server::Generic, None), Family::PLAIN);
    }
}
