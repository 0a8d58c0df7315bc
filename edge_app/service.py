"""The app as a systemd service: its unit, and the few words that systemd wants to hear from it."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_app.errors import StationError
from edge_app.settings import Settings

NAME = "leukoscope"
USER = "leukoscope"
STATE = Path("/var/lib/leukoscope")
WATCHDOG_S = 30
# Errors that a restart can't cure: command line, input, bundle, library, settings (see edge_app/errors.py).
NO_RESTART = (2, 3, 5, 6, 13)
# By the names of /proc/devices, so that a camera plugged in later is allowed too; /dev/vcio tells a Pi's throttling.
DEVICES = ("char-video4linux", "char-media", "char-dma_heap", "/dev/vcio")

UNIT = """\
[Unit]
Description=Leukoscope: judges blood-smear images at a microscope (for research use only)
After=network.target
StartLimitIntervalSec=600
StartLimitBurst=5

[Service]
Type=notify
ExecStart={command}
User={user}
SupplementaryGroups=video
WorkingDirectory={state}
StateDirectory={name}
StateDirectoryMode=0750
UMask=0027
Environment=PYTHONUNBUFFERED=1
WatchdogSec={watchdog_s}
TimeoutStartSec=180
TimeoutStopSec=30
Restart=on-failure
RestartSec=5
RestartPreventExitStatus={no_restart}
MemoryMax={memory_max}

# What it may not do. MemoryDenyWriteExecute is left out, as some runtimes write their code while they run, and
# ProtectClock, as it would also forbid to ask whether the clock is set; to set it takes a capability it hasn't got.
NoNewPrivileges=yes
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}
ProtectSystem=strict
ProtectHome={protect_home}
PrivateMounts=yes
PrivateTmp={private_tmp}
ReadWritePaths={writable}
{devices}
ProtectProc=invisible
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service adjtimex clock_adjtime
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Program:
    """What the service starts: the `leukoscope` of an environment, with the settings file where one is named."""

    environment: Path
    settings_file: Path | None = None

    @property
    def executable(self) -> Path:
        """Return the path of the command."""
        return self.environment / "bin" / NAME

    @property
    def interpreter(self) -> Path:
        """Return the path of its Python, a link to one that may lie elsewhere."""
        return self.environment / "bin" / "python"

    def command(self) -> str:
        """Return the line for ExecStart; raises StationError for a path that can't stand in a unit."""
        words = [str(self.executable), "run"]
        if self.settings_file:
            words += ["--settings", str(self.settings_file)]
        return " ".join(_quoted(word) for word in words)


def unit(program: Program, settings: Settings, *, jetson: bool = False, memory_max: str = "75%") -> str:
    """Return the unit as text; raises StationError when a path can't stand in it.

    settings: as the service will have them; the folder of its records is made writable where it is not the service's
        own, and a port below 1024 gets the capability it needs.
    jetson: leave devices and /tmp as they are, where NVIDIA's camera service has its nodes and its socket.
    memory_max: systemd's MemoryMax, such as 1G or 75%.
    """
    writable = [] if settings.records.folder.is_relative_to(STATE) else [_quoted(str(settings.records.folder))]
    read = (program.environment, program.interpreter, program.settings_file, settings.bundle, settings.bundle_folder)
    at_home = any(_is_at_home(path) for path in read if path)
    if jetson:
        writable.append("/tmp")  # noqa: S108 - PrivateTmp is off there
        devices = "DevicePolicy=auto"
    else:
        devices = "\n".join(["DevicePolicy=closed", *(f"DeviceAllow={name} rw" for name in DEVICES)])
    return UNIT.format(
        name=NAME,
        user=USER,
        state=STATE,
        command=program.command(),
        watchdog_s=WATCHDOG_S,
        no_restart=" ".join(map(str, NO_RESTART)),
        memory_max=memory_max,
        capabilities="CAP_NET_BIND_SERVICE" if settings.server.port < 1024 else "",
        protect_home="read-only" if at_home else "yes",
        private_tmp="no" if jetson else "yes",
        writable=" ".join(writable),
        devices=devices,
    )


def notify(text: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell systemd something, such as READY=1, WATCHDOG=1, STATUS=…, STOPPING=1; return whether it could be told.

    Outside a service nobody listens, which is no error; nor is a systemd that can't be reached.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto(text.encode(), "\0" + address[1:] if address[0] == "@" else address)
    except OSError:
        return False
    return True


def _is_at_home(path: Path) -> bool:
    resolved = path.resolve()
    return any(each.is_relative_to(home) for each in (path, resolved) for home in ("/home", "/root", "/run/user"))


def _quoted(word: str) -> str:
    """Return a word for a unit: in quotes where it has spaces, and with systemd's specifiers and variables escaped."""
    if not word.isprintable() or "'" in word or '"' in word or "\\" in word:
        raise StationError(f"{word!r} can't stand in a systemd unit; name a path without quotes and control characters")
    escaped = word.replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if " " in word else escaped
