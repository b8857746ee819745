"""Files that are there whole or not at all, whenever the process ends."""

import os
from pathlib import Path


def write_secret(path: Path, secret: str) -> None:
    """Writes a file that only its owner may read, replacing what was there."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
