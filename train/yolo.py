"""Ultralytics' classification trainer with our augmentation, and checkpoints that a kill can't tear."""

import os
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.torch_pair import import_torchvision
from train.recipe import Augmentation, Recipe

import_torchvision()

import torch  # noqa: E402
from torchvision import transforms  # noqa: E402
from ultralytics.data import ClassificationDataset  # noqa: E402
from ultralytics.models.yolo.classify import ClassificationTrainer  # noqa: E402

RECIPE_FILE = "recipe.json"  # in the run folder, one above Ultralytics' own: processes that it starts find it there


class SmearTrainer(ClassificationTrainer):  # type: ignore[misc]
    """Trains on prepared images by a `Recipe`, which lies in the run folder."""

    def build_dataset(self, img_path: str, mode: str = "train", batch: object = None) -> ClassificationDataset:
        """Return Ultralytics' dataset, its training augmentation replaced by the recipe's."""
        dataset = super().build_dataset(img_path, mode, batch)
        if mode == "train":
            if self.recipe.augmentation != "ultralytics":
                dataset.torch_transforms = _transforms(self.recipe.augmentation)
            labels = [sample[1] for sample in dataset.samples]
            counts = Counter(labels)
            shown = [
                index
                for index, label in enumerate(labels)
                for _ in range(round((max(counts.values()) / counts[label]) ** self.recipe.balance))
            ]
            dataset.samples = [dataset.samples[index] for index in shown]
            dataset.img_cache = [dataset.img_cache[index] for index in shown]
        return dataset

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe in the run folder."""
        return Recipe.model_validate_json((Path(self.args.save_dir).parent / RECIPE_FILE).read_bytes())

    def check_resume(self, overrides: dict[str, Any]) -> None:
        """Resume as Ultralytics does, but take the number of epochs from the recipe: it may have been changed."""
        super().check_resume(overrides)
        if self.resume:
            self.args.epochs = self.args.patience = overrides["epochs"]

    def preprocess_batch(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the batch at this epoch's size, on a CPU in NHWC memory, which oneDNN trains on faster."""
        batch = super().preprocess_batch(batch)
        if self.epoch < self.recipe.small_epochs:
            size = (self.recipe.small_size, self.recipe.small_size)
            batch["img"] = torch.nn.functional.interpolate(batch["img"], size, mode="area")
        if self.device.type == "cpu":
            batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    def save_model(self) -> bool:
        """Write the checkpoints beside the old ones, then rename: a kill in between costs an epoch, not the run."""
        paths = {"last": self.last, "best": self.best}
        try:
            for name, path in paths.items():
                setattr(self, name, path.with_suffix(".partial"))
            saved = bool(super().save_model())
            for path in paths.values():
                partial = path.with_suffix(".partial")
                if partial.exists():
                    partial.replace(path)
        finally:
            for name, path in paths.items():
                setattr(self, name, path)
        return saved


def use_all_cores(trainer: ClassificationTrainer) -> None:
    """Undo Ultralytics' one thread on a CPU, and lay the weights out as `preprocess_batch` does the images."""
    if trainer.device.type == "cpu":
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        trainer.model.to(memory_format=torch.channels_last)


def _transforms(augmentation: Augmentation) -> Any:
    """Return torchvision's transform of a PIL image (RGB) into a float32 tensor [3, H, W] from 0 to 1."""
    return transforms.Compose(
        [
            transforms.RandomHorizontalFlip(augmentation.flip_horizontal),
            transforms.RandomVerticalFlip(augmentation.flip_vertical),
            transforms.RandomAffine(
                augmentation.rotation_degrees,
                translate=(augmentation.shift, augmentation.shift),
                scale=augmentation.zoom,
                interpolation=transforms.InterpolationMode.BILINEAR,
            ),
            transforms.ColorJitter(
                augmentation.brightness, augmentation.contrast, augmentation.saturation, augmentation.hue
            ),
            transforms.ToTensor(),
        ]
    )
