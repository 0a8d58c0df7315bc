"""Learning rate, best epoch and end of a Keras run, each from its history alone: a run that goes on needs no more."""

import math
from collections.abc import Sequence

from benchmarks.run_folder import Epoch
from train.recipe import KerasRecipe

PLATEAU_DELTA = 1e-4  # Keras' ReduceLROnPlateau: what is less better than this counts as no better


def learning_rate(recipe: KerasRecipe, epochs: Sequence[Epoch], clock: float) -> float:
    """Return the learning rate at `clock`, in epochs since the start, after the epochs that were run."""
    warm = min(1.0, clock / recipe.warmup_epochs) if recipe.warmup_epochs else 1.0
    if recipe.schedule == "plateau":
        return warm * _plateau(recipe, _losses(recipe, epochs))
    left = (1 + math.cos(math.pi * min(1.0, clock / recipe.epochs))) / 2
    return warm * recipe.learning_rate * (recipe.final_share + (1 - recipe.final_share) * left)


def best_epoch(recipe: KerasRecipe, epochs: Sequence[Epoch]) -> int:
    """Return the number of the epoch with the lowest validation loss; before there is one at full size, the last."""
    losses = _losses(recipe, epochs)
    return recipe.small_epochs + losses.index(min(losses)) + 1 if losses else epochs[-1].epoch


def has_ended(recipe: KerasRecipe, epochs: Sequence[Epoch]) -> bool:
    """Return whether the recipe's epochs are done, or its patience is at an end."""
    if len(epochs) >= recipe.epochs:
        return True
    losses = _losses(recipe, epochs)
    return bool(losses and recipe.patience) and len(losses) - 1 - losses.index(min(losses)) >= recipe.patience


def _losses(recipe: KerasRecipe, epochs: Sequence[Epoch]) -> list[float]:
    """Return the validation losses of the epochs at full size; those at a small size are measured at that size."""
    return [epoch.val_loss for epoch in epochs[recipe.small_epochs :]]


def _plateau(recipe: KerasRecipe, losses: Sequence[float]) -> float:
    """Return what Keras' ReduceLROnPlateau would have set after these losses."""
    rate, best, waited = recipe.learning_rate, math.inf, 0
    for loss in losses:
        if loss < best - PLATEAU_DELTA:
            best, waited = loss, 0
            continue
        waited += 1
        if waited >= recipe.plateau_patience:
            rate, waited = max(rate * recipe.plateau_factor, recipe.min_learning_rate), 0
    return rate
