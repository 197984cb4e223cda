//! The links of all Markdown pages: where they lead, and that every page in `docs` can be reached from README.md.
//!
//! Depends on std alone, and asks no network: an address outside is only read.

use crate::reader::{ROOT, files_in, text_of};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

const START: &str = "README.md";
const PAGES: &str = "docs/";

/// Where a link leads.
#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    Outside(&'a str),
    /// Path from the root, and the heading.
    Inside(String, Option<&'a str>),
    /// A path that leaves the tree, or begins at a root.
    Lost,
}

fn pages() -> io::Result<BTreeMap<String, String>> {
    let names = files_in("")?;
    let names = names.iter().filter(|name| name.ends_with(".md"));
    names
        .map(|name| Ok((name.trim_start_matches('/').to_owned(), text_of(name)?)))
        .collect()
}

#[test]
fn every_link_of_every_page_leads_somewhere() -> io::Result<()> {
    let pages = pages()?;
    let mut breaches = Vec::new();
    for (page, text) in &pages {
        for (line, link) in links(text) {
            if let Some(why) = fault(&pages, page, &link) {
                breaches.push(format!("{page}:{line}: ({link}) {why}"));
            }
        }
    }

    crate::assert_none(&breaches);
    Ok(())
}

#[test]
fn every_page_in_docs_is_reached_from_the_readme() -> io::Result<()> {
    let pages = pages()?;
    let mut reached = BTreeSet::new();
    let mut waiting = vec![START.to_owned()];
    while let Some(page) = waiting.pop() {
        let Some(text) = pages.get(&page) else {
            continue;
        };
        if reached.insert(page.clone()) {
            let found = links(text);
            waiting.extend(
                found
                    .iter()
                    .filter_map(|(_, link)| match target(&page, link) {
                        Target::Inside(path, _) => Some(path),
                        _ => None,
                    }),
            );
        }
    }

    let lost = pages
        .keys()
        .filter(|page| page.starts_with(PAGES) && !reached.contains(*page));
    let told: Vec<String> = lost
        .map(|page| format!("{page}: no link leads here from {START}"))
        .collect();
    crate::assert_none(&told);
    assert!(reached.len() > 10, "{reached:?}");
    Ok(())
}

/// What is wrong with a link of a page.
fn fault(pages: &BTreeMap<String, String>, page: &str, link: &str) -> Option<String> {
    match target(page, link) {
        Target::Outside(address) => (!is_address(address)).then(|| "is no address".to_owned()),
        Target::Lost => Some("leads out of the tree".to_owned()),
        Target::Inside(path, _) if !Path::new(ROOT).join(&path).exists() => {
            Some(format!("there is no {path}"))
        }
        Target::Inside(_, None) => None,
        Target::Inside(path, Some(anchor)) => match pages.get(&path) {
            None => Some(format!("{path} has no headings")),
            Some(text) if headings(text).iter().any(|slug| slug == anchor) => None,
            Some(text) => Some(format!(
                "{path} has no such heading, but {}",
                headings(text).join(", ")
            )),
        },
    }
}

fn target<'a>(page: &str, link: &'a str) -> Target<'a> {
    if link.contains("://") || link.starts_with("mailto:") {
        return Target::Outside(link);
    }
    let (path, anchor) = match link.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (link, None),
    };
    if path.is_empty() {
        return Target::Inside(page.to_owned(), anchor);
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.trim_end_matches('/').split('/') {
        match part {
            "" => return Target::Lost,
            "." => {}
            ".." if parts.pop().is_none() => return Target::Lost,
            ".." => {}
            name => parts.push(name),
        }
    }
    Target::Inside(parts.join("/"), anchor)
}

