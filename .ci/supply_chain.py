#!/usr/bin/env python3
"""What the program is made of: where it comes from, under which licences, what is there twice, and what
is in the package. Whatever is new and not in a list here is a failure; so is what is in a list and no
longer needed. The last line is "N passed, N failed".

    .ci/supply_chain.py [--list]

--list prints every dependency on Linux with its version, its licence and what it is for, and checks nothing.
"""

import fnmatch
import json
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
PLATFORM = "x86_64-unknown-linux-gnu"
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"

# Licences that let anybody use, change and pass on what is made with them, without conditions on the rest.
LICENCES = {
    "Apache-2.0",
    "BSD-3-Clause",
    "CDLA-Permissive-2.0",  # webpki-roots: a list of certificates
    "ISC",
    "MIT",
    "Unicode-3.0",  # tables of Unicode
    "Zlib",
}

# Of what is never in the program: libfuzzer-sys, as LLVM was before 2019.
LICENCES_OF_FUZZ = LICENCES | {"NCSA"}

# Crates of which there are two versions or more, and who wants the older one.
TWICE = {
    "getrandom": "ring wants 0.2, we and rand 0.3, tempfile 0.4",
    "syn": "the derive macros of some crates have not moved on to 3; neither is in the program",
}

# What may be in the package.
CONTENTS = [
    ".cargo_vcs_info.json",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "Cargo.toml.orig",
    "LICENSE-*",
    "README.md",
    "SECURITY.md",
    "benches/*.rs",
    "build.rs",
    "clippy.toml",
    "fixtures/*",
    "proptest-regressions/*.txt",
    "src/*.rs",
    "tests/*.rs",
]
# What has to be.
NEEDED = ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "SECURITY.md", "build.rs", "src/main.rs"]


def cargo(*arguments):
    ran = subprocess.run(["cargo", *arguments], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    return ran.stdout


def may_be_used(expression, licences):
    """Whether a licence expression (SPDX) can be kept to by these licences."""
    tokens = re.findall(r"[()]|[^\s()/]+|/", expression)
    # `A/B` is an old way to say `A OR B`.
    tokens = ["OR" if token == "/" else token for token in tokens]

    def alternatives():
        good = conditions()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            good = conditions() or good
        return good

    def conditions():
        good = term()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            good = term() and good
        return good

    def term():
        name = tokens.pop(0)
        if name == "(":
            good = alternatives()
            tokens.pop(0)
            return good
        if tokens and tokens[0] == "WITH":
            tokens.pop(0)
            name += f" WITH {tokens.pop(0)}"
        return name in licences

    return alternatives() and not tokens


def dependencies(manifest="Cargo.toml"):
    """Each package besides ours, and whether it gets into the program."""
    form = ["--format-version", "1", "--locked", "--filter-platform", PLATFORM]
    data = json.loads(cargo("metadata", "--manifest-path", manifest, *form))
    packages = {package["id"]: package for package in data["packages"]}
    nodes = {node["id"]: node["deps"] for node in data["resolve"]["nodes"]}
    root = data["resolve"]["root"]
    shipped, waiting = {root}, [root]
    while waiting:
        for dependency in nodes[waiting.pop()]:
            is_normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            is_macro = any("proc-macro" in t["kind"] for t in packages[dependency["pkg"]]["targets"])
            if is_normal and not is_macro and dependency["pkg"] not in shipped:
                shipped.add(dependency["pkg"])
                waiting.append(dependency["pkg"])
    ours = {package["id"] for package in data["packages"] if package["source"] is None}
    found = [(packages[name], name in shipped) for name in nodes if name not in ours]
    return sorted(found, key=lambda found: (found[0]["name"], found[0]["version"]))


def check_lock(path):
    """Everything comes from the one registry, with its checksum."""
    wrong = []
    for package in tomllib.loads((ROOT / path).read_text())["package"]:
        if "source" not in package and package["name"].startswith("downpour"):
            continue
        if package.get("source") != REGISTRY or "checksum" not in package:
            wrong.append(f"{package['name']} comes from {package.get('source')}")
    return wrong


def check_licences(found, allowed=LICENCES):
    licences = [(package, package["license"] or "") for package, _ in found]
    return [
        f"{package['name']} {package['version']}: {licence or 'no licence'}"
        for package, licence in licences
        if not licence or not may_be_used(licence, allowed)
    ]


def check_twice(found):
    versions = {}
    for package, _ in found:
        versions.setdefault(package["name"], []).append(package["version"])
    twice = {name: found for name, found in versions.items() if len(found) > 1}
    wrong = [f"{name} is there as {', '.join(twice[name])}" for name in twice if name not in TWICE]
    return wrong + [f"{name} is there once, and listed" for name in TWICE if name not in twice]


def check_contents():
    files = cargo("package", "--list", "--locked", "--allow-dirty").split("\n")[:-1]
    allowed = lambda path: any(fnmatch.fnmatch(path, pattern) for pattern in CONTENTS)
    wrong = [f"{path} is in the package" for path in files if not allowed(path)]
    return wrong + [f"{path} is not in the package" for path in NEEDED if path not in files]


def main():
    found = dependencies()
    if "--list" in sys.argv[1:]:
        for package, is_shipped in found:
            role = "in the program" if is_shipped else "builds or tests it"
            print(f"{package['name']} {package['version']}\t{package['license']}\t{role}")
        return 0
    checks = {
        "Cargo.lock": lambda: check_lock("Cargo.lock"),
        "fuzz/Cargo.lock": lambda: check_lock("fuzz/Cargo.lock"),
        "licences": lambda: check_licences(found),
        "licences of fuzz": lambda: check_licences(dependencies("fuzz/Cargo.toml"), LICENCES_OF_FUZZ),
        "versions": lambda: check_twice(found),
        "package": check_contents,
    }
    failed = 0
    for name, check in checks.items():
        wrong = check()
        failed += bool(wrong)
        print(f"{'FAIL' if wrong else 'ok'}  {name}")
        for line in wrong:
            print(f"      {line}")
    shipped = sum(is_shipped for _, is_shipped in found)
    print(f"{len(found)} dependencies, {shipped} of them in the program")
    print(f"{len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
