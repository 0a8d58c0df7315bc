"""The value of `--size`."""

import re

import click


class Size(click.ParamType[tuple[int, int]]):
    """Width and height in pixels, such as 1280x960."""

    name = "size"

    def convert(
        self, value: str | tuple[int, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Return width and height."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([1-9][0-9]{0,4})[x×]([1-9][0-9]{0,4})", value)
        if match is None:
            self.fail(f"{value!r} is not a size in pixels such as 1280x960", param, ctx)
        return int(match[1]), int(match[2])


SIZE = Size()
DEFAULT = (1280, 960)
EXCLUSIVE = "--frames have their own size; leave out --size"