/// Whether an address outside is written as one.
fn is_address(address: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !"<>\"`\\{}|^".contains(c);
    let host = |rest: &str| {
        let host = rest.split(['/', '?', '#', ':']).next().unwrap_or_default();
        let letters = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
        host == "localhost"
            || (host.contains('.') && !host.starts_with('.') && host.chars().all(letters))
    };
    address.chars().all(plain)
        && match address.split_once("://") {
            Some(("http" | "https", rest)) => host(rest),
            Some(_) => false,
            None => address.split_once('@').is_some_and(|(_, rest)| host(rest)),
        }
}

/// Links of a page with their lines, outside of its code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in prose(text) {
        for (_, rest) in text
            .match_indices("](")
            .map(|(at, mark)| text.split_at(at + mark.len()))
        {
            // A title may follow the address.
            let inner = rest.split([')', ' ']).next().unwrap_or_default();
            found.push((line, inner.to_owned()));
        }
        if let Some((name, address)) = text.split_once("]: ")
            && name.starts_with('[')
        {
            found.push((line, address.trim().to_owned()));
        }
        for mark in ["href=\"", "src=\""] {
            let rests = text.split(mark).skip(1);
            found.extend(rests.filter_map(|rest| Some((line, rest.split_once('"')?.0.to_owned()))));
        }
    }
    found
}

/// Lines outside of fences, with blanks in place of code within them.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let pieces = line.split('`').enumerate();
            let pieces = pieces.map(|(at, piece)| match at % 2 {
                0 => piece.to_owned(),
                _ => "`".repeat(piece.chars().count() + 2),
            });
            lines.push((number, pieces.collect()));
        }
    }
    lines
}

/// Anchors of a page's headings, as the usual hosts make them.
fn headings(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut slugs: Vec<String> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        let level = line.len() - title.len();
        if fenced || !(1..=6).contains(&level) || !title.starts_with(' ') {
            continue;
        }
        let slug = slug(title.trim());
        let times = seen.entry(slug.clone()).or_default();
        slugs.push(match *times {
            0 => slug,
            more => format!("{slug}-{more}"),
        });
        *times += 1;
    }
    slugs
}

fn slug(title: &str) -> String {
    // Of a link only its text counts.
    let mut shown = String::new();
    let mut rest = title;
    while let Some((before, after)) = rest.split_once("](") {
        shown += before;
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    shown += rest;
    let kept = shown
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    let lower: String = kept.flat_map(char::to_lowercase).collect();
    lower.replace(' ', "-")
}

#[test]
fn links_and_anchors_are_read_as_pages_write_them() {
    let text = "See [a](b.md#c-d) and ![x](y.svg \"title\"), not `[c](d)`.\n\
                ```sh\n[e](f)\n```\n\
                [g]: https://example.test/\n<a href=\"h.md\">h</a>\n";
    let found = links(text);
    let found: Vec<(usize, &str)> = found
        .iter()
        .map(|(line, link)| (*line, link.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (1, "b.md#c-d"),
            (1, "y.svg"),
            (5, "https://example.test/"),
            (6, "h.md")
        ]
    );

    let anchors =
        headings("# A `b` & C\n## The [link](x.md), twice\n## The link, twice\n```\n# no\n```\n");
    assert_eq!(anchors, ["a-b--c", "the-link-twice", "the-link-twice-1"]);

    let inside = |path: &str| Target::Inside(path.to_owned(), None);
    assert_eq!(target("docs/a.md", "../README.md"), inside("README.md"));
    assert_eq!(target("docs/a.md", "adr"), inside("docs/adr"));
    assert_eq!(
        target("docs/a.md", "#b"),
        Target::Inside("docs/a.md".to_owned(), Some("b"))
    );
    assert_eq!(target("docs/a.md", "../../b"), Target::Lost);
    assert_eq!(target("docs/a.md", "/etc/passwd"), Target::Lost);

    assert!(is_address("https://docs.example/a?b=c#d") && is_address("mailto:a@b.example"));
    assert!(
        !is_address("https://exa mple/") && !is_address("https:///a") && !is_address("ftp://a.b/")
    );
}
