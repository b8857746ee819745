"""INVARIANT: what our documents name is there.

A file that is renamed, a command that goes, an edge of events that changes: the document is changed with it.
"""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from crm_cli.services import NAMES, service
from crmkit import contract, handover, rights_events
from crmkit.personal import erasure
from crmkit.service import Service

from .documents import ROOT, block, blocks, code_words, documents, links, table_rows

# What the first word of a path must be for a word in backticks to be one.
_FOLDERS = (
    "protos",
    "kit",
    "transfer",
    "services",
    "gateway",
    "cli",
    "docs",
    "tests",
    "tools",
    "benchmarks",
)
_FILE = re.compile(r"[\w./-]+\.(?:py|proto|md|sh|toml|yaml|yml)")
_ADR_SECTIONS = ["Context", "Decision", "Consequences", "Alternatives considered", "Enforced by"]
_LONGEST_ADR = 60
# Files that the recipe makes.
_RECIPE = ROOT / "docs/add-a-resource.md"


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _bases(document: Path) -> list[Path]:
    return [ROOT, document.parent, document.parent / "src" / document.parent.name]


def _is_path(word: str) -> bool:
    in_a_folder = (
        word.split("/", maxsplit=1)[0] in _FOLDERS and "/" in word and not set(word) & set("<>*… ")
    )
    return in_a_folder or bool(_FILE.fullmatch(word) and "/" in word)


@pytest.mark.parametrize("document", documents(), ids=_name)
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    """Paths count from the root, in a service's README also from there and from its package."""
    made = {b.attributes["file"] for b in blocks(_RECIPE) if "file" in b.attributes}
    named = [word for word in code_words(document) if _is_path(word)]
    missing = [
        word
        for word in named
        if word not in made and not any((folder / word).exists() for folder in _bases(document))
    ]
    assert not missing


@pytest.mark.parametrize("document", documents(), ids=_name)
def test_every_link_between_documents_leads_somewhere(document: Path) -> None:
    assert not [link for link in links(document) if not (document.parent / link).exists()]


@pytest.mark.parametrize("document", documents(), ids=_name)
def test_every_example_is_valid_python_or_shell(document: Path) -> None:
    """Python and shell are parsed, not run."""
    for example in blocks(document):
        if example.language == "sh":
            subprocess.run(["sh", "-n"], input=example.text, text=True, check=True)
        elif example.language == "python" and "edit" not in example.attributes:
            ast.parse(example.text)


def test_the_commands_of_the_readme_exist() -> None:
    """The two commands, and every other `make …` of our documents."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"up", "test"} <= targets
    readme = "".join(b.text for b in blocks(ROOT / "README.md"))
    assert "make up\nmake test\n" in readme
    for document in documents():
        assert set(re.findall(r"`make ([a-z]+)", document.read_text())) <= targets, document


def test_the_readme_has_the_examples_that_are_run() -> None:
    """See tests/system/test_readme.py."""
    assert "curl" in block("README.md", "rest")
    assert "grpcurl" in block("README.md", "grpcurl")


@pytest.mark.parametrize("adr", sorted((ROOT / "docs/adr").glob("*.md")), ids=_name)
def test_a_decision_has_its_sections_and_is_short(adr: Path) -> None:
    lines = adr.read_text().splitlines()
    assert len(lines) <= _LONGEST_ADR
    assert [line[3:] for line in lines if line.startswith("## ")] == _ADR_SECTIONS
    assert lines[0].startswith(f"# {int(adr.name[:4])}. ")


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(adr.name[:4]) for adr in (ROOT / "docs/adr").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


# -- the table of events


def _declared(consumer: Service) -> set[str]:
    """The patterns that a service consumes, beside those that every service does."""
    known = contract.collections()
    return set(consumer.consumes) | {
        f"{known[c].service}.{known[c].singular}.*" for c in consumer.knows
    }


def test_the_table_of_events_is_what_services_declare() -> None:
    """Rows that are `done` are the edges of the code, no more and no less."""
    rows = [row for row in table_rows(ROOT / "ARCHITECTURE.md") if row[-1] in {"done", "open"}]
    done = {(row[0].strip("`"), row[1]) for row in rows if row[-1] == "done"}
    declared = {(pattern, name) for name in NAMES for pattern in _declared(service(name))}
    for_all = {
        (pattern, "all")
        for pattern in {**rights_events.HANDLERS, **handover.HANDLERS, **erasure.HANDLERS}
    }
    assert done == declared | for_all


def test_what_the_table_of_events_calls_open_is_not_there() -> None:
    """An edge that is built is no longer open."""
    rows = [row for row in table_rows(ROOT / "ARCHITECTURE.md") if row[-1] == "open"]
    assert not [row[0] for row in rows if row[0].split("`")[1] in contract.events()]


# -- the recipe


def test_the_recipe_is_what_it_says() -> None:
    """About seven new files and two edited lines."""
    files = [b for b in blocks(_RECIPE) if "file" in b.attributes]
    edits = [b for b in blocks(_RECIPE) if "edit" in b.attributes]
    assert 6 <= len(files) <= 8
    assert [len(edit.text.splitlines()) for edit in edits] == [1, 1]


def test_the_recipe_begins_where_the_code_is() -> None:
    """The line that it replaces and the migration that it follows are there."""
    if (ROOT / "protos/crm/sales/v1/competitor.proto").exists():
        pytest.skip("somebody follows the recipe here")
    declaration = (ROOT / "services/sales/src/sales/service.py").read_text()
    _, collections = [b.text for b in blocks(_RECIPE) if "edit" in b.attributes]
    before = collections.replace(", COMPETITORS", "")
    assert before in declaration
    migration = next(b for b in blocks(_RECIPE) if "/migrations/" in b.attributes.get("file", ""))
    follows = re.search(r'down_revision = "(\w+)"', migration.text)
    newest = max((ROOT / "services/sales/src/sales/migrations").glob("*.py"))
    assert follows is not None
    assert newest.name.startswith(follows[1])


def test_the_recipe_s_contract_is_that_of_every_resource() -> None:
    """INVARIANT: methods, messages and options are those of products; only its own fields differ."""
    proto = next(b for b in blocks(_RECIPE) if b.language == "proto")
    theirs = (ROOT / "protos/crm/sales/v1/product.proto").read_text()
    renamed = theirs.replace("Product", "Competitor").replace("product", "competitor")
    # From the service to its resource, the standard fields, and from `custom_fields` to the end.
    standard = re.compile(
        r"^service.*?^}|  // Resource name.*?(?=  // The \w+'s name; unique)|  // Values of the fields .*",
        re.DOTALL | re.MULTILINE,
    )
    ours = [
        part.replace("Who watches it", "The competitor manager")
        for part in standard.findall(proto.text)
    ]
    assert ours == standard.findall(renamed)
    assert len(ours) == 3
