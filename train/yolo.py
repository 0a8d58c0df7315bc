"""Ultralytics' classification trainer on our training images, and checkpoints that a kill can't tear."""

import os
import shutil
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from benchmarks.dataset import DatasetManifest
from benchmarks.run_folder import Epoch, read_record
from benchmarks.torch_pair import import_torchvision
from edge_app.errors import TrainingError
from edge_app.preprocessing import Image
from train.devices import gpus
from train.history import History
from train.images import PartImages, shown
from train.job import Job
from train.recipe import Augmentation, YoloRecipe
from train.weights import fetch_yolo

import_torchvision()

import torch  # noqa: E402
from PIL import Image as PilImage  # noqa: E402
from ultralytics.data.augment import classify_augmentations, classify_transforms  # noqa: E402
from ultralytics.models.yolo.classify import ClassificationTrainer  # noqa: E402

Indices = npt.NDArray[np.int64]


class YoloFit:
    """A job of Ultralytics that is ready to run; raises TrainingError when it can't."""

    backend: Literal["torch", "tensorflow"] = "torch"

    def __init__(self, job: Job, recipe: YoloRecipe) -> None:
        self.job, self.recipe = job, recipe
        gpus(job.device, "torch")
        self.last = job.output / "ultralytics" / "weights" / "last.pt"
        self.resuming = self.last.exists()
        if self.resuming:
            self.start = str(self.last)
        elif job.weights:
            self.start = str(job.weights.resolve())
        else:
            name = f"{recipe.model}-cls"
            self.start = str(fetch_yolo(f"{name}.pt")) if recipe.pretrained else f"{name}.yaml"
        self.started_from = Path(self.start).name

    def run(self) -> int:
        """Train until the recipe or its patience ends it; return the best epoch, whose weights are weights.pt."""
        if not (self.resuming and _is_stripped(self.last)):
            self._train()
        output = self.job.output
        partial = output / "weights.pt.partial"
        shutil.copy(self.last.with_name("best.pt"), partial)
        partial.replace(output / "weights.pt")
        accuracies = {epoch.epoch: epoch.val_accuracy for epoch in History(output).epochs}
        return max(accuracies, key=lambda epoch: (accuracies[epoch], epoch))  # of equals, Ultralytics keeps the last

    def _train(self) -> None:
        recipe, output = self.recipe, self.job.output
        trainer = SmearTrainer(
            overrides={
                "model": self.start,
                "data": str(self.job.dataset.resolve()),
                "save_dir": str((output / "ultralytics").resolve()),
                "epochs": recipe.epochs,
                "batch": recipe.batch,
                "nbs": recipe.nominal_batch,
                "optimizer": recipe.optimizer,
                "lr0": recipe.learning_rate,
                "lrf": recipe.final_share,
                "cos_lr": recipe.cosine,
                "momentum": recipe.momentum,
                "weight_decay": recipe.weight_decay,
                "warmup_epochs": recipe.warmup_epochs,
                # Ultralytics starts biases at 0.1, which suits SGD only
                "warmup_bias_lr": 0.0 if recipe.optimizer == "AdamW" else 0.1,
                "dropout": recipe.dropout,
                "patience": recipe.patience or recipe.epochs,
                "seed": recipe.seed,
                "imgsz": self.job.manifest.preprocessing.height,
                "device": self.job.device,
                "plots": False,
                "resume": self.start if self.resuming else False,
            }
        )
        trainer.add_callback("on_train_start", _use_all_cores)
        # Ultralytics mixes precisions on GPUs only
        mixed = self.job.device == "cpu" and recipe.precision == "mixed_bfloat16"
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            trainer.train()
        if not History(output).epochs:
            raise TrainingError(f"Ultralytics ended without an epoch; see its messages above, and remove {output}")


