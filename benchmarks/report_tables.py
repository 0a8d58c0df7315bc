"""The tables of a benchmark report, and the same as CSV."""

import csv
import io
from collections.abc import Sequence

from benchmarks.page import Column, Table
from benchmarks.peers_results import PeersResults
from benchmarks.report import Candidate
from benchmarks.results import AccuracyResults
from edge_app.manifest import Figure


def latency_table(candidates: Sequence[Candidate]) -> Table:
    """Return a row for each candidate that is valid."""
    columns = (
        Column("#"),
        Column("configuration", False),
        Column("executed", False),
        Column("frame"),
        Column("p50 ms"),
        Column("p90 ms"),
        Column("p99 ms"),
        Column("spread"),
        Column("model alone ms"),
        Column("first verdict s"),
        Column("memory MB"),
        Column("bundle MB"),
        Column("energy J"),
        Column("accuracy"),
        Column("sensitivity"),
        Column("specificity"),
    )
    return Table(columns, tuple(_latency_row(each) for each in candidates if not each.invalid))


def invalid_table(candidates: Sequence[Candidate]) -> Table:
    """Return a row for each candidate that is not valid, and why it is not."""
    columns = (Column("#"), Column("configuration", False), Column("frame"), Column("p50 ms"), Column("p90 ms"))
    rows = tuple(
        (
            str(each.number),
            each.name,
            str(each.size or ""),
            *(f"{getattr(each.total.median, name):.1f}" if each.total else "" for name in ("p50_ms", "p90_ms")),
            f"INVALID: {'; '.join(each.invalid)}",
        )
        for each in candidates
        if each.invalid
    )
    return Table((*columns, Column("why", False)), rows, frozenset(range(len(rows))))


def latency_csv(candidates: Sequence[Candidate]) -> str:
    """Return a line for each candidate with all its figures at full precision, units in the names of the columns."""
    rows = []
    for each in candidates:
        times = each.total.median.model_dump(exclude={"count"}) if each.total else {}
        rows.append(
            {
                "number": each.number,
                "device": each.device,
                "system": each.environment.system,
                "bundle": each.bundle.name,
                "bundle_sha256": each.bundle.sha256,
                "format": each.bundle.format,
                "precision": each.bundle.precision,
                "library": f"{each.run.executed.library} {each.run.executed.version}",
                "executed": each.run.executed.precision,
                "threads": each.run.threads,
                "frame": str(each.size or ""),
                **{name.removesuffix("_ms") + "_ms": value for name, value in times.items()},
                "spread": each.total.spread if each.total else None,
                "model_p50_ms": each.model.median.p50_ms if each.model else None,
                "load_ms": each.run.load_ms.median,
                "first_inference_ms": each.run.first_inference_ms.median,
                "first_verdict_ms": each.run.first_verdict_ms.median,
                "memory_mb": each.memory_mb,
                "bundle_mb": each.bundle.bundle_bytes / 1e6,
                "energy_j": each.energy_j,
                "accuracy_of": each.basis,
                **{
                    f"{name}{suffix}": getattr(each.figures.get(name), attribute, None)
                    for name in ("accuracy", "recall", "specificity", "f1", "auc", "ece")
                    for suffix, attribute in (("", "value"), ("_low", "low"), ("_high", "high"))
                },
                "valid": not each.invalid,
                "invalid_because": "; ".join(each.invalid),
            }
        )
    return _csv(rows)


def accuracy_table(accuracies: Sequence[AccuracyResults]) -> Table:
    """Return a row for each bundle and change of the images: unchanged ones first, of these the most accurate."""
    columns = (
        Column("bundle", False),
        Column("images", False),
        Column("changed by", False),
        Column("accuracy", False),
        Column("sensitivity", False),
        Column("specificity", False),
        Column("AUC", False),
        Column("ECE", False),
        Column("answered", False),
        Column("accuracy of the answered", False),
        Column("remarks", False),
    )
    rows: list[tuple[str, ...]] = []
    invalid: set[int] = set()
    for results in accuracies:
        for run in sorted(results.runs, key=lambda run: (str(run.perturbation or ""), -run.figures["accuracy"].value)):
            if run.invalid:
                invalid.add(len(rows))
            answered = run.answered or {}
            remarks = [f"INVALID: {reason}" for reason in run.invalid]
            if run.held_out is False:
                remarks.append("trained on some of these images")
            remarks += [f"same label as {each.name}: {_share(each.same_label)}" for each in run.agreement]
            rows.append(
                (
                    run.bundle.name,
                    f"{run.images} of {results.data.name}{f', {results.data.part}' if results.data.part else ''}",
                    f"{run.perturbation.kind} {run.perturbation.strength}" if run.perturbation else "nothing",
                    *(_share(run.figures.get(name)) for name in ("accuracy", "recall", "specificity")),
                    *(_plain(run.figures.get(name)) for name in ("auc", "ece")),
                    _share(run.coverage),
                    _share(answered.get("accuracy")),
                    "; ".join(remarks),
                )
            )
    return Table(columns, tuple(rows), frozenset(invalid))


