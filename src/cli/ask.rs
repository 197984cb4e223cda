//! The run of one command: opens the store or the way to a gateway, asks, and prints the answer.

use super::call::{AdminCall, AnswerForm, Answered};
use super::desk::Desk;
use super::options::AskOptions;
use super::print::{fail, note, print, print_whole};
use super::shown::shown;
use super::start::{load, runtime};
use crate::api;
use http::StatusCode;
use serde_json::Value;
use serde_json::value::RawValue;
use std::path::PathBuf;
use std::process::ExitCode;

/// Sends a command's [`AdminCall`] and prints what came of it; the exit code is 1 if it was refused.
pub(super) fn ask(
    path: Option<&PathBuf>,
    way: &AskOptions,
    call: Result<AdminCall, String>,
) -> ExitCode {
    let answered = call.and_then(|call| {
        let settings = load(path)?;
        let (form, thing, tenant) = (call.form, call.thing, call.tenant.clone());
        let answered = runtime()?.block_on(async {
            let desk = Desk::open(settings, way.gateway.as_deref()).await?;
            let answered = desk.ask(call).await;
            desk.close().await;
            answered
        })?;
        match answered.status.is_success() {
            true => Ok((form, answered)),
            false => Err(refused(&answered, thing, tenant.as_deref())),
        }
    });
    match answered {
        Ok((form, answered)) => print_answer(form, way.json, &answered.body),
        Err(why) => fail(&why),
    }
}

/// Prints the body of an answer in its [`AnswerForm`].
fn print_answer(form: AnswerForm, is_json: bool, body: &[u8]) -> ExitCode {
    let whole = || String::from_utf8_lossy(body);
    if is_json || form == AnswerForm::Verbatim {
        return print_whole(&whole());
    }
    if let (AnswerForm::Config, Ok(read)) =
        (form, serde_json::from_slice::<api::Config<&RawValue>>(body))
    {
        return print(read.config.get());
    }
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return print_whole(&whole());
    };
    let Some(text) = shown(form, &answer) else {
        return print_whole(&format!("{answer:#}"));
    };
    if text.is_empty() {
        note("There are none");
        return ExitCode::SUCCESS;
    }
    let printed = print(&text);
    if answer.get("cursor").is_some_and(Value::is_string) {
        note("There are more: --limit or --all shows them");
    }
    printed
}

/// Text to print for an error: its sentence, and a line for each fault of a config.
pub(super) fn refused(answered: &Answered, thing: Option<&str>, tenant: Option<&str>) -> String {
    let body = &answered.body;
    if let Ok(api::InvalidConfig { error, details }) = serde_json::from_slice(body) {
        let faults = details.iter();
        let faults =
            faults.map(|api::ConfigFault { path, message }| format!("\n{path}: {message}"));
        return error + &faults.collect::<String>();
    }
    let sentence = match serde_json::from_slice(body) {
        Ok(api::Error { error }) => error,
        Err(_) => format!("{} without a sentence", answered.status),
    };
    let more = match (answered.status, thing) {
        (StatusCode::NOT_FOUND, Some(thing)) => {
            let tenant = tenant.unwrap_or("default");
            format!(": tenant {tenant} has no such {thing}, or this version cannot do that")
        }
        (StatusCode::NOT_FOUND, None) if tenant.is_some() => {
            ": this version of the gateway cannot do that".to_owned()
        }
        (StatusCode::UNAUTHORIZED, _) => ": ADMIN_TOKEN is not the gateway's".to_owned(),
        _ => String::new(),
    };
    sentence + &more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_was_looked_for() {
        let told = |status: u16, body: &'static str, thing| {
            let answered = Answered {
                status: StatusCode::from_u16(status).unwrap(),
                body: body.into(),
            };
            refused(&answered, thing, Some("abc"))
        };
        let missing = r#"{"error":"Not found"}"#;
        assert_eq!(
            told(404, missing, Some("key")),
            "Not found: tenant abc has no such key, or this version cannot do that"
        );
        assert_eq!(
            told(404, missing, None),
            "Not found: this version of the gateway cannot do that"
        );
        let faults = r#"{"error":"Invalid config","details":[{"path":"a.b","message":"wrong"}]}"#;
        assert_eq!(told(400, faults, None), "Invalid config\na.b: wrong");
        assert_eq!(
            told(502, "<html>", None),
            "502 Bad Gateway without a sentence"
        );
    }
}
