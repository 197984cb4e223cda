//! Commands for keys, usage and changes: on either store without a gateway, and over HTTP to a running one.

use crate::harness::{
    Gateway, Provider, Redis, Script, Setup, chat, eventually, mint, resullm, sample,
};
use serde_json::{Value, json};
use std::process::Output;
use std::time::Duration;

fn config() -> Value {
    json!({"user_groups": {"anonymous": {"tokens": 100}, "paid": {"tokens": 5000}}})
}

/// Commands with the same settings.
struct Line {
    file: String,
    env: Vec<(&'static str, String)>,
}

impl Line {
    /// Commands with the settings of a [`Setup`], whose file is written here.
    fn of(setup: &Setup) -> Line {
        Line {
            file: setup.write_config().display().to_string(),
            env: Vec::new(),
        }
    }

    fn env(mut self, name: &'static str, value: &str) -> Line {
        self.env.push((name, value.to_owned()));
        self
    }

    fn run(&self, args: &[&str]) -> Output {
        let env = self.env.iter().map(|(name, value)| (*name, value.as_str()));
        let env: Vec<(&str, &str)> = env.collect();
        resullm(&[&["--config", &self.file], args].concat(), &env)
    }

    /// Output of a command that is done.
    #[track_caller]
    fn done(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {told}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let text = self.done(&[args, &["--json"]].concat());
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// What is told of a command that is refused, or of wrong words.
    #[track_caller]
    fn refused(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        assert!(output.stdout.is_empty(), "{args:?}");
        told
    }
}

/// Words of each line.
fn words(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines();
    lines
        .map(|line| line.split_whitespace().collect())
        .collect()
}

/// Value of a member in a table of pairs.
#[track_caller]
fn member<'a>(text: &'a str, name: &str) -> &'a str {
    let found = words(text).into_iter().find(|line| line[0] == name);
    found.unwrap_or_else(|| panic!("{name} in:\n{text}"))[1]
}

/// An embedded store and Redis, without a gateway, with tenant `abc`.
fn each_store(test: impl Fn(&Line)) {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let line = Line::of(&setup);
        let file = setup.path().join("abc.json");
        std::fs::write(&file, config().to_string()).unwrap();
        line.done(&["tenant", "put", "abc", file.to_str().unwrap()]);
        test(&line);
    }
}

#[test]
fn a_key_is_managed_from_its_mint_to_its_end() {
    each_store(|line| {
        let abc = ["--tenant", "abc"];
        let run = |args: &[&str]| line.done(&[args, &abc].concat());
        let mint = ["key", "mint", "--group", "paid", "--tokens", "12"];
        let more = ["--expires", "30d", "--user", "alice"];

        let minted = run(&[&mint[..], &more].concat());

        let key = member(&minted, "apiKey");
        assert_eq!(member(&minted, "tokensLeft"), "12");
        assert!(member(&minted, "expiresAt").starts_with("20"), "{minted}");
        let shown = run(&["key", "show", key]);
        assert_eq!(member(&shown, "group"), "paid");
        let credit = [
            "key",
            "credit",
            key,
            "8",
            "--id",
            "c1",
            "--comment",
            "was\u{1b}[2J cut off",
        ];
        assert_eq!(words(&run(&credit))[1], ["tokensLeft", "20"]);
        assert_eq!(words(&run(&credit))[2], ["repeated", "true"]);
        let debited = line.json(&["key", "debit", key, "5", "--tenant", "abc"]);
        assert_eq!(debited["tokensLeft"], 15);
        run(&["key", "move", key, "--group", "anonymous"]);
        assert_eq!(member(&run(&["key", "show", key]), "group"), "anonymous");

        let ledger = run(&["key", "ledger", key]);
        let reasons: Vec<&str> = words(&ledger).iter().map(|line| line[1]).collect();
        assert_eq!(
            reasons,
            ["reason", "debited", "credited", "opened"],
            "{ledger}"
        );
        assert!(ledger.contains("was\\u001b[2J cut off"), "{ledger}");
        let all = line.json(&["key", "ledger", key, "--all", "--tenant", "abc"]);
        assert_eq!(all["postings"].as_array().unwrap().len(), 3);
        assert_eq!(all.get("cursor"), None);

        assert_eq!(run(&["key", "revoke", key]), "success  true\n");
        let told = line.refused(&["key", "show", key, "--tenant", "abc"], 1);
        assert!(told.starts_with("[ERROR] Not found"), "{told}");
        assert!(told.contains("abc has no such key"), "{told}");
        assert!(!told.contains(key), "{told}");
    });
}

