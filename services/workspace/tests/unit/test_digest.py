"""What a mail with notifications says."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from crmkit.ids import uuid7
from workspace.domain.digest import Line, Reader, compose, record_of
from workspace.domain.notification import KINDS

NOW = datetime(2026, 11, 25, 16, 30, tzinfo=UTC)
BEN = UUID("0190a000-0000-7000-8000-000000000001")
RECORD = "opportunities/0190a000-0000-7000-8000-000000000002"
TITLES = {RECORD: "<b>Big</b> deal", f"users/{BEN}": "Ben"}


def reader(language: str = "en") -> Reader:
    return Reader(language, ZoneInfo("Asia/Shanghai"), "Acme", "https://crm.example.com")


def line(kind: str = "ASSIGNED", **values: Any) -> Line:
    fields = {"subject": RECORD, "actor": BEN, "create_time": NOW, "due_time": NOW, **values}
    return Line(id=uuid7(), user=uuid7(), kind=kind, **fields)


@pytest.mark.parametrize("language", ["en", "zh-Hans", "de"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_sentence_in_every_language(kind: str, language: str) -> None:
    """Also where a parameter is missing; English where we have no other."""
    subject, text, html = compose([line(kind)], TITLES, reader(language))
    assert "{" not in subject + text + html
    assert ("通知" in subject) == (language == "zh-Hans")
    for part in (text, html):
        assert "https://crm.example.com" in part
        assert "2026-11-26 00:30" in part  # as the reader's clock shows it


def test_what_people_wrote_is_text() -> None:
    """INVARIANT: attack row 11: no title and no text is markup, or looked at for tags."""
    told = line("RULE", text="{organization} <script>alert(1)</script>")
    _, text, html = compose([told], TITLES, reader())
    assert "<b>Big</b> deal: {organization} <script>alert(1)</script>" in text
    assert "&lt;b&gt;Big&lt;/b&gt; deal: {organization} &lt;script&gt;" in html
    assert "<script>" not in html


def test_a_mail_is_not_endless() -> None:
    subject, text, html = compose([line() for _ in range(60)], TITLES, reader())
    assert subject == "Acme: 60 new notifications"
    assert text.count("Ben made <b>Big</b> deal yours.") == 50
    assert "… and 10 more." in text
    assert html.count("<li>") == 50


def test_a_deputy_reads_for_whom() -> None:
    """Also in Chinese; the absent person's name is looked up like any other."""
    told = [line(deputy_for=BEN, actor=None)]
    assert "For Ben: Somebody made <b>Big</b> deal yours." in compose(told, TITLES, reader())[1]
    assert "代 Ben" in compose(told, TITLES, reader("zh"))[1]


def test_who_is_not_known_is_somebody() -> None:
    told = [line(actor=None), line(actor=uuid7())]
    _, text, _ = compose(told, TITLES, reader())
    assert text.count("Somebody made") == 2


@pytest.mark.parametrize(
    ("kind", "subject", "record"),
    [
        ("ASSIGNED", RECORD, RECORD),
        ("COMMENTED", f"{RECORD}/comments/x", RECORD),
        ("JOB_ENDED", "imports/x", None),
        ("RULE", None, None),
    ],
)
def test_a_comment_is_read_with_its_record(
    kind: str, subject: str | None, record: str | None
) -> None:
    """What the reader must be allowed to read."""
    assert record_of(line(kind, subject=subject)) == record
