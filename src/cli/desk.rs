//! [`Desk`]: where a command's request goes: to handlers in this process, or to a running gateway.

use super::call::{AdminCall, Answered};
use super::in_process::LocalAdmin;
use super::over_http::RemoteAdmin;
use crate::settings::Settings;
use crate::store::embedded::IN_USE;
use serde_json::Value;

/// Port of the usual `server.listen`.
const USUAL_PORT: u16 = 3000;

pub(super) enum Desk {
    Here(Box<LocalAdmin>),
    There(RemoteAdmin),
}

impl Desk {
    /// Opens the store of the settings, or, where the option `--gateway` or its variable names a gateway, nothing.
    pub async fn open(settings: Settings, gateway: Option<&str>) -> Result<Desk, String> {
        if let Some(address) = gateway.or(settings.gateway.as_deref()) {
            return Ok(Desk::There(RemoteAdmin::open(&settings, address)?));
        }
        let way_out = way_out(&settings);
        match LocalAdmin::open(settings).await {
            Ok(admin) => Ok(Desk::Here(Box::new(admin))),
            Err(why) if why.contains(IN_USE) => Err(why + &way_out),
            Err(why) => Err(why),
        }
    }

    /// Asks once, and where the call wants all pages, merges them into one answer.
    pub async fn ask(&self, mut call: AdminCall) -> Result<Answered, String> {
        let mut answered = self.ask_once(&call).await?;
        let Some(list) = call.all_of else {
            return Ok(answered);
        };
        let mut merged: Option<Value> = None;
        loop {
            if !answered.status.is_success() {
                return Ok(answered);
            }
            let cursor = merge(&mut merged, list, &answered.body)?;
            let is_next = |cursor: &String| !call.query.contains(&("cursor", cursor.clone()));
            let Some(cursor) = cursor.filter(is_next) else {
                break;
            };
            call.query.retain(|(name, _)| *name != "cursor");
            call.query.push(("cursor", cursor));
            answered = self.ask_once(&call).await?;
        }
        let merged = merged.map(|merged| merged.to_string());
        answered.body = merged.unwrap_or_default().into();
        Ok(answered)
    }

    async fn ask_once(&self, call: &AdminCall) -> Result<Answered, String> {
        match self {
            Desk::Here(admin) => admin.ask(call).await,
            Desk::There(admin) => admin.ask(call).await,
        }
    }

    pub async fn close(self) {
        if let Desk::Here(admin) = self {
            admin.close().await;
        }
    }
}

/// Adds a page to `merged`, and returns the cursor of the next one. A page whose cursor leads nowhere ends it.
fn merge(merged: &mut Option<Value>, list: &str, page: &[u8]) -> Result<Option<String>, String> {
    let unread = || "The answer cannot be read".to_owned();
    let mut page: Value = serde_json::from_slice(page).map_err(|_| unread())?;
    let members = page.as_object_mut().ok_or_else(unread)?;
    let cursor = members.shift_remove("cursor");
    let cursor = cursor.and_then(|cursor| cursor.as_str().map(str::to_owned));
    let items = members.get_mut(list).and_then(Value::as_array_mut);
    let items = items.ok_or_else(unread)?;
    let is_empty = items.is_empty();
    match merged.as_mut() {
        None => *merged = Some(page),
        Some(merged) => {
            let known = merged.get_mut(list).and_then(Value::as_array_mut);
            known.ok_or_else(unread)?.append(items);
        }
    }
    Ok(cursor.filter(|_| !is_empty))
}

/// Returns what can be done (`--gateway`) while a gateway has the embedded store.
fn way_out(settings: &Settings) -> String {
    let listeners = settings.server.listen.iter();
    let mut plain = listeners.filter(|listener| listener.tls.is_none());
    let port = plain.find_map(|listener| listener.address.port);
    let port = port.filter(|port| *port > 0).unwrap_or(USUAL_PORT);
    format!(", or ask it: --gateway http://127.0.0.1:{port}, with its admin token in ADMIN_TOKEN")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_merged_into_one_document() {
        let mut merged = None;
        let pages = [
            r#"{"keys":[{"id":"a"}],"total":3,"cursor":"1"}"#,
            r#"{"keys":[{"id":"b"},{"id":"c"}],"total":3}"#,
        ];
        let cursors = pages.map(|page| merge(&mut merged, "keys", page.as_bytes()).unwrap());
        assert_eq!(cursors, [Some("1".to_owned()), None]);
        assert_eq!(
            merged.unwrap().to_string(),
            r#"{"keys":[{"id":"a"},{"id":"b"},{"id":"c"}],"total":3}"#
        );
    }

    #[test]
    fn a_cursor_that_leads_nowhere_ends_the_list() {
        let page = br#"{"keys":[],"cursor":"1"}"#;
        assert_eq!(merge(&mut None, "keys", page), Ok(None));
        assert!(merge(&mut None, "keys", b"[]").is_err());
        assert!(merge(&mut None, "users", page).is_err());
    }
}
