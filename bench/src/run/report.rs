//! Formats the results as Markdown, for `RESULTS.md` and for the terminal.

use std::fmt::Write;

use super::chart::thousands;
use super::results::{Figures, Results};
use super::scenario::{ALL, IDLE};
use super::targets::judge;

/// Sections of the report, in order: scenario name prefix and title.
const GROUPS: [(&str, &str); 9] = [
    ("plain-", "Plain answers"),
    ("stream-", "Streams of 20 chunks"),
    ("tls-", "HTTP/1.1 over TLS, 16 connections"),
    ("h2-", "HTTP/2, 2 connections of 100 streams each"),
    ("body-", "Long prompts, 16 connections"),
    ("keys-", "Many keys, 64 connections (one hot key: plain-64)"),
    (
        "kept-",
        "Answers from the cache, 16 connections (forwarded: plain-16, stream-16)",
    ),
    (
        "beside-",
        "Beside a failing endpoint, 100 keys, 64 connections (one endpoint: keys-100)",
    ),
    ("refused-", "Refusals, 64 connections"),
];

/// Returns the content of `RESULTS.md`.
pub fn whole(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = String::from("# Measured\n\n");
    let _ = writeln!(
        text,
        "{}, {} cores of {}, {} MB, {}; generator, provider and contender share the cores, all on loopback. \
         {} interleaved rounds of {} s; every figure is the median of them, and a comparison is made within its round. \
         How, and what the figures mean: [README.md](README.md). The rounds themselves: results.json.\n",
        machine.date,
        machine.cores,
        machine.cpu,
        thousands(machine.memory_mb as f64),
        machine.kernel,
        results.rounds,
        results.seconds,
    );
    let _ = writeln!(text, "```sh\n{}\n```\n", results.command);
    text += &targets(results, true);
    text += &tables(results);
    text += &contenders(results);
    text
}

/// Returns the table of targets. `all`: include those that the run did not measure.
pub fn targets(results: &Results, all: bool) -> String {
    let mut text = String::from("## Targets\n\n| | Target | Found | |\n|---|---|---|---|\n");
    let mut verdicts = judge(results);
    verdicts.retain(|verdict| all || verdict.reached.is_some());
    if verdicts.is_empty() {
        return String::new();
    }
    for verdict in verdicts {
        let reached = match verdict.reached {
            Some(true) => "reached",
            Some(false) => "**missed**",
            None => "",
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {reached} |",
            verdict.contender, verdict.target, verdict.found
        );
    }
    text + "\n"
}

pub fn tables(results: &Results) -> String {
    let mut text = String::new();
    for (prefix, title) in GROUPS {
        let scenarios = ALL
            .iter()
            .filter(|one| one.name.starts_with(prefix) && results.measured(one.name));
        let mut parts = String::new();
        for scenario in scenarios {
            let _ = writeln!(parts, "{}:\n", scenario.title);
            parts += &table(results, scenario.name, scenario.stream);
            parts.push('\n');
        }
        if !parts.is_empty() {
            let _ = write!(text, "## {title}\n\n{parts}");
        }
    }
    text += &idle(results);
    text += &books(results);
    text
}

fn table(results: &Results, scenario: &str, stream: bool) -> String {
    let (unit, first) = match stream {
        true => ("streams/s", " First chunk p50, us | added |"),
        false => ("req/s", ""),
    };
    let mut text = format!(
        "| | {unit} | p50, us | added | p99, us | CPU, us | to nginx |{first}\n|---|---|---|---|---|---|---|{}\n",
        if stream { "---|---|" } else { "" },
    );
    for name in results.names() {
        let figures = results.figures(name, scenario);
        if figures.rate.is_none() {
            continue;
        }
        text += &line(name, &figures, stream);
    }
    text
}

