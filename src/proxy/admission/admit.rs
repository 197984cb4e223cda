//! Authenticate and admit: whose call it is, and what it may cost.
//!
//! The most that a call can cost is held before it is forwarded. What the provider is asked for is
//! never more than what is held pays for.

use crate::dialect::call::{Api, Body, Call, Limit};
use crate::dialect::{prompt, tokens};
use crate::http1::head::Request;
use crate::local::credentials;
use crate::proxy::admission::token_counter::INLINE_BYTES;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::{self, Exchange, Hold};
use crate::proxy::pipeline::Pipeline;
use crate::proxy::scratch;
use crate::rules::account::{Admission, Admit};
use crate::rules::amount::Tokens;
use crate::rules::choice::{self, Choice};
use crate::rules::config::Endpoint;
use crate::rules::entry::Caller;
use crate::rules::models;
use crate::rules::price::Rate;
use crate::rules::window::Limits;
use crate::store::leases::Covered;
use crate::store::name::KeyName;
use crate::store::tenants::Tenant;
use crate::store::{Admitted, StoreError};
use std::sync::Arc;
use std::time::Instant;

/// No answer is worth asking for with less: OpenAI's newer API itself takes no smaller limit.
const LEAST_ANSWER: u64 = 16;
/// What a call without a limit of its own may use at least.
const OPEN_ANSWER: u64 = 4_096;

/// Who asks, for what, and who will answer.
pub(in crate::proxy) struct Asked<'a> {
    pub tenant: &'a Tenant,
    pub key: &'a KeyName,
    pub body: &'a Body<'a>,
    pub api: Api,
    pub endpoint: &'a Endpoint,
    /// What the endpoint is asked for.
    pub model: Option<&'a str>,
    /// The vocabulary at hand is the model's own.
    pub is_exact: bool,
    /// The most one answer of the model can have, where that is known.
    pub most: Option<u64>,
}

impl Asked<'_> {
    /// Refuses a model that the group of the account may not ask for.
    fn is_open_to(&self, group: &str) -> Result<(), GatewayError> {
        let config = &self.tenant.config;
        let models = config.group(group).and_then(|group| group.models.as_ref());
        let (Some(models), Some(providers)) = (models, &config.text) else {
            return Ok(());
        };
        let speaks = |kind| self.api.is_spoken_by(kind);
        let is_open = choice::is_among(providers, models, self.endpoint, self.model, speaks);
        is_open
            .then_some(())
            .ok_or_else(|| GatewayError::NotServed {
                model: self.model.map(str::to_owned),
            })
    }
}

impl Pipeline {
    /// Takes the hold. Bytes are a rough bound: before a call is refused for them, its prompt is
    /// counted.
    pub(in crate::proxy) async fn admit(
        &self,
        exchange: &mut Exchange,
        asked: &Asked<'_>,
        call: &mut Call,
    ) -> Result<Tokens, GatewayError> {
        let refused = match self.ask(exchange, asked, call).await {
            Err(refused @ (GatewayError::Spent | GatewayError::Held)) => refused,
            admitted => return admitted,
        };
        match self.count(exchange, asked, call).await {
            Some(counted) => {
                call.prompt = counted;
                self.ask(exchange, asked, call).await
            }
            None => Err(refused),
        }
    }

    /// A closer bound of a prompt than its bytes, where that may be enough.
    async fn count(
        &self,
        exchange: &mut Exchange,
        asked: &Asked<'_>,
        call: &Call,
    ) -> Option<Tokens> {
        let bytes = asked.body.bytes;
        if call.answer.is_some()
            || call.prompt.share(DENSEST) > exchange.left?
            || bytes.len() > prompt::LONGEST_COUNTED_BYTES
        {
            return None;
        }
        exchange.work.counted_bytes = bytes.len() as u64;
        let is_exact = asked.is_exact;
        let counted = if bytes.len() <= INLINE_BYTES {
            prompt::counted(bytes, is_exact)
        } else {
            let bytes = bytes.to_vec();
            let count = move || prompt::counted(&bytes, is_exact);
            self.counter
                .run_patiently(asked.tenant.id.as_str(), count)
                .await
                .flatten()
        };
        counted
            .map(|counted| counted.plus(call.beyond))
            .filter(|counted| *counted < call.prompt)
    }

