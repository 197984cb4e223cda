#!/usr/bin/env python3
"""Writes a CycloneDX 1.5 bill of materials of what the release binary is made from: the packages that
`cargo tree -e normal` names, tests and build scripts aside, with licences, who needs whom, and the lock file's
checksums. The same lock file and target give the same bytes.

Usage: sbom.py FILE
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def target():
    host = re.search(r"^host: (.+)$", run("rustc", "-vV"), re.MULTILINE).group(1)
    return os.environ.get("CARGO_BUILD_TARGET", host)


def checksums():
    """Of each package in the lock file that has one, by name and version."""
    found = {}
    for block in (ROOT / "Cargo.lock").read_text().split("[[package]]")[1:]:
        fields = dict(re.findall(r'^(name|version|checksum) = "(.*)"$', block, re.MULTILINE))
        found[fields["name"], fields["version"]] = fields.get("checksum")
    return found


def in_the_tree():
    """Name and version of each package in it. The metadata alone would add what only tests switch on."""
    tree = run("cargo", "tree", "--locked", "-e", "normal", "--target", target(), "--prefix", "none")
    lines = (line.split() for line in tree.splitlines() if line)
    return {(words[0], words[1].removeprefix("v")) for words in lines}


def edges_between(nodes, wanted):
    """Who needs whom of these, tests and build scripts aside."""
    is_normal = lambda dep: any(kind["kind"] is None for kind in dep["dep_kinds"])
    needed = lambda node: {dep["pkg"] for dep in nodes[node]["deps"] if is_normal(dep)}
    return {node: needed(node) & wanted for node in wanted}


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksum):
    about = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "scope": "required",
    }
    if checksum:
        about["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["license"]:
        # Older packages write a slash where SPDX has OR.
        expression = re.sub(r"\s*/\s*", " OR ", package["license"])
        about["licenses"] = [{"expression": expression}]
    about["purl"] = purl(package)
    if package["repository"]:
        about["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return about


def bill():
    metadata = json.loads(
        run("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target())
    )
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    start = metadata["resolve"]["root"]
    named = lambda package: (package["name"], package["version"])
    tree = in_the_tree()
    edges = edges_between(nodes, {node for node in nodes if named(packages[node]) in tree})
    sums = checksums()
    of = lambda node: component(packages[node], sums[named(packages[node])])
    main = {**of(start), "type": "application"}
    del main["scope"]
    components = [of(node) for node in edges if node != start]
    dependencies = [
        {"ref": purl(packages[node]), "dependsOn": sorted(purl(packages[dep]) for dep in deps)}
        for node, deps in edges.items()
    ]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": main,
            "properties": [{"name": "cargo:target", "value": target()}],
        },
        "components": sorted(components, key=lambda one: one["bom-ref"]),
        "dependencies": sorted(dependencies, key=lambda one: one["ref"]),
    }


def main():
    file = Path(sys.argv[1])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(bill(), indent=2, ensure_ascii=False) + "\n")


main()
