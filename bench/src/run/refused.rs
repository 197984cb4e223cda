//! One tenant's calls while another's are refused: six connections of one key whose long prompts are more than it
//! has, each of which must be read and some of them counted to be refused.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::START;
use super::child::{Running, free_port};
use super::gateway::{self, PATH, REFUSED_PATH, Store};
use super::measure::generate;
use super::scenario::Keys;
use crate::{Outcome, fault, load, process};

/// What the victim's p50 may be of its quiet one.
const TARGET: f64 = 2.0;
const CONNECTIONS: usize = 6;
const BODY_BYTES: usize = 250_000;
/// Not so little that the bytes alone refuse it, and less than its words are.
const BALANCE: u64 = 22_000;
/// What most refusals are once a key has had too many: the others cost the attacker a pause.
const REFUSAL: u16 = 429;
/// Before the victim is measured, and after.
const LEAD: Duration = Duration::from_millis(500);

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

/// Whether the target was reached, in the median of the rounds.
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
    let port = free_port()?;
    let mut command = Command::new(env::current_exe()?);
    command.args(["provider", "--port", &port.to_string()]);
    let mut provider = Running::spawn("provider", &mut command, &dir.join("provider.log"))?;
    if let Some(code) = provider.wait_port(port, START)? {
        return Err(fault(format!("the provider ended with {code}")));
    }
    let gateway = gateway::start(Store::Embedded, port, &dir.join("gateway"))?;
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
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
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
