//! The sources as tokens and paths, as far as the architecture tests need: which names are used on which
//! line.
//!
//! Depends on std alone. It reads text, not types, and accepts what it cannot resolve. Names from macros are
//! not seen, and inline modules count as their file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

pub struct Source {
    /// Path from the root, such as `src/store/mod.rs`.
    pub path: String,
    pub text: String,
    /// Module path: `["store", "redis"]` for `src/store/redis/mod.rs`, empty for `lib.rs` and `main.rs`.
    pub module: Vec<String>,
    /// Tokens of the code before the tests, without comments and literals.
    pub words: Vec<Word>,
    /// Tokens of the tests.
    pub tests: Vec<Word>,
}

/// A name, a `::` or one character.
pub struct Word {
    pub line: usize,
    pub text: String,
}

/// A path as written, with `use` trees expanded: `["crate", "rules", "window"]`.
pub struct Named {
    pub line: usize,
    pub parts: Vec<String>,
}

impl Source {
    pub fn new(path: &str, text: String) -> Source {
        let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
        module.pop_if(|last| matches!(last.as_str(), "mod" | "lib" | "main"));
        let mut words = words(&text);
        let all_tests = inner.ends_with("/tests") || inner.ends_with("_tests");
        let tests = words.split_off(if all_tests { 0 } else { tests_start(&words) });
        Source {
            path: path.to_owned(),
            text,
            module,
            words,
            tests,
        }
    }

    /// Folder directly below `src`, or the stem of a file there.
    pub fn folder(&self) -> &str {
        let inner = self.path.trim_start_matches("src/");
        let end = inner.find(['/', '.']).unwrap_or(inner.len());
        &inner[..end]
    }

    pub fn stands_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }

    pub fn paths(&self) -> Vec<Named> {
        paths(&self.words)
    }

    pub fn breach(&self, line: usize, why: &str) -> String {
        format!("{}:{line}: {why}", self.path)
    }
}

/// All sources with their modules.
pub struct Sources {
    pub all: Vec<Source>,
    modules: BTreeMap<Vec<String>, String>,
}

impl Sources {
    pub fn read() -> io::Result<Sources> {
        let mut all = Vec::new();
        for path in files_in("src")?.iter().filter(|path| path.ends_with(".rs")) {
            all.push(Source::new(path, text_of(path)?));
        }
        assert!(!all.is_empty(), "there are no sources under {ROOT}/src");
        let roots = all.iter().filter(|source| source.path != "src/main.rs");
        let modules = roots.map(|source| (source.module.clone(), source.path.clone()));
        let modules = modules.collect();
        Ok(Sources { all, modules })
    }

    pub fn has_module(&self, path: &[String]) -> bool {
        self.modules.contains_key(path)
    }

