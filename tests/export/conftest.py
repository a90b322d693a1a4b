"""What some tests of exported files need beside Python's packages."""

import importlib.util

import pytest

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs the extra: pip install 'lungcli[openvino]'"
)