    async fn ask(
        &self,
        exchange: &mut Exchange,
        asked: &Asked<'_>,
        call: &Call,
    ) -> Result<Tokens, GatewayError> {
        let id = scratch::new_id().simple().to_string();
        let Asked { tenant, key, .. } = *asked;
        let most = asked.most.unwrap_or(u64::MAX);
        let output = call.limit.unwrap_or(OPEN_ANSWER.min(most));
        let rate = exchange.terms.rate;
        let hosted = exchange.terms.hosted.held;
        let prompt = rate.most_for_prompt(call.prompt).plus(hosted);
        let with_answers =
            |tokens: u64| prompt.plus(rate.for_output(Tokens::new(tokens).times(call.answers)));
        // What has a size of its own, or none, cannot be made smaller.
        let whole = call
            .answer
            .map(|answer| prompt.plus(rate.for_output(answer)));
        let whole = if call.free { Some(Tokens::ZERO) } else { whole };
        let least = whole.unwrap_or_else(|| with_answers(output.min(LEAST_ANSWER)));
        let ask = Admit {
            id: &id,
            least,
            most: whole.unwrap_or_else(|| with_answers(output)),
            open: match (call.limit, whole) {
                (None, None) => with_answers(most),
                _ => Tokens::ZERO,
            },
            known: rate
                .most_for_prompt(exchange::likely(call.prompt))
                .min(least),
            limits: Limits::default(),
            ttl: self.local.settings.accounts.hold_ttl.into(),
        };
        let caller = Caller {
            tenant: tenant.id.as_str(),
            key: key.as_str(),
            groups: &tenant.groups,
        };
        // The hold is counted from before it was asked for, by a clock of our own.
        let taken = Instant::now();
        let leases = &self.settler.leases;
        if let Some(covered) = leases.admit(key, caller, &ask) {
            let Covered { lease, group, held } = covered;
            self.metrics.admissions_leased.add(1);
            exchange.left = Some(held.left);
            exchange.pace = held.pace;
            exchange.account.clone_from(&lease.id);
            exchange.group = Some(group);
            exchange.hold = Some(Hold {
                account: lease.account.clone(),
                id,
                held: held.held,
                lease: Some(lease),
                taken,
            });
            exchange.terms.prompt = call.prompt;
            // A hold that was taken for nothing ends with the request, which has cost nothing.
            asked.is_open_to(exchange.group())?;
            return Ok(held.held);
        }
        let mut entry = self.ask_store(key, caller, &ask).await?;
        let is_short = |entry: &Admitted| {
            let Admitted::Known { admission, .. } = entry else {
                return false;
            };
            matches!(admission, Admission::Spent { .. } | Admission::Held { .. })
        };
        if is_short(&entry) && leases.has(key) {
            // What is missing may be in a purse of our own.
            leases.give_back(key).await?;
            entry = self.ask_store(key, caller, &ask).await?;
        }
        let Admitted::Known {
            account,
            group,
            admission,
        } = entry
        else {
            leases.distrust(key);
            return Err(GatewayError::UnknownKey);
        };
        leases.saw(key, caller, &account, &group, &admission);
        let (left, pace) = match admission {
            Admission::Granted { left, pace, .. }
            | Admission::Spent { left, pace }
            | Admission::Held { left, pace }
            | Admission::Crowded { left, pace } => (left, pace),
            Admission::Limited { left, pace, .. } => (left, Some(pace)),
        };
        exchange.left = Some(left);
        exchange.pace = pace;
        exchange.account = account.id();
        exchange.group = Some(Arc::from(group));
        let admitted = match admission {
            Admission::Granted { held, .. } => {
                self.metrics.admissions_stored.add(1);
                self.settler.journal.begin(&account, &id, ask.known);
                exchange.hold = Some(Hold {
                    account,
                    id,
                    held,
                    lease: None,
                    taken,
                });
                exchange.terms.prompt = call.prompt;
                Ok(held)
            }
            Admission::Spent { .. } => Err(GatewayError::Spent),
            Admission::Held { .. } => Err(GatewayError::Held),
            Admission::Crowded { .. } => Err(GatewayError::TooManyInFlight),
            Admission::Limited { wait, .. } => Err(GatewayError::TooFast { wait }),
        };
        asked.is_open_to(exchange.group())?;
        admitted
    }
}

