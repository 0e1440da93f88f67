"""Measures the code base by the rules of the house and prints one table.

    python3 tests/measure.py [--details] [FOLDER ...]

Each folder is a working copy and gets a column; the default is this one. tests/house/test_house.py
checks the same rules.
"""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from house.rust_source import Import, RustFile

ROOT = Path(__file__).resolve().parents[1]
MAX_COLUMNS = 100
MAX_FUNCTION_LINES = 40

# Folders that hold what was built or installed.
SKIPPED_FOLDERS = {
    "target",
    "__pycache__",
    ".git",
    ".venv",
    ".venv-build",
    ".venv-consumers",
    ".venv-sam",
    ".tools",
    ".aws-sam",
    ".mypy_cache",
    ".ruff_cache",
    "node_modules",
}

COMBINATORS = re.compile(
    r"\.(?:map|and_then|filter|filter_map|flat_map|map_or|map_or_else|map_while|or_else"
    r"|unwrap_or_else|ok_or|ok_or_else|map_err|zip|chain|take_while|skip_while|fold|try_fold|scan"
    r"|then|then_some|is_some_and"
    r"|is_none_or|is_ok_and|inspect|inspect_err|find_map|find|any|all|position|partition|for_each"
    r"|try_for_each|collect|flatten|enumerate|min_by_key|max_by_key|transpose)(?:::<[^()]*>)?\("
)

# The part of the function without side effects, and what it must not import.
PURE_MODULES = {
    "arn",
    "envelope",
    "event",
    "hash",
    "json",
    "message",
    "metric",
    "quarantine",
    "readiness",
    "retry",
    "route",
}
IMPURE_MODULES = {"ledger", "config", "aws", "deliver", "handler"}
IMPURE_CRATES = re.compile(
    r"\b(?:aws_sdk_\w+|aws_smithy_\w+|aws_types|aws_credential_types|tokio|lambda_runtime)(?=::|;)"
)

# What the client of Alexa, a crate of its own, must not import: it knows neither the command line nor
# the terminal nor files, so that the function can use it, too.
TERMINAL_CRATES = re.compile(
    r"\b(?:clap\w*|anstream|anstyle|comfy_table|indicatif|std::(?:env|fs|path|process))(?=::|;|,)"
)


@dataclass(frozen=True)
class Place:
    """A finding: where it is and what it is."""

    path: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


