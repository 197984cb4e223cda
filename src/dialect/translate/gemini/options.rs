//! Reads what stands beside the conversation of `generateContent`: tools, `toolConfig` and `generationConfig`.

use super::super::conversation::{Conversation, Format, Json, Takes, Tool, ToolChoice};
use super::super::fields::{BodyFields, not_carried, one_or_more};
use super::schema::json_schema;
use crate::dialect::call::Unreadable;
use crate::dialect::gemini::tools::HOSTED;
use crate::dialect::object;
use serde_json::value::RawValue;
use std::collections::HashSet;

/// Members of `generationConfig` that only tune an answer.
const TUNING_OF_CONFIG: &[&str] = &[
    "enableEnhancedCivicAnswers",
    "mediaResolution",
    "thinkingConfig",
];

pub(super) fn read_tool(tool: &RawValue, into: &mut Conversation) -> Result<(), Unreadable> {
    let mut tool = BodyFields::of_proto(tool, "tools")?;
    for function in one_or_more(tool.take("functionDeclarations")) {
        let place = "tools.functionDeclarations";
        let mut function = BodyFields::of_proto(function, place)?;
        let bad = || Unreadable(format!("{place}.parameters must be an object"));
        let plain = function.take("parameters");
        let schema = match function.take("parametersJsonSchema") {
            Some(_) if plain.is_some() => {
                return Err(Unreadable(format!(
                    "{place} has both parameters and parametersJsonSchema"
                )));
            }
            Some(schema) => Some(Json::of(schema)),
            None => plain
                .map(|schema| json_schema(schema.get()).ok_or_else(bad))
                .transpose()?,
        };
        if function
            .text("behavior")?
            .is_some_and(|behavior| behavior == "NON_BLOCKING")
        {
            return Err(not_carried("A function that does not block"));
        }
        into.tools.push(Tool {
            name: function.needed_text("name")?,
            description: function.text("description")?,
            takes: Takes::Object(schema),
            is_strict: None,
        });
        function.end(&["response", "responseJsonSchema"], &mut into.removed)?;
    }
    // Hosted tools are left out; the reading of the client's own API names them.
    for [name, _] in HOSTED {
        tool.take(name);
    }
    tool.end(&[], &mut into.removed)
}

/// Takes `toolConfig`. Tools that it does not allow are left out.
pub(super) fn choose(body: &mut BodyFields<'_>, into: &mut Conversation) -> Result<(), Unreadable> {
    let Some(config) = body.take("toolConfig") else {
        return Ok(());
    };
    let mut config = BodyFields::of_proto(config, "toolConfig")?;
    if let Some(choice) = config.take("functionCallingConfig") {
        let place = "toolConfig.functionCallingConfig";
        let mut choice = BodyFields::of_proto(choice, place)?;
        let mut names = HashSet::new();
        for name in one_or_more(choice.take("allowedFunctionNames")) {
            let name = object::string(name);
            let name = name.ok_or_else(|| {
                Unreadable(format!("{place}.allowedFunctionNames must be strings"))
            })?;
            names.insert(name.into_owned());
        }
        let mode = choice.text("mode")?.unwrap_or_default();
        choice.end(&["streamFunctionCallArguments"], &mut into.removed)?;
        into.choice = match mode.to_ascii_uppercase().as_str() {
            "" | "AUTO" | "MODE_UNSPECIFIED" => ToolChoice::Auto,
            "VALIDATED" => {
                into.removed.add("toolConfig.functionCallingConfig.mode");
                ToolChoice::Auto
            }
            "NONE" => ToolChoice::None,
            "ANY" => match names.iter().next() {
                Some(name) if names.len() == 1 => ToolChoice::Named(name.clone()),
                _ => ToolChoice::Any,
            },
            _ => return Err(not_carried("This functionCallingConfig.mode")),
        };
        if !names.is_empty() && !matches!(into.choice, ToolChoice::Named(_)) {
            into.tools.retain(|tool| names.contains(&tool.name));
        }
    }
    config.end(
        &["retrievalConfig", "includeServerSideToolInvocations"],
        &mut into.removed,
    )
}

pub(super) fn read_config(
    mut config: BodyFields<'_>,
    into: &mut Conversation,
) -> Result<(), Unreadable> {
    into.limit = config.whole("maxOutputTokens")?;
    if config
        .whole("candidateCount")?
        .is_some_and(|count| count != 1)
    {
        return Err(not_carried("candidateCount above 1"));
    }
    for text in one_or_more(config.take("stopSequences")) {
        let text = object::string(text);
        let text = text.ok_or_else(|| Unreadable("stopSequences must be strings".to_owned()))?;
        into.stop.push(text.into_owned());
    }
    let sampling = &mut into.sampling;
    sampling.temperature = config.number("temperature")?;
    sampling.top_p = config.number("topP")?;
    sampling.top_k = config.number("topK")?;
    sampling.seed = config.number("seed")?;
    sampling.presence_penalty = config.number("presencePenalty")?;
    sampling.frequency_penalty = config.number("frequencyPenalty")?;
    if config.flag("responseLogprobs")?.unwrap_or(false) || config.take("logprobs").is_some() {
        return Err(not_carried("responseLogprobs"));
    }
    for kind in one_or_more(config.take("responseModalities")) {
        if !object::string(kind).is_some_and(|kind| kind.eq_ignore_ascii_case("text")) {
            return Err(not_carried("responseModalities other than TEXT"));
        }
    }
    into.format = format(&mut config)?;
    config.end(TUNING_OF_CONFIG, &mut into.removed)
}

fn format(config: &mut BodyFields<'_>) -> Result<Format, Unreadable> {
    let kind = config.text("responseMimeType")?;
    let is_json = match kind.as_deref() {
        None | Some("text/plain" | "") => false,
        Some("application/json") => true,
        Some(_) => return Err(not_carried("This responseMimeType")),
    };
    let plain = config.take("responseSchema");
    let bad = || Unreadable("generationConfig.responseSchema must be an object".to_owned());
    let whole = [
        config.take("responseJsonSchema"),
        config.take("_responseJsonSchema"),
    ];
    let has_two = whole.iter().flatten().count() > 1;
    let whole = whole.into_iter().flatten().next().map(Json::of);
    if has_two || (plain.is_some() && whole.is_some()) {
        return Err(Unreadable(
            "generationConfig has more than one schema of the answer".to_owned(),
        ));
    }
    let schema = match plain {
        Some(plain) => Some(json_schema(plain.get()).ok_or_else(bad)?),
        None => whole,
    };
    match schema {
        Some(schema) if is_json => {
            let schema = Some(schema).filter(Json::is_object).ok_or_else(bad)?;
            Ok(Format::Schema {
                name: None,
                schema,
                is_strict: None,
            })
        }
        Some(_) => Err(not_carried(
            "responseSchema without a responseMimeType of application/json",
        )),
        None if is_json => Ok(Format::Json),
        None => Ok(Format::Text),
    }
}
