//! Upper bound of the prompt of a call, in tokens.
//!
//! Everything that a model may read counts with its bytes; images, documents and sound, whose bytes do not show their
//! tokens, count with the operator's [`Bounds`]. A value that is not understood must never count less than its bytes.

use super::media;
use super::spelling::{self, Spellings, either, elements};
use super::tools;
use crate::dialect::call::{Bounds, Extras, Unreadable};
use crate::dialect::object::{self, Object};
use crate::dialect::openai::content::{stray, weight};
use crate::dialect::prompt;
use crate::dialect::unknown_members::UnknownMembers;
use crate::rules::amount::Tokens;
use serde_json::value::RawValue;

pub(super) const GENERATION_CONFIG: Spellings = ["generationConfig", "generation_config"];
const SYSTEM: Spellings = ["systemInstruction", "system_instruction"];
const CACHED_CONTENT: Spellings = ["cachedContent", "cached_content"];

/// Members that the gateway itself reads or writes.
pub(super) const KNOWN: &[&str] = &[
    "model",
    "contents",
    "systemInstruction",
    "system_instruction",
    "tools",
    "toolConfig",
    "tool_config",
    "generationConfig",
    "generation_config",
    "cachedContent",
    "cached_content",
    "serviceTier",
    "service_tier",
    "store",
];

/// Members that no model reads.
const SETTINGS: &[&str] = &["safetySettings", "safety_settings"];

/// Members of `generationConfig` that the gateway itself reads or writes.
pub(super) const CONFIG: &[&str] = &[
    "maxOutputTokens",
    "max_output_tokens",
    "candidateCount",
    "candidate_count",
];

/// Members of `generationConfig` that no model reads.
const CONFIG_SETTINGS: &[&str] = &[
    "temperature",
    "topP",
    "top_p",
    "topK",
    "top_k",
    "seed",
    "stopSequences",
    "stop_sequences",
    "presencePenalty",
    "presence_penalty",
    "frequencyPenalty",
    "frequency_penalty",
    "responseLogprobs",
    "response_logprobs",
    "logprobs",
    "responseMimeType",
    "response_mime_type",
    "responseModalities",
    "response_modalities",
    "mediaResolution",
    "media_resolution",
    "thinkingConfig",
    "thinking_config",
    "imageConfig",
    "image_config",
    "enableEnhancedCivicAnswers",
    "enable_enhanced_civic_answers",
];

/// Other known members of `generationConfig`: a model reads them.
const CONFIG_READ: &[&str] = &[
    "responseSchema",
    "response_schema",
    "responseJsonSchema",
    "response_json_schema",
    "_responseJsonSchema",
    "speechConfig",
    "speech_config",
];

const FUNCTION_RESPONSE: Spellings = ["functionResponse", "function_response"];
const MEDIA_RESOLUTION: Spellings = ["mediaResolution", "media_resolution"];

/// Members of a part that are read one by one.
const PART: &[&str] = &[
    "text",
    "inlineData",
    "inline_data",
    "fileData",
    "file_data",
    "functionResponse",
    "function_response",
    "videoMetadata",
    "video_metadata",
    "mediaResolution",
    "media_resolution",
];

/// Other known members of a part. `thoughtSignature` holds thoughts that only the provider can read.
const PART_READ: &[&str] = &[
    "thought",
    "thoughtSignature",
    "thought_signature",
    "functionCall",
    "function_call",
    "executableCode",
    "executable_code",
    "codeExecutionResult",
    "code_execution_result",
    "toolCall",
    "tool_call",
    "toolResponse",
    "tool_response",
    "partMetadata",
    "part_metadata",
];

/// Members of `generationConfig` that ask for thinking.
const THINKING: Spellings = ["thinkingConfig", "thinking_config"];

/// Facts of `generationConfig`.
struct ConfigFacts {
    limit: Option<u64>,
    answers: u64,
    thinks: bool,
    /// Tokens of what a model reads.
    read: Tokens,
}