class Package:
    """The source files of one Cargo package, which are the modules of its crate."""

    def __init__(self, name: str, folder: Path, without: Path | None = None) -> None:
        self.name, self.folder = name, folder
        found = [
            RustFile(path) for path in sorted(folder.rglob("*.rs")) if without not in path.parents
        ]
        tests = {self._module(file.path) + (name,) for file in found for name in file.test_modules}
        self.files = [file for file in found if not self._is_in(self._module(file.path), tests)]
        self.modules = {self._module(file.path): file for file in self.files}

    def _module(self, path: Path) -> tuple[str, ...]:
        """The path of a file's module; it is empty for the root of the crate."""
        parts = path.relative_to(self.folder).with_suffix("").parts
        is_library = (self.folder / "lib.rs").exists()
        roots = {("lib",)} if is_library else {("main",)}
        return parts[:-1] if parts[-1] == "mod" or parts in roots else parts

    @staticmethod
    def _is_in(module: tuple[str, ...], modules: set[tuple[str, ...]]) -> bool:
        return any(module[: len(other)] == other for other in modules)

    # ── Names ──

    @cached_property
    def types(self) -> dict[str, list[Place]]:
        """The type names, each with the places of its definitions."""
        names = defaultdict(list)
        for file in self.files:
            for name, line in file.type_names():
                names[name].append(Place(file.path, line, f"type {name}"))
        return dict(names)

    def definitions(self) -> int:
        return sum(len(places) for places in self.types.values())

    def one_word_types(self) -> list[Place]:
        return [
            place
            for name, places in sorted(self.types.items())
            if is_one_word(name)
            for place in places
        ]

    def shared_types(self) -> list[Place]:
        return [
            place for _, places in sorted(self.types.items()) if len(places) > 1 for place in places
        ]

    # ── Shape ──

    def code_lines(self) -> int:
        return sum(file.code_lines for file in self.files)

    def combinators(self) -> int:
        return sum(len(COMBINATORS.findall(file.code)) for file in self.files)

    def long_functions(self) -> list[Place]:
        return [
            Place(file.path, function.line, f"fn {function.name} has {function.length} lines")
            for file in self.files
            for function in file.functions()
            if function.length > MAX_FUNCTION_LINES
        ]

    # ── Imports ──

    @cached_property
    def edges(self) -> dict[tuple[str, ...], set[tuple[str, ...]]]:
        """Which modules of the package each module imports, seen through re-exports."""
        return {
            module: {target for item in file.imports() if (target := self._target(module, item))}
            - {module}
            for module, file in self.modules.items()
        }

    def _target(self, module: tuple[str, ...], item: Import) -> tuple[str, ...] | None:
        """The module that defines an imported name; nothing if it is not in this package."""
        path = self._absolute(module, item.path)
        return None if path is None else self._defining_module(path)

    def _absolute(self, module: tuple[str, ...], path: tuple[str, ...]) -> tuple[str, ...] | None:
        match path[0]:
            case "crate":
                return path[1:]
            case "self":
                return module + path[1:]
            case "super":
                while path and path[0] == "super":
                    module, path = module[:-1], path[1:]
                return module + path
            case first if module + (first,) in self.modules:
                return module + path
        return None

    def _defining_module(self, path: tuple[str, ...], depth: int = 0) -> tuple[str, ...]:
        module = path
        while module not in self.modules:
            module = module[:-1]
        rest = path[len(module) :]
        if rest and depth < 5:
            for item in self.modules[module].imports():
                if item.public and item.name == rest[0]:
                    target = self._absolute(module, item.path)
                    if target is not None and target != path:
                        return self._defining_module(target + rest[1:], depth + 1)
        return module

    def circles(self) -> list[list[str]]:
        """Files that import each other, except a facade module and the modules inside it."""
        graph = {
            module: {target for target in targets if not _is_facade(module, target)}
            for module, targets in self.edges.items()
        }
        return _circles(graph)

    def folder_circles(self) -> list[list[str]]:
        """The same for the modules directly below the root, each with everything inside it."""
        graph: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
        for module, targets in self.edges.items():
            graph[module[:1]] |= {
                target[:1] for target in targets if target[:1] != module[:1] and module and target
            }
        return _circles(graph)

    def layering_violations(self) -> list[Place]:
        """Imports against the plan of the function."""
        return [
            Place(self.modules[module].path, line, what)
            for module, line, what in self._violations()
        ]

    def _violations(self) -> Iterator[tuple[tuple[str, ...], int, str]]:
        for module, file in self.modules.items():
            if module[:1] and module[0] in PURE_MODULES:
                for found in IMPURE_CRATES.finditer(file.code):
                    yield (
                        module,
                        file.line_of(found.start()),
                        f"{module[0]} must not import {found[0]}",
                    )
                for target in sorted(self.edges[module]):
                    if target[:1] and target[0] in IMPURE_MODULES:
                        yield module, 1, f"{module[0]} must not import crate::{'::'.join(target)}"
            if module[:1] == ("deliver",) and any(
                target[:1] == ("outcome",) for target in self.edges[module]
            ):
                yield module, 1, "deliver must not import crate::outcome"

    def client_violations(self) -> list[Place]:
        """What the client of Alexa imports of the command line, the terminal and files."""
        return [
            Place(file.path, file.line_of(found.start()), f"the client must not import {found[0]}")
            for file in self.files
            for found in TERMINAL_CRATES.finditer(file.code)
        ]


def is_one_word(name: str) -> bool:
    """Whether a CamelCase name is a single word; an acronym counts as one."""
    return len(re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z][a-z0-9]*|[A-Z0-9]+", name)) <= 1


def _is_facade(module: tuple[str, ...], other: tuple[str, ...]) -> bool:
    shorter = min(len(module), len(other))
    return module[:shorter] == other[:shorter]


