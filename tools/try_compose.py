#!/usr/bin/env python3
"""Tries docker-compose.yml for real: starts it, works with it, hurts it, stops it, removes it.

Needs Docker Compose; run by hand (continuous integration has no container engine):
tools/try_compose.py [--keep]. The containers and volumes of the project `crm-trial` are its own.
"""

import argparse
import json
import os
import subprocess
import time
import urllib.request
from typing import Any

PORT = "8099"
URL = f"http://127.0.0.1:{PORT}"
ADMIN = {"email": "admin@example.com", "password": "a phrase for the trial"}
GRACE_SECONDS = 20
CALLS = 90
PATIENCE_SECONDS = 60
FILE = b"a file " * 100_000
COUNT_CALLS = """
import re, urllib.request
text = urllib.request.urlopen("http://127.0.0.1:9100/metrics").read().decode()
print(sum(map(float, re.findall(r'^crm_requests_total{.*ListOpportunities".*} (.*)$', text, re.M))))
"""


def compose(*arguments: str) -> str:
    """Runs docker compose for the trial's project; answers its output, ends the trial if it fails."""
    given = {"PORT": PORT, "ADMIN_PASSWORD": ADMIN["password"]}
    command = ["docker", "compose", "-p", "crm-trial", *arguments]
    done = subprocess.run(  # noqa: S603 - the commands below
        command, env=os.environ | given, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


class Client:
    """Calls the system through the gateway, signed in as its administrator."""

    def __init__(self) -> None:
        self._headers = {"content-type": "application/json"}
        token = self.call("/v1/sessions", ADMIN)["access_token"]
        self._headers["authorization"] = f"Bearer {token}"

    def call(self, path: str, body: Any = None) -> Any:
        """POST of a body, GET without one; anything but 200 raises."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(URL + path, data, self._headers)  # noqa: S310 - our own
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.load(answer)

    def attach(self, record: str, content: bytes) -> str:
        """Adds a file to a record; answers the attachment's name."""
        path = f"{URL}/v1/{record}/attachments?file_name=trial.txt"
        request = urllib.request.Request(path, content, self._headers)  # noqa: S310 - our own
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return str(json.load(answer)["name"])

    def download(self, attachment: str) -> bytes:
        """The file of an attachment."""
        path = f"{URL}/v1/{attachment}:download"
        request = urllib.request.Request(path, headers=self._headers)  # noqa: S310 - our own
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return bytes(answer.read())

    def win(self, account: str, euros: int) -> None:
        """A won opportunity."""
        body = {
            "display_name": "Trial",
            "account": account,
            "amount": {"currency_code": "EUR", "units": str(euros)},
        }
        opportunity = self.call("/v1/opportunities", body)
        self.call(f"/v1/{opportunity['name']}:win", {"etag": opportunity["etag"]})

    def until_reported(self, euros: int) -> float:
        """Waits until reporting's won amount is this; answers the seconds it took."""
        started = time.monotonic()
        query = {"metrics": ["won_amount"], "currency_code": "EUR"}
        while time.monotonic() < started + PATIENCE_SECONDS:
            rows = self.call("/v1/metrics:query", query)["rows"]
            if rows and float(rows[0]["values"].get("won_amount") or 0) == euros:
                return time.monotonic() - started
            time.sleep(0.05)
        message = f"reporting does not say {euros}: {rows}"
        raise SystemExit(message)


def try_events(client: Client) -> None:
    """Events reach reporting, also those that happen while it is dead."""
    account = client.call("/v1/accounts", {"display_name": "Trial"})["name"]
    client.win(account, 1200)
    print(f"reported over RabbitMQ after {client.until_reported(1200):.2f} s")
    compose("kill", "-s", "KILL", "reporting")
    for _ in range(20):
        client.win(account, 100)
    compose("start", "reporting")
    compose("up", "-d", "--wait", "--no-build", "--no-recreate")
    print(f"reporting, killed and restarted, is level after {client.until_reported(3200):.2f} s")


def try_load(client: Client) -> None:
    """Three processes of sales share the calls."""
    compose("up", "-d", "--wait", "--no-build", "--no-recreate", "--scale", "sales=3")
    shares = [0.0, 0.0, 0.0]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while min(shares) < CALLS / 6 and time.monotonic() < deadline:
        for _ in range(CALLS):
            client.call("/v1/opportunities?page_size=1")
        shares = [_calls_of_sales(index) for index in (1, 2, 3)]
    print(f"three processes of sales answered {shares} calls")
    if min(shares) < CALLS / 6:
        message = "the load is not shared"
        raise SystemExit(message)


def _calls_of_sales(index: int) -> float:
    return float(compose("exec", "-T", "--index", str(index), "sales", "python", "-c", COUNT_CALLS))


def try_files(client: Client) -> str:
    """Every process of sales has the files that another one has taken; answers an attachment."""
    opportunity = client.call("/v1/opportunities", {"display_name": "Trial"})["name"]
    attachments = [client.attach(opportunity, FILE) for _ in range(6)]
    if any(client.download(name) != FILE for name in attachments * 3):
        message = "a file did not come back as it was"
        raise SystemExit(message)
    print(f"three processes of sales share {len(attachments)} files")
    return attachments[0]


def try_stop() -> None:
    """Everything ends by itself, well within the time it is given."""
    started = time.monotonic()
    compose("stop")
    print(f"stopped after {time.monotonic() - started:.1f} s")
    states = compose("ps", "-a", "--format", "{{.Service}} {{.ExitCode}}").splitlines()
    # The broker says by which signal it ended; everything else says that it ended well.
    bad = [state for state in states if state.split()[1] != "0" and state != "rabbitmq 143"]
    if bad:
        message = f"ended badly: {', '.join(bad)}"
        raise SystemExit(message)


def main() -> None:
    """The whole trial; prints what it sees and ends with an error at the first surprise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leaves everything for a look")
    keep = parser.parse_args().keep
    try:
        compose("build", "-q")
        started = time.monotonic()
        compose("up", "-d", "--wait", "--no-build")
        print(f"up after {time.monotonic() - started:.1f} s")
        client = Client()
        try_events(client)
        try_load(client)
        attachment = try_files(client)
        try_stop()
        compose("up", "-d", "--wait", "--no-build")
        client = Client()
        print(f"after a restart the report is there after {client.until_reported(3200):.2f} s")
        if client.download(attachment) != FILE:
            message = "an attached file is gone after a restart"
            raise SystemExit(message)
    finally:
        if not keep:
            compose("down", "-v", "--remove-orphans", "-t", str(GRACE_SECONDS))


if __name__ == "__main__":
    main()
