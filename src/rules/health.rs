//! Health of a tenant's endpoints as this instance sees it, by endpoint and model: circuit, load, and rests that
//! providers asked for.
//!
//! Models are names that clients may choose, so their number is bounded. Pure: `now` comes in.

use super::circuit::{Change, Circuit, Heard, Pass};
use super::load::Load;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Models of one endpoint whose health is known; beyond it, the one used longest ago is forgotten.
const MAX_MODELS: usize = 64;
/// Endpoints of one tenant whose health is known.
const MAX_ENDPOINTS: usize = 256;
/// Longest `retry-after` that is respected: a provider may name any time.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// Rest of a key that its provider refused.
const REFUSED_REST: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct Health {
    endpoints: HashMap<String, HashMap<String, Lane>>,
}

/// Health of one model at one endpoint.
#[derive(Debug)]
struct Lane {
    circuit: Circuit,
    load: Load,
    rests: Vec<Rest>,
    used: Instant,
}

/// Time in which a provider's key is used only if there is no other.
#[derive(Debug)]
struct Rest {
    key: u64,
    until: Instant,
    /// Account whose call was limited or refused. Others use the key, until one of theirs meets the same.
    account: u64,
    is_confirmed: bool,
}

impl Rest {
    /// Whether it holds for an account: an endpoint rests for it where all of its keys do.
    fn is_for(&self, account: u64) -> bool {
        self.is_confirmed || self.account == account
    }
}

/// Rest that an attempt's key needs.
#[derive(Clone, Copy, Debug)]
pub struct NeededRest {
    pub key: u64,
    pub account: u64,
    /// The provider's `retry-after`. `None`: it refused the key.
    pub asked: Option<Duration>,
    /// Whether nothing but the key is at fault, so that the rest is everybody's at once.
    pub is_keys: bool,
}

/// How a key rests for an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resting {
    No,
    ForOthers,
    Yes,
}

/// Place of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub endpoint: &'a str,
    pub model: &'a str,
}

/// Attempt that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    pub account: u64,
    pub at: Instant,
}

/// News of an endpoint from an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub heard: Heard,
    /// Time to the head of the answer, or to the failure. `None`: the attempt was given up.
    pub latency: Option<Duration>,
}

/// Model that is passed over at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    pub endpoint: String,
    pub model: String,
}

impl Health {
    /// Whether an endpoint may be asked. `keys`: numbers of its keys.
    pub fn pass(&self, place: Place<'_>, account: u64, keys: &[u64], now: Instant) -> Pass {
        let Some(lane) = self.lane(place) else {
            return Pass::Free;
        };
        let rests = |key: &u64| {
            let rest = lane.rests(*key, now);
            rest.is_some_and(|rest| rest.is_for(account))
        };
        match !keys.is_empty() && keys.iter().all(rests) {
            true => Pass::Blocked,
            false => lane.circuit.pass(account, now),
        }
    }

    /// Load of an endpoint; the higher, the later it would begin an answer.
    pub fn load(&self, place: Place<'_>, now: Instant) -> f64 {
        self.lane(place).map_or(0.0, |lane| lane.load.now(now))
    }

    /// Returns how a key rests for an account; the least goes first.
    pub fn resting(&self, place: Place<'_>, key: u64, account: u64, now: Instant) -> Resting {
        let rest = self.lane(place).and_then(|lane| lane.rests(key, now));
        match rest {
            None => Resting::No,
            Some(rest) if rest.is_for(account) => Resting::Yes,
            Some(_) => Resting::ForOthers,
        }
    }

    /// Notes the begin of an attempt.
    pub fn begin(&mut self, place: Place<'_>, begun: Begun) {
        let lane = self.lane_mut(place, begun.at);
        lane.load.begin();
        lane.circuit.begin(begun.account, begun.at);
    }

    /// Notes the end of an attempt.
    pub fn end(
        &mut self,
        place: Place<'_>,
        begun: Begun,
        told: Told,
        now: Instant,
    ) -> Option<Change> {
        let lane = self.lane_mut(place, now);
        let has_failed = told.heard == Heard::Failed;
        lane.load.end(told.latency, has_failed, now);
        lane.circuit.end(begun.account, told.heard, begun.at, now)
    }