class SmearTrainer(ClassificationTrainer):  # type: ignore[misc]
    """Trains by the recipe in the run folder, one above Ultralytics' own: processes that it starts find it there."""

    def build_dataset(self, img_path: str, mode: str = "train", batch: object = None) -> "SmearImages":  # noqa: ARG002
        """Return the images of a part, changed as the recipe says where they are for training."""
        dataset, part = Path(img_path).parent, Path(img_path).name
        manifest = read_record(self.run_folder / "dataset.json", DatasetManifest)
        augmentation = self.recipe.augmentation
        ours = augmentation if isinstance(augmentation, Augmentation) else Augmentation()
        recapturable = mode == "train" and ours.recapture is not None
        images = PartImages(dataset, manifest, part, recapturable=recapturable)  # type: ignore[arg-type]
        if mode != "train":
            every = np.arange(len(images.labels))
            return SmearImages(every, images.labels, lambda index: _tensor(images.images[index]), self.args.imgsz)
        make = _augmented(images, self.recipe.augmentation, self.args)
        return SmearImages(shown(images.labels, self.recipe.balance), images.labels, make, self.args.imgsz)

    @cached_property
    def run_folder(self) -> Path:
        """The folder of the run."""
        return Path(self.args.save_dir).parent

    @cached_property
    def recipe(self) -> YoloRecipe:
        """The recipe in the run folder."""
        return read_record(self.run_folder / "recipe.json", YoloRecipe)

    def check_resume(self, overrides: dict[str, Any]) -> None:
        """Resume as Ultralytics does, but take the number of epochs from the recipe: it may have been changed."""
        super().check_resume(overrides)
        if self.resume:
            self.args.epochs = overrides["epochs"]

    def preprocess_batch(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the batch at this epoch's size, on a CPU in NHWC memory, which oneDNN trains on faster."""
        batch = super().preprocess_batch(batch)
        if self.epoch < self.recipe.small_epochs:
            size = (self.recipe.small_size, self.recipe.small_size)
            batch["img"] = torch.nn.functional.interpolate(batch["img"], size, mode="area")
        if self.device.type == "cpu":
            batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        """Write Ultralytics' results.csv and the run's own history."""
        super().save_metrics(metrics)
        history = History(self.run_folder)
        before = [epoch for epoch in history.epochs if epoch.epoch <= self.start_epoch]
        groups = self.optimizer.param_groups  # biases have a learning rate of their own while SGD warms up
        index = next(index for index, group in enumerate(groups) if group.get("param_group") != "bias")
        history.append(
            Epoch(
                epoch=self.epoch + 1,
                seconds=(before[-1].seconds if before else 0) + time.time() - self.train_time_start,
                learning_rate=metrics[f"lr/pg{index}"],
                train_loss=metrics["train/loss"],
                train_accuracy=None,
                val_loss=metrics["val/loss"],
                val_accuracy=metrics["metrics/accuracy_top1"],
            )
        )

    def save_model(self) -> bool:
        """Write the checkpoints beside the old ones, then rename: a kill in between costs an epoch, not the run."""
        paths = {"last": self.last, "best": self.best}
        try:
            for name, path in paths.items():
                setattr(self, name, path.with_suffix(".partial"))
            saved = bool(super().save_model())
            for name in ("best", "last"):  # a kill between the two repeats an epoch that best may already be of
                partial = paths[name].with_suffix(".partial")
                if partial.exists():
                    partial.replace(paths[name])
        finally:
            for name, path in paths.items():
                setattr(self, name, path)
        return saved


class SmearImages(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Images and classes as Ultralytics' loaders take them; `make` gives the tensor of an image's index."""

    def __init__(
        self,
        order: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int64],
        make: Callable[[int], torch.Tensor],
        size: int,
    ) -> None:
        self.samples, self.labels, self.make = order.tolist(), labels.tolist(), make
        self.torch_transforms = classify_transforms(size=size)  # what Ultralytics keeps for prediction

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        chosen = self.samples[index]
        return {"img": self.make(chosen), "cls": self.labels[chosen]}


def _augmented(images: PartImages, augmentation: Augmentation | str, args: Any) -> Callable[[int], torch.Tensor]:
    """Return the function from an image's index to its tensor, float32 [3, H, W] from 0 to 1, in training."""
    if isinstance(augmentation, Augmentation):
        ours = augmentation
        # of torch's generator, which differs in each of the loader's processes
        return lambda index: _tensor(
            images.training_image(index, ours, np.random.default_rng(int(torch.randint(2**62, ()))))
        )
    theirs = classify_augmentations(
        size=args.imgsz,
        scale=(1.0 - args.scale, 1.0),
        hflip=args.fliplr,
        vflip=args.flipud,
        erasing=args.erasing,
        auto_augment=args.auto_augment,
        hsv_h=args.hsv_h,
        hsv_s=args.hsv_s,
        hsv_v=args.hsv_v,
    )
    return lambda index: theirs(PilImage.fromarray(images.images[index]))


def _tensor(image: Image) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255


def _use_all_cores(trainer: ClassificationTrainer) -> None:
    """Undo Ultralytics' one thread on a CPU, and lay the weights out as `preprocess_batch` does the images.

    OMP_NUM_THREADS has the last word, for a machine that others work on, too.
    """
    if trainer.device.type == "cpu":
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))))
        trainer.model.to(memory_format=torch.channels_last)


def _is_stripped(checkpoint: Path) -> bool:
    """Return whether Ultralytics has ended the run of a checkpoint of ours: then there is nothing to go on with."""
    return bool(torch.load(checkpoint, map_location="cpu", weights_only=False)["epoch"] < 0)
