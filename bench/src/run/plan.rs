//! Selects contenders, scenarios and rounds of a run from its arguments.

use std::path::{Path, PathBuf};

use super::contender::Kind;
use super::gateway::Store;
use super::peer;
use super::scenario::{ALL, IDLE, SHORT, Scenario, Silent};
use crate::{Outcome, fault};

/// Contenders of `--short`; those that are not installed are skipped.
const SHORT_KINDS: [&str; 6] = [
    "direct",
    "nginx",
    "envoy",
    "pingora",
    "resullm-embedded",
    "resullm-redis",
];

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Three rounds of one second of the main scenarios; writes no files
    #[arg(long)]
    short: bool,
    /// Include slow contenders
    #[arg(long)]
    all: bool,
    /// Only these contenders, separated by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these scenarios, separated by commas; `idle` means the idle streams
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<String>,
    #[arg(long)]
    rounds: Option<usize>,
    #[arg(long)]
    seconds: Option<f64>,
    /// Write the raw results to this file, and neither RESULTS.md nor results.json
    #[arg(long)]
    pub json_only: Option<PathBuf>,
}

pub struct Plan {
    pub kinds: Vec<Kind>,
    pub scenarios: Vec<Scenario>,
    pub idle: Vec<Silent>,
    pub rounds: usize,
    pub seconds: f64,
    /// Whether the run is complete, so that `RESULTS.md` may be written.
    pub in_full: bool,
}

impl Plan {
    pub fn make(args: &Args, peers: &Path) -> Outcome<Plan> {
        let mut kinds = vec![Kind::Direct];
        kinds.extend(peer::find(peers)?.into_iter().map(Kind::Peer));
        kinds.push(Kind::Bare);
        kinds.push(Kind::Gateway(Store::Embedded));
        kinds.push(Kind::Gateway(Store::Redis));
        let known: Vec<String> = kinds.iter().map(|kind| kind.name().to_owned()).collect();
        refuse_unknown(&args.only, |name| known.iter().any(|one| one == name))?;
        let is_scenario = |name: &str| name == "idle" || ALL.iter().any(|one| one.name == name);
        refuse_unknown(&args.scenarios, is_scenario)?;
        kinds.retain(|kind| match (args.only.is_empty(), kind) {
            (false, _) => args.only.iter().any(|name| name == kind.name()),
            (true, _) if args.short => SHORT_KINDS.contains(&kind.name()),
            (true, Kind::Peer(peer)) => args.all || !peer.slow,
            (true, _) => true,
        });
        let wanted = |name: &str| match args.scenarios.is_empty() {
            false => args.scenarios.iter().any(|one| one == name),
            true => !args.short || SHORT.contains(&name),
        };
        let (rounds, seconds) = if args.short { (3, 1.0) } else { (5, 3.0) };
        Ok(Plan {
            kinds,
            scenarios: ALL.into_iter().filter(|one| wanted(one.name)).collect(),
            idle: IDLE.into_iter().filter(|_| wanted("idle")).collect(),
            rounds: args.rounds.unwrap_or(rounds).clamp(1, 100),
            seconds: args.seconds.unwrap_or(seconds).clamp(0.1, 600.0),
            in_full: !args.short && args.only.is_empty() && args.scenarios.is_empty(),
        })
    }
}

fn refuse_unknown(names: &[String], known: impl Fn(&str) -> bool) -> Outcome<()> {
    match names.iter().find(|name| !known(name)) {
        Some(name) => Err(fault(format!("nothing here is called {name}"))),
        None => Ok(()),
    }
}
