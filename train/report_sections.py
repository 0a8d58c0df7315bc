"""What a training report says, section by section; `benchmarks.page` writes it down."""

from collections.abc import Sequence

from benchmarks.dataset import Part
from benchmarks.page import Column, Picture, Plot, Section, Table
from edge_app.judging import REASONS
from train.published import PUBLISHED
from train.report_plots import confusion_plot, history_plots, reliability_plot, risk_plot, robustness_plot, roc_plot
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
from train.run_metrics import PartMetrics, RunMetrics

PARTS: dict[Part, str] = {"test": "test", "val": "validation"}


def sections(metrics: RunMetrics, sibling: RunMetrics | None = None, pictures: Sequence[Picture] = ()) -> list[Section]:
    """Return the sections of a run's report in the order in which they are read; those without content are left out."""
    test = metrics.parts["test"]
    found = [
        _summary(metrics),
        _published(metrics, sibling),
        _figures(metrics),
        _frames(metrics),
        _curves(metrics),
        _confusion(metrics),
        _probabilities(metrics),
        _abstentions(metrics),
        _robustness(metrics),
        _mistakes(test, pictures),
        _provenance(metrics),
    ]
    return [each for each in found if each]


def _summary(metrics: RunMetrics) -> Section:
    test = metrics.parts["test"]
    images = sum(test.images.values())
    first = f"Accuracy {percent(test.figures['accuracy'])} % on {images} test images of the {metrics.run.split} split."
    rest = [
        f"{TITLES[name].capitalize()} {percent(test.figures[name])} %."
        for name in ("recall", "specificity")
        if name in test.figures
    ]
    answered = test.answered
    wrong = f", of which {percent(answered.risk)} % are wrong" if answered.risk else ""
    rest.append(
        f"At the fitted confidence limit of {answered.limit:g}, {percent(answered.coverage)} % are answered{wrong}."
    )
    if short := short_run(metrics):
        rest.append(f"This is a {short}.")
    if metrics.run.warning:
        rest.append(metrics.run.warning)
    text = "In brackets: 95 % intervals; Wilson's for shares, else a bootstrap over scene groups. "
    if metrics.run.split == "random":
        text += (
            "The random split is the study's protocol: overlapping images of one slide stand on both of its sides, so "
            "it says little about new slides."
        )
    else:
        text += "The scene split keeps overlapping images on one side; who the patients are is not published."
    return Section("In short", advice=(first, *rest), text=(text,))


def _published(metrics: RunMetrics, sibling: RunMetrics | None) -> Section | None:
    """Return Table IV side by side: printed, what the published outputs give, and ours."""
    study = PUBLISHED.get(metrics.run.model)
    if study is None or metrics.decision.positive is None:
        return None
    ours = {each.run.split: each for each in (metrics, sibling) if each}
    ours = {split: ours[split] for split in sorted(ours)}  # random, the study's, first
    columns = ["figure, %", "printed", "its outputs"]
    rows = [
        (
            title,
            *published_cells(study, name),
            *(percent(each.parts["test"].figures.get(name)) for each in ours.values()),
        )
        for name, title in TITLES.items()
        if name != "ece"
    ]
    columns += [f"ours, {split} split" for split in ours]
    text = [
        "Printed is the study's Table IV. Its outputs are what its published notebooks show: the accuracy of their "
        "evaluate call, and where they have a confusion matrix, what follows from it. Both are of a random split."
    ]
    if metrics.fields:
        text.append("Ours count each field of a large frame as an image.")
    if study.remark:
        text.append(f"Of the printed row: {study.remark}.")
    if short := [f"{split} split: {short_run(each)}" for split, each in ours.items() if short_run(each)]:
        text.append("; ".join(short).capitalize() + ".")
    return Section("Table IV of the study, and ours", text=tuple(text), table=_table(columns, rows))