    /// Path from the crate root, if it leads into the crate.
    pub fn absolute(&self, source: &Source, named: &Named) -> Option<Vec<String>> {
        let mut base = source.module.clone();
        let mut rest = named.parts.as_slice();
        match rest.first()?.as_str() {
            "crate" | "resullm" => {
                base.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            child => {
                let child = [base.as_slice(), &[child.to_owned()]].concat();
                self.modules.get(&child)?;
            }
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    /// File of the innermost module on a path.
    pub fn target(&self, source: &Source, named: &Named) -> Option<&str> {
        let path = self.absolute(source, named)?;
        let mut ways = (0..=path.len()).rev();
        let file = ways.find_map(|end| self.modules.get(&path[..end]))?;
        Some(file.as_str())
    }
}

pub fn text_of(path: &str) -> io::Result<String> {
    fs::read_to_string(Path::new(ROOT).join(path))
}

/// Files below a folder, without build output and downloads.
pub fn files_in(folder: &str) -> io::Result<Vec<String>> {
    const MADE: &[&str] = &["target", ".git", ".tools", "data", "node_modules"];
    let mut files = Vec::new();
    for entry in fs::read_dir(Path::new(ROOT).join(folder))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = [folder, &name].join("/").trim_start_matches('/').to_owned();
        if entry.path().is_file() {
            files.push(path);
        } else if entry.path().is_dir() && !MADE.contains(&path.as_str()) {
            files.extend(files_in(&path)?);
        }
    }
    files.sort();
    Ok(files)
}

/// Tokens of a text without comments, strings, characters and lifetimes.
fn words(text: &str) -> Vec<Word> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let name_end = |from: usize| {
        let end = (from..chars.len()).find(|&i| !(at(i).is_alphanumeric() || at(i) == '_'));
        end.unwrap_or(chars.len())
    };
    let mut words = Vec::new();
    let (mut i, mut line) = (0, 1);
    while i < chars.len() {
        let start = i;
        let mut is_word = false;
        match (at(i), at(i + 1)) {
            ('/', '/') => {
                i = (i..chars.len())
                    .find(|&j| at(j) == '\n')
                    .unwrap_or(chars.len());
            }
            ('/', '*') => i = comment_end(&chars, i),
            ('"', _) => i = quote_end(&chars, i),
            ('\'', '\\') => i = quote_end(&chars, i),
            ('\'', _) if at(i + 2) == '\'' => i += 3,
            ('\'', _) => i = name_end(i + 1),
            (c, _) if c.is_alphanumeric() || c == '_' => {
                i = name_end(i);
                match raw_string_end(&chars, start, i) {
                    Some(end) => i = end,
                    None => is_word = true,
                }
            }
            (':', ':') => (i, is_word) = (i + 2, true),
            (c, _) => (i, is_word) = (i + 1, !c.is_whitespace()),
        }
        let passed = &chars[start..i.min(chars.len())];
        if is_word {
            let text = passed.iter().collect();
            words.push(Word { line, text });
        }
        line += passed.iter().filter(|&&c| c == '\n').count();
    }
    words
}

fn comment_end(chars: &[char], start: usize) -> usize {
    let (mut depth, mut i) = (0, start);
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

fn quote_end(chars: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != chars[start] {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// End of a raw string whose prefix is the name from `start` to `end`.
fn raw_string_end(chars: &[char], start: usize, end: usize) -> Option<usize> {
    let mark: String = chars[start..end].iter().collect();
    let hashes = chars[end..].iter().take_while(|&&c| c == '#').count();
    let opens = chars.get(end + hashes) == Some(&'"');
    if !opens || !matches!(mark.as_str(), "r" | "br" | "cr") {
        return None;
    }
    let closing: Vec<char> = format!("\"{}", "#".repeat(hashes)).chars().collect();
    let inner = end + hashes + 1;
    let length = chars[inner..]
        .windows(hashes + 1)
        .position(|w| w == closing)?;
    Some(inner + length + hashes + 1)
}

/// Index where `#[cfg(test)] mod …` begins, with any attributes between.
fn tests_start(words: &[Word]) -> usize {
    let text = |i: usize| words.get(i).map_or("", |word| word.text.as_str());
    let cfg_test = ["#", "[", "cfg", "(", "test", ")", "]"];
    let starts = |from: usize| {
        let mut i = from + cfg_test.len();
        if (from..i).map(text).ne(cfg_test) {
            return false;
        }
        while text(i) == "#" {
            i += (i..words.len()).take_while(|&j| text(j) != "]").count() + 1;
        }
        text(i) == "mod"
    };
    (0..words.len()).find(|&i| starts(i)).unwrap_or(words.len())
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn paths(words: &[Word]) -> Vec<Named> {
    // Words that may precede a path with a leading `::`.
    const BEFORE: &[&str] = &[
        "use", "return", "as", "in", "dyn", "impl", "for", "mut", "match",
    ];
    let text = |i: usize| words.get(i).map_or("", |word| word.text.as_str());
    let mut found = Vec::new();
    let mut i = 0;
    while i < words.len() {
        let start = if text(i) == "::" { i + 1 } else { i };
        let before = if i > 0 { text(i - 1) } else { "" };
        // A `::` that continues a name, `<T as Trait>` or `[T]`.
        let goes_on = start > i
            && (matches!(before, ">" | "]") || (is_name(before) && !BEFORE.contains(&before)));
        let begins = is_name(text(start)) && !BEFORE.contains(&text(start)) && !goes_on;
        if begins && (before == "use" || text(start + 1) == "::") {
            i = read_path(words, start, &[], &mut found);
        } else {
            i = start + 1;
        }
    }
    found
}

/// Reads one path or one `use` tree and returns its end.
fn read_path(words: &[Word], from: usize, outer: &[String], found: &mut Vec<Named>) -> usize {
    let text = |i: usize| words.get(i).map_or("", |word| word.text.as_str());
    let mut parts = outer.to_vec();
    let mut i = from;
    while is_name(text(i)) {
        parts.push(text(i).to_owned());
        i += 1;
        if text(i) != "::" {
            break;
        }
        i += 1;
    }
    if text(i) == "{" {
        i += 1;
        while i < words.len() && text(i) != "}" {
            i = match text(i) {
                "," => i + 1,
                _ => read_path(words, i, &parts, found),
            };
        }
        return i + 1;
    }
    // `a::{self}` is `a`.
    parts.pop_if(|last| last == "self" && !outer.is_empty());
    let line = words.get(from).map_or(0, |word| word.line);
    found.push(Named { line, parts });
    match text(i) {
        "as" => i + 2,
        "*" => i + 1,
        // Always advances.
        _ => i.max(from + 1),
    }
}

#[test]
fn reader_skips_comments_and_literals_and_expands_use_trees() {
    let text = r##"//! tokio::spawn in a comment
use a::{b::{self, C as D}, e::*};
/* std::fs /* nested */ std::fs */
fn f<'a>(x: &'a str) -> char { g("std::env \" x
", r#"" std::fs"#, b'"', '\''); <T as h::I>::j::k(Vec::<l::M>::new()) }
pub use ::redis::cmd;
#[cfg(test)]
#[path = "elsewhere.rs"]
mod tests { use tokio::x; }
"##;
    let source = Source::new("src/m/n.rs", text.to_owned());
    let found = source.paths().into_iter();
    let found: Vec<_> = found
        .map(|named| (named.line, named.parts.join("::")))
        .collect();
    let expected = [
        (2, "a::b"),
        (2, "a::b::C"),
        (2, "a::e"),
        (5, "h::I"),
        (5, "Vec"),
        (5, "l::M"),
        (6, "redis::cmd"),
    ];
    assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())));
    assert_eq!(source.module, ["m", "n"]);
    assert_eq!(source.tests.first().map(|word| word.line), Some(7));
}
