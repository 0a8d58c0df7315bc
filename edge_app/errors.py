"""Every error that Leukoscope raises on purpose, and the exit code of each.

    LeukoscopeError                1
    ├── InputError                 3   a file or folder the user named can't be used
    ├── CameraError                4   a camera can't be opened, or is gone for good
    ├── BundleError                5   a bundle can't be used
    │   ├── BundleNotFoundError        nothing at that path
    │   ├── ManifestError              manifest.json is missing, no JSON, or against the schema
    │   ├── BundleVersionError         made for a newer Leukoscope
    │   ├── UnsafeMemberError          a member points outside the bundle, or is a link
    │   ├── MemberError                a member is missing, unlisted, too large, or its sha256 differs
    │   └── GoldenError                this device does not compute what was measured
    ├── RuntimeMissingError        6   the library that runs this format is not installed
    ├── InferenceError             7   the runtime refused the model or the input
    ├── DatasetError               8   a data set can't be built or read
    ├── TrainingError              9   a training run can't be started or read
    ├── ExportError               10   a model can't be exported
    ├── GateError                 11   a bundle was written, but differs too much from its source
    ├── StoreError                12   records can't be kept or read
    │   ├── RecordNotFoundError        no record has that id, or its image is not here
    │   └── StoreFullError             the disk is too full to keep another record
    ├── SettingsError             13   a setting is unknown or out of range
    ├── StationError              14   the running app can't do what was asked, or had to give up
    └── WheelhouseError           15   the packages of a device can't be gathered

0 is success, 2 is a command line that click refuses. Each message is a sentence that says what to do next.
"""

from typing import ClassVar


class LeukoscopeError(Exception):
    """Base of all errors below; its message is shown to the user as it stands."""

    exit_code: ClassVar[int] = 1


class InputError(LeukoscopeError):
    """Raised when a file or folder that the user named is missing, empty, broken or of a kind that can't be read."""

    exit_code = 3


class CameraError(LeukoscopeError):
    """Raised when a camera can't be opened in time, or a source has an unknown form."""

    exit_code = 4


class BundleError(LeukoscopeError):
    """Raised when a bundle can't be used; the subclasses say why."""

    exit_code = 5


class BundleNotFoundError(BundleError):
    """Raised when there is no bundle at the path."""


class ManifestError(BundleError):
    """Raised when manifest.json is missing, is not JSON, or does not match the schema (unknown keys included)."""


class BundleVersionError(BundleError):
    """Raised when the bundle's format version is newer than this Leukoscope knows."""


class UnsafeMemberError(BundleError):
    """Raised when a member's name leaves the bundle (absolute, `..`), or is a symbolic link or a device."""


class MemberError(BundleError):
    """Raised when a member is missing, not listed, too large, or its sha256 is not the manifest's."""


class GoldenError(BundleError):
    """Raised when the model's answers to the golden inputs are not those that were measured."""


class RuntimeMissingError(LeukoscopeError):
    """Raised when no installed library can run the bundle's format; the message names the extra to install."""

    exit_code = 6


class InferenceError(LeukoscopeError):
    """Raised when a runtime can't load a model, or fails on an input."""

    exit_code = 7


class DatasetError(LeukoscopeError):
    """Raised when a data set can't be built, or a built one can't be read."""

    exit_code = 8


class TrainingError(LeukoscopeError):
    """Raised when a training run can't be started, resumed or read."""

    exit_code = 9


class ExportError(LeukoscopeError):
    """Raised when a trained model can't be converted or quantised."""

    exit_code = 10


class GateError(LeukoscopeError):
    """Raised after a bundle was written that differs from its source model by more than the gate allows."""

    exit_code = 11


class StoreError(LeukoscopeError):
    """Raised when the record store can't be opened, or a record can't be kept, found or changed."""

    exit_code = 12


class RecordNotFoundError(StoreError):
    """Raised when no record has the id that was asked for, or its image is not in the folder."""


class StoreFullError(StoreError):
    """Raised when too little room is left on the disk to keep another record; nothing was written."""


class SettingsError(LeukoscopeError):
    """Raised when a settings file, an environment variable or an option is unknown or out of range."""

    exit_code = 13


class StationError(LeukoscopeError):
    """Raised when the running app can't do what was asked of it, or gave up after restarting a part too often."""

    exit_code = 14


class WheelhouseError(LeukoscopeError):
    """Raised when the packages for a device without network can't be gathered."""

    exit_code = 15
