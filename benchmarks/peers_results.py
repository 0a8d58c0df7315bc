"""What `leukoscope bench peers` writes: one JSON file a run of the command."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from benchmarks.results import Count, Environment, FrameSize, Minimum, Once, Positive, Series
from edge_app.frozen import Frozen
from edge_app.manifest import Sha256


class Ratios(Frozen):
    """A way's figures over those of the reference, each the median of the rounds' own ratios; above 1 is worse."""

    frame: Positive
    first_verdict: Positive
    peak_memory: Positive


class PeerRun(Frozen):
    """One way of judging frames, measured.

    frame: from a frame in memory to its verdict; of a floor from a prepared input to logits. first_verdict_ms: from the
    start of the process. peak_memory_bytes: the largest resident size of the process (VmHWM). labels: of each frame;
    null where ours abstains. same_label, compared: frames that got the reference's label, of those that it answered.
    """

    way: str
    title: str
    bundle: str | None
    frame: Series
    first_verdict_ms: Once
    peak_memory_bytes: Once
    labels: tuple[str | None, ...]
    same_label: Count
    compared: Count
    ratios: Ratios


class NotMeasured(Frozen):
    """A way that could not be measured, and why."""

    way: str
    title: str
    reason: str


class PeersResults(Frozen):
    """All ways on one device; the first of `runs` is the reference.

    size: of the frames, null where they differ. load: processes that ran or waited before the first round, the kernel's
    mean of the last minute. minimum: queries and seconds of each way, over all rounds. invalid: why
    no figure of this file may be compared with another; empty when it may.
    """

    format_version: Literal[1] = 1
    kind: Literal["peers"] = "peers"
    environment: Environment
    started_at: AwareDatetime
    finished_at: AwareDatetime
    weights_sha256: Sha256
    frames: Annotated[int, Field(ge=1)]
    size: FrameSize | None
    load: Positive
    minimum: Minimum
    rounds_asked: Annotated[int, Field(ge=1)]
    rounds: Annotated[int, Field(ge=1)]
    runs: Annotated[tuple[PeerRun, ...], Field(min_length=1)]
    not_measured: tuple[NotMeasured, ...]
    invalid: tuple[str, ...]
