import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from edge_app import settings as module
from edge_app.cli import leukoscope
from edge_app.errors import SettingsError
from edge_app.settings import Settings, all_settings, load_settings

SECRET = "correct-horse-battery"  # noqa: S105


@pytest.fixture(autouse=True)
def _no_system_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what this machine has in /etc, and its environment, out of the tests."""
    monkeypatch.setattr(module, "SYSTEM_FILE", tmp_path / "system.yaml")
    monkeypatch.delenv("LEUKOSCOPE_SETTINGS", raising=False)


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text)
    return path


def refused(file: Path | None, environ: dict[str, str] | None = None, **changes: object) -> str:
    with pytest.raises(SettingsError) as raised:
        load_settings(file, environ or {}, **changes)
    return str(raised.value)


def test_without_anything_given_the_defaults_hold() -> None:
    loaded = load_settings(None, {"HOME": "/home/pi"})
    assert loaded.source is None
    assert (loaded.server.address, loaded.server.port) == ("127.0.0.1", 8080)
    assert (loaded.consensus.frames, loaded.consensus.needed) == (15, 10)
    assert loaded.records.folder == Path("/home/pi/.local/share/leukoscope/records")
    assert loaded.device


def test_the_command_line_goes_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "threads: 1\num_per_pixel: 0.1\nserver:\n  port: 1001\n  address: 0.0.0.0\n")
    environ = {"LEUKOSCOPE_THREADS": "2", "LEUKOSCOPE_SERVER__PORT": "1002", "LEUKOSCOPE_DEVICE": ""}
    loaded = load_settings(file, environ, server__port=1003, source=None)
    assert (loaded.um_per_pixel, loaded.threads, loaded.server.port) == (0.1, 2, 1003)
    assert loaded.server.address == "0.0.0.0"  # noqa: S104
    assert loaded.source is None


def test_the_file_is_the_named_one_else_the_environments_else_the_systems(tmp_path: Path) -> None:
    for name in ("named", "environments", "system"):
        (tmp_path / f"{name}.yaml").write_text(f"source: {name}\n")
    environ = {"LEUKOSCOPE_SETTINGS": str(tmp_path / "environments.yaml")}
    assert load_settings(tmp_path / "named.yaml", environ).source == "named"
    assert load_settings(None, environ).source == "environments"
    assert load_settings(None, {}).source == "system"


def test_the_service_keeps_records_in_its_state_directory() -> None:
    environ = {"STATE_DIRECTORY": "/var/lib/leukoscope", "HOME": "/"}
    assert load_settings(None, environ).records.folder == Path("/var/lib/leukoscope/records")


def test_values_of_the_file_stay_what_was_written(tmp_path: Path) -> None:
    text = "source: 0\ndevice: 0123\nevery_frame: yes\nmqtt: {username: no, password: 00417, host:}\nserver:\n"
    loaded = load_settings(written(tmp_path, text), {})
    assert (loaded.source, loaded.device, loaded.every_frame) == ("0", "0123", True)
    assert (loaded.mqtt.username, loaded.mqtt.password) == ("no", SecretStr("00417"))
    assert loaded.mqtt.host is None


def test_paths_of_the_file_start_at_its_folder(tmp_path: Path) -> None:
    loaded = load_settings(written(tmp_path, "bundle: models/a.leuko\nrecords: {folder: /mnt/records}\n"), {})
    assert loaded.bundle == tmp_path / "models/a.leuko"
    assert loaded.records.folder == Path("/mnt/records")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("threads: 1\nsorce: a\n", 2, "did you mean source?"),
        ("server:\n  prot: 1\n", 2, "did you mean port in the section server?"),
        ("server:\n  prot:\n", 2, "did you mean port in the section server?"),
        ("port: 1\n", 1, "no setting"),
        ("server: 8080\n", 1, "is a section"),
        ("server:\n  port: 0\n", 2, "'0'"),
        ("server:\n  port: 8080\n  port: 8081\n", 3, "keep one of them"),
        ("source: [a, b]\n", 1, "takes one value"),
        ("server:\n  port: {a: b}\n", 2, "takes one value"),
        ("- a\n", 1, "is no section"),
        ("? [a]\n: 1\n", 1, "no name"),
        ("a: b: c\n", 1, "no YAML"),
        ("source: demo:\n", 1, "quotes around a value that ends in a colon"),
        ("source: 'a\n", 2, "no YAML"),
        ("um_per_pixel: .nan\n", 1, "number"),
        ("device: a/b\n", 1, "device"),
        ("mqtt:\n  topic: a/#\n", 2, "no + or #"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    message = refused(written(tmp_path, text))
    assert said in message
    assert f"line {line} of {tmp_path / 'settings.yaml'}" in message


def test_every_wrong_key_is_told_at_once(tmp_path: Path) -> None:
    message = refused(written(tmp_path, "threads: -1\nserver:\n  port: x\n"), {"LEUKOSCOPE_WATCHDOG__RESTARTS": "many"})
    for said in ("threads on line 1", "server.port on line 3", "in the variable LEUKOSCOPE_WATCHDOG__RESTARTS"):
        assert said in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("consensus: {frames: 10, needed: 5}", "more than half"),
        ("consensus: {frames: 3}", "at most all"),
        ("server: {tls_cert: a.pem}", "go together"),
        ("mqtt: {password: x}", "needs a username"),
        ("mqtt: {ca_file: ca.pem}", "tls: true"),
    ],
)
def test_keys_that_belong_together_are_checked_together(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(written(tmp_path, text))


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"source: \x00", b"[" * 5000, b"#" * 2_000_000, b"!!python/object:os.system x", b"a: *a"]
)
def test_a_file_that_is_no_settings_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "settings.yaml").write_bytes(content)
    assert "settings.yaml" in refused(tmp_path / "settings.yaml")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "name another settings file" in refused(tmp_path / "none.yaml")
    assert "name another settings file" in refused(tmp_path)


def test_an_unknown_variable_is_refused() -> None:
    assert "LEUKOSCOPE_SERVER_PORT is no setting" in refused(None, {"LEUKOSCOPE_SERVER_PORT": "1"})


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{SECRET}\n")
    file = written(tmp_path, "server: {token_file: token}")
    assert load_settings(file, {}).server.token == SecretStr(SECRET)
    other = load_settings(file, {"LEUKOSCOPE_SERVER__TOKEN": "another-long-token"}).server
    assert (other.token, other.token_file) == (SecretStr("another-long-token"), None)
    assert "keep one of them" in refused(written(tmp_path, f"server: {{token_file: token, token: {SECRET}}}"))
    assert "name a file with the secret" in refused(written(tmp_path, "server: {token_file: none}"))
    (tmp_path / "token").write_text("two\nlines of at least sixteen")
    assert "token" in refused(file)


def test_no_secret_is_ever_shown(tmp_path: Path) -> None:
    bad = "tiny!"
    texts = [
        refused(None, {"LEUKOSCOPE_SERVER__TOKEN": bad}),
        refused(written(tmp_path, f"server:\n  token: {bad}\n  port: 0\n")),
        refused(written(tmp_path, f"server:\n  token: [{bad}]\n")),
        refused(written(tmp_path, f"mqtt: {{password: '{bad}\u0007', username: a}}")),
        refused(written(tmp_path, f"mqtt:\n  password: {bad}: x\n")),
    ]
    file = written(tmp_path, f"mqtt: {{username: a, password: {SECRET}}}\nrecords: {{database: 'sqlite:///{SECRET}'}}")
    for arguments in ([], ["--json"], ["--markdown"]):
        result = CliRunner().invoke(leukoscope, ["settings", "--settings", str(file), *arguments])
        assert result.exit_code == 0
        texts.append(result.output)
    texts.append(repr(load_settings(file, {})))
    for text in texts:
        assert bad not in text
        assert SECRET not in text


@pytest.mark.parametrize("each", list(all_settings()), ids=lambda each: each.name)
def test_every_key_is_described_and_set_by_its_variable(each: module.Setting) -> None:
    assert each.description.endswith(".")
    assert f"{each.name} in the variable {each.variable}" in refused(None, {each.variable: "\u0007"})


def test_the_documentation_is_not_stale() -> None:
    shown = CliRunner().invoke(leukoscope, ["settings", "--markdown"]).output
    assert shown == (Path(__file__).parents[1] / "docs" / "settings.md").read_text(), (
        "run: leukoscope settings --markdown > docs/settings.md"
    )


def test_the_command_shows_the_values_in_force(tmp_path: Path) -> None:
    file = written(tmp_path, "server:\n  port: 9000\n")
    result = CliRunner().invoke(leukoscope, ["settings", "--settings", str(file)])
    assert "server.port: 9000 (default: 8080)" in result.output
    assert "LEUKOSCOPE_SERVER__PORT" in result.output
    result = CliRunner().invoke(leukoscope, ["settings", "--json"], env={"LEUKOSCOPE_SERVER__PORT": "9001"})
    assert json.loads(result.output)["server.port"]["value"] == 9001


def test_the_command_checks_a_file(tmp_path: Path) -> None:
    good = CliRunner().invoke(leukoscope, ["settings", "--check", str(written(tmp_path, "threads: 2"))])
    assert (good.exit_code, good.output) == (0, f"{tmp_path / 'settings.yaml'} can be used\n")
    bad = CliRunner().invoke(leukoscope, ["settings", "--check", str(written(tmp_path, "threads: x"))])
    assert isinstance(bad.exception, SettingsError)


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.dates(), st.binary(max_size=20))
NAMES = st.one_of(st.sampled_from([each.key[-1] for each in all_settings()]), st.text(max_size=8))
SECTIONS = st.sampled_from(["server", "mqtt", "records", "camera", "consensus", "watchdog"])
DEEP = st.recursive(SCALARS, lambda inner: st.one_of(st.lists(inner), st.dictionaries(NAMES, inner)), max_leaves=8)
FILES = st.dictionaries(st.one_of(NAMES, SECTIONS), st.one_of(DEEP, st.dictionaries(NAMES, SCALARS)), max_size=6)


def gives_settings_or_says_why(file: Path | None, environ: dict[str, str]) -> None:
    try:
        assert isinstance(load_settings(file, environ), Settings)
    except SettingsError as error:
        if not str(error):
            raise


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(FILES.map(lambda tree: yaml.dump(tree, allow_unicode=True).encode()), st.binary(max_size=200)))
def test_any_file_gives_settings_or_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "wild.yaml").write_bytes(content)
    gives_settings_or_says_why(tmp_path / "wild.yaml", {})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(
        st.one_of(st.sampled_from([each.variable for each in all_settings()]), st.text().map("LEUKOSCOPE_".__add__)),
        st.one_of(st.text(), st.integers().map(str), st.sampled_from(["\udcff", "~nobody/x", "~", "\0", "1e400"])),
        max_size=4,
    )
)
def test_any_environment_gives_settings_or_a_sentence(environ: dict[str, str]) -> None:
    gives_settings_or_says_why(None, environ)
