"""The gateway's command line.

`python -m gateway edge` runs the edge app, `python -m gateway envoy-config DIR` writes Envoy's
files; both read CRM_* variables.
"""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from gateway.descriptors import write_descriptors
from gateway.edge import serve_edge
from gateway.envoy import render
from gateway.settings import EdgeSettings, SettingsError, edge_settings, envoy_settings


def main() -> int:
    """Runs the command line; answers the exit code."""
    parser = argparse.ArgumentParser(prog="gateway", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("edge", help="run the edge app")
    config = commands.add_parser("envoy-config", help="write envoy.json and api.binpb")
    config.add_argument("directory", type=Path)
    arguments = parser.parse_args()
    try:
        if arguments.command == "edge":
            asyncio.run(_run_edge(edge_settings()))
        else:
            write_envoy_config(arguments.directory.resolve())
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 1
    return 0


def write_envoy_config(directory: Path) -> Path:
    """Writes `envoy.json` and `api.binpb` into `directory`; answers the path of the former.

    Raises:
        SettingsError: a CRM_* variable is missing or wrong.
    """
    descriptors = directory / "api.binpb"
    bootstrap = render(envoy_settings(descriptors))
    directory.mkdir(parents=True, exist_ok=True)
    write_descriptors(descriptors)
    path = directory / "envoy.json"
    path.write_text(json.dumps(bootstrap, indent=1) + "\n")
    return path


async def _run_edge(settings: EdgeSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    async with serve_edge(settings):
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