def _figures(metrics: RunMetrics) -> Section:
    """Return all figures of both parts, and of the test part by published data set."""
    test = metrics.parts["test"]
    columns = {"test": test.figures} | {
        f"test, {source}": each.figures for source, each in test.by_source.items() if len(test.by_source) > 1
    }
    columns |= {"validation": metrics.parts["val"].figures}
    names = dict.fromkeys(name for figures in columns.values() for name in figures)
    images = ["images", str(sum(test.images.values()))]
    images += [str(each.images) for each in test.by_source.values() if len(test.by_source) > 1]
    images.append(str(sum(metrics.parts["val"].images.values())))
    rows = [
        tuple(images),
        *((TITLES.get(name, name), *(percent(each.get(name)) for each in columns.values())) for name in names),
    ]
    return Section("Figures by data set, in per cent", table=_table(["figure", *columns], rows))


def _frames(metrics: RunMetrics) -> Section | None:
    """Return what the fields of large frames say of the frames, apart from the images that are one field each."""
    found = [(title, each) for part, title in PARTS.items() for each in metrics.parts[part].frames]
    if not found:
        return None
    frames = [each for _, each in found]
    names = dict.fromkeys(name for each in frames for name in each.figures)
    rows = [
        ("frames", *(", ".join(f"{count} {name}" for name, count in each.frames.items()) for each in frames)),
        ("fields", *(str(each.fields) for each in frames)),
        *((TITLES.get(name, name), *(percent(each.figures.get(name)) for each in frames)) for name in names),
        ("answered", *(percent(each.coverage) for each in frames)),
        ("right of the answered", *(percent(each.answered) for each in frames)),
    ]
    titles = ["figure", *(f"{title}, {each.source}" for title, each in found)]
    return Section("Frames, by their fields", text=(FRAMES_TEXT,), table=_table(titles, rows))


def _curves(metrics: RunMetrics) -> Section:
    if not metrics.history:
        return Section("Course of the training", text=("The run has no history.csv that can be read.",))
    accuracy, loss = history_plots(metrics.history, metrics.run.best_epoch)
    return Section(
        "Course of the training",
        plots=(
            Plot(accuracy, "Accuracy by epoch; the dashed line is the epoch whose weights were kept."),
            Plot(loss, "Loss by epoch. Training sees changed images, so that its loss may lie above validation's."),
        ),
    )


def _confusion(metrics: RunMetrics) -> Section:
    plots = (
        Plot(confusion_plot(metrics.parts[part].confusion, metrics.run.classes), f"{title.capitalize()} part.")
        for part, title in PARTS.items()
    )
    text = "Rows are the truth, columns what the model calls it; below each count its share of the row."
    return Section("Confusion matrices", text=(text,), plots=tuple(plots))


def _probabilities(metrics: RunMetrics) -> Section:
    """Return what the probabilities are worth: ROC, reliability, and coverage against risk."""
    parts = {part: metrics.parts[part] for part in PARTS}
    test = parts["test"]
    limits = {
        part: (each.answered.coverage.value, each.answered.risk.value if each.answered.risk else 0.0)
        for part, each in parts.items()
    }
    plots = [
        Plot(
            risk_plot({part: each.risks for part, each in parts.items()}, limits),
            "Coverage against risk: the fewer images are answered, the surest first, the fewer answers are wrong. The "
            f"dots are the fitted limit, {test.answered.limit:g}.",
        ),
        Plot(
            reliability_plot(test.reliability),
            "Reliability on the test part: points on the dashed line mean that a probability is worth what it says. "
            f"Beside each point its images, and through it the interval. ECE {percent(test.figures.get('ece'))} %.",
        ),
    ]
    if test.roc:
        auc = test.figures.get("auc")
        plots.insert(
            0,
            Plot(
                roc_plot({part: each.roc for part, each in parts.items()}),
                f"Receiver operating characteristic. Area on the test part {percent(auc)} %.",
            ),
        )
    rows = [
        (
            title,
            percent(part.answered.coverage),
            percent(part.answered.risk),
            percent(part.figures["accuracy"]),
        )
        for title, part in ((title, parts[part]) for part, title in PARTS.items())
    ]
    rows += [
        (
            f"test, {source}",
            percent(each.answered.coverage),
            percent(each.answered.risk),
            percent(each.figures["accuracy"]),
        )
        for source, each in test.by_source.items()
        if len(test.by_source) > 1
    ]
    return Section(
        "What its probabilities are worth",
        text=(
            f"Temperature {metrics.decision.temperature:g} and the confidence limit {metrics.limits.min_confidence:g} "
            "were fitted on the validation part and go into every bundle that is exported. Below the limit a device "
            "abstains.",
        ),
        plots=tuple(plots),
        table=_table(["part", "answered, %", "of these wrong, %", "accuracy if all are answered, %"], rows),
    )


