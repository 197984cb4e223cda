#!/usr/bin/env python3
"""Counts what makes the sources of src/ easy or hard to read, so that two states can be compared.

Usage: tests/tools/readability.py [--check | --list NAME] [folder]

It prints one figure a line. --list prints each place behind one figure: `oblique`, `bare`, `long-functions`,
`impls-elsewhere`, `public`, `shared-names`. --check exits with 1 where a figure is worse than its limit below;
`tests/architecture.rs` runs it, so that what was won is kept.
"""
import collections
import pathlib
import re
import sys

# A doc comment names its subject first; these words put a clause there instead.
OBLIQUE = set(
    "what whatever who whoever whom whose where wherever when whenever how why which so such as "
    "nothing nobody it there that those these here once enough".split()
)
LONGEST_FUNCTION = 60
# Worst that --check lets pass: shares of all doc comments, else numbers.
LIMITS = {"oblique": 0.03, "bare": 0.60, "long-functions": 12, "impls-elsewhere": 0, "public": 28, "shared-names": 6}
ITEM = re.compile(r"^\s*pub (?:async |unsafe |const )*(fn|struct|enum|trait|const|static|type)\s+([A-Za-z_]\w*)")
TYPE = re.compile(r"^(?:pub(?:\([^)]*\))? )?(?:struct|enum|trait|type)\s+([A-Z]\w*)")
FUNCTION = re.compile(r"^(\s*)(?:pub(?:\([^)]*\))? )?(?:const |async |unsafe )*fn\s+(\w+)")
INHERENT = re.compile(r"^impl(?:<[^{]*?>)?\s+(?:[a-z_]+::)*([A-Z]\w*)(?:<.*>)?\s*(?:where.*)?\{")


def is_test(path):
    return path.stem.endswith("_tests") or path.stem in ("tests", "histories")


def code_of(path):
    """The lines before the file's own tests."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if line.strip() == "#[cfg(test)]" and number + 1 < len(lines) and lines[number + 1].startswith("mod "):
            return lines[:number]
    return lines


def doc_comments(lines):
    """Runs of `///` or `//!`, with the line of the first."""
    run, start, mark = [], 0, ""
    for number, line in enumerate(lines + [""], 1):
        text = line.strip()
        found = text[:3] if text[:3] in ("///", "//!") and not text.startswith("////") else ""
        if run and found != mark:
            yield start, mark, " ".join(run).strip()
            run = []
        if found:
            if not run:
                start, mark = number, found
            run.append(text[3:].strip())


def long_functions(lines):
    for number, line in enumerate(lines):
        found = FUNCTION.match(line)
        if not found:
            continue
        indent = found.group(1)
        for end in range(number, len(lines)):
            if lines[end] == indent + "}":
                if end - number + 1 > LONGEST_FUNCTION:
                    yield number + 1, f"{found.group(2)}: {end - number + 1} lines"
                break
            if end > number and lines[end].startswith(indent + "fn "):
                break


def measure(root):
    source = root / "src"
    files = {path: code_of(path) for path in sorted(source.rglob("*.rs")) if not is_test(path)}
    places = collections.defaultdict(list)
    total = bare = 0
    homes = collections.defaultdict(list)
    for path, lines in files.items():
        for line in lines:
            if found := TYPE.match(line):
                homes[found.group(1)].append(path)
    for path, lines in files.items():
        at = lambda line: f"{path.relative_to(root)}:{line}"
        for line, mark, text in doc_comments(lines):
            total += 1
            words = re.findall(r"[A-Za-z']+", text)
            if words and not text.startswith("`") and words[0].lower() in OBLIQUE:
                places["oblique"].append(f"{at(line)} {text[:100]}")
            if not re.search(r"`[^`]+`|\]\(", text):
                places["bare"].append(f"{at(line)} {text[:100]}")
        for line, what in long_functions(lines):
            places["long-functions"].append(f"{at(line)} {what}")
        for number, line in enumerate(lines, 1):
            if found := INHERENT.match(line):
                known = homes.get(found.group(1), [])
                if known and not any(path == home or path.parent == home.with_suffix("") for home in known):
                    places["impls-elsewhere"].append(f"{at(number)} {found.group(1)}")
    for name, known in homes.items():
        if len(known) > 2:
            where = " ".join(str(path.relative_to(root)) for path in known)
            places["shared-names"].append(f"{name} {where}")
    folder = lambda path: path.relative_to(source).parts[0].removesuffix(".rs")
    words = collections.defaultdict(set)
    tests = [p for d in ("tests", "bench", "fuzz") for p in (root / d).rglob("*.rs")]
    for path in [*source.rglob("*.rs"), *tests]:
        mine = folder(path) if source in path.parents else "tests"
        for word in set(re.findall(r"\w+", path.read_text())):
            words[word].add(mine)
    for path, lines in files.items():
        for number, line in enumerate(lines, 1):
            found = ITEM.match(line)
            if found and words[found.group(2)] == {folder(path)}:
                places["public"].append(f"{path.relative_to(root)}:{number} {found.group(2)}")
    return total, places


LABELS = {
    "oblique": "doc comments with an oblique opening",
    "bare": "doc comments without `code` or a link",
    "long-functions": f"functions over {LONGEST_FUNCTION} lines",
    "impls-elsewhere": "inherent impls outside their type's file",
    "public": "public items that no other folder names",
    "shared-names": "names of more than two types",
}


def main():
    arguments = sys.argv[1:]
    is_check = arguments[:1] == ["--check"]
    wanted = arguments[1] if arguments[:1] == ["--list"] else None
    arguments = arguments[1:] if is_check else arguments[2:] if wanted else arguments
    root = pathlib.Path(arguments[0] if arguments else pathlib.Path(__file__).parents[2])
    total, places = measure(root)
    if wanted:
        print("\n".join(places[wanted]))
        return 0
    status = 0
    for name, label in LABELS.items():
        count, limit = len(places[name]), LIMITS[name]
        is_share = isinstance(limit, float)
        figure = f"{count} of {total} ({100 * count / total:.1f} %)" if is_share else str(count)
        is_worse = (count / total if is_share else count) > limit
        status |= is_worse
        limit = f"{limit:.0%}" if is_share else limit
        print(f"{label + ':':<44}{figure}" + (f", and the limit is {limit}: --list {name} shows them" if is_worse else ""))
    return status if is_check else 0


if __name__ == "__main__":
    sys.exit(main())
