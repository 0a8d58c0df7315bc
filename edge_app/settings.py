"""The app's settings: from a YAML file, the environment and the command line, each over the one before it."""

import difflib
import re
import reprlib
import socket
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from edge_app.errors import SettingsError
from edge_app.folders import records_folder
from edge_app.frozen import Frozen
from edge_app.settings_file import read_settings_file
from edge_app.settings_sections import (
    CameraSettings,
    ConsensusSettings,
    FilePath,
    Line,
    MqttSettings,
    RecordsSettings,
    ServerSettings,
    WatchdogSettings,
)

SYSTEM_FILE = Path("/etc/leukoscope/settings.yaml")
PREFIX = "LEUKOSCOPE_"
NOT_SETTINGS = {"LEUKOSCOPE_SETTINGS", "LEUKOSCOPE_TEST_DATA"}  # the file's path; the folder of the tests' images

LARGEST_SECRET = 4096  # bytes

Key = tuple[str, ...]  # ("server", "port") or ("source",)


def _host_name() -> str:
    """The host's name."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:64] or "leukoscope"


class Settings(Frozen):
    """All settings of the app; made by `load_settings`."""

    source: Line | None = Field(
        default=None,
        description="A camera, file or folder, such as v4l2:///dev/video0; without it the first camera found.",
    )
    bundle: FilePath | None = Field(
        default=None,
        description="The .leuko bundle that judges; without it the one installed last, or the shipped one.",
    )
    bundle_folder: FilePath | None = Field(
        default=None,
        description="Folder of the installed bundles, which the page may switch to; without it "
        "~/.local/share/leukoscope/bundles, for the service /var/lib/leukoscope/bundles.",
    )
    threads: int = Field(default=0, ge=0, le=256, description="Threads of the runtime; 0: all cores.")
    um_per_pixel: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="Micrometres a pixel, for fields and scale bar; without it the red cells are measured.",
    )
    every_frame: bool = Field(default=False, description="Judge each frame of a video instead of the newest one.")
    device: str = Field(
        default_factory=_host_name,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="This device's name in records and topics: letters, digits, dots, hyphens and underscores.",
    )
    camera: CameraSettings = CameraSettings()
    consensus: ConsensusSettings = ConsensusSettings()
    server: ServerSettings = ServerSettings()
    records: RecordsSettings = Field(default_factory=RecordsSettings)
    mqtt: MqttSettings = MqttSettings()
    watchdog: WatchdogSettings = WatchdogSettings()


@dataclass(frozen=True)
class Setting:
    """One key, such as ("server", "port"), the variable that sets it, and what it takes and means, as text."""

    key: Key
    variable: str
    takes: str
    default: str
    description: str

    @property
    def name(self) -> str:
        """Return the key as it is written: `server.port`."""
        return ".".join(self.key)


@dataclass(frozen=True)
class _Given:
    """A value as text, or of its own type from the command line, and where it was given."""

    value: object
    origin: str


def load_settings(file: Path | None, environ: Mapping[str, str], **changes: object) -> Settings:
    """Return the settings in force: changes over environ over the file over the defaults.

    file: the settings file; without it the one that $LEUKOSCOPE_SETTINGS names, else /etc/leukoscope/settings.yaml
        where there is one. A key without a value in it, and an empty variable, count as not given.
    environ: LEUKOSCOPE_SOURCE, LEUKOSCOPE_SERVER__PORT and so on; normally `os.environ`.
    changes: from the command line, by names such as `source` and `server__port`; None counts as not given.

    A `token_file`, `password_file` or `database_file` is read here: the secret then stands in the field
    without `_file`.
    Raises SettingsError that names the key, and where it was given.
    """
    if file is None and environ.get("LEUKOSCOPE_SETTINGS"):
        file = Path(environ["LEUKOSCOPE_SETTINGS"])
    elif file is None and SYSTEM_FILE.exists():
        file = SYSTEM_FILE
    given: dict[Key, _Given] = {("records", "folder"): _Given(records_folder(environ), "by default")}
    for layer in (_from_file(file) if file else {}, _from_environment(environ), _from_changes(changes)):
        _lay_over(given, layer)
    for key in _secret_keys():
        if named := given.get(_file_key(key)):
            given[key] = _Given(_secret_text(_file_key(key), named), named.origin)
    nested: dict[str, Any] = {}
    for key, each in given.items():
        (nested.setdefault(key[0], {}) if len(key) == 2 else nested)[key[-1]] = each.value
    try:
        return Settings.model_validate(nested)
    except ValidationError as error:
        # not chained: pydantic's own text shows the inputs, secrets too
        raise SettingsError(_in_words(error, given)) from None


def all_settings() -> Iterator[Setting]:
    """Yield every key in the order of `Settings`."""
    for key, field in _fields():
        computed = field.default_factory.__doc__ if field.default_factory else None
        default = computed.rstrip(".") if computed else shown(field.default)
        yield Setting(key, _variable(key), _takes(field), default, field.description or "")


def value_of(settings: Settings, key: Key) -> object:
    """Return a key's value."""
    value: object = settings
    for name in key:
        value = getattr(value, name)
    return value


