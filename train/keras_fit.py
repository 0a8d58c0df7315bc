"""Trains a Keras network by a recipe, epoch by epoch, and goes on where a kill left off.

history.csv is what counts: its last epoch names the file of weights and optimizer state to go on from, its validation
losses give the learning rate, the best epoch and the end. Files are written before the line that names them.
"""

import errno
import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.keras_backend import import_keras
from benchmarks.run_folder import Epoch
from edge_app.errors import TrainingError
from train.devices import keras_scope, no_gradients
from train.history import History
from train.images import PartImages, shown
from train.job import Job
from train.keras_model import build_network
from train.recipe import Augmentation, KerasRecipe
from train.schedule import best_epoch, has_ended, learning_rate
from train.weights import fetch_keras, load_keras_weights

keras = import_keras()

LARGEST_OVERHEAD = 1.1  # of a file of weights beside its float32 numbers


class KerasFit:
    """A job of Keras that is ready to run; raises TrainingError or DatasetError when it can't."""

    def __init__(self, job: Job, recipe: KerasRecipe) -> None:
        self.job, self.recipe = job, recipe
        self.backend: Literal["torch", "tensorflow"] = keras.backend.backend()
        size = job.manifest.preprocessing
        if (size.height, size.width) != (self.recipe.size, self.recipe.size):
            raise TrainingError(
                f"{job.dataset} holds images of {size.width}×{size.height} pixels and {self.recipe.model} takes "
                f"{self.recipe.size}; build one with --size {self.recipe.size}, or train with --set size={size.width}"
            )
        self.scope = keras_scope(job.device)
        recapturable = self.recipe.augmentation.recapture is not None
        self.parts = {
            "train": PartImages(job.dataset, job.manifest, "train", recapturable=recapturable),
            "val": PartImages(job.dataset, job.manifest, "val"),
        }
        keras.utils.set_random_seed(self.recipe.seed)
        self.history = History(job.output)
        with self.scope():
            self.network, self.started_from = self._network()
            self._compile(keras.optimizers.AdamW(self.recipe.learning_rate, weight_decay=self.recipe.weight_decay))
            self.network.optimizer.build(self.network.trainable_variables)
            # at its first batch Keras builds losses and metrics, which on torch moves the averages of batch norms
            weights = self.network.get_weights()
            first = np.arange(len(self.parts["val"].labels))[: self.recipe.batch]
            self.network.evaluate(Batches(self.parts["val"], first, len(first), self.recipe.size), verbose=0)
            self.network.set_weights(weights)
            if self.history.epochs:
                self.network.load_weights(self._file(self.history.epochs[-1].epoch))

    def run(self) -> int:
        """Train until the recipe or its patience ends it; return the best epoch, whose weights are model.keras."""
        while not has_ended(self.recipe, self.history.epochs):
            with self.scope():
                epoch = self._epoch(len(self.history.epochs))
            self._keep(epoch)
        best = best_epoch(self.recipe, self.history.epochs)
        network = build_network(self.recipe, len(self.job.manifest.classes), self.recipe.size)
        network.load_weights(self._file(best))
        partial = self.job.output / "model.partial.keras"
        network.save(partial)
        partial.replace(self.job.output / "model.keras")
        return best

    def _network(self) -> tuple[Any, str]:
        """Return the network to start with, and in words what it was."""
        recipe, classes = self.recipe, len(self.job.manifest.classes)
        size = None if recipe.small_epochs else recipe.size
        if recipe.pretrained and not self.job.weights and not self.history.epochs:
            return fetch_keras(recipe, classes, size), "ImageNet"
        network = build_network(recipe, classes, size, precision=recipe.precision)
        if self.job.weights and not self.history.epochs:
            load_keras_weights(network, self.job.weights)
            return network, self.job.weights.name
        return network, "random weights"

    def _compile(self, optimizer: Any) -> None:
        self.network.compile(
            optimizer,
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=False if self.job.device == "cpu" else "auto",  # on a CPU, compiling outlasts what it saves
        )

    def _norms(self) -> list[Any]:
        """Return the batch norms that don't compute by their averages in training."""
        found = (each for each in self.network.layers if isinstance(each, keras.layers.BatchNormalization))
        return [norm for norm in found if norm.trainable]

    def _freeze_norms(self) -> None:
        if norms := self._norms():
            for norm in norms:
                norm.trainable = False  # which also has it compute by its averages
            self._compile(self.network.optimizer)

    def _measure_norms(self, size: int) -> None:
        """Set the averages of the batch norms to those over the recipe's `norm_images`."""
        norms, order = self._norms(), shown(self.parts["train"].labels, self.recipe.balance)
        np.random.default_rng(self.recipe.seed).shuffle(order)
        batches = Batches(self.parts["train"], order[: self.recipe.norm_images], self.recipe.batch, size)
        for index in range(len(batches) if norms else 0):
            for norm in norms:
                norm.momentum = index / (index + 1)  # the mean of all batches so far
            with no_gradients():
                self.network(batches[index][0], training=True)
        for norm in norms:
            norm.momentum = self.recipe.batch_norm_momentum

    def _epoch(self, done: int) -> Epoch:
        """Train the epoch after `done` ones, and return its line of the history."""
        recipe, epochs, started = self.recipe, self.history.epochs, time.monotonic()
        size = recipe.small_size if done < recipe.small_epochs else recipe.size
        if done >= recipe.epochs - recipe.frozen_norm_epochs:
            self._freeze_norms()
        order = shown(self.parts["train"].labels, recipe.balance)
        np.random.default_rng((recipe.seed, done)).shuffle(order)
        augmentation = recipe.augmentation
        if done >= recipe.epochs - recipe.plain_epochs:
            augmentation = Augmentation(
                flip_horizontal=augmentation.flip_horizontal, flip_vertical=augmentation.flip_vertical
            )
        batches = Batches(self.parts["train"], order, recipe.batch, size, augmentation, (recipe.seed, done))
        every = np.arange(len(self.parts["val"].labels))
        rate = 0.0

        def set_rate(batch: int, logs: object = None) -> None:  # noqa: ARG001  (Keras names it)
            nonlocal rate
            rate = learning_rate(recipe, epochs, done + (batch + 1) / len(batches))
            self.network.optimizer.learning_rate = rate

        verbose = 1 if sys.stdout.isatty() else 2
        trained = self.network.fit(
            batches,
            initial_epoch=done,
            epochs=done + 1,
            callbacks=[keras.callbacks.LambdaCallback(on_train_batch_begin=set_rate)],
            verbose=verbose,
        ).history
        self._measure_norms(size)
        validation = Batches(self.parts["val"], every, recipe.batch, size)
        validated = self.network.evaluate(validation, verbose=verbose, return_dict=True)
        if not all(map(math.isfinite, (trained["loss"][0], validated["loss"]))):
            raise TrainingError(
                f"the loss of epoch {done + 1} is no number; start a new run with a lower --learning-rate"
            )
        return Epoch(
            epoch=done + 1,
            seconds=(epochs[-1].seconds if epochs else 0) + time.monotonic() - started,
            learning_rate=rate,
            train_loss=trained["loss"][0],
            train_accuracy=trained["accuracy"][0],
            val_loss=validated["loss"],
            val_accuracy=validated["accuracy"],
        )

    def _keep(self, epoch: Epoch) -> None:
        """Write the epoch's weights and optimizer state, then its line; then remove what no line needs any more."""
        path = self._file(epoch.epoch)
        path.parent.mkdir(exist_ok=True)
        partial = path.with_name("partial.weights.h5")
        # Where a disk fills while it writes, HDF5 ends the process with a segmentation fault.
        numbers = sum(math.prod(each.shape) for each in self.network.variables + self.network.optimizer.variables)
        if shutil.disk_usage(path.parent).free < LARGEST_OVERHEAD * 4 * numbers:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.network.save_weights(partial)
        partial.replace(path)
        self.history.append(epoch)
        needed = {path, self._file(best_epoch(self.recipe, self.history.epochs))}
        for file in path.parent.iterdir():
            if file not in needed:
                file.unlink()

    def _file(self, epoch: int) -> Path:
        return self.job.output / "keras" / f"epoch-{epoch}.weights.h5"


class Batches(keras.utils.PyDataset):  # type: ignore[misc, name-defined]
    """Batches of images, float32 [B, size, size, 3], RGB, 0 to 255, and of their classes, int64 [B].

    Without augmentation they are as the data set holds them. What an epoch shows depends on `seed` alone, whatever
    thread makes it.
    """

    def __init__(
        self,
        images: PartImages,
        order: npt.NDArray[np.int64],
        batch: int,
        size: int,
        augmentation: Augmentation | None = None,
        seed: tuple[int, ...] = (),
    ) -> None:
        super().__init__(workers=max(2, len(os.sched_getaffinity(0))), max_queue_size=16)
        self.images, self.order, self.batch = images, order, batch
        self.size, self.augmentation, self.seed = size, augmentation, seed

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        generator = np.random.default_rng((*self.seed, index))
        chosen = self.order[index * self.batch : (index + 1) * self.batch]
        batch = np.empty((len(chosen), self.size, self.size, 3), np.float32)
        for row, each in enumerate(chosen.tolist()):
            image = self.images.images[each]
            if self.augmentation:
                image = self.images.training_image(each, self.augmentation, generator)
            batch[row] = cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return batch, self.images.labels[chosen]
