"""Whether the user has forbidden the network."""

import os

# As a user may set it to mean no.
_NO = ("", "0", "false", "f", "no", "n", "off")


def forbidden() -> bool:
    """Say whether `LUNGCLI_OFFLINE` is set to anything that means yes."""
    return os.environ.get("LUNGCLI_OFFLINE", "").strip().lower() not in _NO
