//! The architecture as tests: who may name what, which folders may import which, and what no file may
//! contain. A breach is reported with file, line and reason.
//!
//! Reads the sources as text and depends on std alone. Test code is exempt unless a test says otherwise.

#[path = "architecture/links.rs"]
mod links;
#[path = "architecture/reader.rs"]
mod reader;

use reader::{ROOT, Source, Sources, Word, files_in, text_of};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::process::Command;

/// Crates and the only folders that may name them.
const CONFINED: &[(&str, &[&str])] = &[
    ("pingora", &["src/proxy/", "src/serve/"]),
    ("redis", &["src/store/redis/"]),
    ("redb", &["src/store/embedded/"]),
    ("hyper", &["src/demo/"]),
    ("schemars", &["src/api/", "src/local/"]),
    ("jsonwebtoken", &["src/issuers/"]),
];

/// Pure code: no async, no clock, no randomness, no I/O.
const PURE: &[&str] = &["src/rules/", "src/dialect/", "src/http1/", "src/json.rs"];
const IMPURE_WORDS: &str = "async await SystemTime new_v4 now_v7";
const IMPURE_PATHS: &str = "tokio futures_util rand getrandom ring::rand Instant::now \
     std::env std::fs std::process std::thread \
     std::net::TcpStream std::net::TcpListener std::net::UdpSocket";

/// File and function that read the environment.
const ENVIRONMENT: (&str, &str) = ("src/settings/mod.rs", "load_from_process");

/// Store verbs that write a config, and the only file that may call them, because it seals secrets.
const CONFIG_VERBS: &str = "seed_config replace_config";
const CONFIG_WRITER: &str = "src/store/config_secrets.rs";

/// Allowed imports of each folder: only folders above it in this list.
const ARROWS: &[(&str, &str)] = &[
    ("json", ""),
    ("nearest", ""),
    ("demo", ""),
    ("http1", ""),
    ("host_port", ""),
    ("url", "host_port"),
    ("tables", "nearest url"),
    ("rules", "json nearest host_port url tables"),
    ("settings", "nearest host_port url tables rules"),
    ("api", "rules tables"),
    ("dialect", "json rules"),
    ("threads", ""),
    ("telemetry", "settings rules threads"),
    ("dial", "settings rules"),
    ("fetch", "http1 url dial"),
    ("issuers", "url tables rules settings telemetry fetch"),
    ("stripe", "url tables rules dial fetch"),
    ("store", "json settings rules tables threads telemetry"),
    ("outbox", "rules dial fetch store telemetry"),
    (
        "local",
        "json host_port url settings rules tables api dialect dial fetch telemetry store issuers stripe outbox",
    ),
    (
        "proxy",
        "json demo http1 host_port url tables settings rules dialect telemetry threads dial store outbox local",
    ),
    ("serve", EVERYTHING),
    ("cli", EVERYTHING),
    ("lib", EVERYTHING),
    ("main", EVERYTHING),
];
const EVERYTHING: &str = "*";

/// Minimum number of words in a file's `//!` comment.
const LEAST_WORDS_OF_A_HEAD: usize = 5;

const SHAPELESS_NAMES: &str = "common helper helpers manager managers misc types util utils";

fn has(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|entry| entry == word)
}

