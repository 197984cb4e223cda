//! Reads a Dockerfile into its stages and their instructions.

use std::collections::BTreeMap;

#[derive(Debug, PartialEq, Eq)]
pub struct Stage {
    pub image: String,
    pub name: Option<String>,
    pub steps: Vec<Step>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    pub line: usize,
    /// In capitals: `RUN`.
    pub word: String,
    pub text: String,
}

/// The stages in their order. A line continues after `\`, where comments may stand in between.
pub fn read(text: &str) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with('#') || (line.trim().is_empty() && open.is_none()) {
            continue;
        }
        let (start, mut text) = open.take().unwrap_or((number, String::new()));
        match line.strip_suffix('\\') {
            Some(part) => {
                text += part;
                open = Some((start, text));
            }
            None => {
                text += line;
                close(&mut stages, start, &text);
            }
        }
    }
    assert!(open.is_none(), "the last line continues: {open:?}");
    stages
}

fn close(stages: &mut Vec<Stage>, line: usize, text: &str) {
    let (word, text) = text
        .trim()
        .split_once(' ')
        .expect("an instruction and its text");
    let (word, text) = (word.to_uppercase(), text.trim().to_owned());
    if word == "FROM" {
        let words: Vec<&str> = text.split_whitespace().collect();
        let name = words.get(2).map(|name| (*name).to_owned());
        stages.push(Stage {
            image: words[0].to_owned(),
            name,
            steps: Vec::new(),
        });
        return;
    }
    let stage = stages.last_mut().expect("FROM is the first instruction");
    stage.steps.push(Step { line, word, text });
}

impl Step {
    /// Stage, sources and target of a `COPY`.
    pub fn copied(&self) -> (Option<&str>, Vec<&str>, &str) {
        let mut words: Vec<&str> = self.text.split_whitespace().collect();
        let target = words.pop().expect("a target");
        let from = words.iter().find_map(|word| word.strip_prefix("--from="));
        words.retain(|word| !word.starts_with("--"));
        (from, words, target)
    }

    /// Variables of an `ENV`.
    pub fn variables(&self) -> BTreeMap<&str, &str> {
        let pairs = self.text.split_whitespace();
        pairs.filter_map(|pair| pair.split_once('=')).collect()
    }

    /// Program and arguments in the JSON form of `CMD`, `ENTRYPOINT` or `HEALTHCHECK`.
    pub fn arguments(&self) -> Vec<String> {
        let start = self.text.find('[').expect("the JSON form");
        serde_json::from_str(&self.text[start..]).expect("a list of words")
    }
}

#[test]
fn instructions_are_read_over_lines_and_comments() {
    let text = "\
# An image.
FROM rust:1.95 AS build
COPY a b ./
RUN one \\
    # not this
    && two
FROM debian
ENV A=1 \\
    B=2
COPY --from=build --chown=x /build/x /bin/x
HEALTHCHECK --interval=10s CMD [\"bash\", \"-c\", \"exit 0\"]
";
    let stages = read(text);

    let told: Vec<_> = stages
        .iter()
        .map(|stage| (stage.image.as_str(), stage.name.as_deref()))
        .collect();
    assert_eq!(told, [("rust:1.95", Some("build")), ("debian", None)]);
    let [copy, run] = &stages[0].steps[..] else {
        panic!("{stages:?}")
    };
    assert_eq!(copy.copied(), (None, vec!["a", "b"], "./"));
    assert_eq!((run.line, run.text.as_str()), (4, "one     && two"));
    let [env, copy, health] = &stages[1].steps[..] else {
        panic!("{stages:?}")
    };
    assert_eq!(env.variables(), BTreeMap::from([("A", "1"), ("B", "2")]));
    assert_eq!(copy.copied(), (Some("build"), vec!["/build/x"], "/bin/x"));
    assert_eq!(health.arguments(), ["bash", "-c", "exit 0"]);
}
