import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_app.cli import leukoscope
from edge_app.commands import service as commands
from edge_app.errors import StationError
from edge_app.service import STATE, Program, notify, unit
from edge_app.settings import Settings, load_settings

OPT = Program(Path("/opt/leukoscope/.venv"))


def settings(**changes: object) -> Settings:
    return load_settings(None, {"STATE_DIRECTORY": str(STATE)}, **changes)


def parsed(text: str) -> dict[str, dict[str, list[str]]]:
    """Return section → key → its values, of which a unit may have several."""
    sections: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            assert equals, line
            sections.setdefault(section, {}).setdefault(key, []).append(value)
    return sections


def of_service(text: str) -> dict[str, list[str]]:
    return parsed(text)["Service"]


def test_the_unit_starts_the_app_and_brings_it_back_with_a_limit() -> None:
    text = unit(OPT, settings())
    parsed_text = parsed(text)
    service = parsed_text["Service"]
    assert service["ExecStart"] == ["/opt/leukoscope/.venv/bin/leukoscope run"]
    assert service["Type"] == ["notify"]
    assert service["Restart"] == ["on-failure"]
    assert int(service["WatchdogSec"][0]) > 0
    assert service["MemoryMax"] == ["75%"]
    assert parsed_text["Unit"]["StartLimitBurst"] == ["5"]
    assert parsed_text["Install"]["WantedBy"] == ["multi-user.target"]


def test_the_service_has_its_own_user_and_reaches_cameras_and_nothing_else() -> None:
    service = of_service(unit(OPT, settings()))
    assert service["User"] == ["leukoscope"]
    assert service["SupplementaryGroups"] == ["video"]
    assert service["DevicePolicy"] == ["closed"]
    assert "char-video4linux rw" in service["DeviceAllow"]
    for key in ("NoNewPrivileges", "PrivateTmp", "ProtectHome", "RestrictNamespaces"):
        assert service[key] == ["yes"], key
    assert service["ProtectSystem"] == ["strict"]
    assert service["CapabilityBoundingSet"] == service["ReadWritePaths"] == [""]


def test_what_the_settings_need_is_allowed(tmp_path: Path) -> None:
    service = of_service(unit(OPT, settings(records__folder=Path("/mnt/disk/records"), server__port=443)))
    assert service["ReadWritePaths"] == ["/mnt/disk/records"]
    assert service["AmbientCapabilities"] == ["CAP_NET_BIND_SERVICE"]
    file = tmp_path / "settings.yaml"
    assert of_service(unit(Program(OPT.environment, file), settings()))["ExecStart"][0].endswith(f"--settings {file}")


@pytest.mark.parametrize(
    ("environment", "bundle"),
    [("/home/pi/leukoscope/.venv", None), ("/opt/leukoscope/.venv", Path("/home/pi/models/a.leuko"))],
)
def test_an_installation_in_a_home_folder_can_be_read(environment: str, bundle: Path | None) -> None:
    assert of_service(unit(Program(Path(environment)), settings(bundle=bundle)))["ProtectHome"] == ["read-only"]


def test_a_python_in_a_home_folder_can_be_read_too(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to("/home/pi/.pyenv/versions/3.12/bin/python3")
    assert of_service(unit(Program(tmp_path), settings()))["ProtectHome"] == ["read-only"]


def test_a_jetsons_camera_service_can_be_reached() -> None:
    service = of_service(unit(OPT, settings(), jetson=True))
    assert service["PrivateTmp"] == ["no"]
    assert service["DevicePolicy"] == ["auto"]
    assert "DeviceAllow" not in service


def test_paths_are_written_as_systemd_reads_them() -> None:
    command = of_service(unit(Program(Path("/opt/my 100% $app")), settings()))["ExecStart"]
    assert command == ['"/opt/my 100%% $$app/bin/leukoscope" run']
    for bad in ("/opt/a\nUser=root", '/opt/"', "/opt/\\x"):
        with pytest.raises(StationError, match="can't stand in a systemd unit"):
            unit(Program(Path(bad)), settings())


@pytest.mark.slow
@pytest.mark.parametrize("jetson", [False, True])
def test_systemd_finds_nothing_wrong_and_calls_it_safe(tmp_path: Path, jetson: bool) -> None:
    analyze = shutil.which("systemd-analyze")
    assert analyze, "install systemd to run this proof"
    file = tmp_path / "leukoscope.service"
    file.write_text(unit(Program(Path(sys.prefix)), settings(), jetson=jetson))
    done = subprocess.run([analyze, "verify", file], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=25", "--no-pager", file],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_what_it_is_told(tmp_path: Path, abstract: bool) -> None:
    address = f"\0leukoscope-{tmp_path}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        assert notify("READY=1\nSTATUS=judging: Größe", {"NOTIFY_SOCKET": address.replace("\0", "@")})
        assert systemd.recv(100).decode() == "READY=1\nSTATUS=judging: Größe"


def test_a_systemd_that_is_not_there_or_does_not_listen_is_no_error(tmp_path: Path) -> None:
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "none")})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "vsock:2:1234"})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "full"))
        told = [notify("x" * 1000, {"NOTIFY_SOCKET": str(tmp_path / "full")}) for _ in range(2000)]
    assert told[0]
    assert not told[-1]  # and it did not wait


