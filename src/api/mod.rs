//! DESCRIBES. Requests and answers of the gateway's own routes as types: what goes over the wire, and nothing
//! else.
//!
//! The handlers in `local/` and the command line read and write these types, and `local/openapi.rs` makes the
//! OpenAPI document from them. Doc comments of types and fields are descriptions there: they are written for app
//! makers. The order of fields is the order on the wire. A field that may be missing is `Option` and skipped;
//! one that may be `null` is never skipped.

mod accounts;
mod audit;
mod failure;
mod ledger;
mod lists;
mod payments;
mod people;
mod provider;
mod service;
mod sign_in;
mod tenants;
mod usage;

pub use accounts::{Account, Credit, Credited, Me, Mint, MintedKey, NewKey};
pub use audit::{AuditOutcome, AuditQuery, AuditRecord, AuditRecords, MAX_CHANGES};
pub use failure::{ConfigFault, Error, InvalidConfig};
pub use ledger::{
    AccountLedger, FoldedPostings, LedgerQuery, Posting, PostingDetail, PostingReason,
};
pub use lists::{
    AdminKey, AdminKeys, AdminUser, AdminUsers, Holding, ListQuery, MAX_ENTRIES, Move, Moved,
    RolledKey, Suspend, Suspended, UserDetails,
};
pub use payments::{
    AccountPayments, Checkout, CheckoutPage, Payment, PaymentEvent, PaymentEvents, PlanPrice,
    Plans, PortalCall, SoldPlan, StripeEvent, TopUp, WebhookTaken,
};
pub use people::{Export, ListedKey, NewOwnKey, OwnKey, OwnKeys, OwnUsage, Session, SessionKey};
pub use provider::{
    AnthropicError, CODES, ChatCall, ErrorCode, GeminiCall, GeminiError, Model, ModelCall,
    ModelList, OpenAiError,
};
pub use service::{Alive, AliveStatus, PassedOverEndpoint, Ready, ReadyStatus, Root, Success};
pub use sign_in::{CallbackQuery, RedeemCode, SignIn, SignedIn, StartQuery};
pub use tenants::{
    AdminToken, AdminTokens, AnyConfig, Config, ConfigHistory, ConfigQuery, ConfigStored,
    ConfigVersion, FormerConfig, ListedToken, MAX_TOKEN_BYTES, MAX_TOKENS, MIN_TOKEN_BYTES,
    MadeToken, NewTenant, NewToken, TenantCreated, TenantId, TenantSealed, TenantTotals, Tenants,
    TenantsQuery, TokenList, TokenScope, TokensSet,
};
pub use usage::{
    MAX_DAYS, MAX_EVENTS, OwnUsageQuery, USUAL_DAYS, UsageAttempt, UsageEvent, UsageFormat,
    UsageQuery, UsageReport, UsageRow, UsageSum,
};

use crate::rules::amount::Tokens;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

impl JsonSchema for Tokens {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Tokens".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 0, "maximum": Tokens::MAX})
    }
}
