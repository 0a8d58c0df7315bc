import hashlib
import json
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_app.bundle import Bundle, assemble, default_bundle_path, open_bundle, pack, write_bundle
from edge_app.cameras.demo import FOLDER
from edge_app.cli import leukoscope
from edge_app.errors import BundleError, BundleNotFoundError, BundleVersionError, RuntimeMissingError
from edge_app.folders import bundles_folder
from edge_app.installed import current_bundle_path, install, list_installed, roll_back
from tests.bundles import tiny_bundle, tiny_manifest, tiny_members
from tests.tiny_models import onnx_model

SHIPPED = default_bundle_path()


@pytest.fixture(scope="module")
def first() -> Bundle:
    return tiny_bundle(onnx_model(), name="first")


@pytest.fixture(scope="module")
def second() -> Bundle:
    return tiny_bundle(onnx_model(), name="second")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bundles"


def written(path: Path, bundle: Bundle) -> str:
    write_bundle(path, bundle)
    return str(path)


def zipped(path: Path, bundle: Bundle) -> bytes:
    pack(path, bundle)
    return path.read_bytes()


@dataclass
class Server:
    """A server on this machine alone; `files` maps a path to its bytes or to what answers in its own way."""

    address: str = ""
    files: dict[str, bytes | Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)


@pytest.fixture
def server() -> Iterator[Server]:
    serving = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = serving.files.get(self.path)
            if callable(found):
                found(self)
            elif found is None:
                self.send_error(404)
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(len(found)))
                self.end_headers()
                self.wfile.write(found)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        serving.address = f"http://127.0.0.1:{http.server_address[1]}"
        yield serving
        http.shutdown()
        thread.join()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def in_use(folder: Path) -> str:
    return open_bundle(current_bundle_path(folder)).manifest.name


# In use, and back


def test_the_shipped_bundle_is_in_use_until_one_is_installed(folder: Path, tmp_path: Path, first: Bundle) -> None:
    assert current_bundle_path(folder) == SHIPPED
    done = install(written(tmp_path / "a.leuko", first), folder)
    assert current_bundle_path(folder) == done.path
    assert open_bundle(done.path) == first
    assert done.report.agreeing == done.report.images


def test_each_rollback_goes_one_bundle_back_and_the_last_to_the_shipped_one(
    folder: Path, tmp_path: Path, first: Bundle, second: Bundle
) -> None:
    install(written(tmp_path / "a.leuko", first), folder)
    install(written(tmp_path / "b.leuko", second), folder)
    install(str(tmp_path / "b.leuko"), folder)  # again: nothing to go back to by that
    assert in_use(folder) == "second"
    assert roll_back(folder).bundle == first
    assert in_use(folder) == "first"
    roll_back(folder)
    assert current_bundle_path(folder) == SHIPPED
    with pytest.raises(BundleError, match="no bundle was in use before"):
        roll_back(folder)


def test_a_bundle_is_not_gone_back_to_when_it_is_damaged(
    folder: Path, tmp_path: Path, first: Bundle, second: Bundle
) -> None:
    old = install(written(tmp_path / "a.leuko", first), folder).path
    install(written(tmp_path / "b.leuko", second), folder)
    (old / "model.onnx").write_bytes(b"worn out")
    with pytest.raises(BundleError, match=r"model\.onnx of .* is smaller than its manifest says"):
        roll_back(folder)
    assert in_use(folder) == "second"
    install(str(tmp_path / "a.leuko"), folder)  # mends it
    assert in_use(folder) == "first"


def test_a_bundle_in_use_that_is_gone_is_an_error_and_not_the_shipped_one(
    folder: Path, tmp_path: Path, first: Bundle
) -> None:
    shutil.rmtree(install(written(tmp_path / "a.leuko", first), folder).path)
    with pytest.raises(BundleNotFoundError, match="is gone; go back with"):
        current_bundle_path(folder)
    (folder / "current.json").write_text("{")
    with pytest.raises(BundleError, match="is damaged, so it is not known which bundle is in use"):
        current_bundle_path(folder)


# What is refused, and leaves everything as it was


def newer(path: Path, bundle: Bundle) -> str:
    write_bundle(path, bundle)
    manifest = json.loads(bundle.read("manifest.json")) | {"format_version": 99}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return str(path)


def wrong_answers(path: Path, bundle: Bundle) -> str:
    manifest = bundle.manifest.replace(name="wrong")
    other = tiny_bundle(onnx_model(scale=90), name="wrong")
    assert other.manifest.name == manifest.name
    return written(path, other)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda path, _: str(path), BundleNotFoundError, "there is no bundle"),
        (newer, BundleVersionError, "made for a newer Leukoscope"),
        (wrong_answers, BundleError, "does not compute what was measured"),
        (lambda path, bundle: str(path) if path.write_bytes(bundle.files["golden.npz"]) else "", BundleError, "bundle"),
    ],
)
def test_a_bundle_that_is_missing_newer_wrong_or_none_is_refused(
    folder: Path,
    tmp_path: Path,
    first: Bundle,
    make: Callable[[Path, Bundle], str],
    error: type[BundleError],
    message: str,
) -> None:
    install(written(tmp_path / "a.leuko", first), folder)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(error, match=message):
        install(make(tmp_path / "bad.leuko", first), folder)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert in_use(folder) == "first"


