"""INVARIANT: things lie where a stranger looks for them, and every import goes one way.

Read from the source as syntax trees: nothing here depends on how the code is run.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from .documents import ROOT

_LONGEST_FILE = 400
_LONGEST_KIT_FILE = 300
_KIT = ROOT / "kit/src/crmkit"
# Both numbers come from docs/adr/0002-size-of-the-kit.md; a larger one needs an ADR.
_KIT_BUDGET = 13_000
_LONG_KIT_FILES = {"runner.py"}

_SERVICES = sorted(path for path in (ROOT / "services").iterdir() if path.is_dir())
_SOURCES = sorted(
    path
    for pattern in (
        "kit/src",
        "transfer/src",
        "attachments/src",
        "services/*/src",
        "gateway/src",
        "cli/src",
    )
    for folder in ROOT.glob(pattern)
    for path in folder.rglob("*.py")
)
_MODULES = [path for path in _SOURCES if path.name != "__init__.py"]
_REVISION = re.compile(r"^\d{4}_\d{2}_\d{2}_\d{4}$")

# What a service's package may hold; each service has those that it has something for.
_FOLDERS = {
    "domain", "storage", "rpc", "usecases", "messaging", "migrations", "projections", "queries",
}  # fmt: skip
_FILES = {"__init__.py", "__main__.py", "service.py", "settings.py"}
_NEEDED = {"__init__.py", "__main__.py", "service.py", "storage", "migrations"}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _calls(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a file calls."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def _violations(forbidden: re.Pattern[str], allowed: list[str]) -> list[str]:
    """Calls whose name matches, in files below none of the allowed places."""
    return [
        f"{_name(path)}:{line} calls {called}"
        for path in _SOURCES
        if not any(part in f"/{_name(path)}" for part in allowed)
        for line, called in _calls(path)
        if forbidden.fullmatch(called)
    ]


# -- sizes


@pytest.mark.parametrize("path", _MODULES, ids=_name)
def test_a_file_is_short_enough_to_be_read(path: Path) -> None:
    """ADR 2 names the files of the kit that may be longer than its limit."""
    in_kit = path.is_relative_to(_KIT) and _name(path).rsplit("/", 1)[-1] not in _LONG_KIT_FILES
    length = len(path.read_text().splitlines())
    assert length <= (_LONGEST_KIT_FILE if in_kit else _LONGEST_FILE)


def test_the_decision_names_the_long_files_and_the_budget() -> None:
    decision = (ROOT / "docs/adr/0002-size-of-the-kit.md").read_text()
    assert f"{_KIT_BUDGET:,} lines of code" in decision
    for name in _LONG_KIT_FILES:
        assert f"`kit/src/crmkit/{name}`" in decision


def _lines_of_code(path: Path) -> int:
    """Lines that are neither blank nor comment nor docstring."""
    source = path.read_text()
    silent = {
        tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
        tokenize.ENDMARKER,
    }  # fmt: skip
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = node.body[0] if node.body and ast.get_docstring(node) is not None else None
            if docstring is not None:
                lines -= set(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    return len(lines)


def test_the_kit_stays_within_its_budget() -> None:
    """More needs an ADR that says what for."""
    assert sum(_lines_of_code(path) for path in _KIT.rglob("*.py")) <= _KIT_BUDGET


# -- who may do what


def test_time_comes_from_the_clock() -> None:
    """A test that shifts the clock shifts everything."""
    forbidden = re.compile(r"(.*\.)?(datetime\.(now|utcnow|today)|date\.today)")
    assert not _violations(forbidden, ["/crmkit/clock.py"])


def test_ids_come_from_one_place() -> None:
    """Ids of records sort by the time of their making."""
    forbidden = re.compile(r"(uuid\.)?uuid[1-8]")
    ours = [
        violation
        for violation in _violations(forbidden, ["/crmkit/ids.py"])
        if not violation.endswith(" uuid7")  # ours; the standard library of 3.11 has none
    ]
    assert not ours


def test_sql_stands_where_data_is_kept() -> None:
    """Tables and queries: in the kit and beside it, `storage/`, `queries/`, `projections/`, migrations."""
    forbidden = re.compile(r"(sa\.|sqlalchemy\.)?(select|insert|update|delete|text|Table)")
    places = [
        "/kit/src/",
        "/transfer/src/",
        "/attachments/src/",
        "/storage/",
        "/queries/",
        "/projections/",
        "/migrations/",
    ]
    assert not _violations(forbidden, places)


def test_only_the_kit_commits() -> None:
    """One request, one transaction, one commit, at the edge."""
    assert not _violations(re.compile(r".*\.(commit|rollback)"), ["/kit/src/"])


def test_imports_go_one_way() -> None:
    """The contracts of import-linter in pyproject.toml."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


# -- shape


@pytest.mark.parametrize("service", _SERVICES, ids=_name)
def test_services_have_the_same_shape(service: Path) -> None:
    """Whoever knows one knows them all."""
    package = service / "src" / service.name
    found = {path.name for path in package.iterdir() if path.name != "__pycache__"}
    assert found <= _FOLDERS | _FILES
    assert found >= _NEEDED
    assert (service / "pyproject.toml").exists()
    assert (service / "README.md").exists()
    assert {p.name for p in (service / "tests").iterdir() if p.is_dir()} <= {
        "unit", "service", "__pycache__",
    }  # fmt: skip


@pytest.mark.parametrize("service", _SERVICES, ids=_name)
def test_a_folder_of_a_service_is_not_empty(service: Path) -> None:
    """A folder is there because something is in it."""
    package = service / "src" / service.name
    for folder in package.iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert [p for p in folder.glob("*.py") if p.name != "__init__.py"], _name(folder)


@pytest.mark.parametrize("service", _SERVICES, ids=_name)
def test_migrations_say_when_and_what(service: Path) -> None:
    """`2026_12_05_1200_add_quote_expiry.py` has the revision `2026_12_05_1200`."""
    for path in (service / "src" / service.name / "migrations").glob("*.py"):
        stamp, what = path.stem[:15], path.stem[15:]
        assert _REVISION.match(stamp)
        assert re.fullmatch(r"(_[a-z0-9]+)+", what)
        assert f'\nrevision = "{stamp}"\n' in path.read_text()


@pytest.mark.parametrize("service", _SERVICES, ids=_name)
def test_a_table_of_contents_has_no_logic(service: Path) -> None:
    """`service.py` imports and lists."""
    tree = ast.parse((service / "src" / service.name / "service.py").read_text())
    logic = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.If, ast.For, ast.While)
    assert not [node for node in ast.walk(tree) if isinstance(node, logic)]