def _circles(graph: dict[tuple[str, ...], set[tuple[str, ...]]]) -> list[list[str]]:
    """Groups of modules in which each reaches each other one (strongly connected, by Tarjan)."""
    index: dict[tuple[str, ...], int] = {}
    low: dict[tuple[str, ...], int] = {}
    stack: list[tuple[str, ...]] = []
    groups: list[list[str]] = []

    def visit(module: tuple[str, ...]) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in sorted(graph.get(module, ())):
            if target not in index:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], index[target])
        if low[module] == index[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                groups.append(sorted("::".join(member) or "crate" for member in group))

    for module in sorted(graph):
        if module not in index:
            visit(module)
    return groups


class CodeBase:
    """A working copy of the project, of today or of before the tool, and in it the client of Alexa,
    became packages of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        tool = root / "aspctl/src"
        if not tool.is_dir():
            tool = root / "src/bin/aspctl"
        self.function = Package("function", root / "src", without=root / "src/bin")
        self.tool = Package("aspctl", tool)
        client = root / "alexa/src"
        self.client = Package("alexa", client) if client.is_dir() else None
        renewal = root / "renewal/src"
        self.renewal = Package("renewal", renewal) if renewal.is_dir() else None
        every = (self.function, self.client, self.tool, self.renewal)
        self.packages = tuple(filter(None, every))

    def files(self, *patterns: str) -> Iterator[Path]:
        """The files with matching names, without those that were built or installed."""
        for folder, folders, names in os.walk(self.root):
            folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
            for name in sorted(names):
                path = Path(folder, name)
                if any(path.match(pattern) for pattern in patterns):
                    yield path

    def long_lines(self, *patterns: str) -> list[Place]:
        return [
            Place(path, number, f"{len(line)} columns")
            for path in self.files(*patterns)
            for number, line in enumerate(path.read_text().splitlines(), start=1)
            if len(line) > MAX_COLUMNS
        ]

    def types_of_several_packages(self) -> list[str]:
        names = Counter(name for package in self.packages for name in package.types)
        return sorted(name for name, count in names.items() if count > 1)

    def rust_tests(self) -> int:
        return sum(
            len(re.findall(r"#\[(?:tokio::)?test\b", path.read_text()))
            for path in self.files("*.rs")
        )

    def python_tests(self) -> int:
        return sum(
            len(re.findall(r"^ *(?:async )?def test_", path.read_text(), re.M))
            for path in self.files("*.py")
        )

    def readme_lines(self) -> int:
        return len((self.root / "README.md").read_text().splitlines())

    def template_bytes(self) -> int:
        return (self.root / "template.yaml").stat().st_size


KINDS = {
    "Rust": ("*.rs",),
    "Python": ("*.py",),
    "TOML": ("*.toml",),
    "YAML": ("*.yaml", "*.yml"),
    "Makefile": ("Makefile",),
}


def rows(base: CodeBase) -> Iterator[tuple[str, str]]:
    """The table of one working copy: what is measured, and the figure."""
    for package in base.packages:
        name, total, words = package.name, package.definitions(), len(package.one_word_types())
        yield f"{name}: type names", str(total)
        yield f"{name}: one word", f"{words} ({words / total:.0%})"
        yield (
            f"{name}: definitions that share a name in the package",
            str(len(package.shared_types())),
        )
    yield "type names in several packages", str(len(base.types_of_several_packages()))
    for kind, patterns in KINDS.items():
        yield f"lines over {MAX_COLUMNS} columns: {kind}", str(len(base.long_lines(*patterns)))
    for package in base.packages:
        name, lines = package.name, package.code_lines()
        yield f"{name}: code lines", str(lines)
        yield f"{name}: combinators", str(package.combinators())
        yield (
            f"{name}: combinators per 100 code lines",
            f"{100 * package.combinators() / lines:.1f}",
        )
        yield (
            f"{name}: functions over {MAX_FUNCTION_LINES} lines",
            str(len(package.long_functions())),
        )
        yield f"{name}: import circles among files", _sizes(package.circles())
        yield f"{name}: import circles among top-level modules", _sizes(package.folder_circles())
    yield "imports against the plan", str(len(base.function.layering_violations()))
    yield "lines of README.md", str(base.readme_lines())
    yield "bytes of template.yaml", f"{base.template_bytes():,}"
    yield "Rust tests", str(base.rust_tests())
    yield "Python tests", str(base.python_tests())


def _sizes(circles: list[list[str]]) -> str:
    members = sum(map(len, circles))
    return f"{len(circles)} ({members} modules)" if circles else "0"


def details(base: CodeBase) -> Iterator[str]:
    """What the figures count, by place."""
    for package in base.packages:
        places = [*package.one_word_types(), *package.shared_types(), *package.long_functions()]
        yield from (f"{package.name}: {place}" for place in places)
        yield from (
            f"{package.name}: circle among files: {' ⇄ '.join(circle)}"
            for circle in package.circles()
        )
        yield from (
            f"{package.name}: circle among modules: {' ⇄ '.join(circle)}"
            for circle in package.folder_circles()
        )
    yield from (f"in several packages: type {name}" for name in base.types_of_several_packages())
    yield from map(str, base.function.layering_violations())
    files = Counter(str(place.path) for kind in KINDS.values() for place in base.long_lines(*kind))
    yield from (
        f"{path}: {count} lines over {MAX_COLUMNS} columns" for path, count in files.most_common()
    )


def print_table(headings: list[str], tables: list[dict[str, str]]) -> None:
    """Prints a row for each figure and a column for each table."""
    lines = [(name, *(table[name] for table in tables)) for name in tables[0]]
    if len(tables) > 1:
        lines.insert(0, ("", *headings))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, *figures in lines:
        cells = [figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True)]
        print("  ".join([name.ljust(widths[0]), *cells]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "folders", nargs="*", type=Path, default=[ROOT], metavar="FOLDER", help="a working copy"
    )
    parser.add_argument("--details", action="store_true", help="also list what the figures count")
    arguments = parser.parse_args()
    bases = [CodeBase(folder.resolve()) for folder in arguments.folders]
    tables = [dict(rows(base)) for base in bases]
    print_table([base.root.name for base in bases], tables)
    if arguments.details:
        for base in bases:
            print(f"\n{base.root}", *details(base), sep="\n")


if __name__ == "__main__":
    main()
