"""Names of files: shown and sent back, never used as a path."""

import pytest

from crmattachments.file_names import cleaned, content_disposition, suffix
from crmkit.errors import InvalidArgument

_TOO_LONG = "a" * 300


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("offer.pdf", "offer.pdf"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\Users\\ada\\offer.pdf", "offer.pdf"),
        ("/offer.pdf/", "offer.pdf"),
        ("a\x00b\r\nc.txt", "a_b__c.txt"),
        ("invoice\u202egpj.exe", "invoice_gpj.exe"),
        ("  Größe 合同.docx . ", "Größe 合同.docx"),
        ("e\u0301.txt", "\u00e9.txt"),
        ('a<b>:"c"|d?*.txt', "a_b___c__d__.txt"),
        (".htaccess", ".htaccess"),
        (f"{_TOO_LONG}.pdf", f"{'a' * 251}.pdf"),
        (f"a.{_TOO_LONG}", f"{'a.' + 'a' * 233}.{'a' * 19}"),
    ],
)
def test_a_name_keeps_what_people_read_and_nothing_that_deceives(sent: str, kept: str) -> None:
    assert cleaned(sent) == kept
    assert len(kept) <= 255


@pytest.mark.parametrize("sent", ["..", ".", "/", "\\", "../..", " ", "...", "\u202e", "a/.."])
def test_what_names_no_file_is_refused(sent: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        cleaned(sent)
    assert refused.value.violations[0].field == "file_name"


@pytest.mark.parametrize(
    ("name", "ending"), [("a.JPG", "jpg"), ("a.tar.gz", "gz"), ("a", ""), (".htaccess", "")]
)
def test_a_suffix_is_what_follows_the_last_dot(name: str, ending: str) -> None:
    assert suffix(name) == ending


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("offer.pdf", "attachment; filename=\"offer.pdf\"; filename*=UTF-8''offer.pdf"),
        (
            "合同 1.pdf",
            "attachment; filename=\"__ 1.pdf\"; filename*=UTF-8''%E5%90%88%E5%90%8C%201.pdf",
        ),
        ("a'b;c.txt", "attachment; filename=\"a_b_c.txt\"; filename*=UTF-8''a%27b%3Bc.txt"),
    ],
)
def test_a_header_says_the_name_to_old_and_new_browsers(name: str, header: str) -> None:
    """INVARIANT: no name can end the header or add to it."""
    assert content_disposition(name) == header
    assert header.isascii()
