//! `deploy/Dockerfile` and `deploy/compose.yaml`, executed as far as a machine without Docker allows.
//!
//! The build's steps run on the copied files alone, the last stage's in a clean root directory, in which the image's
//! program then starts as its user and answers its health check.

mod compose;
mod dockerfile;
mod root;

use crate::faults::{case, many};
use crate::harness::project::in_project;
use crate::harness::{TempDir, copy, within};
use dockerfile::{Stage, Step};
use root::CleanRoot;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const DOCKERFILE: &str = "deploy/Dockerfile";
const PROGRAM: &str = env!("CARGO_BIN_EXE_resullm");
const KNOWN: [&str; 12] = [
    "COPY",
    "RUN",
    "WORKDIR",
    "USER",
    "ENV",
    "EXPOSE",
    "VOLUME",
    "HEALTHCHECK",
    "STOPSIGNAL",
    "ENTRYPOINT",
    "CMD",
    "LABEL",
];

fn stages() -> [Stage; 2] {
    let text = fs::read_to_string(in_project(DOCKERFILE)).unwrap();
    let stages = dockerfile::read(&text);
    for step in stages.iter().flat_map(|stage| &stage.steps) {
        assert!(
            KNOWN.contains(&step.word.as_str()),
            "{DOCKERFILE}:{}: {}",
            step.line,
            step.word
        );
    }
    stages
        .try_into()
        .expect("a stage that builds and one that runs")
}

/// Text of the only instruction of its kind.
fn only<'s>(stage: &'s Stage, word: &str) -> &'s Step {
    let mut steps = stage.steps.iter().filter(|step| step.word == word);
    let (Some(step), None) = (steps.next(), steps.next()) else {
        panic!("{DOCKERFILE}: one {word} is expected");
    };
    step
}

#[expect(
    clippy::print_stdout,
    reason = "that of a test is shown where it fails"
)]
fn told(text: &str) {
    println!("image: {text}");
}

/// Puts what a `COPY` names into a directory that stands for the image's.
fn copy_in(step: &Step, to: &Path) {
    let (_, sources, target) = step.copied();
    let ignored = fs::read_to_string(in_project(".dockerignore")).unwrap();
    for source in sources {
        let place = format!("{DOCKERFILE}:{}: {source}", step.line);
        let from = in_project(source);
        assert!(from.exists(), "{place} is not there");
        let top = source.split('/').next();
        let is_ignored = ignored
            .lines()
            .any(|line| Some(line.trim_matches('/')) == top);
        assert!(!is_ignored, "{place} is in .dockerignore");
        // A directory's contents are copied; a file keeps its name below a directory.
        let mut place = to.join(target.trim_start_matches("./"));
        if target.ends_with('/') && from.is_file() {
            place.push(from.file_name().unwrap());
        }
        copy(&from, &place);
    }
}

/// The directory that cargo builds in.
fn target_dir() -> PathBuf {
    Path::new(PROGRAM).ancestors().nth(2).unwrap().to_owned()
}

#[test]
fn copied_files_are_enough_to_build_the_image() {
    case("image: built from the copied files alone", || {
        let begun = Instant::now();
        build_the_image();
        let how = many("read and checked", "built");
        format!("{how} in {:.0?}", begun.elapsed())
    });
}

/// Variables that cargo sets for a test. Build scripts look at some, so another cargo would build dependencies anew.
fn own_variables() -> impl Iterator<Item = String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| {
        let of_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter();
        [
            "CARGO",
            "OUT_DIR",
            "CARGO_CRATE_NAME",
            "CARGO_PRIMARY_PACKAGE",
        ]
        .contains(&name.as_str())
            || of_package
                .into_iter()
                .any(|prefix| name.starts_with(prefix))
    })
}

/// Executes the steps of the first stage.
fn build_the_image() {
    let [build, _] = stages();
    let (copied, bin) = (TempDir::new(), TempDir::new());
    copy(&in_project("tests/image/cargo"), &bin.file("cargo"));
    let long = many(false, true);
    let target = many(target_dir(), target_dir().join("image"));
    fs::create_dir_all(&target).unwrap();
    assert_eq!(only(&build, "WORKDIR").text, "/build");

    for step in &build.steps {
        match step.word.as_str() {
            "COPY" => copy_in(step, copied.path()),
            "RUN" => {
                let mut command = Command::new("unshare");
                command
                    .args(["--user", "--map-root-user", "--mount", "--net", "--"])
                    .arg(in_project("tests/image/build.sh"))
                    .args([
                        copied.path(),
                        Path::new(env!("CARGO_MANIFEST_DIR")),
                        &target,
                    ])
                    .arg(&step.text)
                    .env("IMAGE_BIN", bin.path())
                    .env("IMAGE_CARGO", env!("CARGO"));
                if long {
                    command.env("IMAGE_LONG", "1");
                }
                for name in own_variables() {
                    command.env_remove(name);
                }
                let output = command.output().unwrap();
                assert!(
                    output.status.success(),
                    "{DOCKERFILE}:{}: this step fails on the copied files alone:\n{}\n{}",
                    step.line,
                    step.text,
                    String::from_utf8_lossy(&output.stderr)
                );
            }
            _ => {}
        }
    }

    if long {
        assert!(target.join("dist/resullm").is_file());
    }
}

