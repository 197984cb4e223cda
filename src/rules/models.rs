//! The output limits of well-known models.
//!
//! A call without a limit holds as much as its balance allows, and the provider is sent that as the limit. A
//! model refuses a limit above its own, so a smaller known one is sent instead. An endpoint's
//! `max_output_tokens` overrides this table.

/// Output limits in tokens, by prefix of the model's name; the first match counts.
const MOST_OUTPUT: &[(&str, u64)] = &[
    ("gpt-5", 128_000),
    ("gpt-4.1", 32_768),
    ("gpt-4o", 16_384),
    ("gpt-4-turbo", 4_096),
    ("gpt-4-32k", 32_768),
    ("gpt-4", 8_192),
    ("gpt-3.5", 4_096),
    ("o1-mini", 65_536),
    ("o1-preview", 32_768),
    ("o1", 100_000),
    ("o3", 100_000),
    ("o4", 100_000),
    ("claude-3-opus", 4_096),
    ("claude-3-sonnet", 4_096),
    ("claude-3-haiku", 4_096),
    ("claude-3-5", 8_192),
    ("claude-3-7", 64_000),
    ("claude-opus-4", 32_000),
    ("claude-sonnet-4", 64_000),
    ("claude-haiku-4", 64_000),
    ("gemini-2.0", 8_192),
    ("gemini-2.5-flash-image", 32_768),
    ("gemini-2.5", 65_536),
    ("gemini-3-pro-image", 32_768),
    ("gemini-3", 65_536),
];

/// Returns the most output tokens of a model. `None`: unknown.
pub fn most_output(model: &str) -> Option<u64> {
    let model = model.strip_prefix("models/").unwrap_or(model);
    MOST_OUTPUT
        .iter()
        .find(|(start, _)| model.starts_with(start))
        .map(|(_, most)| *most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_name_goes_first() {
        assert_eq!(most_output("gpt-4o-mini"), Some(16_384));
        assert_eq!(most_output("gpt-4-0613"), Some(8_192));
        assert_eq!(most_output("o1-mini"), Some(65_536));
        assert_eq!(most_output("llama-3"), None);
    }
}