def test_a_bundle_whose_runtime_is_missing_here_is_refused(
    folder: Path, tmp_path: Path, first: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeMissingError):
        install(written(tmp_path / "a.leuko", first), folder)
    assert current_bundle_path(folder) == SHIPPED


def test_a_full_disk_is_a_sentence_and_keeps_the_bundle_in_use(
    folder: Path, tmp_path: Path, first: Bundle, server: Server
) -> None:
    install(written(tmp_path / "a.leuko", first), folder)
    members = tiny_members(onnx_model()) | {"MODEL_CARD.md": bytes(300_000)}
    large = assemble(tiny_manifest(members, name="large"), members)
    server.files["/b.leuko"] = zipped(tmp_path / "b.zip", large)
    written(tmp_path / "b.leuko", large)
    before = sorted(path.name for path in folder.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for source in (str(tmp_path / "b.leuko"), f"{server.address}/b.leuko"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))  # a disk that takes no more
        try:
            with pytest.raises(BundleError, match="room"):
                install(source, folder, sha256=large.sha256)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in folder.iterdir()) == before
    assert in_use(folder) == "first"


def test_a_folder_that_may_not_be_made_is_a_sentence(tmp_path: Path, first: Bundle) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match=r"can't be used .*or name another with --folder"):
        install(written(tmp_path / "a.leuko", first), tmp_path / "file" / "bundles")


# Hashes and downloads


@pytest.mark.parametrize("of", ["file", "bundle", "hash file"])
def test_a_download_is_checked_against_its_hash(
    folder: Path, tmp_path: Path, first: Bundle, server: Server, of: str
) -> None:
    data = zipped(tmp_path / "a.zip", first)
    server.files["/models/a.leuko"] = data
    expected = {"file": sha256(data).upper(), "bundle": first.sha256, "hash file": None}[of]
    if of == "hash file":
        server.files["/models/a.leuko.sha256"] = f"{sha256(data)}  a.leuko\n".encode()
    seen: list[tuple[int, int | None]] = []
    install(f"{server.address}/models/a.leuko", folder, sha256=expected, on_progress=lambda *each: seen.append(each))
    assert in_use(folder) == "first"
    assert seen[-1] == (len(data), len(data))
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == [".lock"]


def test_another_hash_or_none_is_refused(folder: Path, tmp_path: Path, first: Bundle, server: Server) -> None:
    server.files["/a.leuko"] = zipped(tmp_path / "a.zip", first)
    with pytest.raises(BundleError, match=r"holds no hash .*; give --sha256"):
        install(f"{server.address}/a.leuko", folder)
    server.files["/a.leuko.sha256"] = b"<html>login</html>"
    with pytest.raises(BundleError, match="holds no hash"):
        install(f"{server.address}/a.leuko", folder)
    for source in (f"{server.address}/a.leuko", str(tmp_path / "a.zip")):
        with pytest.raises(BundleError, match="is not what was announced"):
            install(source, folder, sha256="0" * 64)
    with pytest.raises(BundleError, match="takes 64 hexadecimal digits"):
        install(str(tmp_path / "a.zip"), folder, sha256="abc")
    assert current_bundle_path(folder) == SHIPPED


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(bytes(2**16))
    except OSError:  # the other side has had enough
        handler.close_connection = True


