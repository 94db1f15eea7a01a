"""The rules of the source: imports point down, one room per library, small files, the words of the glossary."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "s3mount"
FILES = sorted(PACKAGE.rglob("*.py"))
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70

# Each place, and what it may import of ours; floor 0 is what stands alone in the package.
FLOOR_0 = {
    "amounts",
    "errors",
    "garbage",
    "forked",
    "model",
    "keys",
    "names",
    "clock",
    "locks",
    "metadata",
    "foreign_metadata",
    "config",
    "bandwidth",
    "ending",
    "private",
    "junk",
    "host",
}
FLOOR_0 |= {"__init__", "xattr_format"}
ALLOWED = {
    "store": {"store"},
    "index": {"index"},
    "cache": {"cache", "store"},
    "remote": {"remote", "index", "store"},
    "writeback": {"writeback", "remote", "cache", "index", "store"},
    "check": {"check", "writeback", "remote", "cache", "index", "store"},
    "offline": {"drive", "check", "cache", "index", "store"},
    "examination": {"writeback", "store"},
    "vfs": {"vfs", "writeback", "remote", "cache", "index", "store"},
    "bindings": {"bindings"},
    "control": {"control"},
    "selftest": {"selftest"},
    "autostart": {"autostart"},
    "daemon": set(),
    "demo": {"demo", "control", "cli", "daemon"},
    "drive": {"vfs", "writeback", "remote", "cache", "index", "store"},
    "mount": {"drive", "bindings", "check", "control", "vfs", "writeback", "remote", "store"},
    "cli": {
        *("cli", "control", "check", "offline", "examination", "daemon", "demo", "mount", "bindings"),
        *("selftest", "autostart"),
    },
    "__main__": {"cli"},
}

# A library, and the only places that may import it.
ONLY_IN = {
    "boto3": set(),
    "botocore": {"store", "demo"},
    "awscrt": {"store", "cache"},
    "mfusepy": {"bindings"},
    "winfspy": {"bindings"},
    "sqlite3": {"index"},
    "click": {"cli", "demo"},
    "rich": {"cli", "demo"},
}

BANNED_IN_NAMES = {
    "utils", "util", "helper", "helpers", "manager", "common", "misc",
    "node", "chunk", "backend", "frontend", "journal", "fd2", "dbname",
}  # fmt: skip


def place_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def defined_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that this source gives to something, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def imports_that_do_not_point_down(path: Path, tree: ast.AST) -> Iterator[str]:
    place = place_of(path)
    allowed = FLOOR_0 | (ALLOWED[place] if place not in FLOOR_0 else set())
    for module in imported_modules(tree):
        top, _, rest = module.partition(".")
        if top == "s3mount" and rest:
            target = rest.split(".")[0]
            if target not in allowed and target != "__version__":
                yield f"{place} must not import s3mount.{rest}"
        elif top in ONLY_IN and place not in ONLY_IN[top]:
            yield f"{top} is known in {ONLY_IN[top]} only"


def what_is_too_long(path: Path, tree: ast.AST) -> Iterator[str]:
    if len(path.read_text().splitlines()) > FILE_LINES_MAX:
        yield "the file"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno >= FUNCTION_LINES_MAX:
                yield node.name


def what_has_no_role(path: Path, tree: ast.Module) -> Iterator[str]:
    if tree.body and not ast.get_docstring(tree):
        yield "a module begins with its role in a sentence"


def names_that_are_not_the_glossary_s(path: Path, tree: ast.AST) -> Iterator[str]:
    yield from set(path.with_suffix("").parts[-2:]) & BANNED_IN_NAMES
    for name, line in defined_names(tree):
        words = {word.lower() for word in re.split(r"_|(?<=[a-z])(?=[A-Z])", name.strip("_"))}
        if words & BANNED_IN_NAMES:
            yield f"line {line}: {name}"


def what_is_left_for_later(path: Path, tree: ast.AST) -> Iterator[str]:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError", line):
            yield f"line {number}: {line.strip()}"


RULES = (
    imports_that_do_not_point_down,
    what_is_too_long,
    what_has_no_role,
    names_that_are_not_the_glossary_s,
    what_is_left_for_later,
)


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in FILES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_of_the_package(rule: Callable[[Path, ast.Module], Iterator[str]], trees: dict[Path, ast.Module]) -> None:
    broken = [f"{path.relative_to(ROOT)}: {what}" for path, tree in trees.items() for what in rule(path, tree)]
    assert len(trees) > 100
    assert not broken


# Every rule above must be able to say no: source that breaks it, as a file of the package.
BROKEN = {
    imports_that_do_not_point_down: ("store/x.py", "import s3mount.vfs.filesystem"),
    what_is_too_long: ("store/x.py", "def long():\n" + "    pass\n" * FUNCTION_LINES_MAX),
    what_has_no_role: ("store/x.py", "import os"),
    names_that_are_not_the_glossary_s: ("store/x.py", "cache_manager = 1"),
    what_is_left_for_later: ("store/x.py", "# TODO"),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rules_can_fail(
    rule: Callable[[Path, ast.Module], Iterator[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, source = BROKEN[rule]
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    path = tmp_path / name
    path.parent.mkdir()
    path.write_text(source)
    assert list(rule(path, ast.parse(source)))


def test_every_folder_of_the_package_has_a_floor() -> None:
    places = {place_of(path) for path in FILES}
    assert places <= set(ALLOWED) | FLOOR_0


def test_every_promise_is_cited_by_a_test() -> None:
    promises = re.findall(r"^## (P\d+)\b", (ROOT / "docs" / "semantics.md").read_text(), re.MULTILINE)
    assert promises
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
    for promise in promises:
        assert re.search(rf"\b{promise}\b", tests), f"docs/semantics.md {promise} is cited by no test"


def test_no_trace_of_the_machine_it_was_made_on() -> None:
    scripts = [path for path in (ROOT / "scripts").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    paths = [*FILES, *(ROOT / "docs").rglob("*.md"), *scripts, ROOT / "README.md"]
    for path in paths:
        found = re.search(r"(?:^|[ \"'=(`])/(?:root|home|work)/[a-z]", path.read_text())
        assert not found, f"{path.name}: {found.group() if found else ''}"
