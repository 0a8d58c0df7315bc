"""Keras trainings of a few seconds, and the command for the process of `on_torch`."""

from click.testing import CliRunner

from edge_app.cli import leukoscope
from train.recipe import KerasRecipe, load_recipe


def keras_recipe(name: str, **changes: object) -> KerasRecipe:
    """Return a shipped recipe, for one epoch on images of 75 pixels unless changed."""
    plain = {"epochs": 1, "small_epochs": 0, "size": 75, "batch": 2, "augmentation": {"recapture": None}}
    found = load_recipe(name, **(plain | changes))
    assert isinstance(found, KerasRecipe)
    return found


def invoke(*arguments: object) -> str:
    """Run the command leukoscope in this process; return what it printed, raise what it raised."""
    result = CliRunner().invoke(leukoscope, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output