fn assert_none(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn confined_crates_are_named_in_their_folders_only() -> io::Result<()> {
    let sources = Sources::read()?;
    let mut breaches = Vec::new();
    for source in &sources.all {
        let paths = source.paths();
        for named in &paths {
            let first = &named.parts[0];
            let is_of = |name: &str| first == name || first.starts_with(&format!("{name}_"));
            let confined = CONFINED.iter().find(|(name, _)| is_of(name));
            let Some((name, places)) = confined.filter(|(_, places)| !source.stands_in(places))
            else {
                continue;
            };
            // A module of this crate may have a crate's name: `use crate::store::redis`.
            let ours = paths.iter().any(|other| {
                let same = other.parts.last() == Some(first) || other.parts.first() == Some(first);
                same && sources.absolute(source, other).is_some()
            });
            if !ours {
                let why = format!("{name} may be named only in {}", places.join(", "));
                breaches.push(source.breach(named.line, &why));
            }
        }
    }

    assert_none(&breaches);
    Ok(())
}

#[test]
fn pure_code_has_no_io_no_clock_and_no_async() -> io::Result<()> {
    let sources = Sources::read()?;
    let mut breaches = Vec::new();
    for source in sources.all.iter().filter(|source| source.stands_in(PURE)) {
        let mut impure = |line: usize, what: &str| {
            breaches.push(source.breach(line, &format!("no `{what}` here: this code is pure")));
        };
        for word in &source.words {
            if has(IMPURE_WORDS, &word.text) {
                impure(word.line, &word.text);
            }
        }
        for named in source.paths() {
            let path = format!("::{}::", named.parts.join("::"));
            let mut worlds = IMPURE_PATHS.split_whitespace();
            if let Some(world) = worlds.find(|world| path.contains(&format!("::{world}::"))) {
                impure(named.line, world);
            }
        }
    }

    assert_none(&breaches);
    Ok(())
}

#[test]
fn environment_is_read_by_one_function_of_the_settings() -> io::Result<()> {
    let (home, function) = ENVIRONMENT;
    let mut breaches = Vec::new();

    for source in &Sources::read()?.all {
        for named in source.paths() {
            let reads = named.parts.windows(2).any(|pair| {
                pair[0] == "env" && has("var var_os vars vars_os set_var remove_var", &pair[1])
            });
            let allowed = source.path == home && function_at(source, named.line) == Some(function);
            if reads && !allowed {
                let why = format!("the environment is read only in {home}, by {function}");
                breaches.push(source.breach(named.line, &why));
            }
        }
    }
    assert_none(&breaches);
    Ok(())
}

/// Name of the last function that begins at or before a line.
fn function_at(source: &Source, line: usize) -> Option<&str> {
    let pairs = source.words.windows(2);
    let mut functions = pairs.filter(|pair| pair[0].text == "fn" && pair[0].line <= line);
    functions.next_back().map(|pair| pair[1].text.as_str())
}

#[test]
fn configs_are_stored_with_their_secrets_sealed() -> io::Result<()> {
    let mut breaches = Vec::new();
    for source in &Sources::read()?.all {
        let calls = source.words.windows(2).filter(|pair| pair[0].text == ".");
        for call in calls.filter(|pair| has(CONFIG_VERBS, &pair[1].text)) {
            if source.path != CONFIG_WRITER {
                let why = format!("a config is stored only by {CONFIG_WRITER}, which seals it");
                breaches.push(source.breach(call[1].line, &why));
            }
        }
    }
    assert_none(&breaches);
    Ok(())
}

#[test]
fn folders_import_one_way_only() -> io::Result<()> {
    let sources = Sources::read()?;
    let mut breaches = Vec::new();
    for source in &sources.all {
        let from = source.folder();
        let Some((_, allowed)) = ARROWS.iter().find(|(folder, _)| *folder == from) else {
            let why =
                format!("`{from}` has no row in the table of arrows in tests/architecture.rs");
            breaches.push(source.breach(1, &why));
            continue;
        };
        for named in source.paths() {
            let Some(path) = sources.absolute(source, &named) else {
                continue;
            };
            // Items outside every folder are in lib.rs.
            let to = match path.first() {
                Some(folder) if sources.has_module(&path[..1]) => folder,
                _ => "lib",
            };
            if to != from && *allowed != EVERYTHING && !has(allowed, to) {
                let why = format!("{from} may not use {to} (`{}`)", named.parts.join("::"));
                breaches.push(source.breach(named.line, &why));
            }
        }
    }

    assert_none(&breaches);
    Ok(())
}

#[test]
fn table_of_imports_points_upwards_only() {
    let mut above = Vec::new();
    for (folder, allowed) in ARROWS {
        let mut names = allowed.split_whitespace();
        let stray = names.find(|name| *name != EVERYTHING && !above.contains(name));
        assert_eq!(stray, None, "in the row of {folder}");
        above.push(folder);
    }
}

#[test]
fn files_import_each_other_in_no_cycle() -> io::Result<()> {
    let sources = Sources::read()?;
    let mut uses: Uses = BTreeMap::new();
    for source in &sources.all {
        for named in source.paths() {
            let target = sources.target(source, &named);
            if let Some(target) = target.filter(|target| *target != source.path) {
                let lines = uses.entry(&source.path).or_default();
                lines.entry(target).or_insert(named.line);
            }
        }
    }
    let circles = uses.keys().filter_map(|start| circle(start, &uses));
    // Each cycle once, starting at its first file.
    let circles = circles.filter(|circle| circle.iter().min() == circle.first());

    let told = circles.map(|circle| {
        let steps = circle.iter().zip(circle.iter().cycle().skip(1));
        let steps = steps.map(|(from, to)| format!("{from}:{}: uses {to}", uses[from][to]));
        steps.collect::<Vec<_>>().join("\n") + "\n  and that is a circle"
    });
    assert_none(&told.collect::<Vec<_>>());
    Ok(())
}

/// Imports between files, with their first line. `mod` declarations do not count.
type Uses<'a> = BTreeMap<&'a str, BTreeMap<&'a str, usize>>;

/// Shortest import cycle through a file.
fn circle<'a>(start: &'a str, uses: &Uses<'a>) -> Option<Vec<&'a str>> {
    let mut ways = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for &next in uses.get(way.last()?).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                return Some(way);
            }
            if seen.insert(next) {
                ways.push_back([way.as_slice(), &[next]].concat());
            }
        }
    }
    None
}

