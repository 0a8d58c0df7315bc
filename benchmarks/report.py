"""Results of any number of devices joined: what was measured of each configuration, fast and right in one record."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers_results import PeersResults
from benchmarks.result_files import read_results
from benchmarks.results import (
    AccuracyResults,
    BundleFacts,
    Environment,
    FrameSize,
    LatencyResults,
    LatencyRun,
    Measurement,
    Series,
)
from edge_app.errors import InputError
from edge_app.manifest import Figure


@dataclass(frozen=True)
class Candidate:
    """One bundle on one device at a number of threads, for frames of one size.

    number: its place in the report, from 1. size, total, model: None where the run did not come so far; total is frame
    → verdict, model the model alone. memory_mb: MB of 10⁶ bytes. energy_j: joules a frame. figures: accuracy and its
    like, on the images that `basis` names; empty where nothing is known. invalid: why it is not ranked; empty when it
    is.
    """

    number: int
    device: str
    environment: Environment
    run: LatencyRun
    size: FrameSize | None
    total: Series | None
    model: Series | None
    memory_mb: float | None
    energy_j: float | None
    figures: dict[str, Figure]
    basis: str | None
    invalid: tuple[str, ...]

    @property
    def bundle(self) -> BundleFacts:
        """The bundle that was measured."""
        return self.run.bundle

    @property
    def name(self) -> str:
        """What a person calls it."""
        threads = "1 thread" if self.run.threads == 1 else f"{self.run.threads} threads"
        doubt = "" if self.bundle.certified else " (not certified)"
        return f"{self.bundle.name}{doubt} on {self.device}, {threads}"


@dataclass(frozen=True)
class Collected:
    """Everything that some result files say."""

    candidates: tuple[Candidate, ...]
    accuracies: tuple[AccuracyResults, ...]
    peers: tuple[PeersResults, ...]

    def comparisons(self) -> dict[tuple[str, str], list[Candidate]]:
        """Return the candidates that may be compared: frames of one size, accuracy on the same images, all valid.

        The keys say which size and which images.
        """
        groups: dict[tuple[str, str], list[Candidate]] = {}
        for each in self.candidates:
            if not each.invalid and each.size and each.basis:
                groups.setdefault((str(each.size), each.basis), []).append(each)
        return groups


def collect(paths: Sequence[Path]) -> Collected:
    """Return what result files say, joined by the bundles' sha256.

    A bundle's figures are those of an accuracy result where there is one, else those on its card. Raises InputError
    when a file can't be used, or two of them measured the same bundle on the same images.
    """
    latencies, accuracies, peers = [], [], []
    for path in dict.fromkeys(paths):
        results = read_results(path)
        if isinstance(results, LatencyResults):
            latencies.append((path.stem, results))
        elif isinstance(results, AccuracyResults):
            accuracies.append(results)
        else:
            peers.append(results)
    known = _figures_by_bundle(accuracies)
    devices = Counter(results.environment.device for _, results in latencies)
    candidates: list[Candidate] = []
    for stem, results in latencies:
        device = results.environment.device
        device = device if devices[device] == 1 else f"{device} ({stem})"
        for run in results.runs:
            figures, basis = known.get(run.bundle.sha256) or _figures_of_card(run.bundle)
            frames: list[Measurement | None] = [each for each in run.measurements if each.case == "frame"]
            for measurement in frames or [None]:
                candidates.append(
                    Candidate(
                        number=len(candidates) + 1,
                        device=device,
                        environment=results.environment,
                        run=run,
                        size=measurement.size if measurement else None,
                        total=measurement.stages["total"] if measurement else None,
                        model=model.stages["infer"] if (model := run.find("model")) else None,
                        memory_mb=_memory_mb(measurement),
                        energy_j=measurement.energy.joules_per_query if measurement and measurement.energy else None,
                        figures=figures,
                        basis=basis,
                        invalid=_faults(results, run, measurement),
                    )
                )
    return Collected(tuple(candidates), tuple(accuracies), tuple(peers))


def _figures_by_bundle(accuracies: Sequence[AccuracyResults]) -> dict[str, tuple[dict[str, Figure], str | None]]:
    """Return figures and basis of each bundle that was measured on unchanged images."""
    known: dict[str, tuple[dict[str, Figure], str | None]] = {}
    for results in accuracies:
        data = results.data
        basis = f"{data.name}{f', {data.part} part' if data.part else ''}, {sum(data.images.values())} images"
        for run in results.runs:
            if run.perturbation is not None or run.invalid:
                continue
            if run.bundle.sha256 in known:
                raise InputError(
                    f"two results give the accuracy of {run.bundle.name}; name one file for each bundle, all on the "
                    "same images"
                )
            known[run.bundle.sha256] = run.figures, f"{basis} (list {data.list_sha256[:8]})"
    return known


def _figures_of_card(bundle: BundleFacts) -> tuple[dict[str, Figure], str | None]:
    for each in bundle.measured:
        if each.model == "bundle" and each.part == "test" and not each.note:
            return each.figures, f"the bundles' cards, {each.split} split, {each.images} test images"
    return {}, None


def _memory_mb(measurement: Measurement | None) -> float | None:
    peak = measurement.peak_memory_bytes if measurement else None
    return peak.median / 1e6 if peak else None


def _faults(results: LatencyResults, run: LatencyRun, measurement: Measurement | None) -> tuple[str, ...]:
    """Return why a run is not ranked: its own reasons, or what it should have said itself."""
    faults = list(run.invalid)
    if measurement is None:
        faults.append("it has no time from frame to verdict")
    elif not faults and not measurement.complete:
        faults.append(f"too short: fewer than {results.minimum.queries} queries or {results.minimum.seconds:g} s")
    if not faults and results.environment.emulated:
        faults.append("emulated: the times say nothing of the device")
    if not faults and any(each.throttled for each in run.conditions):
        faults.append("slowed down while it was measured")
    return tuple(faults)
