//! One measurement of one contender: a scenario for a few seconds (`load`), or its memory with idle streams
//! (`idle`).

use std::env;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::contender::Contender;
use super::gateway::provider_count;
use super::scenario::{Keys, Scenario, Silent};
use crate::process::cpu_nanos;
use crate::{Outcome, fault, hold, load};

/// Pause before the CPU time is read, because work after the last response counts too: settling, logging,
/// closing.
const AFTERMATH: Duration = Duration::from_millis(100);

/// Minimum number of events of a stream from the cache: its text in one, its usage, and `[DONE]`.
const KEPT_EVENTS: u64 = 3;

/// Result of one measurement with load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    pub round: usize,
    pub contender: String,
    pub scenario: String,
    pub load: load::Report,
    /// CPU time per request in microseconds, of all the contender's processes except Redis.
    pub cpu: Option<f64>,
    pub redis_cpu: Option<f64>,
    /// Tokens charged and tokens served on these keys since the start
    /// (`Gateway::books`).
    pub books: Option<(u64, u64)>,
}

/// Result of one measurement with idle streams.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Idle {
    pub contender: String,
    #[serde(flatten)]
    pub silent: Silent,
    pub held: Option<hold::Report>,
    pub failure: Option<String>,
}

/// Runs `bench load` or `bench hold` as a separate process and parses the report that it prints.
pub fn generate<T: for<'de> Deserialize<'de>>(what: &str, arguments: &[String]) -> Outcome<T> {
    let output = Command::new(env::current_exe()?)
        .arg(what)
        .arg("--json")
        .args(arguments)
        .output()?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let text = String::from_utf8_lossy(&output.stderr);
        fault(text.trim().trim_start_matches("bench: "))
    })
}

/// Measures one scenario, and compares the gateway's charges with the provider's count.
pub fn load(
    contender: &mut Contender,
    scenario: &Scenario,
    seconds: f64,
    provider: u16,
) -> Outcome<Sample> {
    let mut arguments = contender.arguments(scenario.keys, scenario.protocol);
    for (name, value) in [
        ("--connections", scenario.connections.to_string()),
        ("--seconds", seconds.to_string()),
        ("--body-bytes", scenario.body_bytes.to_string()),
        ("--expect", scenario.expect.to_string()),
    ] {
        arguments.extend([name.to_owned(), value]);
    }
    if let Some(status) = scenario.or {
        arguments.extend(["--or".to_owned(), status.to_string()]);
    }
    if scenario.keys == Keys::Kept {
        arguments.extend(["--events".to_owned(), KEPT_EVENTS.to_string()]);
    }
    if scenario.stream {
        arguments.push("--stream".to_owned());
    }
    let (pid, redis) = (contender.pid(), contender.redis_pid());
    let count_before = provider_count(provider)?;
    let cpu_before = pid.map(cpu_nanos);
    let redis_before = redis.map(cpu_nanos);
    let report: load::Report = generate("load", &arguments)?;
    thread::sleep(AFTERMATH);
    let each = |pid: Option<u32>, before: Option<u64>| {
        let spent = cpu_nanos(pid?).saturating_sub(before?);
        (report.requests > 0).then(|| spent as f64 / 1_000.0 / report.requests as f64)
    };
    let cpu = each(pid, cpu_before);
    let redis_cpu = each(redis, redis_before);
    let served = provider_count(provider)?.since(count_before);
    let books = match contender.gateway() {
        None => None,
        Some(gateway) => {
            gateway.served(scenario.keys, served, report.requests);
            // Reading 100,000 balances is slow: done once, at the end of the run.
            match scenario.keys {
                Keys::Many => None,
                keys => Some(gateway.books(keys)?),
            }
        }
    };
    Ok(Sample {
        round: 0,
        contender: contender.about.name.clone(),
        scenario: scenario.name.to_owned(),
        load: report,
        cpu,
        redis_cpu,
        books: books.map(|books| (books.charged, books.served)),
    })
}

/// Measures memory with idle streams. The contender must be freshly started: memory freed by an earlier
/// scenario would be reused and make streams look free.
pub fn idle(contender: &mut Contender, silent: Silent) -> Outcome<hold::Report> {
    let pid = contender.pid().ok_or_else(|| fault("no process"))?;
    // 10,000 streams of a single key are not a realistic load.
    let keys = Keys::Hundred;
    if let Some(gateway) = contender.gateway() {
        gateway.prepare(keys)?;
    }
    let mut arguments = contender.arguments(keys, silent.protocol());
    for (name, value) in [
        ("--streams", silent.streams.to_string()),
        ("--pid", pid.to_string()),
        ("--seconds", "2".to_owned()),
    ] {
        arguments.extend([name.to_owned(), value]);
    }
    generate("hold", &arguments)
}
