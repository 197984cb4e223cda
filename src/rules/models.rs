//! The most that well-known models can answer with.
//!
//! A call without a limit is lent what its balance allows, and the provider is told that limit. A
//! model refuses a limit beyond its own, so where the model's is known to be smaller, it counts. An
//! endpoint's `max_output_tokens` goes before this table.

/// By the beginning of the model's name; the first that fits counts.
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
];

pub fn most_output(model: &str) -> Option<u64> {
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