/// Facts of a body that [`read`] returns beside the known members.
#[derive(Default)]
pub(super) struct ContentFacts {
    pub prompt: Tokens,
    pub unknown_members: Vec<String>,
    pub extras: Extras,
    /// Maximum number of tokens of one answer.
    pub limit: Option<u64>,
    /// Number of answers.
    pub answers: u64,
    /// Whether the body asks for thinking, or bounds it.
    pub thinks: bool,
}

/// Parses a whole body and bounds its prompt.
pub(super) fn read<'a>(
    bytes: &'a [u8],
    bounds: &Bounds,
) -> Result<(Object<'a>, ContentFacts), Unreadable> {
    let (body, sum, unknown_members) = Object::prompt(bytes, KNOWN, SETTINGS, &[])?;
    let facts = read_members(&body, sum, unknown_members, bounds)?;
    Ok((body, facts))
}

/// Bounds the prompt of a body that stands in another one.
pub(super) fn read_within(text: &str, bounds: &Bounds) -> Result<ContentFacts, Unreadable> {
    let (mut sum, mut unknown_members) = (Tokens::ZERO, UnknownMembers::default());
    let body = Object::read(text, "generateContentRequest", KNOWN, |name, value| {
        sum = sum.plus(stray(name, value));
        if !SETTINGS.contains(&name) {
            unknown_members.record_unless_null("", name, value);
        }
    })?;
    read_members(&body, sum, unknown_members, bounds)
}

fn read_members(
    body: &Object<'_>,
    mut sum: Tokens,
    unknown_members: UnknownMembers,
    bounds: &Bounds,
) -> Result<ContentFacts, Unreadable> {
    if either(body, CACHED_CONTENT)?.is_some() {
        return Err(Unreadable(
            "cachedContent is not served here: it is in the account of the gateway's operator"
                .to_owned(),
        ));
    }
    let mut prompt = ContentBound {
        bounds,
        unknown_members,
    };
    if let Some(contents) = body.value("contents") {
        elements(contents, "contents", |content| {
            sum = sum.plus(prompt.content(content)?);
            Ok(())
        })?;
    }
    if let Some(system) = either(body, SYSTEM)? {
        sum = sum.plus(prompt.content(system)?);
    }
    for value in [
        body.value("tools"),
        either(body, ["toolConfig", "tool_config"])?,
    ] {
        sum = sum.plus(value.map_or(Tokens::ZERO, weight));
    }
    let config = prompt.config(either(body, GENERATION_CONFIG)?)?;
    Ok(ContentFacts {
        prompt: sum.plus(config.read),
        unknown_members: prompt.unknown_members.names()?,
        extras: tools::read(body)?,
        limit: config.limit,
        answers: config.answers,
        thinks: config.thinks,
    })
}

struct ContentBound<'b> {
    bounds: &'b Bounds,
    unknown_members: UnknownMembers,
}

