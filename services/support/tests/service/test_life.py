"""A service's process: it does not pretend that all is well."""

import asyncio
from dataclasses import replace
from pathlib import Path

from crmkit import migrations
from crmkit.call import Home
from crmkit.ports import free_port
from crmkit.runner import run
from crmkit.service_tokens import create_service_keys
from crmkit.settings import ServiceSettings
from crmkit.testing.postgres import TestServer
from support.service import SERVICE


async def _breaks(_home: Home, _stop: asyncio.Event) -> None:
    msg = "a defect"
    raise RuntimeError(msg)


async def test_a_process_whose_loop_ended_says_that_it_failed(
    postgres: TestServer, tmp_path: Path
) -> None:
    """INVARIANT: whoever watches the process learns of it and starts it again: its exit code is not 0."""
    template = postgres.template_database(
        SERVICE.name, lambda url: migrations.migrate(url, SERVICE.migrations)
    )
    url = postgres.new_database(template)
    create_service_keys(tmp_path, [SERVICE.name])
    settings = ServiceSettings.model_validate(
        {
            "database_url": url,
            "services": {SERVICE.name: f"127.0.0.1:{free_port()}"},
            "keys_dir": tmp_path,
        }
    )
    ended_well = await run(replace(SERVICE, loops=[_breaks]), settings, roles=["jobs"])
    assert not ended_well
    postgres.drop(url)