def shown(value: object) -> str:
    """Return a value as a person writes it; of a secret only that there is one."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, SecretStr):
        return "(secret)"
    return "" if value is None else str(value)


def _fields() -> Iterator[tuple[Key, FieldInfo]]:
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Frozen):
            for inner, inner_field in field.annotation.model_fields.items():
                yield (name, inner), inner_field
        else:
            yield (name,), field


def _kinds(field: FieldInfo) -> set[Any]:
    """Return the plain types that a field takes; NoneType among them where it is optional."""
    union = typing.get_origin(field.annotation) in (typing.Union, types.UnionType)
    members = typing.get_args(field.annotation) if union else (field.annotation,)
    return {typing.get_args(each)[0] if typing.get_origin(each) is Annotated else each for each in members}


def _takes(field: FieldInfo) -> str:
    names = {
        bool: "true or false",
        int: "whole number",
        float: "number",
        Path: "path",
        SecretStr: "secret",
        str: "text",
    }
    return next((name for kind, name in names.items() if kind in _kinds(field)), "text")


def _secret_keys() -> list[Key]:
    return [key for key, field in _fields() if SecretStr in _kinds(field)]


def _file_key(key: Key) -> Key:
    return (*key[:-1], f"{key[-1]}_file")


def _variable(key: Key) -> str:
    return PREFIX + "__".join(key).upper()


def _lay_over(given: dict[Key, _Given], layer: dict[Key, _Given]) -> None:
    """Put a layer over those before it; a secret in one of its two forms replaces the other form below it."""
    for key, each in layer.items():
        _check_known(key, each.origin)
    layer = {key: each for key, each in layer.items() if each.value is not None}
    for key in _secret_keys():
        forms = {key, _file_key(key)}
        if forms <= layer.keys():
            name, origin = ".".join(key), layer[_file_key(key)].origin
            raise SettingsError(f"{name} is given, and {name}_file too {origin}; keep one of them")
        if forms & layer.keys():
            for form in forms:
                given.pop(form, None)
    given |= layer


def _from_file(path: Path) -> dict[Key, _Given]:
    given = {}
    fields = dict(_fields())
    folder = path.absolute().parent
    for entry in read_settings_file(path):
        origin = f"on line {entry.line} of {path}"
        if entry.text is None and len(entry.key) == 1 and entry.key[0] in Settings.model_fields:
            continue  # maybe a section whose lines are all commented out
        value: object = entry.text
        if entry.text and entry.key in fields and Path in _kinds(fields[entry.key]) and not entry.text.startswith("~"):
            value = folder / entry.text
        given[entry.key] = _Given(value, origin)
    return given


def _from_environment(environ: Mapping[str, str]) -> dict[Key, _Given]:
    return {
        tuple(name.removeprefix(PREFIX).lower().split("__")): _Given(text or None, f"in the variable {name}")
        for name, text in environ.items()
        if name.startswith(PREFIX) and name not in NOT_SETTINGS
    }


def _from_changes(changes: Mapping[str, object]) -> dict[Key, _Given]:
    return {tuple(name.split("__")): _Given(value, "on the command line") for name, value in changes.items()}


def _check_known(key: Key, origin: str) -> None:
    known = {".".join(each): each for each, _ in _fields()}
    if key in known.values():
        return
    if len(key) == 1 and key[0] in Settings.model_fields:
        raise SettingsError(f"{key[0]} {origin} is a section; write its keys indented on the lines below")
    hint = "`leukoscope settings` lists the keys"
    if near := difflib.get_close_matches(".".join(key), known, n=1):
        *section, name = known[near[0]]
        hint = f"did you mean {name}" + (f" in the section {section[0]}?" if section else "?")
    raise SettingsError(f"{reprlib.repr('.'.join(key))} {origin} is no setting; {hint}")


def _secret_text(key: Key, given: _Given) -> str:
    """Return the first and only line of a file that holds a secret."""
    try:
        with Path(str(given.value)).expanduser().open("rb") as file:
            return file.read(LARGEST_SECRET).decode().rstrip("\r\n")
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no path, or no text in UTF-8"
        name = ".".join(key)
        raise SettingsError(f"{name} {given.origin} can't be read ({reason}); name a file with the secret") from None


def _in_words(error: ValidationError, given: Mapping[Key, _Given]) -> str:
    """Return what is wrong with each key, where it was given, and its value unless that is secret."""
    secret = set(_secret_keys())
    said = []
    for each in error.errors(include_url=False, include_context=False):
        key = tuple(str(part) for part in each["loc"][:2])
        reason = each["msg"].removeprefix("Value error, ").removeprefix("Input ")
        if key in given and key not in secret:
            said.append(f"{'.'.join(key)} {given[key].origin} is {reprlib.repr(str(given[key].value))}, but {reason}")
        else:
            origin = f" {given[key].origin}" if key in given else ""
            said.append(f"{'.'.join(key)}{origin}: {reason}")
    return f"{'; '.join(said)}; `leukoscope settings` describes each key"
