//! Circuit breaker of one model at one endpoint: when it is passed over, for whom, and when it is probed again.
//!
//! Each account has one voice, however often it calls: the circuit opens for everybody when at least three accounts
//! failed with their latest calls, and not fewer than succeeded. An account whose calls alone fail is passed by after
//! 20 of them, and nobody else is: a poisonous prompt puts out its sender. One call probes an open circuit.
//! Pure: `now` comes in, and accounts are numbers.

use std::time::{Duration, Instant};

/// Age at which an outcome is forgotten.
const WINDOW: Duration = Duration::from_secs(30);
/// Failing accounts that open the circuit for everybody.
const LEAST_ACCOUNTS: usize = 3;
/// Failures in a row, of all failing accounts together, that open the circuit for everybody. They double with each time
/// that a probe has closed it within [`RELAPSE`]: who fails on purpose would open it again at once.
const LEAST_FAILURES: u32 = 5;
/// Times that [`LEAST_FAILURES`] doubles, at most. Three accounts are passed by alone before they fail so often.
const MAX_DOUBLINGS: u32 = 5;
/// Time after a probe's success in which another opening is a relapse.
const RELAPSE: Duration = Duration::from_secs(300);
/// Failures in a row that open the circuit for one account.
const FAILURES_OF_ONE: u32 = 20;
/// Time for which a circuit opens first; it doubles each time a probe fails.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Age at which a probe without outcome no longer keeps others from probing.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Probes that are remembered while a circuit is open, the latest last.
const MAX_PROBES: usize = 64;
/// Time for which an account leaves further probes to others, in pauses.
const PAUSES_BETWEEN_PROBES: u32 = 4;
/// Time after the opening at which accounts that failed lately may probe too, in pauses.
const PAUSES_OF_FAILING: u32 = 2;
/// Prober of an account's own circuit, which is no account.
const ANYBODY: u64 = u64::MAX;
/// Accounts whose latest outcomes are known; beyond it, the one heard longest ago is forgotten.
const MAX_VOICES: usize = 256;

/// Outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Answered,
    /// A fault of the provider: connect, timeout, 5xx, 429, a broken answer.
    Failed,
    /// Nothing that tells of the provider's health.
    Unsure,
}

/// Whether an endpoint may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    Free,
    /// As a probe of an open circuit: only if [`Circuit::begin`] is told.
    Probe,
    Blocked,
}

/// Change of the circuit for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Opened { failures: u32, accounts: usize },
    Closed,
}

#[derive(Clone, Debug, Default)]
pub struct Circuit {
    gate: Gate,
    voices: Vec<Voice>,
    /// Time of the latest success of a probe, and how many came shortly after another.
    closed: Option<(Instant, u32)>,
}

/// Latest outcome of an account's calls.
#[derive(Clone, Debug)]
struct Voice {
    account: u64,
    at: Instant,
    failures_in_row: u32,
    /// Part of them since the circuit was closed for everybody.
    new_failures: u32,
    gate: Gate,
}

/// Open or closed, for everybody or for one account.
#[derive(Clone, Debug, Default)]
struct Gate {
    /// `None`: closed.
    opened: Option<Instant>,
    pause: Duration,
    /// Times and accounts of the probes since it is open.
    probes: Vec<(Instant, u64)>,
    /// Whether the latest probe has no outcome yet.
    is_probed: bool,
}

impl Gate {
    /// `is_failing`: the account's latest calls failed.
    fn pass(&self, account: u64, is_failing: bool, now: Instant) -> Pass {
        let Some(opened) = self.opened else {
            return Pass::Free;
        };
        let age = |at: Instant| now.saturating_duration_since(at);
        let least = match is_failing {
            true => PAUSES_OF_FAILING * self.pause,
            false => self.pause,
        };
        let is_under_way = || {
            let latest = self.probes.last();
            self.is_probed && latest.is_some_and(|(at, _)| age(*at) < PROBE_TIMEOUT)
        };
        // Who has probed in vain leaves the next probes to others, so that few accounts cannot keep it open.
        let has_probed = || {
            let mut probes = self.probes.iter();
            let spent = PAUSES_BETWEEN_PROBES * self.pause;
            probes.any(|(at, prober)| *prober == account && age(*at) < spent)
        };
        match age(opened) < least || is_under_way() || has_probed() {
            true => Pass::Blocked,
            false => Pass::Probe,
        }
    }

    fn begin_probe(&mut self, account: u64, now: Instant) {
        if self.probes.len() == MAX_PROBES {
            self.probes.remove(0);
        }
        self.probes.push((now, account));
        self.is_probed = true;
    }

    /// Opens it, or opens it anew after a failed probe. `is_longer`: the pause doubles.
    fn open(&mut self, is_longer: bool, now: Instant) {
        self.pause = match self.opened {
            Some(_) if is_longer => (2 * self.pause).min(LONGEST_PAUSE),
            Some(_) => self.pause,
            None => FIRST_PAUSE,
        };
        self.opened = Some(now);
        self.is_probed = false;
    }

    /// Whether an attempt that began then is a probe, or at least as telling.
    fn is_told_by(&self, begun: Instant) -> bool {
        self.opened.is_some_and(|opened| begun >= opened)
    }
}

impl Voice {
    /// Whether the account's own circuit lets it pass. Nobody else probes it, so it need not leave probes to others.
    fn own_pass(&self, now: Instant) -> Pass {
        self.gate.pass(self.account, false, now)
    }
}

