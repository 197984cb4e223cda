//! [`Client`]: a tenant as the client of one issuer, from its config and the operator's settings.

use crate::rules::config::{
    AppleClient, Audience, Auth, GoogleClient, OidcClient, apple_group, google_group,
};
use crate::rules::identity::claims::Expected;
use crate::rules::identity::metadata::IssuerUrl;
use crate::rules::identity::redirect::RedirectUri;
use crate::settings::{AppleIssuer, GoogleIssuer, Identity};
use crate::tables::Secret;
use crate::url::Url;
use serde_json::Value;

/// Issuer of a sign-in, as its route names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    Google,
    Apple,
    Oidc(&'a str),
}

/// Client of an issuer.
pub struct Client<'a> {
    /// `google`, `apple` or `oidc:<name>`.
    pub kind: String,
    /// The issuer's one name, whichever spelling a token has.
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub redirect_uris: &'a [RedirectUri],
    /// Group of the people who sign in.
    pub group: &'a str,
    pub(super) keys: Keys<'a>,
    pub(super) endpoints: Endpoints<'a>,
    pub(super) proof: Proof<'a>,
    spellings: Vec<&'a str>,
    audiences: Vec<&'a str>,
    authorized_parties: &'a [String],
    require: &'a [(String, Value)],
    auth: &'a Auth,
}

/// Where an issuer's keys are.
pub(super) enum Keys<'a> {
    At(&'a Url),
    Discovered(&'a IssuerUrl),
}

/// Where an issuer's code flow is.
pub(super) enum Endpoints<'a> {
    At { authorize: &'a Url, token: &'a Url },
    Discovered(&'a IssuerUrl),
}

/// How the client proves itself when it exchanges a code.
pub(super) enum Proof<'a> {
    None,
    Secret(&'a Secret),
    /// By a JWT that this key signs.
    Apple {
        team_id: &'a str,
        key_id: &'a str,
        private_key: &'a Secret,
    },
}

impl<'a> Client<'a> {
    /// Returns the client of an issuer. `None`: the tenant has no sign-in with it. `has_group`: whether the tenant has
    /// a group.
    pub fn of(
        named: Named<'_>,
        auth: &'a Auth,
        identity: &'a Identity,
        has_group: impl Fn(&str) -> bool,
    ) -> Option<Client<'a>> {
        match named {
            Named::Google => {
                let client = auth.google.as_ref()?;
                Some(Client::google(client, &identity.google, auth))
            }
            Named::Apple => {
                let client = auth.apple.as_ref()?;
                let group = apple_group(has_group);
                Some(Client::apple(client, &identity.apple, group, auth))
            }
            Named::Oidc(name) => {
                let (name, client) = auth.oidc.get_key_value(name)?;
                Some(Client::oidc(name, client, auth))
            }
        }
    }

    fn google(client: &'a GoogleClient, issuer: &'a GoogleIssuer, auth: &'a Auth) -> Client<'a> {
        let name = issuer.issuer.as_str();
        // Google writes `iss` with the scheme and without.
        let bare = name.split_once("://").map_or(name, |(_, bare)| bare);
        Client {
            kind: "google".to_owned(),
            issuer: name,
            client_id: &client.client_id,
            redirect_uris: &client.redirect_uris,
            group: google_group(),
            keys: Keys::At(&issuer.jwks_url),
            endpoints: Endpoints::At {
                authorize: &issuer.authorize_url,
                token: &issuer.token_url,
            },
            proof: secret(client.client_secret.as_ref()),
            spellings: vec![name, bare],
            audiences: audiences(&client.client_id, &client.audiences),
            authorized_parties: &[],
            require: &[],
            auth,
        }
    }

    fn apple(
        client: &'a AppleClient,
        issuer: &'a AppleIssuer,
        group: &'a str,
        auth: &'a Auth,
    ) -> Client<'a> {
        let parts = (&client.team_id, &client.key_id, &client.private_key);
        let proof = match parts {
            (Some(team_id), Some(key_id), Some(private_key)) => Proof::Apple {
                team_id,
                key_id,
                private_key,
            },
            _ => secret(client.client_secret.as_ref()),
        };
        Client {
            kind: "apple".to_owned(),
            issuer: &issuer.issuer,
            client_id: &client.client_id,
            redirect_uris: &client.redirect_uris,
            group,
            keys: Keys::At(&issuer.jwks_url),
            endpoints: Endpoints::At {
                authorize: &issuer.authorize_url,
                token: &issuer.token_url,
            },
            proof,
            spellings: vec![&issuer.issuer],
            audiences: audiences(&client.client_id, &client.audiences),
            authorized_parties: &[],
            require: &[],
            auth,
        }
    }

    fn oidc(name: &str, client: &'a OidcClient, auth: &'a Auth) -> Client<'a> {
        let issuer = &client.issuer;
        let keys = client.jwks_url.as_ref();
        Client {
            kind: format!("oidc:{name}"),
            issuer: &issuer.text,
            client_id: &client.client_id,
            redirect_uris: &client.redirect_uris,
            group: &client.group,
            keys: keys.map_or(Keys::Discovered(issuer), Keys::At),
            endpoints: Endpoints::Discovered(issuer),
            proof: secret(client.client_secret.as_ref()),
            spellings: vec![&issuer.text],
            audiences: match &client.audience {
                Audience::Client => audiences(&client.client_id, &client.audiences),
                Audience::Is(audience) => audiences(audience, &client.audiences),
                Audience::Unchecked => Vec::new(),
            },
            authorized_parties: &client.authorized_parties,
            require: &client.require,
            auth,
        }
    }

    /// Returns what a token must say, with the nonce that the caller has.
    pub(super) fn expected<'e>(&'e self, nonce: Option<&'e str>) -> Expected<'e> {
        Expected {
            issuers: &self.spellings,
            audiences: self.audiences.clone(),
            authorized_parties: self.authorized_parties,
            require: self.require,
            nonce,
            require_nonce: self.auth.require_nonce,
            max_age_seconds: self.auth.max_token_age_seconds,
        }
    }
}

fn audiences<'a>(first: &'a str, more: &'a [String]) -> Vec<&'a str> {
    let more = more.iter().map(String::as_str);
    std::iter::once(first).chain(more).collect()
}

/// An empty secret counts as none.
fn secret(secret: Option<&Secret>) -> Proof<'_> {
    let secret = secret.filter(|secret| !secret.expose().is_empty());
    secret.map_or(Proof::None, Proof::Secret)
}