def accuracy_csv(accuracies: Sequence[AccuracyResults]) -> str:
    """Return a line for each bundle and each perturbation with all figures; strict: no label is wrong."""
    rows = []
    for results in accuracies:
        for run in results.runs:
            row: dict[str, object] = {
                "bundle": run.bundle.name,
                "bundle_sha256": run.bundle.sha256,
                "device": results.environment.device,
                "images": run.images,
                "data": results.data.name,
                "part": results.data.part,
                "list_sha256": results.data.list_sha256,
                "changed_by": run.perturbation.kind if run.perturbation else None,
                "strength": run.perturbation.strength if run.perturbation else None,
                "invalid_because": "; ".join(run.invalid),
                "coverage": run.coverage.value,
            }
            for prefix, figures in (("", run.figures), ("answered ", run.answered or {}), ("strict ", run.strict)):
                for name, figure in figures.items():
                    row |= {
                        f"{prefix}{name}": figure.value,
                        f"{prefix}{name} low": figure.low,
                        f"{prefix}{name} high": figure.high,
                    }
            rows.append(row)
    return _csv(rows)


def peers_table(results: PeersResults) -> Table:
    """Return a row for each way; one that could not be measured says why in the last column."""
    columns = (
        Column("way", False),
        Column("frame → verdict p50 ms"),
        Column("p90 ms"),
        Column("×"),
        Column("start → first verdict s"),
        Column("×"),
        Column("peak memory MB"),
        Column("×"),
        Column("same label"),
        Column("remarks", False),
    )
    rows: list[tuple[str, ...]] = []
    for run in results.runs:
        times, ratios = run.frame.median, run.ratios
        rows.append(
            (
                f"{run.title}, {run.bundle}" if run.bundle else run.title,
                f"{times.p50_ms:.1f}",
                f"{times.p90_ms:.1f}",
                f"{ratios.frame:.2f}",
                f"{run.first_verdict_ms.median / 1e3:.2f}",
                f"{ratios.first_verdict:.2f}",
                f"{run.peak_memory_bytes.median / 1e6:.0f}",
                f"{ratios.peak_memory:.2f}",
                f"{run.same_label} of {run.compared}",
                "; ".join(f"INVALID: {reason}" for reason in results.invalid),
            )
        )
    rows += [(each.title, *[""] * (len(columns) - 2), each.reason) for each in results.not_measured]
    return Table(columns, tuple(rows), frozenset(range(len(results.runs)) if results.invalid else ()))


def _latency_row(each: Candidate) -> tuple[str, ...]:
    total, executed = each.total, each.run.executed
    figures = [each.figures.get(name) for name in ("accuracy", "recall", "specificity")]
    return (
        str(each.number),
        each.name,
        f"{executed.library} {executed.version}, {executed.precision}",
        str(each.size or ""),
        *(f"{getattr(total.median, name):.1f}" if total else "" for name in ("p50_ms", "p90_ms", "p99_ms")),
        f"{total.spread:.0%}" if total else "",
        f"{each.model.median.p50_ms:.1f}" if each.model else "",
        f"{each.run.first_verdict_ms.median / 1e3:.2f}",
        f"{each.memory_mb:.0f}" if each.memory_mb is not None else "",
        f"{each.bundle.bundle_bytes / 1e6:.1f}",
        f"{each.energy_j:.3f}" if each.energy_j is not None else "",
        *(f"{figure.value:.1%}" if figure else "" for figure in figures),
    )


def _share(figure: Figure | None) -> str:
    return _interval(figure, "{:.1%}")


def _plain(figure: Figure | None) -> str:
    return _interval(figure, "{:.3f}")


def _interval(figure: Figure | None, form: str) -> str:
    if figure is None:
        return ""
    if figure.low is None or figure.high is None:
        return form.format(figure.value)
    return f"{form.format(figure.value)} ({form.format(figure.low).rstrip('%')}–{form.format(figure.high)})"


def _csv(rows: Sequence[dict[str, object]]) -> str:
    """Return rows as CSV; a text that a spreadsheet would run as a formula has an apostrophe before it."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {n: f"'{v}" if isinstance(v, str) and v.startswith(("=", "+", "-", "@")) else v for n, v in row.items()}
        )
    return file.getvalue()
