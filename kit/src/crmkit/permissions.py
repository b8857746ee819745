"""Which permissions a pattern gives: `sales.opportunities.win`, `sales.*`, `*`."""

# What cannot be undone, what decides on money, and what reads beyond every scope, has to be named, or
# everything be given.
_NAMED_ONLY = (".purge", ".setCredit", ".erase", ".exportPersonalData")


def gives(pattern: str, permission: str) -> bool:
    """True if whoever holds the pattern holds the permission, or all that another pattern gives."""
    if pattern in {"*", permission}:
        return True
    if not pattern.endswith("*") or permission.endswith(_NAMED_ONLY):
        return False
    return permission.startswith(pattern[:-1])