#[test]
fn every_file_has_a_head_comment_and_no_todo() -> io::Result<()> {
    let mut breaches = Vec::new();
    for source in &Sources::read()?.all {
        let mut fault = |line: usize, why: &str| breaches.push(source.breach(line, why));
        let head = source
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"));
        let words = head
            .flat_map(str::split_whitespace)
            .filter(|word| *word != "//!");
        if words.count() < LEAST_WORDS_OF_A_HEAD {
            fault(1, "a file opens with //! and says what it is for");
        }
        let mut names = source.path.trim_end_matches(".rs").split('/');
        if names.any(|name| has(SHAPELESS_NAMES, name)) {
            fault(1, "a file is named for what it is about");
        }
        let words: Vec<&Word> = source.words.iter().chain(&source.tests).collect();
        for four in words.windows(4) {
            let [first, second, third, fourth] = [0, 1, 2, 3].map(|n| four[n].text.as_str());
            if has("todo unimplemented dbg", first) && second == "!" {
                fault(four[0].line, "nothing is left undone");
            }
            if has("# !", first) && (second, third, fourth) == ("[", "allow", "(") {
                fault(four[0].line, "#[expect(…, reason = \"…\")], never #[allow]");
            }
        }
        for (line, text) in (1..).zip(source.text.lines()) {
            if ["TODO", "FIXME"].iter().any(|mark| text.contains(mark)) {
                fault(line, "do it or leave it: no notes to oneself");
            }
        }
    }
    assert_none(&breaches);
    Ok(())
}

/// A type's methods are found in its file; a type that is spread over a folder hides import cycles.
#[test]
fn no_type_has_inherent_impls_outside_its_file() -> io::Result<()> {
    let sources = Sources::read()?;
    let mut homes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for source in &sources.all {
        for pair in source.words.windows(2) {
            if has("struct enum trait type", &pair[0].text) {
                homes.entry(&pair[1].text).or_default().push(&source.path);
            }
        }
    }
    let mut breaches = Vec::new();

    for source in &sources.all {
        // Tests may add what only they need.
        let code = source.text.lines().take_while(|_| !source.words.is_empty());
        for (line, text) in (1..).zip(code) {
            let Some(name) = inherent_impl(text) else {
                continue;
            };
            // A type may continue in the folder of its file's name.
            let is_home = |home: &&&str| {
                let folder = home.trim_end_matches("mod.rs").trim_end_matches(".rs");
                source.path == **home || source.path.starts_with(&format!("{folder}/"))
            };
            if let Some(known) = homes.get(name)
                && !known.iter().any(|home| is_home(&home))
            {
                let why = format!("impl {name}: it is defined in {}", known.join(", "));
                breaches.push(source.breach(line, &why));
            }
        }
    }
    assert_none(&breaches);
    Ok(())
}