impl ContentBound<'_> {
    /// Reads `generationConfig`.
    fn config(&mut self, config: Option<&RawValue>) -> Result<ConfigFacts, Unreadable> {
        let mut facts = ConfigFacts {
            limit: None,
            answers: 1,
            thinks: false,
            read: Tokens::ZERO,
        };
        let Some(config) = config else {
            return Ok(facts);
        };
        let config = Object::read(config.get(), "generationConfig", CONFIG, |name, value| {
            if CONFIG_SETTINGS.contains(&name) {
                facts.thinks |= THINKING.contains(&name) && value.get() != "null";
                facts.read = facts.read.plus(object::beyond_a_setting(value));
                return;
            }
            facts.read = facts.read.plus(weight(value));
            if !CONFIG_READ.contains(&name) {
                self.unknown_members
                    .record_unless_null("generationConfig", name, value);
            }
        })?;
        facts.limit = spelling::whole(&config, ["maxOutputTokens", "max_output_tokens"], 1)?;
        let answers = spelling::whole(&config, ["candidateCount", "candidate_count"], 1)?;
        facts.answers = answers.unwrap_or(1);
        Ok(facts)
    }

    fn content(&mut self, content: &RawValue) -> Result<Tokens, Unreadable> {
        let mut sum = Tokens::new(prompt::message_frames(1));
        if !content.get().starts_with('{') {
            object::no_list(content, "contents")?;
            return Ok(sum.plus(weight(content)));
        }
        let content = Object::read(
            content.get(),
            "A content",
            &["parts", "role"],
            |name, value| {
                sum = sum.plus(stray(name, value));
                self.unknown_members
                    .record_unless_null("contents", name, value);
            },
        )?;
        let role = content.value("role").map_or(Tokens::ZERO, weight);
        sum = sum.plus(role);
        if let Some(parts) = content.value("parts") {
            elements(parts, "parts", |part| {
                sum = sum.plus(self.part(part)?);
                Ok(())
            })?;
        }
        Ok(sum)
    }

    fn part(&mut self, part: &RawValue) -> Result<Tokens, Unreadable> {
        let mut sum = Tokens::new(1);
        if !part.get().starts_with('{') {
            return Ok(sum.plus(weight(part)));
        }
        let part = Object::read(part.get(), "A part", PART, |name, value| {
            sum = sum.plus(stray(name, value));
            if !PART_READ.contains(&name) {
                self.unknown_members
                    .record_unless_null("parts", name, value);
            }
        })?;
        if either(&part, ["videoMetadata", "video_metadata"])?.is_some() {
            return Err(Unreadable(
                "videoMetadata is not served here: the length of a video is not shown by its bytes"
                    .to_owned(),
            ));
        }
        sum = sum.plus(part.value("text").map_or(Tokens::ZERO, weight));
        let image = self.image(&part)?;
        let media = media::of_part(&part, image, self.bounds, &mut self.unknown_members)?;
        sum = sum.plus(media);
        if let Some(response) = either(&part, FUNCTION_RESPONSE)? {
            sum = sum.plus(self.response(response)?);
        }
        Ok(sum)
    }

    /// Returns the tokens of an image in a part, which can say how many it wants.
    fn image(&self, part: &Object<'_>) -> Result<Tokens, Unreadable> {
        let image = Tokens::new(self.bounds.image);
        let Some(resolution) = either(part, MEDIA_RESOLUTION)? else {
            return Ok(image);
        };
        if !resolution.get().starts_with('{') {
            return Ok(image.plus(weight(resolution)));
        }
        let known = &["level", "numTokens", "num_tokens"];
        let mut beside = Tokens::ZERO;
        let resolution =
            Object::read(resolution.get(), "mediaResolution", known, |name, value| {
                beside = beside.plus(stray(name, value));
            })?;
        let wanted = spelling::whole(&resolution, ["numTokens", "num_tokens"], 0)?;
        Ok(image.max(Tokens::new(wanted.unwrap_or(0))).plus(beside))
    }

    /// Bounds the result of a function, in which media can stand.
    fn response(&mut self, response: &RawValue) -> Result<Tokens, Unreadable> {
        let mut sum = Tokens::ZERO;
        let response = Object::read(
            response.get(),
            "functionResponse",
            &["parts"],
            |name, value| sum = sum.plus(stray(name, value)),
        )?;
        let image = Tokens::new(self.bounds.image);
        let Some(parts) = response.value("parts") else {
            return Ok(sum);
        };
        elements(parts, "functionResponse.parts", |part| {
            let known = &["inlineData", "inline_data", "fileData", "file_data"];
            let part = Object::read(part.get(), "A part", known, |name, value| {
                sum = sum.plus(stray(name, value));
                self.unknown_members
                    .record_unless_null("functionResponse.parts", name, value);
            })?;
            let media = media::of_part(&part, image, self.bounds, &mut self.unknown_members)?;
            sum = sum.plus(media);
            Ok(())
        })?;
        Ok(sum)
    }
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
