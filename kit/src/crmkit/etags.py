"""ETags (AIP-154): whoever says which version they have seen changes no other one."""

from crmkit.errors import Aborted


def check_etag(name: str, etag: str, version: int) -> None:
    """Raises Aborted `ETAG_MISMATCH` if an etag is given and is not that of the record's version."""
    if etag and etag.removeprefix("W/").strip('"') != str(version):
        msg = f"{name} has changed since it was read."
        raise Aborted(msg, reason="ETAG_MISMATCH", metadata={"etag": f'"{version}"'})
