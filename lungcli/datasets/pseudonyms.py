"""Pseudonyms of patients and hospitals: slices of one are found by them, in one data set or several, names by nobody.

They are keyed hashes (HMAC-SHA256, RFC 2104) under a secret of this machine. Without a key, a number of six digits
would be found by trying all.
"""

import functools
import hmac
import re
import secrets
from pathlib import Path
from typing import Literal

import filelock

from lungcli.core import paths
from lungcli.core.errors import LungcliError

KEY = "patients.key"
_KEY_BYTES = 32
_PSEUDONYM = re.compile(r"(patient|institution)-[0-9a-f]{16}")


def pseudonym(identifier: str, kind: Literal["patient", "institution"] = "patient") -> str:
    """Return the pseudonym of an identifier, the same for all data sets of this home; empty for none.

    A pseudonym stays as it is. Raises LungcliError when the home's key cannot be read or written.
    """
    plain = " ".join(identifier.split())
    if not plain or _PSEUDONYM.fullmatch(plain):
        return plain
    keyed = hmac.digest(_key(paths.home() / KEY), f"{kind} {plain}".encode(), "sha256")
    return f"{kind}-{keyed.hex()[:16]}"


@functools.cache
def _key(path: Path) -> bytes:
    """Return the secret in a file; the first call on a machine makes it."""
    with paths.os_errors_as(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_suffix(".lock")):
            if not path.exists():
                paths.atomic_write(path, secrets.token_bytes(_KEY_BYTES))
                path.chmod(0o600)
        return _whole(path.read_bytes(), path)


def _whole(key: bytes, path: Path) -> bytes:
    if len(key) != _KEY_BYTES:
        raise LungcliError(
            f"{path} is damaged: it has {len(key)} bytes, not {_KEY_BYTES}",
            "restore it; or delete it, and import data sets with patients again",
        )
    return key
