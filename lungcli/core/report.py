"""What every JSON document that lungcli gives out has in it, whoever asked for it."""

import msgspec

from lungcli import DISCLAIMER

SCHEMA_VERSION = 1


def as_json(value: object) -> str:
    """Write a value with fields as one JSON object that carries its schema version and the disclaimer."""
    whole = {"schema_version": SCHEMA_VERSION, "disclaimer": DISCLAIMER} | msgspec.to_builtins(value)
    return msgspec.json.format(msgspec.json.encode(whole), indent=2).decode() + "\n"
