//! The table of a tenant's config: every field, its type, its default and its description.
//!
//! Unknown fields are kept by the store and ignored here. A new setting is one row.

use super::app_events::AppEvents;
use super::cors::Cors;
use super::identity::{self, AppleClient, CarryOver, GoogleClient, OidcClient, carry_over, oidc};
use super::payments::{self, GroupPrice, Stripe};
use super::prices::Prices;
use super::providers::{RealtimeProviders, TextProviders};
use crate::rules::amount::Tokens;
use crate::rules::entry::ANONYMOUS;
use crate::rules::model_name;
use crate::rules::refill::{Period, Refill};
use crate::tables::{
    MAX_NUMBER, Node, Reading, ValueType, boolean, by_name, choice, defaulted, list, object, table,
    whole, words,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Highest `max_concurrent`: the Redis scripts iterate over all holds of an account.
const MAX_CONCURRENT: u64 = 10_000;
const LONGEST_WINDOW_SECONDS: u64 = 31 * 86_400;
/// Longest `text_ttl` and `transcription_ttl`: ten years, far beyond any use, and far below the overflow of a
/// store's expiry in milliseconds.
const LONGEST_TTL_SECONDS: u64 = 10 * 365 * 86_400;

/// Longest trial that Stripe allows.
const LONGEST_TRIAL_DAYS: u64 = 730;

/// Longest `max_token_age`.
const LONGEST_TOKEN_AGE_SECONDS: u64 = 7 * 86_400;

table! {
    /// The config of one tenant.
    /// Fields that are not listed here are stored and given back unchanged.
    pub struct TenantConfig unknown Kept {
        /// How end users sign in.
        auth: Auth = defaulted();
        /// What an account of each group begins with, and what it may do.
        /// `anonymous` is who has not signed in; without it a tenant has no anonymous sign-in.
        groups: BTreeMap<String, Group> = groups().or_from(|_| BTreeMap::new()).named("user_groups");
        /// Who answers.
        providers: Providers = defaulted();
        /// What models cost in money, for usage records and sums.
        /// Absent: they have no amounts.
        prices: Option<Prices> = object().optional();
        /// Answers given again without asking the provider.
        caching: Caching = defaulted();
        /// Address of the app that is told what happens to its people.
        /// Absent: nowhere.
        events: Option<AppEvents> = object().optional();
        /// Which web pages of other origins may call this tenant from the browser.
        /// Absent: none.
        cors: Option<Cors> = object().optional();
    }
    check payments::each_price_once;
}

impl TenantConfig {
    /// Returns a group of accounts. An unknown group has the limits of `anonymous`.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(name).or_else(|| self.groups.get(ANONYMOUS))
    }
}

fn groups() -> ValueType<BTreeMap<String, Group>> {
    by_name(object::<Group>()).map(|groups| groups.into_iter().collect())
}

table! {
    /// A group of accounts.
    pub struct Group unknown Kept {
        /// The balance that an account begins with, in tokens.
        tokens: u64 = whole(0, MAX_NUMBER);
        /// The only models that its accounts may ask for, as they write them, or as `<endpoint>/<model>`.
        /// Dated versions are the same model.
        /// Absent: all.
        models: Option<Vec<String>> = models_of_group().optional().shown("[gpt-4o-mini, local/llama-3]");
        /// Requests that an account may make in any window.
        /// Absent: no limit.
        rate_limit: Option<u64> = whole(0, MAX_NUMBER).optional();
        /// Length of the window, in seconds.
        rate_limit_window: Option<u64> = whole(1, LONGEST_WINDOW_SECONDS).optional();
        /// Calls of one account in flight, on all gateways together.
        /// Each call of the group asks the store then.
        /// A call that a crash left open counts until its hold ends (`accounts.hold_ttl`).
        /// Absent: no limit.
        max_concurrent: Option<u64> = whole(1, MAX_CONCURRENT).optional();
        /// The balance that an account has at least when a period begins.
        /// It comes with the first request of the period, and only raises: what is above it stays.
        /// Absent: none.
        refill: Option<Refill> = object().map(RefillRow::meant).optional();
        /// The price in Stripe, of a subscription, that this group is sold at.
        /// Each period that is paid adds `tokens`.
        /// Absent: the group is not for sale.
        stripe_price: Option<String> = payments::price().optional().shown("price_1Qs7…");
        /// Further prices that stand for this group, by their IDs: former ones that people still pay, a year's, those of the customer portal.
        stripe_prices: BTreeMap<String, GroupPrice> = payments::prices().or_from(|_| BTreeMap::new()).shown("{price_1Qs9…: {tokens: 60000}}");
        /// Days for which a first subscription to this group is free, once an account.
        trial_days: Option<u64> = whole(1, LONGEST_TRIAL_DAYS).optional();
        /// Tokens that a trial of this group adds to the balance, once an account.
        trial_tokens: u64 = whole(0, MAX_NUMBER).default("0");
    }
    check limit_is_whole;
    rule limit_rule;
}

