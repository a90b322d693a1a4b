"""Trials export a net each."""

from tests import exporter

exporter.build_operators_once()
