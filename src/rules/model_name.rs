//! Names of models: spellings of the same model, and versions of another.
//!
//! Servers read names loosely, so rates and lists go by the server's reading of a name, never by its letters
//! alone. If two readings are possible, the caller must take the more expensive one.
//! Names must never be changed here: a request is forwarded with the name as it was written.

use super::server::Server;
use super::server::Server::*;
use super::server::Servers;

/// Length limit in bytes: a name is written to logs and headers, and no model has a longer one.
const MAX_NAME_BYTES: usize = 256;

/// Servers whose reading of a name, or whose next server, is unknown: they may read it as any of the others.
const UNKNOWN: Servers = Servers::of(&[Generic, LiteLlm, LocalAi]);
const OLLAMA: Servers = Servers::of(&[Ollama]).and(UNKNOWN);

/// Prefixes that a server adds itself if they are missing, in the order they are written.
const PREFIXES: &[(&str, Servers)] = &[
    ("registry.ollama.ai/", OLLAMA),
    ("library/", OLLAMA),
    (
        "accounts/fireworks/",
        Servers::of(&[Fireworks]).and(UNKNOWN),
    ),
    ("fireworks/", Servers::of(&[Fireworks])),
    ("models/", Servers::of(&[Gemini, Fireworks]).and(UNKNOWN)),
];

/// Suffixes that a server adds itself if they are missing.
const SUFFIXES: &[(&str, Servers)] = &[(":latest", OLLAMA)];

/// Servers that read a name with another tag as another model, or as none.
const TAGS_ARE_NAMES: Servers = Servers::of(&[Ollama, OpenAi, Azure, Anthropic, Demo]);

/// Meaning of the part of a name behind its last colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// The tag is part of the name.
    Name,
    /// The tag selects another way to serve the same model.
    Variant,
    /// The tag may be either.
    Unknown,
}

pub(crate) fn tag(server: Server) -> Tag {
    match server {
        OpenRouter => Tag::Variant,
        server if TAGS_ARE_NAMES.has(server) => Tag::Name,
        _ => Tag::Unknown,
    }
}

/// Refuses names that some server would read as another name than written. The error continues a sentence
/// that begins with the member's name.
pub fn check(name: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:@".contains(&byte);
    if (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_plain) {
        return Ok(());
    }
    let has_ends = |part: &str| part.starts_with(is_blank) || part.ends_with(is_blank);
    if name.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(format!("must have at most {MAX_NAME_BYTES} characters"));
    }
    if name.chars().any(is_unseen) {
        return Err("must not have control characters or such as are not seen".to_owned());
    }
    if name.split('/').any(has_ends) {
        return Err("must not begin or end with a blank, nor may a part of it".to_owned());
    }
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("must not have an empty part, nor . or .. for one".to_owned());
    }
    Ok(())
}

fn is_blank(char: char) -> bool {
    char.is_whitespace()
}

/// Whether a character is a control character, or one that some parsers take for a blank and others for a
/// letter.
fn is_unseen(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Whether both names mean the same model to a server.
pub(crate) fn is_same(one: &str, other: &str, server: Server) -> bool {
    folds_alike(core(one, server), core(other, server))
}

/// Whether a model is the named one or a version of it.
pub(crate) fn is_version(model: &str, name: &str, server: Server) -> bool {
    is_same(model, name, server)
        || undated(core(model, server), server)
            .is_some_and(|base| folds_alike(base, core(name, server)))
}

/// Returns the names whose rate a model has, the closest first. The caller compares each with [`is_same`].
pub(crate) fn rated_as(model: &str, server: Server) -> impl Iterator<Item = &str> {
    let name = core(model, server);
    let names = match tuned(name) {
        Some((marked, base)) => [
            Some(name),
            Some(marked),
            undated(marked, server),
            Some(base),
            undated(base, server),
        ],
        None => [Some(name), undated(name, server), None, None, None],
    };
    names.into_iter().flatten()
}

/// Returns the names of which a name with tags may be a variant.
pub(crate) fn bases(model: &str, server: Server) -> impl Iterator<Item = &str> {
    let name = core(model, server);
    let has_tags = tag(server) != Tag::Name && tuned(name).is_none();
    let cuts = name.rmatch_indices(':').filter(move |_| has_tags);
    cuts.map(|(at, _)| &name[..at])
}

/// Returns the name without the [`PREFIXES`] and [`SUFFIXES`] that its server adds itself.
fn core(name: &str, server: Server) -> &str {
    let mut name = name.trim();
    for (prefix, servers) in PREFIXES {
        let rest = name.get(prefix.len()..).filter(|_| servers.has(server));
        if let Some(rest) = rest.filter(|rest| !rest.is_empty())
            && name[..prefix.len()].eq_ignore_ascii_case(prefix)
        {
            name = rest;
        }
    }
    for (suffix, servers) in SUFFIXES {
        if servers.has(server) {
            name = without(name, suffix).unwrap_or(name);
        }
    }
    name
}

/// Returns the name without a suffix, ignoring case. `None`: the name has another ending.
fn without<'a>(name: &'a str, suffix: &str) -> Option<&'a str> {
    let at = name.len().checked_sub(suffix.len()).filter(|at| *at > 0)?;
    let end = name.get(at..)?;
    end.eq_ignore_ascii_case(suffix).then(|| &name[..at])
}

