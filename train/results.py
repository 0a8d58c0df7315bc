"""The figures of the runs that were made: docs/results.md, from the metrics.json of each in docs/results.

`python -m train.results RUN…` takes the metrics of some runs in, each under the name of its folder, and writes the page
anew; without a run it only writes the page.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from benchmarks.page import Column, Table
from edge_app.cli import run_command
from edge_app.manifest import INTENDED_USE
from train.published import PUBLISHED
from train.recipe import load_recipe, recipe_names
from train.report_words import (
    FRAMES_TEXT,
    ROBUSTNESS_TEXT,
    TITLES,
    duration,
    flat,
    model_title,
    percent,
    published_cells,
    robustness_name,
    short_run,
    size,
    versions,
)
from train.run_metrics import METRICS, RunMetrics, read_metrics

FIGURES = ("accuracy", "f1", "precision", "recall", "specificity", "auc")
FRAME_FIGURES = ("accuracy", "recall", "specificity")
Runs = Mapping[str, RunMetrics]  # by name


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), default=Path("docs/results.md"), show_default=True)
def command(runs: tuple[Path, ...], output: Path) -> None:
    """Take the metrics of evaluated runs into the folder beside OUTPUT that has its name, and write OUTPUT anew."""
    kept = output.with_suffix("")
    for run in runs:
        read_metrics(run / METRICS)
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run / METRICS, kept / f"{run.resolve().name}.json")
    output.write_text(results_page(read_kept(kept)), "utf-8")


def read_kept(folder: Path) -> dict[str, RunMetrics]:
    """Return the metrics in a folder by name: the study's models in its order, random before scene.

    Raises TrainingError when a file is of another version.
    """
    found = {path.stem: read_metrics(path) for path in sorted(folder.glob("*.json"))}
    order = list(PUBLISHED)

    def place(name: str) -> tuple[int, str, str, str]:
        run = found[name].run
        return (order.index(run.model) if run.model in order else len(order), run.model, run.split, name)

    return {name: found[name] for name in sorted(found, key=place)}


def results_page(runs: Runs) -> str:
    """Return the page, in Markdown."""
    binary = {name: each for name, each in runs.items() if each.decision.positive is not None}
    blocks = [
        "# Training results",
        INTENDED_USE,
        "Made by `python -m train.results` from the `metrics.json` of the runs in `docs/results/`; none was typed. "
        "All figures are of the test part, in per cent, with 95 % intervals in brackets: Wilson's for shares, for F1 "
        "and AUC a bootstrap over scene groups. The positive class is Cancer. The random split is the study's; "
        "overlapping images of one slide stand on both its sides. The scene split keeps them together. Who the "
        "patients are is not published, so neither speaks for new patients.",
    ]
    if not runs:
        blocks.append("No run was taken in yet.")
    if binary:
        blocks += ["## The study's Table IV, and ours", *_beside_the_study(binary)]
    if stages := {name: each for name, each in runs.items() if name not in binary}:
        blocks += ["## Stages", _stages(stages)]
    if runs:
        blocks += ["## By published data set", _by_source(runs), "## Abstention", *_abstention(runs)]
    if frames := {name: each for name, each in runs.items() if each.parts["test"].frames}:
        blocks += ["## Frames, by their fields", *_frames(frames)]
    if robust := {name: each for name, each in runs.items() if each.robustness}:
        blocks += ["## Robustness", *_robustness(robust)]
    if runs:
        blocks += ["## How they were trained", *_training(runs)]
    return "\n\n".join(block.rstrip() for block in blocks) + "\n"


def _beside_the_study(runs: Runs) -> Iterator[str]:
    """Return, for each model, our runs and below them the study's two rows."""
    yield (
        "Printed is the study's Table IV; its outputs are what its published notebooks show: the accuracy of their "
        "evaluate call and, where they have a confusion matrix, what follows from it. A short run ended before its "
        "recipe's last epoch; below is how many it had, and after which other ones. Test parts have fewer images than "
        "the study's where not all published ones were at hand."
    )
    rows = []
    for model in dict.fromkeys(each.run.model for each in runs.values()):
        for name, each in runs.items():
            if each.run.model == model:
                test = each.parts["test"]
                short = ", **short run**" if short_run(each) else ""
                what = f"ours, {each.run.split} split: {name}{short}"
                cells = (percent(test.figures.get(figure)) for figure in FIGURES)
                rows.append((model_title(model), what, str(sum(test.images.values())), *cells))
        if study := PUBLISHED.get(model):
            printed, outputs = zip(*(published_cells(study, figure) for figure in FIGURES), strict=True)
            rows.append((study.name, "the study, printed", "511", *printed))
            rows.append((study.name, "the study, its outputs", "511", *outputs))
    yield _table(("model", "whose", "images", *(TITLES[name] for name in FIGURES)), rows, words=2)
    for model, study in PUBLISHED.items():
        if study.remark and any(each.run.model == model for each in runs.values()):
            yield f"{study.name}, the printed row: {study.remark}."


