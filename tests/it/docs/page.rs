//! The fenced blocks of a Markdown page: language, place, and the part that each plays.
//!
//! CONTRIBUTING.md explains the conventions to writers; this reads them.

use std::fmt;

/// A comment directly before a block that is not run.
const MARK: &str = "<!-- not run";
/// Prose before a block that ends the page's gateways, as in "Stop the gateway with Ctrl-C".
const STOP: &str = "top the gateway";

#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// Number of the first line of its text.
    pub line: usize,
    pub language: String,
    pub text: String,
    pub part: Part,
    /// Reason for which it is not run.
    pub mark: Option<String>,
    /// Whether the reader is told before it to stop the gateway.
    pub stops: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// `sh`, and programs in a language of their own.
    Commands,
    /// Output of the commands directly before it.
    Output,
    /// A file that the sentence before it names.
    File(String),
    /// Settings, a tenant's config or a part of one.
    Example,
}

/// What is wrong with a page, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    pub line: usize,
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}: {}", self.line, self.text)
    }
}

/// Reads a page; faults are breaches of the conventions.
pub fn read(page: &str) -> (Vec<Block>, Vec<Fault>) {
    let mut reader = Reader::default();
    let mut lines = page.lines().enumerate().map(|(at, line)| (at + 1, line));
    while let Some((number, line)) = lines.next() {
        match fence(line) {
            Some((indent, language)) => {
                let mut text = String::new();
                let mut closed = false;
                for (_, line) in lines.by_ref() {
                    closed = fence(line).is_some_and(|(_, after)| after.is_empty());
                    if closed {
                        break;
                    }
                    let blanks = line.len() - line.trim_start_matches(' ').len();
                    text += &line[blanks.min(indent)..];
                    text.push('\n');
                }
                if !closed {
                    reader.fault(number, "this block has no end");
                }
                reader.block(number + 1, language, text);
            }
            None => reader.prose(number, line),
        }
    }
    reader.finish()
}

/// Indentation and language of a fence.
fn fence(line: &str) -> Option<(usize, &str)> {
    let inner = line.trim_start_matches(' ');
    let language = inner.strip_prefix("```")?;
    let is_word = language.chars().all(char::is_alphanumeric);
    is_word.then_some((line.len() - inner.len(), language))
}

#[derive(Default)]
struct Reader<'p> {
    blocks: Vec<Block>,
    faults: Vec<Fault>,
    /// Lines since the last block.
    since: Vec<(usize, &'p str)>,
    in_list: bool,
}

impl<'p> Reader<'p> {
    fn fault(&mut self, line: usize, text: &str) {
        let text = text.to_owned();
        self.faults.push(Fault { line, text });
    }

    fn prose(&mut self, number: usize, line: &'p str) {
        let is_blank = line.trim().is_empty();
        let after_blank = self
            .since
            .last()
            .is_none_or(|(_, last)| last.trim().is_empty());
        if line.starts_with("    ") && !is_blank && after_blank && !self.in_list {
            self.fault(
                number,
                "a block is fenced and names its language; this one is indented",
            );
        }
        if !is_blank && !line.starts_with(' ') {
            let item = line.trim_start_matches(|c: char| c.is_ascii_digit());
            self.in_list = ["* ", "- ", ". "].iter().any(|mark| item.starts_with(mark));
        }
        self.since.push((number, line));
    }

    fn block(&mut self, line: usize, language: &str, text: String) {
        let since = std::mem::take(&mut self.since);
        let mut said = since.iter().filter(|(_, line)| !line.trim().is_empty());
        let last = said.next_back().copied();
        let mark = last.and_then(|(_, last)| last.trim().strip_prefix(MARK));
        let mark = mark.map(|rest| rest.trim_end_matches("-->").trim_start_matches(':').trim());
        if mark.is_some_and(str::is_empty) {
            self.fault(
                line,
                "the mark before this block has no reason: <!-- not run: reason -->",
            );
        }
        let lost = said.filter(|(_, line)| line.trim().starts_with(MARK));
        let lost: Vec<usize> = lost.map(|(number, _)| *number).collect();
        for number in lost {
            self.fault(number, "this mark is not directly before a block");
        }
        let after_commands = last.is_none()
            && self
                .blocks
                .last()
                .is_some_and(|before| before.part == Part::Commands);
        let named = last.and_then(|(_, last)| file_name(last));
        let part = match language {
            "sh" | "python" | "js" if named.is_none() => Part::Commands,
            _ if after_commands => Part::Output,
            _ => named.map_or(Part::Example, |name| Part::File(name.to_owned())),
        };
        self.blocks.push(Block {
            line,
            language: language.to_owned(),
            text,
            part,
            mark: mark.map(str::to_owned),
            stops: since.iter().any(|(_, line)| line.contains(STOP)),
        });
    }

    fn finish(mut self) -> (Vec<Block>, Vec<Fault>) {
        let lost = self
            .since
            .iter()
            .find(|(_, line)| line.trim().starts_with(MARK));
        if let Some(&(number, _)) = lost {
            self.fault(number, "this mark is not directly before a block");
        }
        (self.blocks, self.faults)
    }
}

/// The file that a line such as "This is `acme.json`:" introduces.
fn file_name(line: &str) -> Option<&str> {
    let (_, name) = line.trim_end().strip_suffix("`:")?.rsplit_once('`')?;
    let letters = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (name.contains('.') && name.chars().all(letters)).then_some(name)
}

#[test]
fn blocks_are_read_with_their_parts_and_places() {
    let page = "\
Run this:

```sh
echo one
```
```
one
```
This is `acme.json`:

```json
{}
```

* An item:

  ```sh
  echo two
    three
  ```

<!-- not run: needs Docker -->
```sh
docker ps
```

Stop the gateway:

```yaml
log: {}
```
";
    let (blocks, faults) = read(page);

    assert_eq!(faults, []);
    let told: Vec<_> = blocks
        .iter()
        .map(|block| (block.line, block.text.as_str(), &block.part, block.stops))
        .collect();
    let file = Part::File("acme.json".to_owned());
    assert_eq!(
        told,
        [
            (4, "echo one\n", &Part::Commands, false),
            (7, "one\n", &Part::Output, false),
            (12, "{}\n", &file, false),
            (18, "echo two\n  three\n", &Part::Commands, false),
            (24, "docker ps\n", &Part::Commands, false),
            (30, "log: {}\n", &Part::Example, true),
        ]
    );
    let marks: Vec<_> = blocks.iter().map(|block| block.mark.as_deref()).collect();
    assert_eq!(marks[4], Some("needs Docker"));
    assert!(marks[..4].iter().all(Option::is_none));
}

#[test]
fn breaches_of_the_conventions_are_faults_with_their_line() {
    let lines = |page: &str| -> Vec<usize> {
        let (_, faults) = read(page);
        faults.iter().map(|fault| fault.line).collect()
    };

    assert_eq!(lines("<!-- not run -->\n```sh\nls\n```\n"), [3]);
    assert_eq!(
        lines("<!-- not run: because -->\n\nText.\n\n```sh\nls\n```\n"),
        [1]
    );
    assert_eq!(lines("Text.\n\n<!-- not run: because -->\n"), [3]);
    assert_eq!(lines("Text:\n\n    indented\n"), [3]);
    assert!(lines("* An item\n\n    of two paragraphs\n").is_empty());
    assert_eq!(lines("```sh\nls\n"), [1]);
}
