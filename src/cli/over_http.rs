//! [`RemoteAdmin`]: the admin routes of a running gateway, over HTTP.
//!
//! The admin token goes over https, or in the clear to this machine alone. It is never printed.

use super::call::{AdminCall, Answered};
use crate::dial::dialer::{Dialer, Reach};
use crate::fetch::{FetchCall, Fetcher, SentBody};
use crate::rules::tenant::TenantId;
use crate::settings::Settings;
use crate::url::Url;
use http::Method;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Longest time of a call: sums of a long log take seconds.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest body of an answer: exports and lists of requests are large.
const MAX_BODY_BYTES: usize = 64 << 20;

pub(super) struct RemoteAdmin {
    fetcher: Fetcher,
    base: Url,
    /// Value of `authorization`.
    authorization: String,
}

impl RemoteAdmin {
    /// Returns the gateway at `address`, a URL.
    pub fn open(settings: &Settings, address: &str) -> Result<RemoteAdmin, String> {
        let base = parsed(address)?;
        let token = settings.admin.tokens().next();
        let token = token.ok_or("A gateway takes an admin token: set ADMIN_TOKEN to it")?;
        Ok(RemoteAdmin {
            fetcher: Fetcher::new(Arc::new(Dialer::new(&settings.egress))),
            base,
            authorization: format!("Bearer {}", token.expose()),
        })
    }

    /// Sends the request with the token as `Authorization: Bearer`.
    pub async fn ask(&self, asked: &AdminCall) -> Result<Answered, String> {
        let url = self.url(asked)?;
        let call = FetchCall {
            method: asked.method.clone(),
            content: (!asked.body.is_empty()).then_some(SentBody {
                media_type: "application/json",
                text: &asked.body,
            }),
            authorization: Some(&self.authorization),
            fields: &[],
            timeout: TIMEOUT,
            max_body_bytes: MAX_BODY_BYTES,
            reach: Reach::Own,
        };
        match self.fetcher.call(&url, &call).await {
            Ok(answer) => Ok(Answered {
                status: answer.status,
                body: answer.body,
            }),
            Err(failure) => Err(format!(
                "The gateway gave no answer: {}{}",
                failure.0,
                doubt(asked)
            )),
        }
    }

    fn url(&self, asked: &AdminCall) -> Result<Url, String> {
        let tenant = match &asked.tenant {
            None => String::new(),
            Some(id) => {
                let id = TenantId::parse(id).ok_or_else(|| format!("There is no tenant {id}"))?;
                format!("/{id}")
            }
        };
        let base = self.base.path().trim_end_matches('/');
        let query = asked.query();
        let mark = if query.is_empty() { "" } else { "?" };
        Ok(Url {
            path_and_query: format!("{base}{tenant}{}{mark}{query}", asked.path),
            ..self.base.clone()
        })
    }
}

/// Parses the address in `--gateway`: https, or http on this machine.
fn parsed(address: &str) -> Result<Url, String> {
    let url = Url::parse(address).map_err(|why| format!("--gateway: {why}"))?;
    let is_here = url.host == "localhost"
        || url
            .host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    if !url.https && !is_here {
        let why =
            "--gateway: the admin token would go over the network in the clear: it needs https";
        return Err(why.to_owned());
    }
    if url.path_and_query.contains('?') {
        return Err("--gateway: an address without a query".to_owned());
    }
    Ok(url)
}

/// Returns what to do about a change that may have been made.
fn doubt(asked: &AdminCall) -> String {
    match (&asked.id, &asked.method) {
        (_, &Method::GET) => String::new(),
        (Some(id), _) => format!(
            ". Whether the change was made is not known: with --id {id} it can be repeated, and counts once"
        ),
        (None, _) => {
            ". Whether the change was made is not known: look before you repeat it".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_goes_over_https_or_stays_on_this_machine() {
        for good in [
            "http://127.0.0.1:3000",
            "http://localhost:3000/",
            "http://[::1]",
            "https://gateway.example",
            "https://10.0.0.1:8443/llm/",
        ] {
            assert!(parsed(good).is_ok(), "{good}");
        }
        for bad in [
            "http://gateway.example",
            "http://10.0.0.1:3000",
            "http://127.0.0.1.example",
            "127.0.0.1:3000",
            "https://gateway.example/?a=b",
            "https://user:secret@gateway.example",
        ] {
            let why = parsed(bad).expect_err(bad);
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn tenant_stands_before_the_path() {
        let settings = Settings {
            admin: crate::settings::Admin {
                token: Some(crate::tables::Secret::new("t".to_owned())),
                ..Settings::default().admin
            },
            ..Settings::default()
        };
        let url = |base: &str, call: &AdminCall| {
            let admin = RemoteAdmin::open(&settings, base).unwrap_or_else(|why| panic!("{why}"));
            admin.url(call).map(|url| url.path_and_query)
        };
        let list = AdminCall::of_operator(Method::GET, "/admin/tenants".to_owned());
        let audit = AdminCall::of_tenant("abc", Method::GET, "/admin/audit".to_owned());
        let audit = audit.with(vec![("limit", Some("5".to_owned()))]);
        let wrong = AdminCall::of_tenant("a/b", Method::GET, "/admin/audit".to_owned());

        let here = "http://localhost:3000";
        assert_eq!(url(here, &list).as_deref(), Ok("/admin/tenants"));
        let below = url("https://a.example/llm/", &audit);
        assert_eq!(below.as_deref(), Ok("/llm/abc/admin/audit?limit=5"));
        assert!(url(here, &wrong).is_err());
    }
}
