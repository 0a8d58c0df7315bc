"""The command `leukoscope dataset`."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from benchmarks.dataset import PARTS, DatasetManifest, Split, Task
from edge_app.preprocessing import Preprocessing
from train.dataset import build_dataset

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# (images in the paper's Tables I to III): source and class → count
PAPER = {
    ("ALL image dataset", "Benign"): 504,
    ("ALL image dataset", "Early"): 985,
    ("ALL image dataset", "Pre"): 963,
    ("ALL image dataset", "Pro"): 804,
    ("ALL-IDB1", "healthy"): 59,
    ("ALL-IDB1", "ALL"): 49,
}
PAPER_MERGED = {"Normal": 563, "Cancer": 2801}


@click.group(epilog="Example: leukoscope dataset audit leukemia/ ALL_IDB1/")
def command() -> None:
    """Build a data set from folders of smear images, audit one, or draw one."""


@command.command(epilog="Example: leukoscope dataset build leukemia/ ALL_IDB1/ --split scene --output datasets/scene")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="The data set's new folder.")
@click.option("--task", type=click.Choice(get_args(Task)), default="normal-cancer", show_default=True)
@click.option(
    "--split",
    type=click.Choice(get_args(Split)),
    default="random",
    show_default=True,
    help="random: the paper's 70/15/15; scene: the same shares, but overlapping images stay together.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--fields", is_flag=True, help="Cut ALL-IDB1's frames into fields that show as much as an ALL image does."
)
@click.option(
    "--size",
    type=click.IntRange(8, 2048),
    default=224,
    show_default=True,
    help="Side of the images in pixels; inception_resnet_v2 takes 299, the other models 224.",
)
@click.option(
    "--groups",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Table of the images that show one scene, as dataset audit makes it; without it the shipped one.",
)
def build(
    folders: tuple[Path, ...],
    output: Path,
    task: Task,
    split: Split,
    seed: int,
    fields: bool,
    size: int,
    groups: Path | None,
) -> None:
    """Segment every image, divide them, and write a manifest of every file.

    FOLDERS hold the ALL image dataset or ALL-IDB1 as their owners give them, or own images in folders Cancer and
    Normal. Beside these, a table groups.csv (columns class, file, group) says which images belong to one slide or
    patient: --split scene keeps them together. --fields needs the folder xyc of ALL-IDB1 beside its im.
    """
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("segmenting", total=None)
        manifest = build_dataset(
            list(folders),
            output,
            task=task,
            split=split,
            seed=seed,
            fields=fields,
            groups=groups,
            preprocessing=Preprocessing(height=size, width=size),
            on_image=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    _print_counts(manifest)
    for reason, count in manifest.left_out.items():
        click.echo(f"left out: {count} × {reason}")
    if manifest.scale:
        scale = manifest.scale
        click.echo(f"scale: red cells {scale.red_cell_px:.1f} pixels across, {scale.um_per_pixel:.2f} µm a pixel")
    click.echo(f"{output}: {len(manifest.files)} images, list sha256 {manifest.list_sha256()}")


@command.command(epilog="Example: leukoscope dataset draw drawn && leukoscope dataset build drawn -o datasets/drawn")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--images", type=click.IntRange(1), default=60, show_default=True, help="Of each class.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def draw(folder: Path, images: int, seed: int) -> None:
    """Draw labelled smear fields into a new FOLDER, to try training and export without anyone's images.

    What is trained on them has learnt to read drawings.
    """
    from rich.console import Console
    from rich.progress import Progress

    from train.drawing import draw_images

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("drawing", total=None)
        draw_images(
            folder, images, seed=seed, on_image=lambda done, total: progress.update(bar, completed=done, total=total)
        )
    click.echo(f"{folder}: {images} images each of Cancer and Normal; next: leukoscope dataset build {folder} -o …")


@command.command(epilog="Example: leukoscope dataset audit leukemia/ ALL_IDB1/ --output audit")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    default="audit",
    show_default=True,
    help="Folder for audit.html and groups.csv.",
)
@click.option(
    "--task",
    type=click.Choice(get_args(Task)),
    default="normal-cancer",
    show_default=True,
    help="Whose labels the probes try to tell, of a published data set.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all that was found as JSON.")
def audit(folders: tuple[Path, ...], output: Path, task: Task, as_json: bool) -> None:
    """Look for what spoils a data set: broken and odd files, copies, overlapping scenes, shortcuts to the label.

    FOLDERS are data sets as published, folders with a subfolder a class, or built data sets. Writes audit.html, a
    private page with pictures of what was found, and groups.csv, which says for every image which others show its
    scene: dataset build --groups takes it. Uses all cores; nothing is written when it is stopped.
    """
    from train.audit import audit as look
    from train.audit_page import check_folder, write_audit

    check_folder(output)
    with _progress("audit", "nothing was written; start it again") as on_progress:
        audited = look(list(folders), task, on_progress)
        sentences = write_audit(audited, output)
    if as_json:
        click.echo(audited.audit.model_dump_json(indent=1))
    else:
        click.echo("\n".join(sentences))
        click.echo(f"{output / 'audit.html'} (private: it has pictures in it) and {output / 'groups.csv'}")


@contextmanager
def _progress(name: str, consequence: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each step; Ctrl-C or SIGTERM says how far it was, and what that means."""
    from rich.console import Console
    from rich.progress import Progress

    bars: dict[str, TaskID] = {}
    step = "finding the images"
    with Progress(console=Console(stderr=True), transient=True) as progress:

        def on_progress(now: str, done: int, total: int) -> None:
            nonlocal step
            step = now
            if now not in bars:
                bars[now] = progress.add_task(now, total=total)
            progress.update(bars[now], completed=done, total=total)

        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            yield on_progress
        except KeyboardInterrupt:
            progress.stop()
            click.echo(f"{name} stopped while {step}{_left(progress, bars.get(step))}: {consequence}", err=True)
            raise click.exceptions.Exit(130) from None
        finally:
            signal.signal(signal.SIGTERM, before)


def _left(progress: "Progress", bar: "TaskID | None") -> str:
    """Return how much of a step was done, and for how long it would have gone on."""
    if bar is None:
        return ""
    task = progress.tasks[progress.task_ids.index(bar)]
    left = f", {task.time_remaining:.0f} s before its end" if task.time_remaining is not None else ""
    return f" ({task.percentage:.0f} % of it{left})"


def _print_counts(manifest: DatasetManifest) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    found = Counter((file.source, file.original_class) for file in manifest.files)
    table = Table(
        "source", "class", "here", "paper", title="Sources (the paper's Tables I and II)", title_justify="left"
    )
    for key, count in sorted(found.items()):
        table.add_row(*key, str(count), str(PAPER.get(key, "")))
    console.print(table)
    parts = Counter((file.label, file.part) for file in manifest.files)
    table = Table("class", *PARTS, "here", "paper", title="Merged (the paper's Table III)", title_justify="left")
    for label in manifest.classes:
        counts = [parts[label, part] for part in PARTS]
        table.add_row(label, *map(str, counts), str(sum(counts)), str(PAPER_MERGED.get(label, "")))
    console.print(table)
