"""INVARIANT: a sealed secret opens with its key, for its purpose, unchanged; never otherwise."""

import stat
from pathlib import Path

import pytest

from crmkit.sealing import Sealer, UnsealError, create_sealing_key
from crmkit.service_tokens import create_service_keys

OLD, NEW = bytes(32), bytes(range(32))


def test_a_secret_opens_for_its_purpose_only() -> None:
    """A row's secret cannot be moved to another row."""
    sealer = Sealer({1: OLD})
    sealed = sealer.seal(b"s3cret", "webhooks/1")
    assert b"s3cret" not in sealed
    assert sealer.unseal(sealed, "webhooks/1") == b"s3cret"
    with pytest.raises(UnsealError):
        sealer.unseal(sealed, "webhooks/2")


def test_the_same_secret_never_looks_the_same() -> None:
    sealer = Sealer({1: OLD})
    assert sealer.seal(b"x", "p") != sealer.seal(b"x", "p")


@pytest.mark.parametrize("index", range(30))
def test_a_changed_bit_is_noticed(index: int) -> None:
    sealed = bytearray(Sealer({1: OLD}).seal(b"x", "p"))
    assert len(sealed) > 30
    sealed[index] ^= 1
    with pytest.raises(UnsealError):
        Sealer({1: OLD}).unseal(bytes(sealed), "p")


def test_the_newest_key_seals_and_older_ones_still_open() -> None:
    """Keys are changed by adding one; a value whose key is gone is lost, not misread."""
    before = Sealer({1: OLD}).seal(b"x", "p")
    both = Sealer({1: OLD, 2: NEW})
    assert both.unseal(before, "p") == b"x"
    after = both.seal(b"x", "p")
    assert Sealer({2: NEW}).unseal(after, "p") == b"x"
    with pytest.raises(UnsealError):
        Sealer({2: NEW}).unseal(before, "p")


@pytest.mark.parametrize("broken", [b"", b"\x01", b"\x01\x01", b"\x02\x01" + bytes(40), b"plain"])
def test_what_was_never_sealed_is_refused(broken: bytes) -> None:
    with pytest.raises(UnsealError):
        Sealer({1: OLD}).unseal(broken, "p")


def test_a_key_file_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    """A second start keeps what the first has sealed with."""
    create_service_keys(tmp_path, ["sales"])
    path = tmp_path / "sales.sealing.json"
    first = path.read_bytes()
    create_sealing_key(tmp_path, "sales")
    assert path.read_bytes() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
