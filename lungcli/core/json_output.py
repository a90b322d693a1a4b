"""What every JSON document that lungcli gives out has in it, whoever asked for it."""

import msgspec

from lungcli import DISCLAIMER
from lungcli.core.formatting import plain_json

SCHEMA_VERSION = 1


def as_json(value: object) -> str:
    """Write a value with fields as one JSON object that carries its schema version and the disclaimer."""
    whole = {"schema_version": SCHEMA_VERSION, "disclaimer": DISCLAIMER} | msgspec.to_builtins(value)
    return plain_json(msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()) + "\n"
