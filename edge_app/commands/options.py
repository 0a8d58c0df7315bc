"""What `run`, `classify` and `demo` share: which bundle, how many threads, and how a verdict reads."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edge_app.bundle_files import printable
from edge_app.classifier import Classifier, Verdict
from edge_app.judging import REASONS

LONGEST_LINE = 2000  # characters: names of files and classes may have any number

F = TypeVar("F", bound=Callable[..., Any])


def classifier_options(function: F) -> F:
    """Add --bundle, --threads and --json to a command."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line; see docs of the verdict."),
        click.option("--threads", type=click.IntRange(0, 256), default=0, help="Threads of the runtime; 0: all cores."),
        click.option("--bundle", type=click.Path(path_type=Path), help="A .leuko bundle; without it the one in use."),
    ):
        function = option(function)
    return function


def load_classifier(bundle: Path | None, threads: int) -> Classifier:
    """Return the classifier of a bundle, after a word on stderr where it is not certified."""
    from edge_app.bundle import open_bundle
    from edge_app.installed import current_bundle_path

    classifier = Classifier(open_bundle(bundle or current_bundle_path()), threads=threads)
    warn_if_uncertified(classifier)
    return classifier


def warn_if_uncertified(classifier: Classifier) -> None:
    """Say on stderr by how much the classifier's model missed the gate, if it did."""
    gate = classifier.manifest.gate
    if not gate.certified:
        click.echo(
            f"warning: {classifier.manifest.name} is not certified: it agrees with its source model on "
            f"{gate.agreement:.1%} of {gate.images} images (accuracy {gate.accuracy_change:+.2f} points); "
            "export it again at a higher precision",
            err=True,
        )


def show(verdict: Verdict, as_json: bool) -> str:
    """Return a verdict as a line."""
    if as_json:
        return json.dumps(verdict.as_json())
    judgement, times = verdict.judgement, verdict.times_ms
    name = Path(verdict.source).name or verdict.source
    if judgement.label is None:
        said = f"indeterminate  {REASONS[judgement.indeterminate]}" if judgement.indeterminate else "indeterminate"
    else:
        said = f"{judgement.label} {judgement.probabilities[judgement.label]:6.1%}"
    if len(verdict.fields) > 1:
        counts = Counter(field.judgement.label or "indeterminate" for field in verdict.fields)
        said += f" (fields: {', '.join(f'{count} {label}' for label, count in sorted(counts.items()))})"
    return printable(
        f"{verdict.frame_id:>6}  {name:<28.28}  {said:<15}  {len(verdict.cells):>3} cells  "
        f"focus {verdict.quality.focus:5.2f}  {times['total']:6.1f} ms (grab {times['grab']:.1f}, "
        f"prepare {times['prepare']:.1f}, infer {times['infer']:.1f}, judge {times['judge']:.1f})",
        LONGEST_LINE,
    )