impl Pipeline {
    /// Where the answer does not come, the same ID is asked for again.
    async fn ask_store(
        &self,
        key: &KeyName,
        caller: Caller<'_>,
        ask: &Admit<'_>,
    ) -> Result<Admitted, GatewayError> {
        let mut entry = self.store.admit(key, caller, ask).await;
        if matches!(entry, Err(StoreError::Unknown(_))) {
            entry = self.store.admit(key, caller, ask).await;
            if entry.is_err() {
                self.settler.release_later(key.clone(), ask.id.to_owned());
            }
        }
        Ok(entry.inspect_err(|_| self.metrics.store_errors.add(1))?)
    }
}

pub(in crate::proxy) fn authenticate(request: &Request) -> Result<KeyName, GatewayError> {
    let key = credentials::key(|name| request.fields.get(name)).ok_or(GatewayError::NoKey)?;
    KeyName::parse(key).ok_or(GatewayError::UnknownKey)
}

/// A token is seldom more than so many bytes: where even that would be too much, counting is vain.
const DENSEST: u64 = 12;

/// The vocabulary at hand is the model's own: a name says so only where its maker serves it.
pub(in crate::proxy) fn is_exact(endpoint: &Endpoint, model: Option<&str>) -> bool {
    endpoint.server.is_openai() && model.is_some_and(tokens::is_known)
}

/// The most one answer of the model that will be asked can have.
pub(in crate::proxy) fn most_output<'a>(
    choice: &Choice<'a>,
    model: Option<&'a str>,
) -> Option<u64> {
    let model = choice.served(model);
    // A name says what a model can do only where its maker serves it.
    let endpoint = choice.endpoint;
    let known = || models::most_output(model.filter(|_| endpoint.server.is_openai())?);
    endpoint.max_output_tokens.or_else(known)
}

/// The limit to send, where the provider could otherwise be asked for more than is held.
pub(in crate::proxy) fn limit(
    call: &Call,
    held: Tokens,
    rate: Rate,
    most: Option<u64>,
    endpoint: &Endpoint,
) -> Option<Limit> {
    let for_output = held.minus(rate.most_for_prompt(call.prompt));
    let tokens = rate.output_for(for_output) / call.answers;
    // Output that costs nothing, or has a size of its own, needs no limit.
    if rate.output == 0 || call.free || call.answer.is_some() {
        return None;
    }
    // OpenAI itself knows every name of a limit; of the others each knows its own, so theirs is
    // written even where the client's is low enough.
    let enough = call.limit.or(most).is_some_and(|limit| limit <= tokens);
    if enough && (endpoint.server.is_openai() || call.limit.is_none()) {
        return None;
    }
    let tokens = call.limit.map_or(tokens, |limit| limit.min(tokens));
    // OpenAI itself has renamed the limit and its newer models refuse the old name; the others who
    // speak its API know the old one.
    let openai = endpoint.server.is_openai();
    let name = if openai {
        "max_completion_tokens"
    } else {
        "max_tokens"
    };
    Some(Limit {
        tokens,
        name,
        always: !openai,
    })
}