    /// Lets a key rest: for as long as the provider asked for (`retry-after`), or because it was refused. A rest that two
    /// accounts have caused is everybody's.
    pub fn rest(&mut self, place: Place<'_>, needed: NeededRest, now: Instant) {
        let NeededRest {
            key,
            account,
            asked,
            is_keys,
        } = needed;
        let rests = &mut self.lane_mut(place, now).rests;
        let is_confirmed = is_keys
            || rests.iter().any(|rest| {
                let is_same = rest.key == key && rest.until > now;
                is_same && (rest.is_confirmed || rest.account != account)
            });
        rests.retain(|rest| rest.key != key && rest.until > now);
        rests.push(Rest {
            key,
            until: now + asked.map_or(REFUSED_REST, |asked| asked.min(LONGEST_REST)),
            account,
            is_confirmed,
        });
    }

    /// Returns what is passed over for everybody, in order of names.
    pub fn passed_over(&self, now: Instant) -> Vec<PassedOver> {
        let mut passed_over = Vec::new();
        for (endpoint, models) in &self.endpoints {
            for (model, lane) in models {
                if lane.is_passed_over(now) {
                    passed_over.push(PassedOver {
                        endpoint: endpoint.clone(),
                        model: model.clone(),
                    });
                }
            }
        }
        passed_over.sort_by(|one, other| {
            (&one.endpoint, &one.model).cmp(&(&other.endpoint, &other.model))
        });
        passed_over
    }

    /// Forgets endpoints that are no more.
    pub fn keep(&mut self, is_known: impl Fn(&str) -> bool) {
        self.endpoints.retain(|endpoint, _| is_known(endpoint));
    }

    fn lane(&self, place: Place<'_>) -> Option<&Lane> {
        self.endpoints.get(place.endpoint)?.get(place.model)
    }

    fn lane_mut(&mut self, place: Place<'_>, now: Instant) -> &mut Lane {
        if self.endpoints.len() >= MAX_ENDPOINTS && !self.endpoints.contains_key(place.endpoint) {
            self.endpoints.clear();
        }
        let models = self.endpoints.entry(place.endpoint.to_owned()).or_default();
        if models.len() >= MAX_MODELS && !models.contains_key(place.model) {
            let oldest = models
                .iter()
                .min_by_key(|(_, lane)| (lane.is_passed_over(now), lane.used));
            if let Some(oldest) = oldest.map(|(model, _)| model.clone()) {
                models.remove(&oldest);
            }
        }
        let lane = models
            .entry(place.model.to_owned())
            .or_insert_with(|| Lane {
                circuit: Circuit::default(),
                load: Load::default(),
                rests: Vec::new(),
                used: now,
            });
        lane.used = now;
        lane
    }
}

impl Lane {
    fn is_passed_over(&self, now: Instant) -> bool {
        let mut rests = self.rests.iter();
        self.circuit.is_open() || rests.any(|rest| rest.is_confirmed && rest.until > now)
    }

