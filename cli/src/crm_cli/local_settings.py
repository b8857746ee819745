"""How operators' commands find the system that `crm up` runs: by its folder."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crmkit.embedded_postgres import EmbeddedPostgres
from crmkit.settings import PREFIX

_ADDRESSES = "services.json"


def keep_addresses(data_dir: Path, addresses: Mapping[str, str]) -> None:
    """Notes where the services listen, for commands; they are others at the next start."""
    (data_dir / _ADDRESSES).write_text(json.dumps(dict(addresses)))


def local_settings() -> dict[str, Any]:
    """The services' settings in CRM_DATA_DIR; empty if there are none, or the environment has its own."""
    folder = Path(os.environ.get(f"{PREFIX}DATA_DIR", "data")).resolve()
    noted = folder / _ADDRESSES
    if f"{PREFIX}DATABASE_URL" in os.environ or not noted.exists():
        return {}
    url = EmbeddedPostgres(folder).url("SERVICE").replace("SERVICE", "{service}")
    return {
        "database_url": url,
        "services": json.loads(noted.read_text()),
        "keys_dir": folder / "keys",
    }