class System:
    """The programs that the commands call, in their place scripts that note their arguments."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder / "bin"
        self._folder.mkdir()
        self._log = folder / "log"
        self.unit_file = folder / "leukoscope.service"
        for name in ("systemctl", "useradd", "runuser", "id", "install"):
            self.write(name, "")
        monkeypatch.setenv("PATH", f"{self._folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(commands, "UNIT_FILE", self.unit_file)
        monkeypatch.setattr(os, "geteuid", lambda: 0)

    def write(self, name: str, body: str) -> None:
        (self._folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {self._log}\n{body}\n')
        (self._folder / name).chmod(0o755)

    def calls(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    return System(tmp_path, monkeypatch)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(leukoscope, ["service", *arguments])


def test_a_dry_run_prints_the_unit_and_changes_nothing(system: System) -> None:
    result = call("install", "--dry-run", "--memory-max", "1G")
    assert result.exit_code == 0, result.output
    assert of_service(result.output)["ExecStart"] == [f"{sys.prefix}/bin/leukoscope run"]
    assert of_service(result.output)["MemoryMax"] == ["1G"]
    assert not system.calls()
    assert not system.unit_file.exists()


def test_install_makes_the_user_writes_the_unit_and_starts_it(system: System, tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(f"records:\n  folder: {tmp_path / 'records'}\n")
    result = call("install", "--settings", str(file))
    assert result.exit_code == 0, result.output
    assert of_service(system.unit_file.read_text())["ExecStart"][0].endswith(f"--settings {file}")
    names = [line.split()[0] for line in system.calls()]
    assert names == ["id", "useradd", "runuser", "install", "systemctl", "systemctl", "systemctl"]
    assert system.calls()[-3:] == [
        "systemctl daemon-reload",
        "systemctl enable leukoscope",
        "systemctl restart leukoscope",
    ]


def test_a_program_or_settings_that_the_services_user_cannot_read_are_told_before_anything_starts(
    system: System,
) -> None:
    system.write("runuser", "echo 'runuser: failed to execute: Permission denied' >&2; exit 126")
    result = call("install")
    assert isinstance(result.exception, StationError)
    assert "Permission denied" in str(result.exception)
    assert "docs/raspberry-pi.md" in str(result.exception)
    assert not system.unit_file.exists()


def test_a_unit_that_fails_to_start_is_told(system: System) -> None:
    system.write("systemctl", '[ "$1" != restart ] || { echo "Job failed." >&2; exit 1; }')
    result = call("install")
    assert "`systemctl restart leukoscope` failed: Job failed." in str(result.exception)


def test_wrong_settings_are_told_before_anything_is_changed(system: System, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("sorce: a\n")
    assert "did you mean source?" in str(call("install", "--settings", str(tmp_path / "bad.yaml")).exception)
    assert call("install", "--memory-max", "lots").exit_code == 2
    assert not system.calls()


def test_only_root_changes_the_system(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for arguments in (["install"], ["uninstall"]):
        result = call(*arguments)
        assert "sudo" in str(result.exception)
    assert not system.calls()


def test_uninstall_stops_the_service_and_removes_only_the_unit(system: System) -> None:
    assert "nothing to uninstall" in str(call("uninstall").exception)
    call("install")
    result = call("uninstall")
    assert result.exit_code == 0, result.output
    assert not system.unit_file.exists()
    assert "systemctl disable --now leukoscope" in system.calls()
    assert system.calls()[-1] == "systemctl daemon-reload"


STATUS = """printf 'LoadState=loaded\\nActiveState={}\\nSubState=running\\nStatusText=judging: 29 frames a second\\n'
printf 'NRestarts=2\\nMemoryCurrent=1\\nExecMainStatus=4\\n'"""


def test_status_says_whether_it_runs_and_what_it_says_of_itself(system: System) -> None:
    assert "not installed" in str(call("status").exception)
    system.write("systemctl", STATUS.format("active"))
    result = call("status")
    assert result.exit_code == 0
    assert result.output == "active (running), restarted 2 times\njudging: 29 frames a second\n"
    assert json.loads(call("status", "--json").output)["ActiveState"] == "active"
    system.write("systemctl", STATUS.format("failed"))
    result = call("status")
    assert result.exit_code == StationError.exit_code
    assert "last exit code 4" in result.output