    fn rests(&self, key: u64, now: Instant) -> Option<&Rest> {
        let mut rests = self.rests.iter();
        rests.find(|rest| rest.key == key && rest.until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place {
        endpoint: "a",
        model: "m",
    };

    fn rest(health: &mut Health, key: u64, account: u64, asked: Option<Duration>, now: Instant) {
        let needed = NeededRest {
            key,
            account,
            asked,
            is_keys: false,
        };
        health.rest(PLACE, needed, now);
    }

    #[test]
    fn wrong_key_rests_for_everybody() {
        let now = Instant::now();
        let mut health = Health::default();
        let needed = NeededRest {
            key: 1,
            account: 7,
            asked: None,
            is_keys: true,
        };
        health.rest(PLACE, needed, now);
        assert_eq!(health.pass(PLACE, 8, &[1], now), Pass::Blocked);
        assert_eq!(health.passed_over(now).len(), 1);
    }

    #[test]
    fn endpoint_rests_when_all_of_its_keys_are_limited() {
        let now = Instant::now();
        let mut health = Health::default();
        let pass = |health: &Health, now| health.pass(PLACE, 9, &[1, 2], now);
        let limit = |health: &mut Health, key, seconds| {
            for account in [7, 8] {
                rest(
                    health,
                    key,
                    account,
                    Some(Duration::from_secs(seconds)),
                    now,
                );
            }
        };
        limit(&mut health, 1, 3);
        assert_eq!(pass(&health, now), Pass::Free);
        assert_eq!(health.resting(PLACE, 1, 9, now), Resting::Yes);
        assert_eq!(health.resting(PLACE, 2, 9, now), Resting::No);
        limit(&mut health, 2, 9_999);
        assert_eq!(pass(&health, now), Pass::Blocked);
        assert_eq!(health.passed_over(now).len(), 1);
        assert_eq!(pass(&health, now + Duration::from_secs(3)), Pass::Free);
        assert_eq!(health.resting(PLACE, 2, 9, now + LONGEST_REST), Resting::No);
    }

    #[test]
    fn limit_that_one_account_meets_is_its_own() {
        let now = Instant::now();
        let mut health = Health::default();
        for _ in 0..3 {
            rest(&mut health, 1, 7, Some(Duration::from_secs(30)), now);
        }
        assert_eq!(health.pass(PLACE, 7, &[1], now), Pass::Blocked);
        assert_eq!(health.pass(PLACE, 8, &[1], now), Pass::Free);
        rest(&mut health, 1, 8, Some(Duration::from_secs(30)), now);
        assert_eq!(health.pass(PLACE, 9, &[1], now), Pass::Blocked);
    }

    #[test]
    fn invented_models_do_not_make_it_forget_what_is_passed_over() {
        let now = Instant::now();
        let mut health = Health::default();
        for account in [7, 8] {
            rest(&mut health, 1, account, Some(Duration::from_secs(30)), now);
        }
        for number in 0..1_000 {
            let model = format!("invented {number}");
            let place = Place {
                endpoint: "a",
                model: &model,
            };
            let at = now + Duration::from_millis(number);
            health.begin(place, Begun { account: 1, at });
        }
        assert_eq!(health.pass(PLACE, 9, &[1], now), Pass::Blocked);
    }

    #[test]
    fn endpoint_rests_when_all_of_its_keys_are_refused() {
        let now = Instant::now();
        let mut health = Health::default();
        let pass = |health: &Health, account| health.pass(PLACE, account, &[1, 2], now);
        rest(&mut health, 1, 7, None, now);
        assert_eq!(health.resting(PLACE, 1, 7, now), Resting::Yes);
        assert_eq!(health.resting(PLACE, 1, 8, now), Resting::ForOthers);
        assert_eq!(pass(&health, 7), Pass::Free);
        // A provider may refuse the key because of what one account has sent.
        rest(&mut health, 2, 7, None, now);
        assert_eq!(
            (pass(&health, 7), pass(&health, 8)),
            (Pass::Blocked, Pass::Free)
        );
        assert_eq!(health.passed_over(now), []);
        for key in [1, 2] {
            rest(&mut health, key, 8, None, now);
        }
        assert_eq!(pass(&health, 9), Pass::Blocked);
        let later = now + REFUSED_REST;
        assert_eq!(health.pass(PLACE, 9, &[1, 2], later), Pass::Free);
    }

    #[test]
    fn names_that_clients_choose_take_a_bounded_place() {
        let now = Instant::now();
        let mut health = Health::default();
        let begun = Begun {
            account: 0,
            at: now,
        };
        for number in 0..1_000_u64 {
            let model = format!("m{number}");
            let place = Place {
                endpoint: "a",
                model: &model,
            };
            health.begin(
                place,
                Begun {
                    at: now + Duration::from_millis(number),
                    ..begun
                },
            );
        }
        assert_eq!(health.endpoints["a"].len(), MAX_MODELS);
        assert!(health.endpoints["a"].contains_key("m999"));
        health.keep(|name| name == "b");
        assert!(health.endpoints.is_empty());
    }
}