def _abstentions(metrics: RunMetrics) -> Section:
    """Return how many images would get no label, by reason, on a device."""
    reasons = dict.fromkeys(reason for part in PARTS for reason in metrics.parts[part].abstained)
    rows = [
        (REASONS[reason].partition(":")[0], *(str(metrics.parts[part].abstained.get(reason, 0)) for part in PARTS))
        for reason in reasons
    ]
    rows.append(("of images", *(str(sum(metrics.parts[part].images.values())) for part in PARTS)))
    return Section(
        "Images that would get no label",
        text=("By the first of the device's limits that they break; the limits were set from training images.",),
        table=_table(["reason", *PARTS.values()], rows),
    )


def _robustness(metrics: RunMetrics) -> Section | None:
    robustness = metrics.robustness
    if robustness is None:
        return None
    names = [name for name in robustness.rows[0].figures if name != "precision"]
    rows = [
        (
            robustness_name(row.perturbation),
            *(percent(row.figures[name]) for name in names),
            percent(row.abstained),
            percent(row.answered),
        )
        for row in robustness.rows
    ]
    images = " and ".join(f"{count} {name}" for name, count in robustness.images.items())
    return Section(
        "Robustness to stain, microscope and camera",
        text=(
            f"A sample of the test part ({images}; seed {robustness.seed}) is made worse before it is segmented, in "
            "each way at three strengths. Accuracy takes the likelier class of every image; abstained is what the "
            "device's limits would refuse, and accuracy of the answered what is left.",
            ROBUSTNESS_TEXT,
        ),
        plots=(
            Plot(
                robustness_plot(robustness, "accuracy", lambda row: row.figures["accuracy"].value),
                "Accuracy by strength, whether a device would answer or not.",
            ),
            Plot(
                robustness_plot(robustness, "abstained", lambda row: row.abstained.value),
                "Images that a device would give no label.",
            ),
        ),
        table=_table(
            ["made worse by", *(TITLES.get(name, name) for name in names), "abstained", "accuracy of the answered"],
            rows,
        ),
    )


def _mistakes(test: PartMetrics, pictures: Sequence[Picture]) -> Section:
    count = len(test.mistakes)
    if count == 0:
        return Section("Mistakes", text=("No image of the test part is called wrongly.",))
    shown = "" if len(pictures) == count else f" The {len(pictures)} surest are shown; metrics.json lists all."
    return Section(
        f"Mistakes ({count})",
        text=(
            f"The test images that are called wrongly, the surest mistake first.{shown} Left as taken, "
            "right as the model saw it.",
        ),
        pictures=tuple(pictures),
    )


def _provenance(metrics: RunMetrics) -> Section:
    """Return what was run, on what and with what."""
    run = metrics.run
    rows = [
        ("model", f"{model_title(run.model)}, started from {run.start}; input {size(metrics)}"),
        ("epochs", f"{run.epochs_run} of {metrics.recipe_epochs}, the best {run.best_epoch}"),
        ("recipe", ", ".join(f"{name} {value}" for name, value in flat(run.recipe) if name != "model")),
        ("data set", f"{run.dataset_path}, {run.task}, {run.split} split, list sha256 {run.dataset_sha256}"),
        ("time", duration(run.seconds)),
        ("device", f"{run.device}; {run.machine}"),
        ("finished", f"{run.finished_at:%Y-%m-%d %H:%M} UTC"),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions(metrics).items())),
        ("weights", f"sha256 {run.weights_sha256}"),
    ]
    return Section("What was run", table=Table((Column("", False), Column("", False)), tuple(rows)))


def _table(titles: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Table:
    """Return a table whose first column is words and the others figures."""
    return Table(tuple(Column(title, index > 0) for index, title in enumerate(titles)), tuple(rows))
