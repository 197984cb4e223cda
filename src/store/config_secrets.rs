//! Config secrets: writes configs with their secrets sealed, and reads them with the secrets opened.
//!
//! Holds the operator's seal keys, draws the nonces, and is the only caller of the store's verbs that write a
//! config. Opened secrets are kept in memory only, in types that are never printed.

use super::name::TenantText;
use super::{Configs, Outcome, Put, StoreError};
use crate::rules::config::{
    self, Changes, Found, KeptSecrets, Keyring, MaskKey, Owner, Sealed, TenantConfig,
};
use crate::rules::seal::{self, Nonce, SealContext};
use crate::rules::tenant::TenantId;
use crate::settings;
use crate::tables::{Fault, Faults, Secret};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;
use serde_json::value::RawValue;

/// The seal keys, and the environment variables that configs may name as secrets (`secrets.env`).
pub struct ConfigSecrets {
    keyring: Keyring,
    random: SystemRandom,
}

/// Result of [`ConfigSecrets::reseal`].
pub enum Resealed {
    NoTenant,
    /// Another writer changed the config at each of the `TRIES` attempts.
    Changing,
    Faulty(Faults),
    Done(Sealed),
}

/// Attempts to reseal a config that changes between the read and the write.
const TRIES: usize = 5;

impl ConfigSecrets {
    pub fn new(secrets: &settings::Secrets) -> ConfigSecrets {
        ConfigSecrets {
            keyring: secrets.keyring(),
            random: SystemRandom::new(),
        }
    }

    /// Whether a present key is set, so that secrets are sealed when they are written.
    pub fn seals(&self) -> bool {
        self.keyring.present.is_some()
    }

    /// Seals a text that belongs to a tenant, for the account or field that `of` names. `None`: there is no key to seal
    /// it with, and it must not be kept.
    pub fn seal(&self, tenant: &TenantId, of: &str, text: &str) -> Option<String> {
        let key = self.keyring.present.as_ref()?;
        let place = SealContext { tenant, field: of };
        let mut nonce = Nonce::default();
        self.random.fill(&mut nonce).ok()?;
        Some(key.seal(nonce, place, text))
    }

    /// Opens a text that [`Self::seal`] has sealed.
    pub fn unseal(&self, tenant: &TenantId, of: &str, sealed: &str) -> Option<Secret> {
        let place = SealContext { tenant, field: of };
        let opened = seal::open(self.keyring.keys(), place, sealed);
        opened.ok().map(Secret::new)
    }

    /// Returns the key of a tenant's masks, the same on every instance and after a restart.
    ///
    /// It is derived from `secrets.key` where that is set: then a copy of the store, in which masks stand too, lets nobody
    /// try guesses of a secret. Without it the key is random and kept in the store, where the secrets are plain anyway.
    /// It comes from no admin token: whoever knows a secret, its owner above all, could try guesses of the token.
    pub async fn mask_key(&self, store: &dyn Configs, tenant: &TenantId) -> Outcome<MaskKey> {
        if let Some(key) = &self.keyring.present {
            return Ok(MaskKey::derive(key.masks(), tenant));
        }
        let which = TenantText::MaskKey;
        let mut stored = store.tenant_text(tenant, which).await?;
        if stored.is_none() {
            let mut drawn = [0; 32];
            self.random.fill(&mut drawn).map_err(no_random)?;
            let drawn = hex::encode(drawn);
            let _ = store
                .replace_tenant_text(tenant, which, None, &drawn)
                .await?;
            stored = store.tenant_text(tenant, which).await?;
        }
        let none = || StoreError::Unavailable("the key of the masks is gone".to_owned());
        let secret = hmac::Key::new(hmac::HMAC_SHA256, stored.ok_or_else(none)?.as_bytes());
        Ok(MaskKey::derive(&secret, tenant))
    }

    /// Returns a config's text with masks in place of its secrets ([`config::masked`]).
    pub fn masked(&self, tenant: &TenantId, key: &MaskKey, text: &str) -> String {
        match serde_json::from_str::<&RawValue>(text) {
            Ok(_) => config::masked(text, self.owner(tenant), key),
            Err(_) => config::masked("", self.owner(tenant), key),
        }
    }

