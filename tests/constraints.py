"""Prints the versions that were tested together: python -m tests.constraints > constraints.txt.

Run it in an environment with `pip install -e '.[all,dev]'` in which the tests have passed.
"""

import sys
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

HEAD = """\
# The versions that the tests passed with, for the bare install and all extras: pip install -c constraints.txt '.[all]'
# Made by: python -m tests.constraints > constraints.txt"""


def constraints() -> dict[str, str]:
    """Return name → version of all that Leukoscope with its extras `all` and `dev` draws in, as installed here."""
    found: dict[str, str] = {}
    waiting = [("leukoscope", frozenset({"", "all", "dev"}))]
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        for line in metadata.requires(name) or ():
            requirement = Requirement(line)
            key = (canonicalize_name(requirement.name), frozenset({"", *requirement.extras}))
            wanted = requirement.marker is None or any(requirement.marker.evaluate({"extra": each}) for each in extras)
            if wanted and key not in seen:
                seen.add(key)
                waiting.append(key)
                # without the build's own part, such as +cpu
                found[key[0]] = Version(metadata.version(key[0])).public
    found.pop("leukoscope", None)
    return dict(sorted(found.items()))


if __name__ == "__main__":
    print(HEAD, f"# Python {sys.version_info.major}.{sys.version_info.minor}, {sys.platform}", sep="\n")
    print(*(f"{name}=={version}" for name, version in constraints().items()), sep="\n")