#[test]
fn commands_are_noted_as_the_operators_at_the_command_line() {
    each_store(|line| {
        let minted = line.json(&["key", "mint", "--tenant", "abc"]);
        let key = minted["apiKey"].as_str().unwrap();
        line.done(&["key", "credit", key, "5", "--id", "c1", "--tenant", "abc"]);

        let audit = line.json(&["audit", "--tenant", "abc"]);

        let changes = audit["changes"].as_array().unwrap();
        let actions: Vec<&Value> = changes.iter().map(|change| &change["action"]).collect();
        assert_eq!(actions, ["key.credited", "key.minted", "tenant.created"]);
        for change in changes {
            assert_eq!(
                (&change["by"], &change["address"], &change["outcome"]),
                (&json!("operator"), &json!("cli"), &json!("done"))
            );
        }
        assert_ne!(changes[0]["requestId"], changes[1]["requestId"]);
        assert!(!audit.to_string().contains(key));

        let table = line.done(&["audit", "--tenant", "abc", "--action", "key.credited"]);
        let rows = words(&table);
        assert_eq!(rows[0][..4], ["time", "action", "outcome", "by"], "{table}");
        assert_eq!(rows.len(), 2, "{table}");
        assert!(table.contains("tokensLeft: 100 -> 105"), "{table}");
        let page = ["audit", "--tenant", "abc", "--limit", "1"];
        assert_eq!(line.json(&page)["changes"].as_array().unwrap().len(), 1);
        let more = String::from_utf8(line.run(&page).stderr).unwrap();
        assert!(more.contains("--all"), "{more}");
        let all = line.json(&["audit", "--tenant", "abc", "--all"]);
        assert_eq!(all, audit);
        let operators = line.done(&["audit", "--all-tenants"]);
        assert_eq!(words(&operators)[1][1..3], ["abc", "tenant.created"]);
    });
}

#[test]
fn usage_is_summed_by_day_model_and_account() {
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("Hi", 9, 5));
    let setup = Setup::new().store(&redis.url());
    let gateway = Gateway::start(setup.tenant("abc", sample(&provider).tokens(10_000)));
    let key = mint(&gateway, "abc");
    let call = json!({"model": "gpt-4o", "messages": [], "max_tokens": 50});
    assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);
    let line = Line::of(gateway.setup());
    eventually(Duration::from_secs(10), "the call is recorded", || {
        let usage = line.json(&["usage", "--tenant", "abc"]);
        (usage["total"]["requests"] == 1).then_some(())
    });

    let table = line.done(&["usage", "--tenant", "abc", "--days", "1", "--limit", "5"]);

    let rows = words(&table);
    assert_eq!(rows[0], ["total"], "{table}");
    assert_eq!(
        rows[1][..3],
        ["requests", "tokensIn", "tokensOut"],
        "{table}"
    );
    assert_eq!(rows[2][..3], ["1", "9", "5"], "{table}");
    assert!(table.contains("\ngpt-4o "), "{table}");
    assert!(rows.iter().any(|row| row.contains(&"requestId")), "{table}");
    let told = line.refused(&["usage", "--tenant", "abc", "--days", "0"], 1);
    assert!(told.starts_with("[ERROR] days must be"), "{told}");
}

