"""Webhooks: their states, their pauses, and signatures that others' libraries accept."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from crmkit.clock import now
from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.ids import uuid7
from crmkit.states import Cell
from workspace.domain.signature import signed_headers
from workspace.domain.webhook import (
    FAILURES_UNTIL_PAUSED,
    RETRY_FOR,
    WEBHOOK,
    Webhook,
    hold,
    matches,
    new_secret,
    retry_pause,
    secret_bytes,
)


def webhook(**values: object) -> Webhook:
    fields = {
        "display_name": "x",
        "url": "https://example.com",
        "event_types": ["sales.*"],
        **values,
    }
    return Webhook(id=uuid7(), create_time=now(), update_time=now(), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", list(WEBHOOK.cells()))
def test_every_state_and_method(cell: Cell) -> None:
    """INVARIANT: a method out of place changes nothing."""
    hook = webhook(state=cell.state)
    arguments = ["FAILURES"] if cell.method == "pause" else []
    if cell.target is None:
        with pytest.raises(FailedPrecondition):
            getattr(hook, cell.method)(*arguments)
        assert hook.state == cell.state
    else:
        getattr(hook, cell.method)(*arguments)
        assert (hook.state, len(hook.events)) == (cell.target, 1)


def test_a_signature_is_that_of_the_standard() -> None:
    """The example of the specification's reference implementations."""
    key = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    moment = datetime.fromtimestamp(1614265330, UTC)
    headers = signed_headers([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", moment, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_two_secrets_give_two_signatures() -> None:
    both = signed_headers([b"a", b"b"], "m", now(), b"{}")["webhook-signature"].split(" ")
    assert len(set(both)) == 2


def test_a_new_secret_is_long_and_never_the_same() -> None:
    assert len({new_secret() for _ in range(100)}) == 100
    assert len(base64.b64decode(new_secret().removeprefix("whsec_"))) == 32


def test_the_old_secret_ends_after_a_day() -> None:
    hook = webhook(sealed_secret=b"old")
    moment = now()
    hook.rotate(b"new", moment)
    assert hook.sealed_secrets(moment) == [b"new", b"old"]
    assert hook.sealed_secrets(moment + timedelta(hours=25)) == [b"new"]


def test_retries_spread_over_a_day_and_a_sick_endpoint_is_paused_before() -> None:
    """Many attempts at first, few later."""
    waited, attempts = timedelta(), 0
    while waited < RETRY_FOR:
        attempts += 1
        waited += retry_pause(attempts)
    assert 12 <= attempts <= 20
    assert retry_pause(1) == timedelta(seconds=5)
    held = sum((hold(n) for n in range(1, FAILURES_UNTIL_PAUSED + 1)), timedelta())
    assert timedelta(hours=2) < held < timedelta(hours=6)


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [("sales.opportunity.won", True), ("sales.opportunity.*", True), ("sales.*", True), ("*", True),
     ("sales.opportunity", False), ("support.*", False), ("sales.opportunity.wonderful", False)],
)  # fmt: skip
def test_a_pattern_is_a_type_or_its_beginning(pattern: str, matched: bool) -> None:  # noqa: FBT001
    assert matches(pattern, "sales.opportunity.won") is matched


def test_a_type_named_twice_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        webhook(event_types=["sales.*", "sales.*"]).check()