fn line(name: &str, figures: &Figures, stream: bool) -> String {
    let whole = |value: Option<f64>| value.map(thousands).unwrap_or_default();
    let cpu = match (figures.cpu, figures.redis_cpu) {
        (Some(own), Some(redis)) => format!("{own:.1} + {redis:.1} Redis"),
        (Some(own), None) if own >= 1_000.0 => thousands(own),
        (Some(own), None) => format!("{own:.1}"),
        _ => String::new(),
    };
    let ratio = figures.cpu_to_nginx.map(|ratio| format!("{ratio:.2}"));
    // `direct` is the baseline itself.
    let added = |value: Option<f64>| whole(value.filter(|_| name != "direct"));
    let mut text = format!(
        "| {name} | {} | {} | {} | {} | {cpu} | {} |",
        whole(figures.rate),
        whole(figures.p50),
        added(figures.p50_added),
        whole(figures.p99),
        ratio.unwrap_or_default(),
    );
    if stream {
        let (first, more) = (figures.first_event, figures.first_event_added);
        let _ = write!(text, " {} | {} |", whole(first), added(more));
    }
    if figures.errors > 0 {
        let _ = write!(text, " {} errors |", figures.errors);
    }
    text + "\n"
}

fn idle(results: &Results) -> String {
    if results.idle.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "## Idle streams\n\nMemory that each takes, KB, in a process that has just been started.\n\n| |",
    );
    for silent in IDLE {
        let _ = write!(text, " {} |", silent.title());
    }
    text += "\n|---|---|---|---|\n";
    for name in results.names().filter(|name| *name != "direct") {
        let _ = write!(text, "| {name} |");
        for silent in IDLE {
            let mut all = results
                .idle
                .iter()
                .filter(|idle| idle.contender == name && idle.silent == silent);
            let found = match (results.kb_per_stream(name, silent), all.next()) {
                (Some(kb), _) => format!("{kb:.1}"),
                (None, Some(failed)) => failed.failure.clone().unwrap_or_default(),
                (None, None) => String::new(),
            };
            let _ = write!(text, " {} |", found.replace('\n', " "));
        }
        text.push('\n');
    }
    if let Some(held) = results
        .idle
        .iter()
        .filter_map(|idle| {
            idle.held
                .as_ref()
                .map(|held| (idle.silent.streams, held.streams))
        })
        .find(|(wanted, held)| held < wanted)
    {
        let _ = writeln!(
            text,
            "\nInstead of {} there were {}: each takes two descriptors, and this machine allows a process {}.",
            thousands(held.0 as f64),
            thousands(held.1 as f64),
            thousands(results.machine.descriptors as f64),
        );
    }
    text + "\n"
}

fn books(results: &Results) -> String {
    let mut text = String::new();
    for name in results.ours() {
        let (exact, looked) = results.exact(name);
        if looked > 0 {
            let answer = if exact == looked { "yes" } else { "**no**" };
            let _ = writeln!(
                text,
                "* {name}: books exact: {answer} ({exact} of {looked} comparisons)"
            );
        }
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "## Books\n\nTokens charged against tokens that the provider counted, after each measurement.\n\n{text}\n"
    )
}

fn contenders(results: &Results) -> String {
    let mut text = String::from(
        "## Contenders\n\n| | Version | What is on | Peak memory, MB |\n|---|---|---|---|\n",
    );
    for about in &results.contenders {
        let peak = match (&about.missing, about.peak_kb, about.redis_peak_kb) {
            (Some(why), _, _) => format!("not measured: {}", why.replace('\n', " ")),
            (None, Some(own), Some(redis)) => format!("{} + {} Redis", own / 1024, redis / 1024),
            (None, Some(own), None) => (own / 1024).to_string(),
            _ => String::new(),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {peak} |",
            about.name, about.version, about.features
        );
    }
    if !results.troubles.is_empty() {
        text += "\n## Troubles\n\n";
        for trouble in &results.troubles {
            let _ = writeln!(text, "* {}", trouble.replace('\n', " "));
        }
    }
    text
}
