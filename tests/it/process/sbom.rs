//! The SBOM of `make sbom`, compared with `cargo tree` and the lock file.

use crate::harness::TempDir;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

type Package = (String, String);

#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.current_dir(ROOT).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn write(file: &Path) -> Vec<u8> {
    output(Command::new("python3").arg("tests/tools/sbom.py").arg(file));
    std::fs::read(file).unwrap()
}

/// Packages of the dependency tree, without the gateway itself, which comes first.
fn tree() -> BTreeSet<Package> {
    let mut cargo = Command::new(env!("CARGO"));
    let text = output(cargo.args(["tree", "--locked", "-e", "normal", "--prefix", "none"]));
    let packages = text.lines().skip(1).filter(|line| !line.is_empty());
    packages
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().unwrap().to_owned();
            let version = words.next().unwrap().strip_prefix('v').unwrap();
            (name, version.to_owned())
        })
        .collect()
}

/// Checksums of the lock file's packages; `None` for a package of this repository.
fn locked() -> BTreeMap<Package, Option<String>> {
    let text = std::fs::read_to_string(format!("{ROOT}/Cargo.lock")).unwrap();
    let packages = text.split("[[package]]").skip(1).map(|block| {
        let field = |name: &str| {
            let start = format!("{name} = \"");
            let line = block.lines().find_map(|line| line.strip_prefix(&start));
            line.map(|rest| rest.trim_end_matches('"').to_owned())
        };
        let package = (field("name").unwrap(), field("version").unwrap());
        (package, field("checksum"))
    });
    packages.collect()
}

#[test]
fn every_package_of_the_binary_is_in_its_bill_of_materials() {
    let dir = TempDir::new();
    let bytes = write(&dir.file("one.json"));
    assert_eq!(
        bytes,
        write(&dir.file("other.json")),
        "the same lock file, the same bytes"
    );

    let bill: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    assert_eq!(bill["specVersion"], "1.5");
    assert_eq!(bill["metadata"]["component"]["name"], "resullm");

    let mut listed = BTreeMap::new();
    for component in bill["components"].as_array().unwrap() {
        let field = |name: &str| component[name].as_str().unwrap().to_owned();
        let before = listed.insert((field("name"), field("version")), component);
        assert!(before.is_none(), "{} is listed once", field("name"));
    }

    let tree = tree();
    assert!(tree.len() > 100, "{}", tree.len());
    assert_eq!(listed.keys().cloned().collect::<BTreeSet<_>>(), tree);

    let locked = locked();
    for (package, component) in &listed {
        let (name, version) = package;
        let purl = format!("pkg:cargo/{name}@{version}");
        assert_eq!(component["purl"], purl);
        assert_eq!(component["bom-ref"], purl);
        // Packages of this repository have no checksum, licence or source.
        let Some(checksum) = &locked[package] else {
            continue;
        };
        assert_eq!(component["hashes"][0]["alg"], "SHA-256", "{name}");
        assert_eq!(component["hashes"][0]["content"], *checksum, "{name}");
        let licence = component["licenses"][0]["expression"].as_str();
        let is_spdx = |text: &str| !text.is_empty() && !text.contains('/');
        assert!(licence.is_some_and(is_spdx), "{name}: {licence:?}");
    }
    let edges = bill["dependencies"].as_array().unwrap();
    assert_eq!(edges.len(), tree.len() + 1);

    let all: BTreeSet<&str> = edges
        .iter()
        .filter_map(|edge| edge["ref"].as_str())
        .collect();
    for edge in edges {
        let named = edge["dependsOn"].as_array().unwrap();
        assert!(
            named.iter().all(|one| all.contains(one.as_str().unwrap())),
            "{edge}"
        );
    }
}
