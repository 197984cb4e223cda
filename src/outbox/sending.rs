//! [`Outbox`]: delivers events to apps, each until its app has taken it or six tries have failed.
//!
//! Each tenant has its own few sending slots and its own bound of waiting events, so that an app that does not answer
//! keeps nobody else waiting.

use super::event::{AppEvent, EventData};
use super::signature::signed;
use crate::dial::dialer::Reach;
use crate::fetch::{FetchCall, Fetcher, SentBody};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::app_event::{AppEventType, crossed};
use crate::rules::config::AppEvents;
use crate::rules::issued_key::KeyId;
use crate::rules::record;
use crate::rules::tenant::TenantId;
use crate::store::name::AccountName;
use crate::store::tenants::{Tenant, Tenants};
use crate::store::{Clock, People};
use crate::telemetry::fields::About;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::throttle::Throttle;
use http::{Method, StatusCode};
use log::Level;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Pauses between the tries of an event.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(1_800),
];
/// Events of one tenant that wait, and of all.
const MAX_WAITING_EVENTS_OF_A_TENANT: usize = 500;
const MAX_WAITING_EVENTS: usize = 20_000;
/// Events of one tenant that may wait whatever waits of others, up to [`HARD_MAX_WAITING_EVENTS`].
const ALWAYS_WAITING_EVENTS: usize = 20;
const HARD_MAX_WAITING_EVENTS: usize = 40_000;
/// Deliveries of one tenant at a time, and of all.
const MAX_DELIVERIES_OF_A_TENANT: usize = 4;
const MAX_DELIVERIES: usize = 64;
/// Longest time of a delivery.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Keys of a day that are remembered as told.
const MAX_SPENT_KEYS: usize = 10_000;
/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 10;

pub struct Outbox {
    fetcher: Arc<Fetcher>,
    tenants: Arc<Tenants>,
    people: Arc<dyn People>,
    metrics: Arc<Metrics>,
    waiting: AtomicUsize,
    queues: Mutex<HashMap<TenantId, Arc<Queue>>>,
    deliveries: Semaphore,
    /// Keys whose end was told today, and the day in days since 1970.
    spent_keys: Mutex<(u64, HashSet<KeyId>)>,
}

/// Waiting events of one tenant.
struct Queue {
    waiting: AtomicUsize,
    deliveries: Semaphore,
}

/// Outcome of a try.
enum Tried {
    Taken,
    /// The app wants no more of it.
    GivenUp(String),
    Failed(String),
}

impl Outbox {
    pub fn new(
        fetcher: Arc<Fetcher>,
        tenants: Arc<Tenants>,
        people: Arc<dyn People>,
        metrics: Arc<Metrics>,
    ) -> Arc<Outbox> {
        Arc::new(Outbox {
            fetcher,
            tenants,
            people,
            metrics,
            waiting: AtomicUsize::new(0),
            queues: Mutex::default(),
            deliveries: Semaphore::new(MAX_DELIVERIES),
            spent_keys: Mutex::default(),
        })
    }

    /// Sends an event in the background, if the tenant wants it.
    pub fn send(self: &Arc<Outbox>, tenant: &Tenant, event: AppEvent) {
        if !wants(tenant, event.kind) {
            return;
        }
        let Some(queue) = self.enter(&tenant.id) else {
            self.metrics.app_events_dropped.add(1);
            log_dropped(&tenant.id, &event, "too many wait already");
            return;
        };
        let (outbox, tenant) = (self.clone(), tenant.id.clone());
        tokio::spawn(async move {
            outbox.deliver(&tenant, &queue, event).await;
            outbox.leave(&tenant, &queue);
        });
    }

    /// Tells the app of a balance that a charge has made low. `left`: the balance after it.
    pub fn charged(
        self: &Arc<Outbox>,
        tenant: &str,
        account: &AccountName,
        charged: Tokens,
        left: Tokens,
    ) {
        if charged.is_zero() {
            return;
        }
        let tenant = TenantId::parse(tenant).and_then(|id| self.tenants.kept(&id));
        let Some(tenant) = tenant else { return };
        if !wants(&tenant, AppEventType::BalanceLow) {
            return;
        }
        let before = left.plus(charged);
        let crosses = |tokens: u64| crossed(before, left, Tokens::new(tokens)).is_some();
        if !tenant
            .config
            .groups
            .values()
            .any(|group| crosses(group.tokens))
        {
            return;
        }
        let (outbox, account) = (self.clone(), account.clone());
        tokio::spawn(async move { outbox.tell_low(&tenant, &account, before, left).await });
    }

    async fn tell_low(
        self: &Arc<Outbox>,
        tenant: &Tenant,
        account: &AccountName,
        before: Tokens,
        left: Tokens,
    ) {
        let Ok(Some(text)) = self.people.person(account, &tenant.id).await else {
            return;
        };
        let Ok(facts) = record::read(&text) else {
            return;
        };
        let key = account.part().to_owned();
        let group = crate::rules::entry::group(&facts, &key);
        let tokens = tenant.config.group(&group).map_or(0, |group| group.tokens);
        let Some(percent) = crossed(before, left, Tokens::new(tokens)) else {
            return;
        };
        let mut data = EventData {
            group: Some(group),
            tokens_left: Some(left),
            percent: Some(percent),
            ..EventData::default()
        };
        name(&mut data, account, &text);
        let now = Clock::Store.now();
        let event = AppEvent {
            kind: AppEventType::BalanceLow,
            mark: format!("{}:{percent}:{}", account.id(), now.0),
            data,
        };
        self.send(tenant, event);
    }