def trickling(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    try:
        for _ in range(200):
            handler.wfile.write(b"x")
            time.sleep(0.02)
    except OSError:
        handler.close_connection = True


def broken_off(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"x" * 10)
    handler.close_connection = True


def redirecting(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "file:///etc/passwd")
    handler.end_headers()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (endless, "has more than the 1 MiB that a bundle may have"),
        (trickling, "took too long"),
        (broken_off, "broke off after 10 of 1000 bytes|can't be fetched"),
        (redirecting, "the server answers 302|can't be fetched"),
        (lambda handler: handler.send_error(500), "the server answers 500"),
        (lambda handler: handler.send_error(404), "has no such file"),
        (lambda handler: handler.wfile.write(b"nonsense\r\n\r\n"), "can't be fetched"),
    ],
)
def test_a_server_that_fails_is_a_sentence(
    folder: Path,
    server: Server,
    answer: Callable[[BaseHTTPRequestHandler], None],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_app.installed.MAX_DOWNLOAD_BYTES", 2**20)
    server.files["/a.leuko"] = answer
    with pytest.raises(BundleError, match=message):
        install(f"{server.address}/a.leuko", folder, sha256="0" * 64, timeout_s=1)
    assert [path.name for path in folder.iterdir()] == [".lock"]


@pytest.mark.parametrize("address", ["ftp://host/a.leuko", "file:///etc/passwd", "http://127.0.0.1:1/a", "http://"])
def test_an_address_that_is_not_fetched_from_is_a_sentence(folder: Path, address: str) -> None:
    with pytest.raises(BundleError, match=r"no address that is fetched from|can't be fetched"):
        install(address, folder, sha256="0" * 64)


def test_a_second_installation_at_once_is_refused(folder: Path, tmp_path: Path, first: Bundle, server: Server) -> None:
    data, asked, go_on = zipped(tmp_path / "a.zip", first), threading.Event(), threading.Event()

    def waiting(handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        assert go_on.wait(20)
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(data)

    server.files["/a.leuko"] = waiting
    worker = threading.Thread(
        target=install, args=(f"{server.address}/a.leuko", folder), kwargs={"sha256": sha256(data)}
    )
    worker.start()
    assert asked.wait(20)
    try:
        with pytest.raises(BundleError, match="another installation is at work"):
            install(str(tmp_path / "a.zip"), folder)
    finally:
        go_on.set()
        worker.join()
    assert in_use(folder) == "first"


# Cut off


def test_an_installation_cut_off_at_any_step_leaves_the_old_bundle_in_use_or_the_new_one(
    folder: Path, tmp_path: Path, first: Bundle, second: Bundle
) -> None:
    old, new = written(tmp_path / "a.leuko", first), written(tmp_path / "b.leuko", second)
    arguments = ["-m", "tests.cut_installations", str(folder), old, new]
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 8
    assert sorted(path.suffix for path in folder.iterdir()) == ["", ".json", ".leuko", ".leuko"]


def test_a_killed_download_leaves_the_old_bundle_and_the_next_installation_clears_up(
    folder: Path, tmp_path: Path, first: Bundle, second: Bundle, server: Server
) -> None:
    install(written(tmp_path / "a.leuko", first), folder)
    server.files["/b.leuko"] = trickling
    address = f"{server.address}/b.leuko"
    command = ["-m", "edge_app", "bundle", "install", address, "--sha256", "0" * 64, "--folder", str(folder)]
    process = subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL)
    download = folder / ".leukoscope-download"
    while not download.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert download.exists()
    assert in_use(folder) == "first"
    (folder / ".kept").write_text("not ours")
    install(written(tmp_path / "b.leuko", second), folder)
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == [".kept", ".lock"]


# The commands


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(leukoscope, [str(each) for each in arguments])


def test_the_commands_of_the_device_take_the_bundle_in_use(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEUKOSCOPE_BUNDLE_FOLDER", str(folder))
    shipped = open_bundle(SHIPPED)
    other = assemble(
        shipped.manifest.replace(name="other"), {name: shipped.read(name) for name in shipped.manifest.files}
    )
    result = run("bundle", "install", written(tmp_path / "other.leuko", other))
    assert result.exit_code == 0, result.output
    assert "It is in use from now on" in result.output
    listed = [json.loads(line) for line in run("bundle", "list", "--json").output.splitlines()]
    assert [(each["name"], each["current"]) for each in listed] == [
        ("shipped", False),
        (f"other-{other.sha256[:12]}.leuko", True),
    ]
    field = FOLDER / "healthy-1.jpg"
    for arguments in (("classify", field), ("run", "--source", field, "--no-page")):
        assert json.loads(run(*arguments, "--json").stdout)["bundle"] == other.sha256
    assert json.loads(run("bundle", "info", "--json").output)["sha256"] == other.sha256
    assert run("bundle", "rollback").exit_code == 0
    assert json.loads(run("bundle", "info", "--json").output)["sha256"] == shipped.sha256


def test_damaged_bundles_are_listed_with_what_is_wrong(folder: Path, tmp_path: Path, first: Bundle) -> None:
    path = install(written(tmp_path / "a.leuko", first), folder).path
    (path / "model.onnx").unlink()
    problem = {each.name: each.problem for each in list_installed(folder)}[path.name]
    assert problem is not None
    assert "model.onnx" in problem
    assert "can't be used" in run("bundle", "list", "--folder", folder).output


def test_the_folder_follows_the_environment() -> None:
    assert bundles_folder({"HOME": "/home/lab"}) == Path("/home/lab/.local/share/leukoscope/bundles")
    assert bundles_folder({"XDG_DATA_HOME": "/data", "HOME": "/home/lab"}) == Path("/data/leukoscope/bundles")
    assert bundles_folder({"STATE_DIRECTORY": "/var/lib/leukoscope"}) == Path("/var/lib/leukoscope/bundles")
    assert bundles_folder({"LEUKOSCOPE_BUNDLE_FOLDER": "/b", "STATE_DIRECTORY": "/s"}) == Path("/b")
