//! The pages of the project as tests: every command runs, and prints what the page shows.
//!
//! CONTRIBUTING.md (Pages) explains the conventions. Each page has a shell, a directory and a network of its own; a
//! fault is reported with the page's file and line. `PAGE=docs/api.md` runs one page alone.

mod example;
mod page;
mod session;
mod shape;

use crate::harness::project::in_project;
use page::{Block, Fault, Part};
use regex::Regex;
use session::Session;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

/// Reasons for which a block may be left out. The list stays short: a page is mended before it is excused.
const REASONS: [&str; 3] = [
    "needs Docker",
    "needs root and systemd",
    "takes half an hour",
];
/// Pages at the top and the folders with pages. ARCHITECTURE.md's picture is compared by `tests/architecture.rs`.
const PAGES: [&str; 5] = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "deploy/README.md",
    "bench/README.md",
];
const FOLDERS: [&str; 2] = ["docs", "docs/adr"];
const AT_ONCE: usize = 2;
/// Address of the gateway in the pages, and the one that runs where a page calls it without starting one.
const ADDRESS: &str = "localhost:3000";
const GATEWAY: &str = "ADMIN_TOKEN=open-sesame resullm\n";

/// How often each kind of block occurs.
#[derive(Default)]
struct Count {
    run: usize,
    compared: usize,
    checked: usize,
    left_out: usize,
}

fn pages() -> Vec<String> {
    let mut pages = PAGES.map(str::to_owned).to_vec();
    for folder in FOLDERS {
        for entry in fs::read_dir(in_project(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                pages.push(format!("{folder}/{name}"));
            }
        }
    }
    pages.sort();
    pages
}

fn text_of(page: &str) -> String {
    fs::read_to_string(in_project(page)).unwrap()
}

#[test]
fn every_command_of_every_page_prints_what_the_page_shows() {
    let only = std::env::var("PAGE").ok();
    let pages = pages()
        .into_iter()
        .filter(|page| only.as_ref().is_none_or(|only| only == page));
    let waiting = Mutex::new(pages.rev().collect::<Vec<_>>());
    let faults = Mutex::new(Vec::new());

    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().pop();
                    let Some(page) = next else { return };
                    let found = play(&page);
                    let found = found.iter().map(|fault| format!("{page}:{fault}"));
                    faults.lock().unwrap().extend(found);
                }
            });
        }
    });

    let faults = faults.into_inner().unwrap();
    let count = faults.len();
    assert!(
        faults.is_empty(),
        "{count} faults in the pages\n\n{}\n",
        faults.join("\n\n")
    );
}

/// Plays a page from its first line to its last, and goes on after a fault.
#[expect(
    clippy::print_stdout,
    reason = "that of a test is shown where it fails"
)]
fn play(page: &str) -> Vec<Fault> {
    let (blocks, mut faults) = page::read(&text_of(page));
    let begun = Instant::now();
    let mut count = Count::default();
    let mut session = match session_for(&blocks) {
        Ok(session) => session,
        Err(fault) => return vec![fault],
    };
    for (at, block) in blocks.iter().enumerate() {
        let output = blocks.get(at + 1).filter(|next| next.part == Part::Output);
        let found = match (&block.mark, &block.part, &mut session) {
            (Some(_), ..) => {
                count.left_out += 1;
                syntax(block)
            }
            // Compared with its commands.
            (None, Part::Output, _) => Ok(()),
            (None, Part::Commands, Some(session)) => {
                count.run += 1;
                count.compared += usize::from(output.is_some());
                run(session, block, output)
            }
            (None, Part::File(name), session) => {
                count.checked += 1;
                if let Some(session) = session {
                    fs::write(session.file(name), &block.text).unwrap();
                }
                file(block)
            }
            (None, ..) => {
                count.checked += 1;
                example(block)
            }
        };
        faults.extend(found.err());
    }
    if !blocks.is_empty() {
        println!(
            "page: {page}: {} blocks run, {} of them with output; {} checked, {} left out; {:.1} s",
            count.run,
            count.compared,
            count.checked,
            count.left_out,
            begun.elapsed().as_secs_f32()
        );
    }
    faults
}

/// A shell for a page that has commands, with the servers that the page needs and does not start.
fn session_for(blocks: &[Block]) -> Result<Option<Session>, Fault> {
    let runs = |block: &&Block| block.part == Part::Commands && block.mark.is_none();
    let commands: Vec<&Block> = blocks.iter().filter(runs).collect();
    let Some(first) = commands.first() else {
        return Ok(None);
    };
    let line = first.line;
    let redis = commands.iter().any(|block| needs_redis(&block.text));
    let mut session = Session::open(redis).map_err(|text| Fault { line, text })?;
    if needs_gateway(&commands) {
        let started = session.run(GATEWAY).and_then(|ran| match ran.failed {
            Some(_) => Err(ran.printed),
            None => Ok(()),
        });
        started.map_err(|why| {
            let text = format!("the gateway that this page calls does not start: {why}");
            Fault { line, text }
        })?;
    }
    Ok(Some(session))
}

/// Whether a block calls a gateway before one starts it.
fn needs_gateway(commands: &[&Block]) -> bool {
    let starts = Regex::new(r"(?m)\bcargo run\b|\bresullm( --config \S+)?$").unwrap();
    let mut texts = commands.iter().map(|block| block.text.as_str());
    let first = texts.find(|text| text.contains(ADDRESS) || starts.is_match(text));
    first.is_some_and(|text| !starts.is_match(text))
}