table! {
    /// A refill of balances.
    struct RefillRow unknown Kept {
        /// The balance after it, in tokens.
        tokens: u64 = whole(0, MAX_NUMBER);
        /// When a period begins: `24h` at midnight UTC, `month` with the calendar month in UTC.
        every: Period = choice([("24h", Period::Day), ("month", Period::Month)]).default("24h");
    }
}

impl RefillRow {
    fn meant(self) -> Refill {
        Refill {
            tokens: Tokens::new(self.tokens),
            every: self.every,
        }
    }
}

/// `rate_limit` requests in any `rate_limit_window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub requests: u64,
    pub window_millis: u64,
}

impl Group {
    pub fn limit(&self) -> Option<RateLimit> {
        let limit = self.rate_limit.zip(self.rate_limit_window);
        limit.map(|(requests, seconds)| RateLimit {
            requests,
            window_millis: seconds * 1000,
        })
    }
}

fn limit_is_whole(node: &Node<'_>, reading: &mut Reading<'_>) {
    let pair = ["rate_limit", "rate_limit_window"];
    let (missing, present) = match pair.map(|name| node.field(name).is_some()) {
        [true, false] => (pair[1], pair[0]),
        [false, true] => (pair[0], pair[1]),
        _ => return,
    };
    let path = node.child_path(missing);
    reading.fault_at(path, format!("is required beside {present}"));
}

fn limit_rule() -> Value {
    json!({"dependentRequired": {
        "rate_limit": ["rate_limit_window"], "rate_limit_window": ["rate_limit"],
    }})
}

/// An empty list is a fault: some would read it as all models, others as none.
fn models_of_group() -> ValueType<Vec<String>> {
    let model = words().check(|name| model_name::check(name));
    let model = model.with_schema(json!({"maxLength": 256}));
    let models = list(model, 0).with_schema(json!({"minItems": 1}));
    models.check(|models| match models.is_empty() {
        true => Err("must name a model; leave it out to allow all"),
        false => Ok(()),
    })
}

table! {
    /// Who answers.
    pub struct Providers unknown Kept {
        /// Chat, embeddings, images and audio files.
        text: Option<TextProviders> = object().optional();
        /// Voice over WebSockets.
        /// It is checked, and not in force yet.
        realtime: Option<RealtimeProviders> = object().optional();
    }
}

/// Who may get a cached answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheScope {
    Tenant,
    User,
}

table! {
    /// The cache of answers.
    /// The operator bounds how much of it a tenant has (`cache`).
    pub struct Caching unknown KeptUnlessSlip {
        /// Whether answers are kept.
        enabled: bool = boolean().default("false");
        /// Seconds for which a text answer is kept.
        text_ttl_seconds: u64 = whole(0, LONGEST_TTL_SECONDS).default("86400").named("text_ttl");
        /// Seconds for which a transcription is kept.
        transcription_ttl_seconds: u64 = whole(0, LONGEST_TTL_SECONDS).default("3600").named("transcription_ttl");
        /// What a cached answer costs, in percent of the first one.
        fee_percentage: u64 = whole(0, 100).default("20");
        /// Who may get an answer that somebody has asked for: `tenant`, everybody; `user`, the same account alone.
        /// With `tenant` a user can learn that another one has asked the same.
        scope: CacheScope = choice([("tenant", CacheScope::Tenant), ("user", CacheScope::User)]).default("tenant");
        /// Whether answers that call tools are kept.
        tools: bool = boolean().default("false");
    }
}

table! {
    /// Sign-in and payment.
    pub struct Auth unknown Kept {
        /// The tenant's Stripe account, which takes its payments.
        stripe: Option<Stripe> = object().optional();
        /// Sign-in with Google: its people are of group `google_logged_in`.
        google: Option<GoogleClient> = object().optional().named("google_oauth");
        /// Sign-in with Apple: its people are of group `apple_logged_in` where there is one, else of `google_logged_in`.
        apple: Option<AppleClient> = object().optional().named("apple_oauth");
        /// Sign-in with other issuers of ID tokens, such as Clerk, Auth0, Supabase, Firebase or Cognito.
        /// The name stands in the path of the sign-in.
        oidc: BTreeMap<String, OidcClient> = oidc().or_from(|_| BTreeMap::new());
        /// Whether an ID token is taken only with the nonce that it was asked for with.
        require_nonce: bool = boolean().default("false");
        /// Seconds after its `iat` for which an ID token is taken.
        max_token_age_seconds: u64 = whole(1, LONGEST_TOKEN_AGE_SECONDS).default("3600").named("max_token_age");
        /// Whether an end user's key may stand in the query of a call, as `?key=`, where Google's own API takes it.
        /// A URL is written to the logs of everything between the client and the gateway, and the key with it.
        key_in_query: bool = boolean().default("false");
        /// What of an anonymous key's balance moves to the account that a sign-in creates: `all`, `none`, or the most tokens that do.
        carry_over: CarryOver = carry_over().default("all");
    }
    check identity::check_names;
}
