//! What a sign-in gives to a verified person.

use super::accounts::{self, NewKey};
use super::answer::{Answer, Refusal, json};
use super::{Local, Request};
use crate::api;
use crate::rules::amount::{Millis, Tokens};
use crate::store::name::{KeyName, TicketName};
use crate::store::tenants::Tenant;
use crate::tables::Secret;

/// Person that an issuer vouches for.
#[derive(Clone, Debug)]
#[expect(
    dead_code,
    reason = "the accounts of people read what a plain key does not need"
)]
pub(crate) struct Person<'a> {
    /// `google`, `apple` or `oidc:<name>`.
    pub kind: &'a str,
    /// The issuer's one name, whichever spelling its token had.
    pub issuer: &'a str,
    /// `sub` of the token, 1 to 255 characters.
    pub subject: &'a str,
    /// Group of the account, which exists.
    pub group: &'a str,
    pub token: TokenNote,
    /// Apple's, with which its token is revoked when the account ends.
    pub refresh_token: Option<Secret>,
}

/// ID token that the person was verified by: it may create one account.
#[derive(Clone, Debug)]
#[expect(
    dead_code,
    reason = "the accounts of people read what a plain key does not need"
)]
pub(crate) struct TokenNote {
    /// Name to note it under, from its hash.
    pub name: TicketName,
    /// End of the time in which it is taken.
    pub expires: Millis,
}

/// Signs a person in. `sent`: the key that came with the request.
pub(crate) async fn sign_in(
    local: &Local,
    _request: &Request<'_>,
    tenant: &Tenant,
    person: &Person<'_>,
    _sent: Option<KeyName>,
) -> Result<Answer, Refusal> {
    let group = tenant.config.groups.get(person.group);
    let tokens = group.map_or(0, |group| group.tokens);
    let key = NewKey {
        prefix: "user_",
        user: None,
        group: person.group,
        tokens,
        life: Some(local.settings.accounts.sign_in_ttl.into()),
    };
    let minted = accounts::write(local, tenant, &key).await?;
    let answer = api::SignedIn {
        api_key: minted.key.as_str().to_owned(),
        user_id: minted.account,
        tokens_left: Tokens::new(tokens),
        group: person.group.to_owned(),
        created: true,
        carried_over: Tokens::ZERO,
    };
    Ok(json(200, &answer))
}