impl Circuit {
    pub fn pass(&self, account: u64, now: Instant) -> Pass {
        let own = self
            .voice(account)
            .map_or(Pass::Free, |voice| voice.own_pass(now));
        match (self.shared_pass(account, now), own) {
            (Pass::Blocked, _) | (_, Pass::Blocked) => Pass::Blocked,
            (Pass::Probe, _) | (_, Pass::Probe) => Pass::Probe,
            _ => Pass::Free,
        }
    }

    /// Whether the circuit for everybody lets an account pass.
    fn shared_pass(&self, account: u64, now: Instant) -> Pass {
        let voice = self.voice(account);
        let is_failing = voice.is_some_and(|voice| voice.failures_in_row > 0);
        self.gate.pass(account, is_failing, now)
    }

    /// Whether the circuit is open for everybody.
    pub fn is_open(&self) -> bool {
        self.gate.opened.is_some()
    }

    /// Notes the begin of an attempt, which may be a probe.
    pub fn begin(&mut self, account: u64, now: Instant) {
        if self.shared_pass(account, now) == Pass::Probe {
            self.gate.begin_probe(account, now);
        }
        if let Some(voice) = self.voice_mut(account)
            && voice.own_pass(now) == Pass::Probe
        {
            voice.gate.begin_probe(ANYBODY, now);
        }
    }

    /// Notes the outcome of an attempt that began at `begun`.
    pub fn end(
        &mut self,
        account: u64,
        heard: Heard,
        begun: Instant,
        now: Instant,
    ) -> Option<Change> {
        match heard {
            Heard::Answered => self.answered(account, begun, now),
            Heard::Failed => self.failed(account, begun, now),
            Heard::Unsure => {
                self.forget_probe(begun);
                None
            }
        }
    }

    fn answered(&mut self, account: u64, begun: Instant, now: Instant) -> Option<Change> {
        let voice = self.heard(account, now);
        (voice.failures_in_row, voice.new_failures) = (0, 0);
        if voice.gate.is_told_by(begun) {
            voice.gate = Gate::default();
        }
        if !self.gate.is_told_by(begun) {
            return None;
        }
        self.gate = Gate::default();
        self.closed = Some((now, self.relapses(now) + 1));
        for voice in &mut self.voices {
            voice.new_failures = 0;
        }
        Some(Change::Closed)
    }

    fn failed(&mut self, account: u64, begun: Instant, now: Instant) -> Option<Change> {
        let voice = self.heard(account, now);
        voice.failures_in_row += 1;
        voice.new_failures += 1;
        let is_news = voice.failures_in_row == 1;
        let is_first = voice.gate.opened.is_none() && voice.failures_in_row >= FAILURES_OF_ONE;
        if is_first || voice.gate.is_told_by(begun) {
            voice.gate.open(true, now);
        }
        if self.is_open() {
            if self.gate.is_told_by(begun) {
                // One who failed before tells nothing new.
                self.gate.open(is_news, now);
            }
            return None;
        }
        let least = LEAST_FAILURES << self.relapses(now);
        let recent = self
            .voices
            .iter()
            .filter(|voice| now.saturating_duration_since(voice.at) < WINDOW);
        let (failing, others): (Vec<_>, Vec<_>) = recent.partition(|voice| voice.new_failures > 0);
        let failures: u32 = failing.iter().map(|voice| voice.new_failures).sum();
        let accounts = failing.len();
        let well = others
            .iter()
            .filter(|voice| voice.failures_in_row == 0)
            .count();
        if accounts < LEAST_ACCOUNTS || accounts < well || failures < least {
            return None;
        }
        self.gate.open(false, now);
        Some(Change::Opened { failures, accounts })
    }

    /// Number of times that a probe has closed the circuit lately.
    fn relapses(&self, now: Instant) -> u32 {
        let recent = self
            .closed
            .filter(|(at, _)| now.saturating_duration_since(*at) < RELAPSE);
        recent.map_or(0, |(_, relapses)| relapses.min(MAX_DOUBLINGS))
    }

    fn forget_probe(&mut self, begun: Instant) {
        let gates = self.voices.iter_mut().map(|voice| &mut voice.gate);
        for gate in gates.chain([&mut self.gate]) {
            if gate.probes.last().is_some_and(|(at, _)| *at == begun) {
                gate.is_probed = false;
            }
        }
    }

    fn voice(&self, account: u64) -> Option<&Voice> {
        self.voices.iter().find(|voice| voice.account == account)
    }

    fn voice_mut(&mut self, account: u64) -> Option<&mut Voice> {
        self.voices
            .iter_mut()
            .find(|voice| voice.account == account)
    }

    /// Returns the voice of an account that was just heard; an old one begins anew.
    fn heard(&mut self, account: u64, now: Instant) -> &mut Voice {
        let found = self
            .voices
            .iter()
            .position(|voice| voice.account == account);
        let index = found.unwrap_or_else(|| {
            if self.voices.len() == MAX_VOICES {
                let oldest = self
                    .voices
                    .iter()
                    .enumerate()
                    .min_by_key(|(_, voice)| voice.at);
                let oldest = oldest.map_or(0, |(index, _)| index);
                self.voices.swap_remove(oldest);
            }
            self.voices.push(Voice {
                account,
                at: now,
                failures_in_row: 0,
                new_failures: 0,
                gate: Gate::default(),
            });
            self.voices.len() - 1
        });
        let voice = &mut self.voices[index];
        let is_old = now.saturating_duration_since(voice.at) >= WINDOW;
        if is_old && voice.gate.opened.is_none() {
            (voice.failures_in_row, voice.new_failures) = (0, 0);
        }
        voice.at = now;
        voice
    }
}

#[cfg(test)]
#[path = "circuit_tests.rs"]
mod tests;
