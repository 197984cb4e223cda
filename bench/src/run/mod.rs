//! The runner: starts every contender once, measures in interleaved rounds, verifies charges, writes the
//! report.

mod certificate;
mod chart;
mod child;
mod client;
mod contender;
mod gateway;
mod machine;
mod measure;
mod peer;
mod plan;
mod redis;
pub mod refused;
mod report;
mod results;
mod scenario;
mod targets;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{Outcome, fault, process};
use certificate::Certificate;
use child::{Running, free_port};
use contender::{Contender, Kind, Site, Started};
use machine::Machine;
use measure::{Idle, Sample};
use plan::Plan;
use results::Results;
use scenario::{Keys, Scenario, Silent};

pub use plan::Args;

/// Deadline for the provider to listen.
const START: Duration = Duration::from_secs(10);
/// Duration of a warm-up in seconds.
const WARM_UP: f64 = 0.3;
/// File descriptors of a process that are not used by streams.
const SPARE: u64 = 1_000;
/// Maximum rounds with idle streams: memory hardly varies, so three suffice.
const IDLE_ROUNDS: usize = 3;

/// Runs the benchmark; returns whether ResuLLM had no errors and charged exactly.
pub fn run(args: &Args) -> Outcome<bool> {
    let descriptors = process::raise_descriptors();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // In `target/`, which is on a disk: a `tmpfs` would make every store look fast.
    let dir = here.join(format!("target/run-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let plan = Plan::make(args, &here.join("peers"))?;
    let mut results = Results {
        machine: Machine::look(descriptors),
        command: command(),
        rounds: plan.rounds,
        seconds: plan.seconds,
        ..Results::default()
    };
    let outcome = measure_all(&plan, &dir, here, &mut results);
    let _ = fs::remove_dir_all(&dir);
    outcome?;
    write(args, &plan, here, &results)?;
    let exact = results.ours().all(|name| {
        let (exact, looked) = results.exact(name);
        exact == looked
    });
    let ours_in_trouble = results
        .troubles
        .iter()
        .any(|trouble| trouble.starts_with("resullm"));
    Ok(exact && !ours_in_trouble)
}

/// Prints the report of an earlier run (`results.json`); writes the chart to `svg`.
pub fn report(file: &Path, svg: Option<&Path>) -> Outcome<()> {
    let results: Results = serde_json::from_slice(&fs::read(file)?)?;
    print!("{}", report::whole(&results));
    if let (Some(path), Some(chart)) = (svg, chart::draw(&results)) {
        fs::write(path, chart)?;
    }
    Ok(())
}

/// Returns the command line that reproduces this run.
fn command() -> String {
    let arguments: Vec<String> = env::args().skip(1).collect();
    format!("cargo run --release -- {}", arguments.join(" "))
}

/// Starts the mock provider; returns its guard, which terminates it on drop, and its port.
fn start_provider(dir: &Path) -> Outcome<(Running, u16)> {
    let port = free_port()?;
    let mut command = Command::new(env::current_exe()?);
    command.args(["provider", "--port", &port.to_string()]);
    let mut provider = Running::spawn("provider", &mut command, &dir.join("provider.log"))?;
    match provider.wait_port(port, START)? {
        Some(code) => Err(fault(format!("the provider ended with {code}"))),
        None => Ok((provider, port)),
    }
}

fn measure_all(plan: &Plan, dir: &Path, here: &Path, results: &mut Results) -> Outcome<()> {
    let (_provider, port) = start_provider(dir)?;
    let site = Site {
        provider: port,
        dir: dir.to_owned(),
        peers: here.join("peers"),
        certificate: Certificate::make(dir)?,
    };
    let mut running = start_all(plan, &site, results);
    for round in 0..plan.rounds {
        for scenario in &plan.scenarios {
            eprintln!("round {} of {}: {}", round + 1, plan.rounds, scenario.name);
            for contender in &mut running {
                measure_one(contender, scenario, plan, round, port, results);
            }
        }
    }
    finish(&mut running, results);
    drop(running);
    for round in 0..plan.rounds.min(IDLE_ROUNDS) {
        for silent in plan.idle.iter().copied() {
            eprintln!("round {}: {}", round + 1, silent.title());
            for kind in &plan.kinds {
                hold_idle(kind, &site, silent, results);
            }
        }
    }
    Ok(())
}

fn start_all(plan: &Plan, site: &Site, results: &mut Results) -> Vec<Contender> {
    let mut running = Vec::new();
    for kind in &plan.kinds {
        eprintln!("starting {}", kind.name());
        let mut about = kind.about(site);
        match kind.start(site, kind.name()) {
            Ok(Started::Running(mut contender)) => match prepare(&mut contender, plan, site) {
                Ok(()) => running.push(*contender),
                Err(error) => about.missing = Some(error.to_string()),
            },
            Ok(Started::NotInstalled(why)) => about.missing = Some(why),
            Err(error) => about.missing = Some(error.to_string()),
        }
        if let (Some(why), Kind::Gateway(_)) = (&about.missing, kind) {
            results.troubles.push(format!("{}: {why}", about.name));
        }
        results.contenders.push(about);
    }
    running
}

/// Creates a contender's keys and runs a short warm-up of each kind of scenario, which is not recorded.
fn prepare(contender: &mut Contender, plan: &Plan, site: &Site) -> Outcome<()> {
    let warm = |one: &&Scenario| one.connections >= 16 || one.protocol.is_http2();
    for scenario in plan.scenarios.iter().filter(warm) {
        if !contender.serves(scenario.protocol) {
            continue;
        }
        if let Some(gateway) = contender.gateway() {
            gateway.prepare(scenario.keys)?;
        } else if scenario.keys != Keys::Hot {
            continue;
        }
        measure::load(contender, scenario, WARM_UP, site.provider)?;
    }
    Ok(())
}

fn measure_one(
    contender: &mut Contender,
    scenario: &Scenario,
    plan: &Plan,
    round: usize,
    provider: u16,
    results: &mut Results,
) {
    let asked = scenario.keys == Keys::Hot || contender.gateway().is_some();
    if !asked || !contender.serves(scenario.protocol) {
        return;
    }
    let name = contender.about.name.clone();
    let what = format!("{name}, {}, round {}", scenario.name, round + 1);
    match measure::load(contender, scenario, plan.seconds, provider) {
        Ok(sample) => {
            results.troubles.extend(trouble(&what, &sample));
            results.samples.push(Sample { round, ..sample });
        }
        Err(error) => results.troubles.push(format!("{what}: {error}")),
    }
}

fn trouble(what: &str, sample: &Sample) -> Option<String> {
    if sample.load.errors > 0 {
        let first = sample.load.first_error.as_deref().unwrap_or("?");
        return Some(format!(
            "{what}: {} errors, first: {first}",
            sample.load.errors
        ));
    }
    let (charged, served) = sample.books?;
    (charged != served).then(|| format!("{what}: charged {charged}, served {served}"))
}

/// Records what is known only at the end: peak memory, and the charges of the 100,000 keys.
fn finish(running: &mut [Contender], results: &mut Results) {
    for contender in running {
        let name = contender.about.name.clone();
        let (pid, redis) = (contender.pid(), contender.redis_pid());
        if let Some(about) = results
            .contenders
            .iter_mut()
            .find(|about| about.name == name)
        {
            about.peak_kb = pid.map(process::peak_kb);
            about.redis_peak_kb = redis.map(process::peak_kb);
        }
        let used = contender.gateway().filter(|gateway| gateway.used_many());
        match used.map(|gateway| gateway.books(Keys::Many)) {
            None => {}
            Some(Ok(books)) => {
                if books.charged != books.served {
                    results
                        .troubles
                        .push(format!("{name}, 100,000 keys: {books:?}"));
                }
                results
                    .books_of_many
                    .push((name, books.charged, books.served));
            }
            Some(Err(error)) => results
                .troubles
                .push(format!("{name}, 100,000 keys: {error}")),
        }
    }
}

/// Measures idle streams on a freshly started contender.
fn hold_idle(kind: &Kind, site: &Site, silent: Silent, results: &mut Results) {
    let missing = |name: &str| {
        let about = results.contenders.iter().find(|about| about.name == name);
        about.is_none_or(|about| about.missing.is_some())
    };
    if matches!(kind, Kind::Direct) || missing(kind.name()) {
        return;
    }
    let wanted = silent.streams;
    // A stream takes two connections of the gateway: to the client and to the provider.
    let fit = usize::try_from(results.machine.descriptors.saturating_sub(SPARE) / 2);
    let fitting = Silent {
        streams: wanted.min(fit.unwrap_or(wanted)),
        ..silent
    };
    let label = format!("{}-idle-{wanted}-{}", kind.name(), results.idle.len());
    let held = match kind.start(site, &label) {
        Ok(Started::Running(mut contender)) => {
            let warm = scenario::ALL.iter().find(|one| one.name == "stream-16");
            let warmed = warm.map(|one| measure::load(&mut contender, one, WARM_UP, site.provider));
            match warmed {
                Some(Err(error)) => Err(error),
                _ if !contender.serves(silent.protocol()) => return,
                _ => measure::idle(&mut contender, fitting),
            }
        }
        Ok(Started::NotInstalled(why)) => Err(fault(why)),
        Err(error) => Err(error),
    };
    let (held, failure) = match held {
        Ok(held) => {
            let lost = held.streams - held.survived;
            (
                Some(held),
                (lost > 0).then(|| format!("{lost} streams ended early")),
            )
        }
        Err(error) => (None, Some(error.to_string())),
    };
    if let Some(failure) = &failure {
        results
            .troubles
            .push(format!("{}, {}: {failure}", kind.name(), silent.title()));
    }
    results.idle.push(Idle {
        contender: kind.name().to_owned(),
        silent,
        held,
        failure,
    });
}

/// Writes `results.json`, `RESULTS.md` and `throughput.svg` (full runs only), and prints the tables.
fn write(args: &Args, plan: &Plan, here: &Path, results: &Results) -> Outcome<()> {
    let raw = serde_json::to_string_pretty(results)? + "\n";
    let in_full = plan.in_full && args.json_only.is_none();
    let file: Option<PathBuf> = match &args.json_only {
        Some(file) => Some(file.clone()),
        None => in_full.then(|| here.join("results.json")),
    };
    if let Some(file) = file {
        fs::write(file, raw)?;
    }
    if in_full {
        fs::write(here.join("RESULTS.md"), report::whole(results))?;
        if let Some(svg) = chart::draw(results) {
            fs::write(here.join("throughput.svg"), svg)?;
        }
    }
    println!(
        "{}{}",
        report::tables(results),
        report::targets(results, false)
    );
    for about in results.contenders.iter() {
        if let Some(why) = &about.missing {
            println!("{} not measured: {why}", about.name);
        }
    }
    for trouble in &results.troubles {
        println!("trouble: {trouble}");
    }
    Ok(())
}
