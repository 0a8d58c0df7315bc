"""What a verdict says, as fields of a record."""

import math
from typing import Any

from edge_app import __version__
from edge_app.bundle_files import printable
from edge_app.cameras import Setting
from edge_app.classifier import Verdict
from edge_app.overlay import outlines

LONGEST_TEXT = 4000  # characters


def facts_of(verdict: Verdict) -> dict[str, Any]:
    """Return the fields of `edge_app.store.record.Kept` that the verdict alone gives."""
    judgement, said = verdict.judgement, verdict.as_json()
    return verdict.quality.model_dump() | {
        "frame_id": verdict.frame_id,
        "source": printable(verdict.source, LONGEST_TEXT),  # a path may hold what is no text
        "label": judgement.label,
        "probabilities": judgement.probabilities,
        "indeterminate": judgement.indeterminate,
        "cells": len(verdict.cells),
        "boxes": [cell.box for cell in verdict.cells],
        "outline": outlines(verdict.mask),
        "times_ms": dict(verdict.times_ms),
        "model": verdict.model,
        "threshold": verdict.threshold,
        "bundle": verdict.bundle,
        "preprocessing": verdict.preprocessing,
        "executed": printable(verdict.executed, LONGEST_TEXT),
        "certified": verdict.certified,
        "settings": {printable(name): _plain(value) for name, value in verdict.settings.items()},
        "leukoscope": __version__,
        "image_width": verdict.mask.shape[1],
        "image_height": verdict.mask.shape[0],
        **{name: said[name] for name in ("fields", "positive_share", "worst_field", "scale")},
    }


def _plain(setting: Setting) -> Setting:
    """Return a camera's setting as JSON can hold it: drivers report infinities, too."""
    if isinstance(setting, str) or not math.isfinite(setting):
        return printable(str(setting), LONGEST_TEXT)
    return setting