def _stages(runs: Runs) -> str:
    names = list(dict.fromkeys(name for each in runs.values() for name in each.parts["test"].figures))
    rows = [
        (name, *(percent(each.parts["test"].figures.get(figure)) for figure in names)) for name, each in runs.items()
    ]
    return _table(("run", *(TITLES.get(name, name) for name in names)), rows)


def _by_source(runs: Runs) -> str:
    rows = [
        (name, source, str(each.images), *(percent(each.figures.get(figure)) for figure in FIGURES))
        for name, metrics in runs.items()
        for source, each in metrics.parts["test"].by_source.items()
    ]
    return _table(("run", "images of", "images", *(TITLES[name] for name in FIGURES)), rows, words=2)


def _frames(runs: Runs) -> Iterator[str]:
    yield FRAMES_TEXT
    rows = [
        (
            name,
            each.source,
            ", ".join(f"{count} {label}" for label, count in each.frames.items()),
            str(each.fields),
            *(percent(each.figures.get(figure)) for figure in FRAME_FIGURES),
            percent(each.coverage),
            percent(each.answered),
        )
        for name, metrics in runs.items()
        for each in metrics.parts["test"].frames
    ]
    titles = (
        "run",
        "frames of",
        "frames",
        "fields",
        *(TITLES[name] for name in FRAME_FIGURES),
        "answered",
        "right of these",
    )
    yield _table(titles, rows, words=3)


def _abstention(runs: Runs) -> Iterator[str]:
    yield (
        "The confidence limit is fitted on validation images; below it a device abstains. Answered is the share of the "
        "test images above it, other reasons to abstain aside."
    )
    rows = []
    for name, each in runs.items():
        test = each.parts["test"]
        cells = (test.answered.coverage, test.answered.risk, test.figures["accuracy"], test.figures.get("ece"))
        rows.append((name, f"{test.answered.limit:g}", f"{each.decision.temperature:g}", *map(percent, cells)))
    titles = ("run", "limit", "temperature", "answered", "of these wrong", "accuracy if all are answered", "ECE")
    yield _table(titles, rows)


def _robustness(runs: Runs) -> Iterator[str]:
    yield (
        "A sample of test images is made worse before it is segmented, as stain, microscope and camera would: accuracy "
        "of the likelier class of every image / share that the device would abstain from. " + ROBUSTNESS_TEXT
    )
    by_run = {name: each.robustness for name, each in runs.items() if each.robustness}
    kinds = dict.fromkeys(row.perturbation for each in by_run.values() for row in each.rows)
    found = {(name, row.perturbation): row for name, each in by_run.items() for row in each.rows}
    rows = [
        ("images", *(", ".join(f"{count} {label}" for label, count in each.images.items()) for each in by_run.values()))
    ]
    for kind in kinds:
        row = (found.get((name, kind)) for name in by_run)
        cells = (
            f"{100 * each.figures['accuracy'].value:.1f} / {100 * each.abstained.value:.1f}" if each else "–"
            for each in row
        )
        rows.append((robustness_name(kind), *cells))
    yield _table(("made worse by", *by_run), rows)


def _training(runs: Runs) -> Iterator[str]:
    """Return what each run was: how long, where, and in what it departed from the study's recipe."""
    rows = []
    for name, each in runs.items():
        run = each.run
        rows.append(
            (
                name,
                f"{run.epochs_run} of {each.recipe_epochs}",
                size(each),
                str(run.best_epoch),
                duration(run.seconds),
                run.device,
                run.machine,
                f"{run.finished_at:%Y-%m-%d}",
                ", ".join(f"{library} {version}" for library, version in versions(each).items()),
            )
        )
    titles = ("run", "epochs", "input", "best", "time", "device", "machine", "date", "versions")
    yield _table(titles, rows, words=len(titles))
    for name, each in runs.items():
        short = short_run(each)
        text = f"**{name}**{f' ({short})' if short else ''} started from {each.run.start}. {_departures(each)}"
        yield f"{text} **{each.run.warning}**" if each.run.warning else text


def _departures(metrics: RunMetrics) -> str:
    """Return in what a run is not as the study's text has it."""
    if metrics.run.model not in PUBLISHED or metrics.run.model not in recipe_names():
        return "The study has no recipe for it."
    study = dict(flat(load_recipe(metrics.run.model).model_dump(mode="json")))
    ours = dict(flat(metrics.run.recipe))
    changes = [
        f"{field} {value} ({study.get(field, 'none')})"
        for field, value in ours.items()
        if field not in ("source", "size") and study.get(field) != value
    ]
    side = PUBLISHED[metrics.run.model].side
    if metrics.input_size != (side, side):
        changes.append(f"input {size(metrics)} ({side} × {side})")
    if metrics.fields:
        changes.append("large frames cut into fields (whole)")
    if not changes:
        return "Its recipe is the study's."
    return f"Departs from the study's recipe (its value in brackets): {', '.join(changes)}."


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]], words: int = 1) -> str:
    """Return a table in Markdown; words: how many of its first columns are no figures."""
    return Table(tuple(Column(title, index >= words) for index, title in enumerate(titles)), tuple(rows)).markdown()


if __name__ == "__main__":
    run_command(command, "results")
