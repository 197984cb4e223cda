//! [`AdminCall`]: a request to the admin routes, made from the words of a command.
//!
//! Every name and value is percent-encoded here, so that no word of a command can become another route or parameter.

use crate::rules::identity::form::encoded;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Serialize;

/// Form in which an answer is printed unless JSON is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerForm {
    /// Members of one thing, and a table for each list of it.
    Things,
    /// Table of the list of this name.
    List(&'static str),
    /// Sums of `…/usage`.
    Usage,
    /// Changes of one tenant's `…/audit`.
    Changes,
    /// Changes of the operator's `/admin/audit`, with their tenants.
    AllChanges,
    /// Postings of `…/ledger`.
    Ledger,
    /// A tenant's config as it is stored, so that it can be put again.
    Config,
    /// Indented JSON.
    Json,
    /// The body itself.
    Verbatim,
}

/// A request to the `/admin` routes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AdminCall {
    pub method: Method,
    /// Tenant of the route; `None`: a route of the operator's.
    pub tenant: Option<String>,
    /// Path without the tenant and the query.
    pub path: String,
    pub query: Vec<(&'static str, String)>,
    /// JSON of a type in `api/`, or empty.
    pub body: String,
    pub form: AnswerForm,
    /// List whose further pages (`cursor`) are asked for too; `None`: one answer.
    pub all_of: Option<&'static str>,
    /// Kind of thing (`key`, `user`) that the path names, for the message that there is none.
    pub thing: Option<&'static str>,
    /// `id` of a credit or debit, with which it can be repeated.
    pub id: Option<String>,
}

/// Answer to an [`AdminCall`], whichever way it was asked on.
pub(super) struct Answered {
    pub status: StatusCode,
    pub body: Bytes,
}

impl AdminCall {
    /// Returns a call of the operator's route at `path`.
    pub fn of_operator(method: Method, path: String) -> AdminCall {
        AdminCall {
            method,
            tenant: None,
            path,
            query: Vec::new(),
            body: String::new(),
            form: AnswerForm::Things,
            all_of: None,
            thing: None,
            id: None,
        }
    }

    /// Returns a call of a tenant's route at `path`.
    pub fn of_tenant(tenant: &str, method: Method, path: String) -> AdminCall {
        AdminCall {
            tenant: Some(tenant.to_owned()),
            ..AdminCall::of_operator(method, path)
        }
    }

    /// Returns a call about one `key` or `user`, named by `id`; `below` is the rest of the path.
    pub fn about(
        tenant: &str,
        method: Method,
        (thing, id): (&'static str, &str),
        below: &str,
    ) -> AdminCall {
        let path = format!("/admin/{thing}s/{}{below}", encoded(id));
        AdminCall {
            thing: Some(thing),
            ..AdminCall::of_tenant(tenant, method, path)
        }
    }

    pub fn in_form(self, form: AnswerForm) -> AdminCall {
        AdminCall { form, ..self }
    }

    /// Adds parameters that have a value.
    pub fn with(mut self, query: Vec<(&'static str, Option<String>)>) -> AdminCall {
        let given = query.into_iter();
        self.query
            .extend(given.filter_map(|(name, value)| Some((name, value?))));
        self
    }

    /// Adds a body.
    pub fn sends(self, body: &impl Serialize) -> Result<AdminCall, String> {
        let body = serde_json::to_string(body);
        let body = body.map_err(|error| format!("Cannot write the request: {error}"))?;
        Ok(AdminCall { body, ..self })
    }

    /// Asks for all pages of `list`, where `is_wanted`.
    pub fn all(self, is_wanted: bool, list: &'static str) -> AdminCall {
        AdminCall {
            all_of: is_wanted.then_some(list),
            ..self
        }
    }

    /// Returns the query without the `?`. Commas and colons stay: lists and moments have them.
    pub fn query(&self) -> String {
        let pairs = self.query.iter().map(|(name, value)| {
            let value = encoded(value).replace("%2C", ",").replace("%3A", ":");
            format!("{name}={value}")
        });
        pairs.collect::<Vec<String>>().join("&")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_leaves_its_place_in_the_path_or_the_query() {
        let user = "auth0|a/../b?c#d e%2f";
        let call = AdminCall::about("abc", Method::GET, ("user", user), "/ledger");
        let query = vec![
            ("by", Some("day,model".to_owned())),
            ("since", Some("2026-01-31T12:00:00Z".to_owned())),
            ("model", Some("a&limit=1 b".to_owned())),
            ("key", None),
        ];
        let call = call.with(query);

        assert_eq!(
            call.path,
            "/admin/users/auth0%7Ca%2F..%2Fb%3Fc%23d%20e%252f/ledger"
        );
        assert_eq!(
            call.query(),
            "by=day,model&since=2026-01-31T12:00:00Z&model=a%26limit%3D1%20b"
        );
    }
}