    /// Tells the app of a key that has spent what it may, once a day from this instance.
    pub fn key_spent(self: &Arc<Outbox>, tenant: &Tenant, account: &AccountName, key: KeyId) {
        if !wants(tenant, AppEventType::KeySpent) {
            return;
        }
        let day = Clock::Store.now().0 / Millis::DAY.0;
        {
            let mut told = self.spent_keys.lock();
            if told.0 != day || told.1.len() >= MAX_SPENT_KEYS {
                *told = (day, HashSet::new());
            }
            if !told.1.insert(key) {
                return;
            }
        }
        let data = EventData {
            account: account.is_person().then(|| account.part().to_owned()),
            key_id: Some(key.to_string()),
            ..EventData::default()
        };
        let event = AppEvent {
            kind: AppEventType::KeySpent,
            mark: format!("{key}:{day}"),
            data,
        };
        self.send(tenant, event);
    }

    fn enter(&self, tenant: &TenantId) -> Option<Arc<Queue>> {
        let queue = {
            let mut queues = self.queues.lock();
            let fresh = || {
                Arc::new(Queue {
                    waiting: AtomicUsize::new(0),
                    deliveries: Semaphore::new(MAX_DELIVERIES_OF_A_TENANT),
                })
            };
            queues.entry(tenant.clone()).or_insert_with(fresh).clone()
        };
        let of_all = self.waiting.fetch_add(1, Ordering::Relaxed);
        let of_tenant = queue.waiting.fetch_add(1, Ordering::Relaxed);
        let most = match of_all {
            0..MAX_WAITING_EVENTS => MAX_WAITING_EVENTS_OF_A_TENANT,
            MAX_WAITING_EVENTS..HARD_MAX_WAITING_EVENTS => ALWAYS_WAITING_EVENTS,
            _ => 0,
        };
        if of_tenant >= most {
            self.leave(tenant, &queue);
            return None;
        }
        Some(queue)
    }

    fn leave(&self, tenant: &TenantId, queue: &Arc<Queue>) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        let mut queues = self.queues.lock();
        if queue.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            queues.remove(tenant);
        }
    }

    async fn deliver(&self, tenant: &TenantId, queue: &Queue, event: AppEvent) {
        let (id, body) = (
            event.id(tenant.as_str()),
            event.body(tenant.as_str(), Clock::Store.now()),
        );
        let mut pauses = PAUSES.iter();
        loop {
            // The config may have changed since: another address, other secrets, or none.
            let Some(kept) = self.tenants.kept(tenant) else {
                return;
            };
            let Some(events) = &kept.config.events else {
                return;
            };
            let why = match self.attempt(queue, events, &id, &body).await {
                Tried::Taken => {
                    self.metrics.app_events_delivered.add(1);
                    return;
                }
                Tried::GivenUp(why) => {
                    self.metrics.app_events_dropped.add(1);
                    return log_dropped(tenant, &event, &why);
                }
                Tried::Failed(why) => why,
            };
            let Some(pause) = pauses.next() else {
                self.metrics.app_events_dropped.add(1);
                return log_dropped(tenant, &event, &why);
            };
            tokio::time::sleep(*pause).await;
        }
    }

    /// Tries to deliver once.
    async fn attempt(&self, queue: &Queue, events: &AppEvents, id: &str, body: &str) -> Tried {
        // Neither is ever closed.
        let _of_tenant = queue.deliveries.acquire().await;
        let _of_all = self.deliveries.acquire().await;
        let timestamp = Clock::Store.now().0 / 1000;
        let signature = signed(events.keys(), id, timestamp, body);
        let timestamp = timestamp.to_string();
        let fields = [
            ("webhook-id", id),
            ("webhook-timestamp", timestamp.as_str()),
            ("webhook-signature", signature.as_str()),
        ];
        let call = FetchCall {
            method: Method::POST,
            content: Some(SentBody {
                media_type: "application/json",
                text: body,
            }),
            authorization: None,
            fields: &fields,
            timeout: TIMEOUT,
            max_body_bytes: MAX_ANSWER_BYTES,
            reach: Reach::EgressNoCleartext,
        };
        match self.fetcher.call(&events.url, &call).await {
            Ok(answer) if answer.status.is_success() => Tried::Taken,
            Ok(answer) if answer.status == StatusCode::GONE => {
                Tried::GivenUp("the app answered 410".to_owned())
            }
            Ok(answer) => Tried::Failed(format!("the app answered {}", answer.status.as_u16())),
            Err(failure) => Tried::Failed(failure.0),
        }
    }
}

/// Names the account of a record in what an event says.
fn name(data: &mut EventData, account: &AccountName, record: &str) {
    if account.is_person() {
        data.account = Some(account.part().to_owned());
        let record: serde_json::Value = serde_json::from_str(record).unwrap_or_default();
        let user = record.get("userId").and_then(serde_json::Value::as_str);
        data.user_id = user.map(str::to_owned);
    } else {
        data.key_id = Some(account.id());
    }
}

fn wants(tenant: &Tenant, kind: AppEventType) -> bool {
    let events = tenant.config.events.as_ref();
    events.is_some_and(|events| events.wants(kind))
}

/// Logs an event that no app will hear of, one line a second.
fn log_dropped(tenant: &TenantId, event: &AppEvent, why: &str) {
    static LINES: Throttle = Throttle::new();
    let about = About {
        tenant: Some(tenant.as_str()),
        ..About::default()
    };
    let kind = event.kind.word();
    about.log_throttled(
        &LINES,
        module_path!(),
        Level::Warn,
        &[("type", kind.into())],
        format_args!(
            "An event {kind} for the app is dropped: {why}. Its facts stand in the admin API"
        ),
    );
}
