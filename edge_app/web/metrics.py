"""Figures for Prometheus."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from edge_app.classifier import Verdict
from edge_app.errors import StoreError
from edge_app.station import Station

STAGES = ("grab", "prepare", "infer", "judge", "total")
BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts what a station does, from the moment it is followed."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        gauge = partial(Gauge, registry=self._registry)
        self._captured = counter("leukoscope_frames_captured", "Frames that were judged or passed over.")
        self._judged = counter("leukoscope_frames_judged", "Frames that were judged.")
        self._verdicts = counter(
            "leukoscope_verdicts", "Verdicts by label; without one, by the reason.", ("label", "reason")
        )
        stages = Histogram(
            "leukoscope_stage_seconds",
            "Time a frame took, by stage.",
            ("stage",),
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._stages = {stage: stages.labels(stage) for stage in STAGES}
        self._captured_fps = gauge("leukoscope_captured_fps", "Frames captured a second, over the last seconds.")
        self._judged_fps = gauge("leukoscope_judged_fps", "Frames judged a second, over the last seconds.")
        self._frame_age = gauge("leukoscope_frame_age_seconds", "Age of the newest frame; NaN before the first.")
        self._ready = gauge("leukoscope_ready", "1 while frames are fresh and judged.")
        self._recording = gauge("leukoscope_recording", "1 while records can be kept.")
        self._restarts = gauge("leukoscope_restarts", "Restarts of a hung worker within the last hour.")
        self._temperature = gauge("leukoscope_temperature_celsius", "Temperature of the board; NaN where none is told.")
        self._records = gauge("leukoscope_records", "Records that are kept; NaN while the store can't be read.")
        self._viewers = gauge("leukoscope_viewers", "Streams that are open; a page has two.")

    @contextmanager
    def following(self) -> Iterator[None]:
        """Count while this lasts."""
        station = self._station
        with station.frames.subscribed(self._captured.inc), station.judged.subscribed(self._count):
            yield

    def text(self, *, temperature_c: float | None, viewers: int) -> bytes:
        """Return all figures as Prometheus reads them; asks the store, so it may take a moment."""
        health = self._station.health()
        store = self._station.store
        nan = float("nan")
        self._captured_fps.set(health.captured_fps)
        self._judged_fps.set(health.judged_fps)
        self._frame_age.set(nan if health.frame_age_s is None else health.frame_age_s)
        self._ready.set(health.ready)
        self._recording.set(health.recording == "ready")
        self._restarts.set(health.restarts)
        self._temperature.set(nan if temperature_c is None else temperature_c)
        self._viewers.set(viewers)
        try:
            self._records.set(store.count() if store else 0)
        except StoreError:
            self._records.set(nan)
        return generate_latest(self._registry)

    def _count(self) -> None:
        """Count the newest verdict; called by the thread that judges."""
        judged = self._station.judged.value
        if judged is None:
            return
        verdict: Verdict = judged.verdict
        self._judged.inc()
        self._verdicts.labels(verdict.judgement.label or "", verdict.judgement.indeterminate or "").inc()
        for stage, child in self._stages.items():
            child.observe(verdict.times_ms[stage] / 1000)
