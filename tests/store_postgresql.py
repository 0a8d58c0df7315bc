"""A real PostgreSQL server for tests, from Debian's package (`apt install postgresql`)."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import URL, make_url

DEBIAN = Path("/usr/lib/postgresql")


class Server:
    """A server that listens on a socket in its own folder, and can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        # Debian keeps the programs out of the path; the server refuses to run as root
        self.programs = max(DEBIAN.glob("*/bin"), key=lambda path: int(path.parent.name))
        self.as_user: dict[str, Any] = {"cwd": folder}
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            self.as_user |= {"user": "postgres", "group": "postgres", "extra_groups": []}
        initialise: list[str | Path] = [
            self.programs / "initdb",
            "-D",
            self.data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "-N",
        ]
        subprocess.run([*initialise, "--locale=C.UTF-8"], check=True, capture_output=True, **self.as_user)
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options: list[str | Path] = ["-D", self.data, "-k", self.folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        self.process = subprocess.Popen(
            [self.programs / "postgres", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self.as_user,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.run("SELECT 1")
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """Kill the server, as a power cut would."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        time.sleep(0.2)  # its children end by themselves
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """Stop the server at once, cleanly."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)

    def run(self, statement: str) -> None:
        """Run a statement outside of a transaction."""
        with psycopg.connect(host=str(self.folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(statement.encode())

    def new_database(self) -> str:
        """Return the URL of a new, empty database."""
        name = f"test_{uuid.uuid4().hex}"
        self.run(f"CREATE DATABASE {name}")
        address = URL.create("postgresql+psycopg", "postgres", database=name, query={"host": str(self.folder)})
        return address.render_as_string(hide_password=False)

    def drop_database(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.run(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")


@contextmanager
def postgresql_server() -> Iterator[Server]:
    """Give a server; its folder is outside of pytest's, which other users may not enter."""
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = Server(folder)
        try:
            yield server
        finally:
            server.stop()
