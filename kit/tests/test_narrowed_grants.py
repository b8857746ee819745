"""What a limited credential may do: what its person may and its limits allow, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from crmkit.access import Grants, RecordScope, narrowed

_PERMISSIONS = [
    f"{s}.{c}.{v}" for s in ("sales", "support") for c in ("a", "ab") for v in ("get", "purge")
]
_PATTERNS = st.sampled_from(["*", "sales.*", "sales.a*", "sales.a.*", "support.*", *_PERMISSIONS])
_GRANTS = st.lists(st.tuples(_PATTERNS, st.sampled_from(list(RecordScope)[1:])), max_size=4)


@given(grants=_GRANTS, limits=st.lists(_PATTERNS, max_size=4))
def test_limits_take_away_and_never_add(
    grants: list[tuple[str, RecordScope]], limits: list[str]
) -> None:
    """INVARIANT: within the limits the scope stays as it was; outside of them there is none."""
    whole, allowed = Grants(grants), Grants([(limit, RecordScope.ALL) for limit in limits])
    narrow = narrowed(whole, limits)
    for permission in _PERMISSIONS:
        inside = allowed.scope(permission) is RecordScope.ALL
        expected = whole.scope(permission) if inside else RecordScope.NONE
        assert narrow.scope(permission) is expected
