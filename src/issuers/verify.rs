//! [`Issuers`]: verifies ID tokens with the keys of their issuers.

use super::client::{Client, Endpoints, Keys};
use super::documents::{Documents, NoDocument};
use super::signature;
use crate::fetch::Fetcher;
use crate::rules::amount::Millis;
use crate::rules::identity::claims::{self, Subject};
use crate::rules::identity::jwks::Jwks;
use crate::rules::identity::metadata::{IssuerUrl, Metadata};
use crate::rules::identity::refused::WrongToken;
use crate::rules::identity::token::TokenHeader;
use crate::url::Url;
use std::sync::Arc;

/// Issuers of sign-in, for all threads.
pub struct Issuers {
    pub(super) fetcher: Arc<Fetcher>,
    keys: Documents<Jwks>,
    metadata: Documents<Metadata>,
}

/// Reason why a token names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    Wrong(WrongToken),
    /// The issuer's keys cannot be had. The log says why.
    Unavailable,
}

/// The issuer's addresses cannot be had, or it has no code flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreachable;

impl Issuers {
    pub fn new(fetcher: Arc<Fetcher>) -> Issuers {
        Issuers {
            keys: Documents::new(fetcher.clone(), |text, _| Jwks::parse(text)),
            metadata: Documents::new(fetcher.clone(), Metadata::parse),
            fetcher,
        }
    }

    /// Verifies an ID token. `nonce`: the one that it was asked for with, if the caller has it.
    pub async fn verify(
        &self,
        client: &Client<'_>,
        token: &str,
        nonce: Option<&str>,
        now: Millis,
    ) -> Result<Subject, Unverified> {
        let header = TokenHeader::of(token).map_err(Unverified::Wrong)?;
        let keys = self.keys_of(client, &header.kid).await?;
        let mut named = keys.of(&header.kid);
        let key = named
            .find(|key| key.algorithm() == header.algorithm)
            .ok_or(Unverified::Wrong(WrongToken::OtherAlgorithm))?;
        let claims = signature::claims(token, key).map_err(Unverified::Wrong)?;
        let expected = client.expected(nonce);
        claims::check(&claims, &expected, now.0 / 1000).map_err(Unverified::Wrong)
    }

    /// Returns the keys of an issuer, one of which has this `kid`.
    async fn keys_of(&self, client: &Client<'_>, kid: &str) -> Result<Arc<Jwks>, Unverified> {
        let discovered;
        let url = match client.keys {
            Keys::At(url) => url,
            Keys::Discovered(issuer) => {
                discovered = self
                    .discovered(issuer)
                    .await
                    .map_err(|_| Unverified::Unavailable)?;
                &discovered.jwks
            }
        };
        let found = self
            .keys
            .find(url, client.issuer, |keys| keys.has(kid))
            .await;
        found.map_err(|why| match why {
            NoDocument::Missing => Unverified::Wrong(WrongToken::UnknownKid),
            NoDocument::Unavailable => Unverified::Unavailable,
        })
    }

    pub(super) async fn discovered(
        &self,
        issuer: &IssuerUrl,
    ) -> Result<Arc<Metadata>, Unreachable> {
        let found = self
            .metadata
            .find(&issuer.discovery, &issuer.text, |_| true);
        found.await.map_err(|_| Unreachable)
    }

    /// Returns where the browser signs in.
    pub(crate) async fn authorize_url(&self, client: &Client<'_>) -> Result<Url, Unreachable> {
        match client.endpoints {
            Endpoints::At { authorize, .. } => Ok(authorize.clone()),
            Endpoints::Discovered(issuer) => {
                let metadata = self.discovered(issuer).await?;
                metadata.authorize.clone().ok_or(Unreachable)
            }
        }
    }
}
