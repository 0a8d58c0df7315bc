"""The sections of the settings and the values that they take."""

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from edge_app.folders import records_folder
from edge_app.frozen import Frozen


def _path(path: Path) -> Path:
    try:
        if "\0" in str(path) or not str(path).isprintable():
            raise ValueError("a path has no control characters")
        return path.expanduser().absolute()
    except RuntimeError as error:  # a ~ whose home is not known
        raise ValueError("write the path without ~") from error


def _line(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("should be one line without control characters, and not empty")
    return text


def _secret(secret: SecretStr) -> SecretStr:
    _line(secret.get_secret_value())
    return secret


def _token(token: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]{16,512}", token.get_secret_value()):
        raise ValueError("a token has 16 to 512 letters, digits or . _ ~ + / = -")
    return token


def _topic(topic: str) -> str:
    if re.search(r"[+#\x00-\x1f\x7f]|^\$|^/|/$|//", topic):
        raise ValueError("a topic has no + or #, doesn't begin with $ and has no empty level")
    return topic


FilePath = Annotated[Path, AfterValidator(_path)]
Line = Annotated[str, AfterValidator(_line), Field(max_length=4096)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Port = Annotated[int, Field(ge=1, le=65535)]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,255}$")]


class CameraSettings(Frozen):
    """Time limits of the camera."""

    open_timeout_s: Seconds = Field(default=10, description="Seconds a camera may take to open.")
    read_timeout_s: Seconds = Field(default=5, description="Seconds without a frame until a camera counts as lost.")


class ConsensusSettings(Frozen):
    """When the verdicts on one field make a consensus."""

    frames: int = Field(default=15, ge=1, le=1000, description="How many of the last verdicts are looked at.")
    needed: int = Field(
        default=10, ge=1, le=1000, description="How many of them must agree: more than half, so that one label can win."
    )

    @model_validator(mode="after")
    def _majority(self) -> Self:
        if not self.frames / 2 < self.needed <= self.frames:
            raise ValueError(f"needed is more than half of frames ({self.frames}), and at most all of them")
        return self


class ServerSettings(Frozen):
    """The page and the API."""

    page: bool = Field(default=True, description="Serve the page and the API; false: verdicts are printed only.")
    address: Host = Field(
        default="127.0.0.1",
        description="Address to listen on; any but this device's own (127.0.0.1) asks for the token.",
    )
    port: Port = Field(default=8080, description="TCP port to listen on.")
    token: Annotated[SecretStr, AfterValidator(_token)] | None = Field(
        default=None,
        description="What a browser or program must show; without it one is made and printed where it is needed.",
    )
    token_file: FilePath | None = Field(
        default=None, description="File whose content is the token, instead of the token."
    )
    tls_cert: FilePath | None = Field(default=None, description="Certificate (PEM) to serve https with; needs tls_key.")
    tls_key: FilePath | None = Field(default=None, description="Private key (PEM) of tls_cert.")

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together: give both or none")
        return self


class RecordsSettings(Frozen):
    """Where records are kept, and how long."""

    folder: FilePath = Field(default_factory=records_folder, description="Folder of the images and of the database.")
    database: Secret | None = Field(
        default=None,
        description="Database URL (postgresql+psycopg://…), for several devices; without it SQLite in the folder.",
    )
    database_file: FilePath | None = Field(
        default=None, description="File whose content is the URL, instead of the URL."
    )
    min_free_mb: int = Field(
        default=500,
        ge=1,
        le=10**7,
        description="Recording stops while less than this is free on the folder's disk, in MB.",
    )
    max_age_days: float | None = Field(
        default=None,
        gt=0,
        le=36500,
        description="Older records are removed, unless a person labelled them; without it none.",
    )
    max_gb: float | None = Field(
        default=None,
        gt=0,
        le=10**6,
        description="Above this size the oldest are removed likewise, in GB; without it none.",
    )
    auto_capture: bool = Field(
        default=False, description="Keep a record of each field by itself once the field is steady."
    )


class MqttSettings(Frozen):
    """The broker that hears of verdicts, records and health."""

    host: Host | None = Field(default=None, description="Name or address of the MQTT broker; without it none is used.")
    port: Port | None = Field(default=None, description="Its port; without it 1883, and with tls 8883.")
    tls: bool = Field(default=False, description="Encrypt, and check the broker's certificate.")
    ca_file: FilePath | None = Field(
        default=None, description="Certificates (PEM) to check the broker's with; without it the system's."
    )
    username: Line | None = Field(default=None, description="User name at the broker.")
    password: Secret | None = Field(default=None, description="Password at the broker.")
    password_file: FilePath | None = Field(
        default=None, description="File whose content is the password, instead of it."
    )
    topic: Annotated[str, AfterValidator(_topic)] = Field(
        default="leukoscope",
        min_length=1,
        max_length=128,
        description="Topics begin with this, then the device's name.",
    )
    keep_alive_s: int = Field(
        default=30, ge=5, le=3600, description="Seconds of silence until a ping; twice that is offline."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.password and not self.username:
            raise ValueError("a password needs a username")
        if self.ca_file and not self.tls:
            raise ValueError("ca_file is used with tls: true only")
        return self


class WatchdogSettings(Frozen):
    """When a part that is stuck is started anew."""

    infer_timeout_s: Seconds = Field(default=30, description="Seconds one frame may take to be judged.")
    restarts: int = Field(
        default=3, ge=0, le=1000, description="How often within an hour a stuck part is started anew."
    )
