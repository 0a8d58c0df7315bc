"""The command `leukoscope settings`."""

import json
import os
from pathlib import Path

import click

from edge_app.settings import Settings, all_settings, load_settings, shown, value_of

INTRODUCTION = """# Settings
<!-- made by `leukoscope settings --markdown > docs/settings.md`; a test fails when it is stale -->

A YAML file (`--settings FILE`, else the one that `$LEUKOSCOPE_SETTINGS` names, else `/etc/leukoscope/settings.yaml`
where there is one), over it the environment, over that the command line. Unknown keys are refused; a key without a
value, and an empty variable, count as not given. A relative path in the file starts at the file's folder, elsewhere at
the working folder. A secret may stand in a file of its own that `token_file`, `password_file` or `database_file` names.

YAML wants quotes around a value that ends in a colon, such as `'demo:'`. `leukoscope settings` shows the values in
force, without the secrets; `leukoscope settings --check FILE` checks a file before it is used.
```yaml
source: v4l2:///dev/video0?width=1280&height=960
um_per_pixel: 0.065
server:
  address: 0.0.0.0
  token_file: /etc/leukoscope/token
records:
  max_age_days: 90
```
"""


@click.command(epilog="Example: leukoscope settings --check settings.yaml")
@click.option("--settings", "file", type=click.Path(path_type=Path), help="The settings file to read.")
@click.option("--check", type=click.Path(path_type=Path), help="Only say whether this file can be used.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all keys.")
@click.option("--markdown", is_flag=True, help="The page docs/settings.md, without the values in force.")
def command(file: Path | None, check: Path | None, as_json: bool, markdown: bool) -> None:
    """Show every setting: its value in force, its default, the variable that sets it, and what it means."""
    if markdown:
        click.echo(_markdown(), nl=False)
        return
    if check:
        load_settings(check, {})
        click.echo(f"{check} can be used")
        return
    settings = load_settings(file, os.environ)
    if as_json:
        click.echo(json.dumps(_as_json(settings)))
    else:
        _print(settings)


def _as_json(settings: Settings) -> dict[str, dict[str, object]]:
    values = settings.model_dump(mode="json")
    return {
        each.name: {
            "value": values[each.key[0]][each.key[1]] if len(each.key) == 2 else values[each.key[0]],
            "default": each.default,
            "takes": each.takes,
            "variable": each.variable,
            "description": each.description,
        }
        for each in all_settings()
    }


def _print(settings: Settings) -> None:
    for each in all_settings():
        value = shown(value_of(settings, each.key)) or "none"
        default = "" if value == (each.default or "none") else f" (default: {each.default or 'none'})"
        click.echo(f"{click.style(each.name, bold=True)}: {value}{default}")
        click.echo(f"    {each.description} [{each.variable}, {each.takes}]")


def _markdown() -> str:
    lines = []
    section: tuple[str, ...] | None = None
    for each in all_settings():
        if each.key[:-1] != section:
            section = each.key[:-1]
            lines += ["", f"## {section[0]}" if section else "## At the top level", ""]
            lines += ["| key | takes | default | variable | meaning |", "|---|---|---|---|---|"]
        default = each.default and f"`{each.default}`"
        lines.append(f"| `{each.name}` | {each.takes} | {default} | `{each.variable}` | {each.description} |")
    return INTRODUCTION + "\n".join(lines) + "\n"