/// Type name in a line that opens an inherent impl.
fn inherent_impl(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("impl")?;
    if rest.contains(" for ") {
        return None;
    }
    let rest = match rest.strip_prefix('<') {
        Some(generics) => generics.split_once("> ")?.1,
        None => rest.trim_start(),
    };
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    Some(&rest[..end])
}

#[test]
fn pictures_of_lib_rs_and_architecture_md_are_the_same() -> io::Result<()> {
    let (lib, page) = (text_of("src/lib.rs")?, text_of("ARCHITECTURE.md")?);
    let lib: String = lib
        .lines()
        .map(|line| {
            line.trim_start_matches("//!")
                .trim_start_matches(' ')
                .to_owned()
                + "\n"
        })
        .collect();
    let page: String = page
        .lines()
        .map(|line| line.trim_start().to_owned() + "\n")
        .collect();

    let pictures = [lib, page].map(|text| {
        let start = text
            .split_once("```text\n")
            .map(|(_, rest)| rest.to_owned());
        start.and_then(|rest| {
            rest.split_once("```")
                .map(|(picture, _)| picture.to_owned())
        })
    });

    assert!(
        pictures[0]
            .as_ref()
            .is_some_and(|picture| picture.lines().count() > 10)
    );
    assert_eq!(pictures[0], pictures[1]);
    Ok(())
}

/// The three hops: `proxy/`, `call.rs`, the step in its folder.
#[test]
fn a_402_is_decided_three_hops_from_the_folder_list() -> io::Result<()> {
    let (call, admit) = ("src/proxy/call.rs", "src/proxy/admission/admit.rs");
    let steps = [
        "admission::admit::",
        "settlement::settle::",
        "upstream::forward::",
    ];

    let story = text_of(call)?;

    assert!(
        steps.iter().all(|step| story.contains(step)),
        "{call} imports every step"
    );
    let decides = "Err(GatewayError::InsufficientTokens)";
    let elsewhere = files_in("src/proxy")?
        .into_iter()
        .filter(|path| path != admit);
    let elsewhere: Vec<String> = elsewhere
        .filter(|path| text_of(path).is_ok_and(|text| text.contains(decides)))
        .collect();
    assert!(
        text_of(admit)?.contains(decides) && elsewhere.is_empty(),
        "{elsewhere:?}"
    );
    Ok(())
}

/// Runs `readability.py`: comment openings, function lengths, ambiguous names.
#[test]
fn readability_figures_stay_within_their_limits() -> io::Result<()> {
    let script = Path::new(ROOT).join("tests/tools/readability.py");
    let checked = Command::new("python3")
        .arg(script)
        .arg("--check")
        .output()?;

    let told = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{told}");
    Ok(())
}

#[test]
fn tests_stand_last_in_their_file() -> io::Result<()> {
    let mut breaches = Vec::new();
    for source in &Sources::read()?.all {
        // The other tests skip everything after `mod tests`. Files with tests only are exempt.
        if source.words.is_empty() {
            continue;
        }
        let mut depth = 0;
        let mut words = source.tests.iter().skip_while(|word| word.text != "mod");
        let end = words.find(|word| {
            depth += i32::from(word.text == "{") - i32::from(word.text == "}");
            depth == 0 && has("} ;", &word.text)
        });
        if let (Some(_), Some(word)) = (end, words.next()) {
            breaches.push(source.breach(word.line, "nothing stands after the tests"));
        }
    }
    assert_none(&breaches);
    Ok(())
}

#[test]
fn redis_acl_example_grants_every_command_that_is_sent() -> io::Result<()> {
    let example = "deploy/redis-acl.example";
    let acl = text_of(example)?;
    let user = acl.lines().find(|line| line.starts_with("user "));
    let words = user.unwrap_or_default().split_whitespace();
    let granted: BTreeSet<&str> = words
        .filter_map(|word| word.strip_prefix('+')?.split('|').next())
        .collect();
    let mut breaches = Vec::new();

    for path in files_in("src/store/redis")? {
        for (line, text) in (1..).zip(text_of(&path)?.lines()) {
            let calls = ["cmd(\"", "command(\"", "call('"].iter();
            let sent = calls.flat_map(|call| text.split(call).skip(1));
            for name in sent.filter_map(|rest| rest.split(['"', '\'']).next()) {
                // Sentinels have users of their own; HELLO needs no permission.
                let known =
                    has("SENTINEL HELLO", name) || granted.contains(name.to_lowercase().as_str());
                if !known {
                    breaches.push(format!("{path}:{line}: {example} does not grant {name}"));
                }
            }
        }
    }
    assert_none(&breaches);
    Ok(())
}