#[test]
fn image_builds_with_a_rust_that_is_new_enough() {
    let [build, _] = stages();
    let manifest = fs::read_to_string(in_project("Cargo.toml")).unwrap();
    let wanted = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "));
    let version = |text: &str| -> Vec<u32> {
        let digits = text.trim_matches('"').split('-').next().unwrap_or_default();
        digits
            .split('.')
            .map(|part| part.parse().expect("a number"))
            .collect()
    };
    let image = build
        .image
        .strip_prefix("rust:")
        .expect("the official image");

    assert!(
        version(image) >= version(wanted.expect("rust-version")),
        "{image}"
    );
}

/// What the last stage says about the program that it starts.
#[derive(Default)]
struct Image {
    env: BTreeMap<String, String>,
    user: String,
    dir: String,
}

fn image_of(stage: &Stage) -> Image {
    let mut image = Image::default();
    for step in &stage.steps {
        match step.word.as_str() {
            "ENV" => {
                let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
                image.env.extend(step.variables().into_iter().map(owned));
            }
            "USER" => image.user.clone_from(&step.text),
            "WORKDIR" => image.dir.clone_from(&step.text),
            _ => {}
        }
    }
    image
}

/// Lays out the root directory as the last stage's steps do.
fn lay_out(stage: &Stage, build: &Stage) -> CleanRoot {
    let root = CleanRoot::new();
    for step in &stage.steps {
        let (from, sources, target) = match step.word.as_str() {
            "RUN" => {
                let output = root.step(&step.text);
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(
                    output.status.success(),
                    "{DOCKERFILE}:{}: {said}",
                    step.line
                );
                continue;
            }
            "COPY" => step.copied(),
            _ => continue,
        };
        let to = root.path(target);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        if from.is_some() {
            assert_eq!(from, build.name.as_deref(), "{DOCKERFILE}:{}", step.line);
            // The program under test stands in for the one that the first stage builds.
            assert_eq!(sources, ["/build/target/dist/resullm"]);
            let built = many(
                PathBuf::from(PROGRAM),
                target_dir().join("image/dist/resullm"),
            );
            let program = if built.is_file() {
                built
            } else {
                PathBuf::from(PROGRAM)
            };
            copy(&program, &to);
        } else {
            let [source] = sources[..] else {
                panic!("one file: {sources:?}")
            };
            copy(&in_project(source), &to);
        }
    }
    root
}

#[test]
fn image_starts_as_its_user_and_answers_its_health_check() {
    let [build, stage] = stages();
    let root = lay_out(&stage, &build);
    let image = image_of(&stage);
    let port = &only(&stage, "EXPOSE").text;
    assert_eq!(image.dir, only(&stage, "VOLUME").text);
    let passwd = fs::read_to_string(root.path("etc/passwd")).unwrap();
    let account = passwd
        .lines()
        .find(|line| line.starts_with(&format!("{}:", image.user)));
    let numbers: Vec<&str> = account
        .map(|line| line.split(':').collect())
        .expect("a user");
    let user = (numbers[2], numbers[3]);
    assert_ne!(user.0, "0", "{passwd}");

    let program = [
        only(&stage, "ENTRYPOINT").arguments(),
        only(&stage, "CMD").arguments(),
    ]
    .concat();
    let env: Vec<_> = image.env.clone().into_iter().collect();
    let gateway = root.start(user, &image.dir, &env, &program);
    let listening = format!("Listening on http://{}:{port}", image.env["HOST"]);
    let ready = within(Duration::from_secs(20), || {
        let ended = !gateway.is_alive();
        root.log()
            .contains(&listening)
            .then_some(true)
            .or(ended.then_some(false))
    });
    assert_eq!(ready, Some(true), "{}", root.log());

    let health = only(&stage, "HEALTHCHECK").arguments();
    let check = |env: &[(&str, &str)]| root.beside(&gateway, env, &health);
    let healthy = check(&[]);
    assert!(
        healthy.status.success(),
        "{}",
        String::from_utf8_lossy(&healthy.stderr)
    );
    assert!(
        !check(&[("PORT", "1")]).status.success(),
        "nothing listens there"
    );
    let mint = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'POST /demo/auth/anonymous HTTP/1.1\\r\\nHost: localhost\\r\\n\
         Content-Length: 0\\r\\nConnection: close\\r\\n\\r\\n' >&3 && cat <&3"
    );
    let minted = root.beside(&gateway, &[], &["bash", "-c", &mint].map(str::to_owned));
    let minted = String::from_utf8_lossy(&minted.stdout).into_owned();
    assert!(
        minted.starts_with("HTTP/1.1 200 ") && minted.contains("\"apiKey\":"),
        "{minted}"
    );
    let kept = ["test", "-f", &format!("{}/resullm.redb", image.dir)].map(str::to_owned);
    assert!(
        root.beside(&gateway, &[], &kept).status.success(),
        "the store is in the volume"
    );

    gateway.signal(only(&stage, "STOPSIGNAL").text.trim_start_matches("SIG"));
    let ended = gateway.wait(Duration::from_secs(40));
    assert_eq!(
        ended.and_then(|status| status.code()),
        Some(0),
        "{}",
        root.log()
    );
    for note in root.notes() {
        told(&note);
    }
}