fn needs_redis(text: &str) -> bool {
    let words = [
        "redis-cli",
        "redis://localhost:6379",
        "redis://127.0.0.1:6379",
    ];
    words.iter().any(|word| text.contains(word))
}

fn run(session: &mut Session, block: &Block, output: Option<&Block>) -> Result<(), Fault> {
    let at = |line, text| Err(Fault { line, text });
    if block.stops
        && let Err(why) = session.stop_gateways()
    {
        return at(
            block.line,
            format!("the page's gateway cannot be stopped: {why}"),
        );
    }
    let ran = match session.run(&script(block)) {
        Ok(ran) => ran,
        Err(why) => return at(block.line, format!("{why}\n--- commands\n{}", block.text)),
    };
    let printed = &ran.printed;
    if let Some(shown) = output {
        if shape::same(&shown.text, printed, &shown.language) {
            return Ok(());
        }
        let failed = ran
            .failed
            .map(|failed| format!(" (`{}` failed)", failed.command));
        let text = format!(
            "from this line on the page shows another output than its commands have{}\n--- commands\n{}--- the page shows\n{}--- printed\n{printed}",
            failed.unwrap_or_default(),
            block.text,
            shown.text,
        );
        let agreeing = shape::agreeing(&shown.text, printed, &shown.language);
        return at(shown.line + agreeing, text);
    }
    if let Some(failed) = ran.failed {
        let text = format!(
            "`{}` failed with status {}; it printed\n{printed}",
            failed.command, failed.status
        );
        return at(block.line + failed.line - 1, text);
    }
    match printed.lines().find(|line| is_refusal(line)) {
        Some(refusal) => at(
            block.line,
            format!(
                "the commands print a refusal that the page does not show: {refusal}\n--- commands\n{}",
                block.text
            ),
        ),
        None => Ok(()),
    }
}

/// The text that the shell reads for a block.
fn script(block: &Block) -> String {
    let program = match block.language.as_str() {
        "python" => "python3",
        "js" => "node --input-type=module",
        _ => return block.text.clone(),
    };
    format!(
        "{program} <<'END-OF-THE-BLOCK'\n{}END-OF-THE-BLOCK\n",
        block.text
    )
}

/// Whether a line is an error of the gateway: curl takes any answer for success.
fn is_refusal(line: &str) -> bool {
    let has_error = line.contains("\"error\":") && !line.contains("\"error\":null");
    let status = line
        .strip_prefix("HTTP/")
        .and_then(|rest| rest.split(' ').nth(1));
    has_error
        || line.starts_with("[ERROR]")
        || status.is_some_and(|code| code.starts_with(['4', '5']))
}

/// A file that the page's commands use.
fn file(block: &Block) -> Result<(), Fault> {
    let checked = match block.language.as_str() {
        "json" if example::is_config(&block.text) => example::config(&block.text),
        "json" => example::parsed(&block.text).map(drop),
        "yaml" => example::settings(&block.text),
        _ => Ok(()),
    };
    checked.map_err(|text| Fault {
        line: block.line,
        text,
    })
}

/// Settings or a tenant's config that the page only shows.
fn example(block: &Block) -> Result<(), Fault> {
    let checked = match block.language.as_str() {
        "json" => example::config(&block.text),
        "yaml" => example::settings(&block.text),
        // A form, a log line or a query, which no command prints.
        "text" | "promql" => Ok(()),
        language => Err(format!(
            "this block ({language}) is neither commands (sh, python, js), nor their output directly below them, nor a \
             file that the line before it names, nor settings (yaml), nor a tenant's config (json)"
        )),
    };
    checked.map_err(|text| Fault {
        line: block.line,
        text,
    })
}

/// A block that is not run is still read.
fn syntax(block: &Block) -> Result<(), Fault> {
    let read = match block.language.as_str() {
        "sh" => {
            let read = Command::new("bash")
                .args(["-n", "-c", &block.text])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&read.stderr).into_owned();
            read.status.success().then_some(()).ok_or(said)
        }
        "json" => example::parsed(&block.text).map(drop),
        "yaml" => example::yaml(&block.text),
        _ => Ok(()),
    };
    read.map_err(|text| Fault {
        line: block.line,
        text,
    })
}

#[test]
fn blocks_that_are_not_run_are_few_and_have_a_known_reason() {
    let (mut all, mut left_out) = (0, 0);
    let mut used = BTreeSet::new();
    let mut faults = Vec::new();
    for page in pages() {
        let (blocks, _) = page::read(&text_of(&page));
        for block in &blocks {
            all += 1;
            let Some(mark) = &block.mark else { continue };
            left_out += 1;
            match REASONS.iter().find(|reason| *reason == mark) {
                Some(reason) => drop(used.insert(reason)),
                None => faults.push(format!(
                    "{page}:{}: {mark:?} is none of {REASONS:?}",
                    block.line
                )),
            }
        }
    }

    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    assert_eq!(used.len(), REASONS.len(), "each reason is used: {used:?}");
    assert!(
        left_out * 4 <= all,
        "{left_out} of {all} blocks are not run"
    );
}

#[test]
fn refusals_are_known_by_their_text() {
    assert!(is_refusal(r#"{"error":"Not found"}"#));
    assert!(is_refusal("HTTP/1.1 401 Unauthorized"));
    assert!(is_refusal("[ERROR] Redis connection failed: refused"));
    assert!(!is_refusal("HTTP/1.1 200 OK"));
    assert!(!is_refusal(r#"{"tokensLeft":1,"error":null}"#));
}