/// The fuzzer must test the dependencies that the gateway ships.
#[test]
fn fuzz_lock_file_has_the_versions_of_the_gateway() -> io::Result<()> {
    let (ours, theirs) = (text_of("Cargo.lock")?, text_of("fuzz/Cargo.lock")?);
    let ours: Vec<(&str, &str)> = locked(&ours).collect();
    assert!(ours.len() > 100, "{}", ours.len());

    let stray = |(name, version): &(&str, &str)| {
        ours.iter().any(|(known, _)| known == name) && !ours.contains(&(name, version))
    };
    let strays: Vec<String> = locked(&theirs)
        .filter(stray)
        .map(|(name, version)| format!("fuzz/Cargo.lock has {name} {version}, Cargo.lock another"))
        .collect();
    assert_none(&strays);
    Ok(())
}

/// Names and versions in a lock file.
fn locked(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("[[package]]").filter_map(|package| {
        let field = |name: &str| {
            let mut lines = package.lines().filter_map(|line| line.split_once(" = "));
            lines
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.trim_matches('"'))
        };
        Some((field("name")?, field("version")?))
    })
}

#[test]
fn project_has_the_usual_documents() {
    let wanted =
        "LICENSE gateway.yaml README.md ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md SECURITY.md"
            .split(' ');
    let missing = wanted.filter(|name| !Path::new(ROOT).join(name).is_file());
    let told: Vec<String> = missing.map(|name| format!("{name} is missing")).collect();
    assert_none(&told);
}

#[test]
fn files_name_no_machine_path_and_no_registry_host() -> io::Result<()> {
    // Split in two, so that this file does not match.
    let places = [("/tm", "p"), ("/wor", "k")].map(|(a, b)| format!("{a}{b}"));
    let hosts = [
        ("crates", ".io"),
        ("pypi", ".org"),
        ("registry.npmjs", ".org"),
    ];
    let hosts = hosts.map(|(a, b)| format!("{a}{b}"));
    let mut breaches = Vec::new();
    for path in kept_files()?
        .iter()
        .filter(|path| !path.ends_with("Cargo.lock"))
    {
        // Binary files are skipped.
        let text = match text_of(path) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
            read => read?,
        };
        for (line, text) in (1..).zip(text.lines()) {
            let place = places.iter().find(|place| has_place(text, place));
            let host = hosts.iter().find(|host| text.contains(host.as_str()));
            if let Some(name) = place.or(host) {
                breaches.push(format!(
                    "{path}:{line}: {name} is of one machine, or a registry"
                ));
            }
        }
    }

    assert_none(&breaches);
    Ok(())
}

/// Files under version control; without git, all files.
fn kept_files() -> io::Result<Vec<String>> {
    let mut git = Command::new("git");
    let listed = git.args(["-C", ROOT, "ls-files", "-z"]).output();
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    let listed = String::from_utf8_lossy(&listed);
    let there = listed
        .split('\0')
        .filter(|path| Path::new(ROOT).join(path).is_file());
    let files: Vec<String> = there.map(str::to_owned).collect();
    if files.is_empty() {
        return files_in("");
    }
    Ok(files)
}

/// Whether the text contains an absolute path below this folder.
fn has_place(text: &str, place: &str) -> bool {
    text.match_indices(place).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + place.len()..].chars().next();
        let of_a_name = |c: char| c.is_alphanumeric() || "_-".contains(c);
        !before.is_some_and(|c| of_a_name(c) || ".})".contains(c)) && !after.is_some_and(of_a_name)
    })
}

#[test]
fn machine_path_is_absolute_and_no_part_of_a_name() {
    assert!(has_place("cd /opt && ls", "/opt"));
    assert!(has_place("in `/opt/x`", "/opt"));
    assert!(!has_place("$dir/opt, {dir}/opt/, /options", "/opt"));
}
