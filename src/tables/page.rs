//! What is written about rows for people: the commented YAML file and the pages of the reference.

use super::reading::Source;
use super::value_type::{AnyRow, Traits};
use std::fmt::Write;

/// Width of the comments in the YAML file.
const WIDTH: usize = 110;

/// A paragraph of a description, or lines that stay as they are.
enum Part {
    Text(String),
    Verbatim(Vec<&'static str>),
}

/// Splits a description into its parts. Lines between fences stay as they are.
fn parts(about: &[&'static str]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let (mut is_new, mut is_fenced) = (true, false);
    for line in about {
        let line = line.strip_prefix(' ').unwrap_or(line).trim_end();
        if line.starts_with("```") {
            is_fenced = !is_fenced;
            is_new = true;
            continue;
        }
        match parts.last_mut() {
            Some(Part::Verbatim(lines)) if is_fenced => lines.push(line),
            _ if is_fenced => parts.push(Part::Verbatim(vec![line])),
            _ if line.is_empty() => is_new = true,
            Some(Part::Text(text)) if !is_new => {
                text.push(' ');
                text.push_str(line);
            }
            _ => {
                parts.push(Part::Text(line.to_owned()));
                is_new = false;
            }
        }
    }
    parts
}

/// Returns a description as plain text, for the schema.
pub(super) fn plain(about: &[&'static str]) -> String {
    let parts = parts(about).into_iter().map(|part| match part {
        Part::Text(text) => text,
        Part::Verbatim(lines) => lines.join("\n"),
    });
    parts.collect::<Vec<String>>().join("\n")
}

/// Returns the commented YAML file with every row.
pub fn yaml_file(rows: &[&'static dyn AnyRow]) -> String {
    let mut out = String::new();
    for row in rows {
        yaml_part(&mut out, *row, 0);
        out.push('\n');
    }
    out
}

/// Writes a row, or a section with its rows.
fn yaml_part(out: &mut String, row: &dyn AnyRow, indent: usize) {
    let Some(section) = row.traits().rows.filter(|_| row.traits().is_section) else {
        yaml_row(out, row, indent);
        return;
    };
    comment(out, row.about(), indent);
    let _ = writeln!(out, "{:indent$}{}:", "", row.name());
    for (index, row) in section().into_iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        yaml_part(out, row, indent + 2);
    }
}

fn yaml_row(out: &mut String, row: &dyn AnyRow, indent: usize) {
    comment(out, row.about(), indent);
    let name = row.name();
    let Traits {
        default,
        shown,
        bundled,
        ..
    } = row.traits();
    let _ = match (bundled.or(*default), shown) {
        (Some(value), _) => writeln!(out, "{:indent$}{name}: {value}", ""),
        (None, Some(shown)) => writeln!(out, "{:indent$}# {name}: {shown}", ""),
        (None, None) => writeln!(out, "{:indent$}# {name}:", ""),
    };
}

fn comment(out: &mut String, about: &[&'static str], indent: usize) {
    for part in parts(about) {
        match part {
            Part::Text(text) => wrap(out, &text, indent),
            Part::Verbatim(lines) => {
                for line in lines {
                    let _ = writeln!(out, "{:indent$}#   {line}", "");
                }
            }
        }
    }
}

fn wrap(out: &mut String, text: &str, indent: usize) {
    let mut line = format!("{:indent$}#", "");
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = format!("{:indent$}#", "");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

/// Returns the reference of rows as Markdown. Objects within have their rows after them, under their path.
pub fn reference(rows: &[&'static dyn AnyRow], source: Source) -> String {
    let mut out = String::new();
    reference_of(&mut out, rows, "", source);
    out.trim_end().to_owned() + "\n"
}

fn reference_of(out: &mut String, rows: &[&'static dyn AnyRow], above: &str, source: Source) {
    for row in rows {
        let path = format!("{above}{}", row.name());
        let traits = row.traits();
        let heading = if traits.is_section { "##" } else { "###" };
        let _ = writeln!(out, "{heading} `{path}`\n");
        for part in parts(row.about()) {
            let _ = match part {
                Part::Text(text) => writeln!(out, "{}\n", sentences(&text)),
                Part::Verbatim(lines) => writeln!(out, "```text\n{}\n```\n", lines.join("\n")),
            };
        }
        let facts = facts(*row, &path, source);
        if !facts.is_empty() {
            let _ = writeln!(out, "{facts}\n");
        }
        if let Some(rows) = traits.rows {
            let below = match (traits.is_map, traits.is_list) {
                (true, _) => format!("{path}.<name>."),
                (false, true) => format!("{path}[]."),
                (false, false) => format!("{path}."),
            };
            reference_of(out, &rows(), &below, source);
        }
    }
}

/// Puts each sentence on a line of its own, as the documents have it.
fn sentences(text: &str) -> String {
    let mut out = String::new();
    let mut words = text.split(' ').peekable();
    while let Some(word) = words.next() {
        out.push_str(word);
        let begins = |next: &&str| next.starts_with(|c: char| c.is_uppercase() || c == '`');
        let ends = word.ends_with(['.', '?']) && words.peek().is_some_and(begins);
        out.push(if ends { '\n' } else { ' ' });
    }
    out.trim_end().to_owned()
}

/// Returns what is known of a row besides its description: default, variables, whether it is required.
fn facts(row: &dyn AnyRow, path: &str, source: Source) -> String {
    let traits = row.traits();
    let mut facts = Vec::new();
    match traits.default {
        Some("") => {}
        Some(default) => facts.push(format!("Default: `{default}`.")),
        None if row.is_required() => facts.push("Required.".to_owned()),
        None => {}
    }
    if let Some(shown) = traits.shown {
        facts.push(format!("Example: `{shown}`."));
    }
    if source == Source::Settings && !traits.is_section && !path.contains(['[', '<']) {
        let mut variables = format!("Variable: `{}`", variable_of(path));
        if let Some(plain) = traits.variable {
            variables.push_str(&format!(" or `{plain}`"));
        }
        facts.push(variables + ".");
    }
    facts.join("\n")
}

/// Prefix of the variables of settings; an unknown name with this prefix is a fault.
pub const VARIABLE_PREFIX: &str = "RESULLM__";

/// Returns the name of a setting's variable: `RESULLM__SERVER__MAX_BODY` for `server.max_body`.
pub fn variable_of(path: &str) -> String {
    let name = path.replace('.', "__").to_ascii_uppercase();
    format!("{VARIABLE_PREFIX}{name}")
}
