"""Tests of this room export many nets."""

from tests import exporter

exporter.build_operators_once()
