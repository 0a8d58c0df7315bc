"""The model card of a bundle: what it is, from which data, how good, where it fails."""

from benchmarks.run_folder import Evaluation, RunRecord
from edge_app.manifest import Figure, Manifest, Measured

NAMES = ("accuracy", "recall", "specificity", "precision", "f1", "auc", "ece")


def model_card(manifest: Manifest, record: RunRecord, evaluation: Evaluation) -> str:
    """Return the card as Markdown."""
    recipe = record.recipe
    gate = manifest.gate
    calibrated = (
        f"Calibrated on {manifest.calibration.images} training images, list `{manifest.calibration.list_sha256}`; "
        f"left in float: {', '.join(manifest.calibration.float_layers) or 'nothing'}."
        if manifest.calibration
        else "Not quantised."
    )
    confusion = "\n".join(
        f"| {name} | {' | '.join(map(str, row))} |"
        for name, row in zip(manifest.classes, evaluation.confusion["test"], strict=True)
    )
    scale = manifest.scale
    magnification = (
        f"At the model's input red cells are {scale.red_cell_px:.1f} pixels ({scale.um_per_pixel:.2f} µm a pixel); "
        "larger frames are cut into fields of that scale, and one whose scale can't be met gets no label."
        if scale
        else "It was trained on whole frames; other magnifications are outside what was measured."
    )
    recalls = ", ".join(
        f"of {name} {100 * share:.2f} % (source {100 * gate.source_recall[name]:.2f} %)"
        for name, share in gate.recall.items()
    )
    abstained = ", ".join(f"{100 * share:.1f} % of {name}" for name, share in gate.abstained.items())
    return f"""# {manifest.name}

**{manifest.intended_use}**

{manifest.model} for the task {manifest.task} (classes {", ".join(manifest.classes)}), {manifest.format},
{manifest.precision}. Input: uint8 RGB {manifest.preprocessing.height} × {manifest.preprocessing.width}, after the
purple-stain segmentation of its preprocessing record; output: logits. Positive class {manifest.decision.positive},
threshold {manifest.decision.threshold}, temperature {manifest.decision.temperature}.

## Training
Started from {record.start}; {record.epochs_run} epochs, best on validation: epoch {record.best_epoch}. Batch
{recipe["batch"]}, {recipe["optimizer"]}, learning rate {recipe["learning_rate"]}, seed {recipe["seed"]}; recipe source:
{recipe["source"]}. Device {record.device} ({record.machine}), Python {record.python}. The split is `{record.split}`.
{record.warning}

| data | images | cite |
|---|---|---|
{chr(10).join(f"| {source.name} | {source.images} | {source.citation} |" for source in manifest.data)}

## Figures, % (95 % interval)
| model | split | part | images | {" | ".join(NAMES)} |
|---|---|---|---|{"---|" * len(NAMES)}
{chr(10).join(_row(each) for each in manifest.measured)}

Test part, source model; rows are the truth:

| | {" | ".join(f"called {name}" for name in manifest.classes)} |
|---|{"---|" * len(manifest.classes)}
{confusion}

## Against its source model
On {gate.images} validation images, by the code that runs on the device: same label on {100 * gate.agreement:.2f} %,
accuracy {gate.accuracy_change:+.2f} points, largest probability difference
{gate.largest_probability_difference:.3f}. {"Certified." if gate.certified else "**Not certified.**"} {calibrated}
Recall {recalls}.
No label, as the model is not sure enough: {abstained}.

## Limits
- The random split is the published study's protocol; images of one slide stand on both sides of it. The scene split
  keeps overlapping images together, but patients are not known: neither figure is a claim about new patients.
- The classes of the training data differ in colour, camera and scale; the model may use that; other cameras are
  outside what was measured. {magnification}
- A frame outside the limits of the manifest (focus, noise, exposure, colour, stain) gets no label. They were set from
  the training images, each to refuse about one in a hundred of them at the most.
"""


def _row(measured: Measured) -> str:
    note = f" ({measured.note})" if measured.note else ""
    cells = " | ".join(_cell(measured.figures.get(name)) for name in NAMES)
    return f"| {measured.model}{note} | {measured.split} | {measured.part} | {measured.images} | {cells} |"


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    if figure.low is None or figure.high is None:
        return f"{100 * figure.value:.2f}"
    return f"{100 * figure.value:.2f} ({100 * figure.low:.1f}–{100 * figure.high:.1f})"
