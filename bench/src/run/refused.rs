//! Measures one tenant's latency (the victim) while another tenant's calls are refused (the attacker).
//!
//! The attacker has six connections and one key. Its long prompts exceed its balance; the gateway must read
//! each one, and count the tokens of some, to refuse it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::certificate::Certificate;
use super::contender::Site;
use super::gateway::{self, PATH, REFUSED_PATH, Store};
use super::measure::generate;
use super::results::median;
use super::scenario::Keys;
use super::start_provider;
use crate::{Outcome, fault, load, process};

/// Maximum ratio of the victim's p50 during the attack to its p50 without.
const TARGET: f64 = 2.0;
const CONNECTIONS: usize = 6;
const BODY_BYTES: usize = 250_000;
/// The attacker's balance in tokens: too large for a refusal by the lower bound from bytes, too small for the
/// counted tokens.
const BALANCE: u64 = 22_000;
/// Status of most refusals once a key has had too many (429). Any other status is an error for the generator,
/// which then pauses.
const REFUSAL: u16 = 429;
/// Time that the attack runs before and after the measurement of the victim.
const LEAD: Duration = Duration::from_millis(500);

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

/// Runs the measurement; returns whether the median ratio of the rounds is at most [`TARGET`].
pub fn run(args: &Args) -> Outcome<bool> {
    process::raise_descriptors();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = here.join(format!("target/refused-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let outcome = measure(args, &dir);
    let _ = fs::remove_dir_all(&dir);
    outcome
}

fn measure(args: &Args, dir: &Path) -> Outcome<bool> {
    let (_provider, port) = start_provider(dir)?;
    let site = Site {
        provider: port,
        dir: dir.to_owned(),
        peers: PathBuf::new(),
        certificate: Certificate::make(dir)?,
    };
    let gateway = gateway::start(Store::Embedded, &site, &dir.join("gateway"))?;
    let attacker = gateway.mint_refused(BALANCE)?;
    println!(
        "| round | quiet p50, us | p50 under refusals, us | ratio | refusals/s |\n|---|---|---|---|---|"
    );
    let mut ratios = Vec::new();
    for round in 1..=args.rounds.clamp(1, 100) {
        let victim = || {
            let mut arguments = of(gateway.port, PATH, args.seconds);
            arguments.extend(gateway.arguments(Keys::Hot));
            generate::<load::Report>("load", &arguments)
        };
        let quiet = victim()?;
        let mut attack = of(
            gateway.port,
            REFUSED_PATH,
            args.seconds + 2.0 * LEAD.as_secs_f64(),
        );
        for (name, value) in [
            ("--header", format!("authorization: Bearer {attacker}")),
            ("--connections", CONNECTIONS.to_string()),
            ("--body-bytes", BODY_BYTES.to_string()),
            ("--fill", "a".to_owned()),
            ("--expect", REFUSAL.to_string()),
        ] {
            attack.extend([name.to_owned(), value]);
        }
        let attack = thread::spawn(move || generate::<load::Report>("load", &attack));
        thread::sleep(LEAD);
        let loud = victim()?;
        let refused = attack.join().map_err(|_| fault("the attack fell"))??;
        let ratio = loud.p50 / quiet.p50;
        println!(
            "| {round} | {:.0} | {:.0} | {ratio:.2} | {:.0} |",
            quiet.p50,
            loud.p50,
            (refused.requests + refused.errors) as f64 / refused.seconds,
        );
        ratios.push(ratio);
    }
    let median = median(ratios).ok_or_else(|| fault("no round was measured"))?;
    let verdict = if median <= TARGET {
        "reached"
    } else {
        "missed"
    };
    println!("\nAt most {TARGET} times the quiet p50: {median:.2}, {verdict}");
    Ok(median <= TARGET)
}

fn of(port: u16, path: &str, seconds: f64) -> Vec<String> {
    vec![
        "--url".to_owned(),
        format!("http://127.0.0.1:{port}{path}"),
        "--seconds".to_owned(),
        seconds.to_string(),
    ]
}