/// Returns the name without its date: `-2024-08-06`, `-20240806`, `@20240806` or `-latest`; at Gemini without its
/// number, too. No other suffix makes a version.
fn undated(name: &str, server: Server) -> Option<&str> {
    if server == Ollama && name.contains(':') {
        return None;
    }
    let dated = |length: usize, marks: &[u8], dash: bool| {
        let at = name.len().checked_sub(length).filter(|at| *at > 0)?;
        let (mark, date) = name.as_bytes()[at..].split_first()?;
        (marks.contains(mark) && is_date(date, dash)).then(|| &name[..at])
    };
    without(name, "-latest")
        .or_else(|| dated("-2024-08-06".len(), b"-", true))
        .or_else(|| dated("-20240806".len(), b"-@", false))
        .or_else(|| unnumbered(name).filter(|_| server == Gemini))
}

/// Returns the name without the number of its version, as `-001`.
fn unnumbered(name: &str) -> Option<&str> {
    let at = name.len().checked_sub("-001".len()).filter(|at| *at > 0)?;
    let (dash, number) = name.as_bytes()[at..].split_first()?;
    (*dash == b'-' && number.iter().all(u8::is_ascii_digit)).then(|| &name[..at])
}

fn is_date(date: &[u8], has_dashes: bool) -> bool {
    let (year, month, day) = match (has_dashes, date) {
        (true, [year @ .., b'-', m, n, b'-', d, e]) => (year, [*m, *n], [*d, *e]),
        (false, [year @ .., m, n, d, e]) => (year, [*m, *n], [*d, *e]),
        _ => return false,
    };
    let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    year.len() == 4
        && digits(year)
        && (year.starts_with(b"19") || year.starts_with(b"20"))
        && digits(&month)
        && (*b"01"..=*b"12").contains(&month)
        && digits(&day)
        && (*b"01"..=*b"31").contains(&day)
}

/// Returns the base of `ft:<base>:<owner>`, with `ft:` and without.
fn tuned(name: &str) -> Option<(&str, &str)> {
    const MARK: &str = "ft:";
    let (mark, rest) = name.split_at_checked(MARK.len())?;
    let (base, _) = rest
        .split_once(':')
        .filter(|_| mark.eq_ignore_ascii_case(MARK))?;
    let is_named = !base.is_empty();
    is_named.then(|| (&name[..MARK.len() + base.len()], base))
}

/// Whether two names are equal ignoring case. Parsers in Go fold `ſ` to `s` and the Kelvin sign to `k`, so
/// full Unicode folding is used.
fn folds_alike(one: &str, other: &str) -> bool {
    let folded = |text: &'_ str| -> String {
        let large = text.chars().flat_map(char::to_uppercase);
        large.flat_map(char::to_lowercase).collect()
    };
    one.eq_ignore_ascii_case(other)
        || (!(one.is_ascii() && other.is_ascii()) && folded(one) == folded(other))
}

#[cfg(test)]
#[path = "model_name_tests.rs"]
mod tests;