#[test]
fn a_gateway_that_has_the_store_is_asked_over_http() {
    let gateway = Gateway::start(Setup::new().tenant("abc", config()));
    let line = Line::of(gateway.setup());
    let told = line.refused(&["key", "mint", "--tenant", "abc"], 1);
    assert!(told.contains("in use by another process"), "{told}");
    assert!(told.contains("--gateway http://127.0.0.1:3000"), "{told}");
    let address = format!("http://127.0.0.1:{}", gateway.port());
    let there = ["--gateway", &address];

    let minted = line.json(&[&["key", "mint", "--tenant", "abc"][..], &there].concat());

    let key = minted["apiKey"].as_str().unwrap();
    let by_name = Line::of(gateway.setup()).env("RESULLM_GATEWAY", &address);
    let credit = ["key", "credit", key, "5", "--id", "c1", "--tenant", "abc"];
    assert_eq!(member(&by_name.done(&credit), "tokensLeft"), "105");
    let audit = by_name.json(&["audit", "--tenant", "abc", "--limit", "1"]);
    assert_eq!(audit["changes"][0]["address"], "127.0.0.1");
    assert_eq!(audit["changes"][0]["by"], "operator");
    let tenants = serde_json::from_str::<Value>(&by_name.done(&["tenant", "list"])).unwrap();
    assert_eq!(tenants, json!({"tenants": ["abc"]}));
    let told = by_name.refused(&["key", "show", "unknown", "--tenant", "abc"], 1);
    assert!(told.contains("abc has no such key"), "{told}");
    let file = gateway.setup().path().join("wrong.json");
    let wrong = json!({"user_groups": {"a": {"tokens": -1}}, "providers": 5});
    std::fs::write(&file, wrong.to_string()).unwrap();
    let told = by_name.refused(&["tenant", "put", "abc", file.to_str().unwrap()], 1);
    assert!(told.lines().count() >= 3, "{told}");
    assert!(
        told.lines().all(|line| line.starts_with("[ERROR] ")),
        "{told}"
    );
}

#[test]
fn a_gateway_that_cannot_be_asked_is_told() {
    let gateway = Gateway::start(Setup::new().tenant("abc", config()));
    let address = format!("http://127.0.0.1:{}", gateway.port());
    let line = Line::of(gateway.setup()).env("RESULLM_GATEWAY", &address);
    let other = Line::of(gateway.setup())
        .env("RESULLM_GATEWAY", &address)
        .env("ADMIN_TOKEN", "of-another-gateway");
    let list = ["audit", "--tenant", "abc"];

    let told = other.refused(&list, 1);
    assert_eq!(
        told,
        "[ERROR] Unauthorized: ADMIN_TOKEN is not the gateway's\n"
    );
    let clear = ["--gateway", "http://gateway.example:3000"];
    let told = line.refused(&[&list[..], &clear].concat(), 1);
    assert!(told.contains("in the clear"), "{told}");
    gateway.kill9();
    let told = line.refused(&["key", "credit", "k", "5", "--id", "c1"], 1);
    assert!(
        told.starts_with("[ERROR] The gateway gave no answer"),
        "{told}"
    );
    assert!(told.contains("--id c1"), "{told}");
}

#[test]
fn wrong_words_and_unknown_tenants_are_refused() {
    each_store(|line| {
        for args in [
            &["key"][..],
            &["key", "show"],
            &["key", "show", ""],
            &["key", "credit", "k", "-5"],
            &["key", "mint", "abc"],
            &["key", "mint", "--expires", "soon"],
            &["usage", "--csv", "--json"],
            &["audit", "--all-tenants", "--tenant", "abc"],
        ] {
            line.refused(args, 2);
        }
        let told = line.refused(&["key", "mint"], 1);
        assert!(told.contains("no tenant default"), "{told}");
        assert!(told.contains("--tenant"), "{told}");
        for tenant in ["nobody", "a/b", "admin"] {
            let told = line.refused(&["key", "mint", "--tenant", tenant], 1);
            assert!(told.contains("There is no tenant"), "{told}");
        }
        let told = line.refused(&["key", "mint", "--tenant", "abc", "--group", "x"], 1);
        assert!(told.contains("anonymous, paid"), "{told}");
    });
}

#[test]
fn help_of_each_command_has_an_example() {
    for command in ["key", "user"] {
        let help = String::from_utf8(resullm(&[command, "--help"], &[]).stdout).unwrap();
        let commands = help.split("Commands:").nth(1).unwrap();
        let names = commands.split("Options:").next().unwrap().lines();
        let names = names.filter_map(|line| line.split_whitespace().next());
        let names: Vec<&str> = names.filter(|name| *name != "help").collect();
        assert!(names.len() >= 9, "{help}");
        for name in names {
            let help = resullm(&[command, name, "--help"], &[]);
            let help = String::from_utf8(help.stdout).unwrap();
            let example = format!("Example:\n  resullm {command} {name} ");
            assert!(help.contains(&example), "{help}");
        }
    }
    for command in ["usage", "audit"] {
        let help = String::from_utf8(resullm(&[command, "--help"], &[]).stdout).unwrap();
        assert!(help.contains("Example:\n  resullm "), "{help}");
    }
}