    /// Returns the secrets of configs, the first of which is the present one.
    pub fn kept<'t>(
        &self,
        tenant: &TenantId,
        key: &MaskKey,
        texts: impl IntoIterator<Item = &'t str>,
    ) -> KeptSecrets {
        let mut kept = KeptSecrets::default();
        for text in texts {
            kept.add(text, self.owner(tenant), key);
        }
        kept
    }

    /// Returns what a replacement changes, without a secret.
    pub fn changes(&self, tenant: &TenantId, key: &MaskKey, texts: [&str; 2]) -> Changes {
        let [before, after] = texts;
        config::changes(before, after, self.owner(tenant), key)
    }

    /// Returns the text under which a config is kept after its replacement: sealed, or masked where nothing seals it. A
    /// plain secret would outlive its own rotation there, for anybody who reads the store.
    pub(super) fn for_history(
        &self,
        tenant: &TenantId,
        key: &MaskKey,
        text: &str,
    ) -> Outcome<String> {
        match self.seals() {
            true => self.sealed(tenant, text),
            false => Ok(self.masked(tenant, key, text)),
        }
    }

    /// Seals a config that was replaced with `secrets.key`. One that does not open stays as it is.
    pub(super) fn resealed(&self, tenant: &TenantId, text: &str) -> Outcome<String> {
        let secrets = self.with_nonces(config::secrets_in(text))?;
        let sealed = config::seal_text(text, self.owner(tenant), true, secrets);
        Ok(sealed.map_or_else(|_| text.to_owned(), |sealed| sealed.text))
    }

    /// Parses a tenant's config and opens its secrets. `Err`: every fault in it.
    pub fn read(&self, tenant: &TenantId, text: &str) -> Result<TenantConfig, Faults> {
        self.check_text(tenant, text).map(|(config, _)| config)
    }

    /// Like [`Self::check`], from the text of a config.
    pub fn check_text(
        &self,
        tenant: &TenantId,
        text: &str,
    ) -> Result<(TenantConfig, Vec<Fault>), Faults> {
        self.check(tenant, &serde_json::from_str(text).map_err(not_json)?)
    }

    /// Reads a config. `Ok`: with warnings about what can be read and will hardly do what was meant.
    pub fn check(
        &self,
        tenant: &TenantId,
        config: &Value,
    ) -> Result<(TenantConfig, Vec<Fault>), Faults> {
        config::read_for(self.owner(tenant), config)
    }

    /// Stores a config, sealed, if there is none. False: there was one.
    pub async fn seed(&self, store: &dyn Configs, tenant: &TenantId, text: &str) -> Outcome<bool> {
        let seeded = self.seed_sealed(store, tenant, text).await?;
        Ok(seeded.is_some())
    }

    /// Stores a config, sealed, if there is none, and returns the stored text. `None`: there was one.
    pub async fn seed_sealed(
        &self,
        store: &dyn Configs,
        tenant: &TenantId,
        text: &str,
    ) -> Outcome<Option<String>> {
        let sealed = self.sealed(tenant, text)?;
        let seeded = store.seed_config(tenant, &sealed).await?;
        Ok(seeded.then_some(sealed))
    }

    /// Replaces a config; with `expected`, only if that is the stored text. Returns the stored text; `None`:
    /// the config was not `expected`.
    pub async fn replace(
        &self,
        store: &dyn Configs,
        tenant: &TenantId,
        expected: Option<&str>,
        text: &str,
    ) -> Outcome<Option<String>> {
        let sealed = self.sealed(tenant, text)?;
        let put = store.replace_config(tenant, expected, &sealed).await?;
        Ok((put == Put::Done).then_some(sealed))
    }

    /// Seals every secret of a stored config with the present key.
    pub async fn reseal(&self, store: &dyn Configs, tenant: &TenantId) -> Outcome<Resealed> {
        for _ in 0..TRIES {
            let Some(stored) = store.config(tenant).await? else {
                return Ok(Resealed::NoTenant);
            };
            if let Err(error) = serde_json::from_str::<&RawValue>(&stored) {
                return Ok(Resealed::Faulty(not_json(error)));
            }
            let secrets = self.with_nonces(config::secrets_in(&stored))?;
            let sealed = match config::seal_text(&stored, self.owner(tenant), true, secrets) {
                Ok(sealed) => sealed,
                Err(faults) => return Ok(Resealed::Faulty(faults)),
            };
            if sealed.text == *stored {
                return Ok(Resealed::Done(sealed));
            }
            let put = store.replace_config(tenant, Some(&stored), &sealed.text);
            if put.await? == Put::Done {
                return Ok(Resealed::Done(sealed));
            }
        }
        Ok(Resealed::Changing)
    }

    /// Checks that every sealed text in a config opens.
    pub fn check_sealed(&self, tenant: &TenantId, text: &str) -> Result<(), Faults> {
        let mut faults = Faults::default();
        let tries = config::try_sealed(text, self.owner(tenant)).into_iter();
        tries
            .filter_map(Result::err)
            .for_each(|fault| faults.add(fault));
        faults.none_or(Some(()))
    }

    /// Whether the keys open any of a config's secrets. `None`: none is sealed.
    pub fn opens_any(&self, tenant: &TenantId, text: &str) -> Option<bool> {
        let tries = config::try_sealed(text, self.owner(tenant));
        (!tries.is_empty()).then(|| tries.iter().any(Result::is_ok))
    }

    fn owner<'a>(&'a self, tenant: &'a TenantId) -> Owner<'a> {
        Owner {
            tenant,
            keyring: &self.keyring,
        }
    }

    /// Seals the plaintext secrets in `text`; sealed ones stay as they are.
    fn sealed(&self, tenant: &TenantId, text: &str) -> Outcome<String> {
        let secrets = self.with_nonces(config::secrets_in(text))?;
        let sealed = config::seal_text(text, self.owner(tenant), false, secrets);
        let faulty =
            |faults: Faults| StoreError::Unavailable(format!("not sealed: {}", faults.in_line()));
        sealed.map(|sealed| sealed.text).map_err(faulty)
    }

    fn with_nonces(&self, secrets: Vec<Found>) -> Outcome<Vec<(Found, Nonce)>> {
        let drawn = secrets.into_iter().map(|secret| {
            let mut nonce = Nonce::default();
            let filled = self.random.fill(&mut nonce);
            filled.map_err(no_random).map(|()| (secret, nonce))
        });
        drawn.collect()
    }
}

fn no_random(_: ring::error::Unspecified) -> StoreError {
    StoreError::Unavailable("the system has no random numbers".to_owned())
}

fn not_json(error: serde_json::Error) -> Faults {
    Faults(vec![Fault::new("", format!("not JSON: {error}"))])
}
