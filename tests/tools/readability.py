#!/usr/bin/env python3
"""Counts what makes the sources of src/ easy or hard to read, so that two states can be compared.

Usage: tests/tools/readability.py [--list NAME] [folder]

Without --list it prints one figure a line. With it, it prints each place behind one figure: `oblique`, `bare`,
`long-functions`, `impls-elsewhere`, `public`, `shared-names`. `tests/house.rs` keeps the same figures from growing.
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


def main():
    arguments = sys.argv[1:]
    wanted = None
    if arguments[:1] == ["--list"]:
        wanted, arguments = arguments[1], arguments[2:]
    root = pathlib.Path(arguments[0] if arguments else pathlib.Path(__file__).parents[2])
    total, places = measure(root)
    if wanted:
        print("\n".join(places[wanted]))
        return
    share = lambda count: f"{count} of {total} ({100 * count / total:.1f} %)"
    print(f"doc comments with an oblique opening:       {share(len(places['oblique']))}")
    print(f"doc comments with `code` or a link:         {share(total - len(places['bare']))}")
    print(f"functions over {LONGEST_FUNCTION} lines:                    {len(places['long-functions'])}")
    print(f"inherent impls outside their type's file:   {len(places['impls-elsewhere'])}")
    print(f"public items that no other folder names:    {len(places['public'])}")
    print(f"names of more than two types:               {len(places['shared-names'])}")


if __name__ == "__main__":
    main()
