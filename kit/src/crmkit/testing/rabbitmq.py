"""A private RabbitMQ broker for tests, from Debian's package, on loopback and in one folder."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from crmkit.ports import free_port
from crmkit.testing.polling import eventually_sync

# Debian's command of this name switches to another user; this one runs as whoever we are.
_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_SECONDS_TO_START = 60


class RabbitMQ:
    """A broker; `url` is what clients connect to.

    A broker that CRM_TEST_AMQP_URL names is used as it is: a test that wants to stop it is skipped.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        """Names the folder of the broker's data, or the URL of a broker that is there already."""
        self._folder = folder
        self._port = free_port()
        self._epmd_port = free_port()
        self._distribution_port = free_port()
        self._epmd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._external = url is not None
        self.url = url or f"amqp://guest:guest@127.0.0.1:{self._port}/"

    def start(self) -> None:
        """Starts the broker, with the data it had before, and returns once it accepts clients."""
        self._skip_if_external()
        self._write_configuration()
        if self._epmd is None:
            self._epmd = self._run("epmd", "-address", "127.0.0.1", "-port", str(self._epmd_port))
            eventually_sync(lambda: _accepts(self._epmd_port))
        self._server = self._run(_server_program())
        eventually_sync(self._ready, timeout=_SECONDS_TO_START)

    def kill(self) -> None:
        """Ends the broker as a power cut would.

        RabbitMQ 3.10 may lose a quorum queue that was declared less than a second before.
        """
        self._skip_if_external()
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kills the broker and starts it again."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """Ends the broker and all its helpers; an external one is left alone."""
        self._end(signal.SIGTERM)
        if self._epmd is not None:
            self._epmd.terminate()
            self._epmd.wait(timeout=10)
            self._epmd = None

    def _ready(self) -> bool:
        if self._server is not None and self._server.poll() is not None:
            log = (self._folder / "output.log").read_text(errors="replace")[-2000:]
            pytest.fail(f"RabbitMQ did not start: {log}")
        return _accepts(self._port)

    def _end(self, kind: signal.Signals) -> None:
        if self._server is None:
            return
        os.killpg(self._server.pid, kind)
        try:
            self._server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait(timeout=30)
        self._server = None
        eventually_sync(lambda: not _accepts(self._distribution_port))

    def _write_configuration(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.local = 127.0.0.1:{self._port}\n"
            "log.console = true\n"
            "vm_memory_high_watermark.absolute = 512MB\n"
            "disk_free_limit.absolute = 50MB\n"
        )
        (self._folder / "enabled_plugins").write_text("[].\n")

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._folder / "output.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - the program is named above
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                start_new_session=True,
            )

    def _environment(self) -> dict[str, str]:
        folder = str(self._folder)
        return {
            "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "HOME": folder,  # the Erlang cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"crm-test-{self._port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/none",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{folder}/generated",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false"
            ),
        }

    def _skip_if_external(self) -> None:
        if self._external:
            pytest.skip("the broker of CRM_TEST_AMQP_URL is not ours to stop")


def _server_program() -> str:
    program = str(_SERVER) if _SERVER.exists() else shutil.which("rabbitmq-server")
    if program is None:
        pytest.fail("RabbitMQ is not installed: run `make test`, or set CRM_TEST_AMQP_URL")
    return program


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0
