"""What lungcli knows by name: nets, methods of distillation, published data sets, formats of export.

Listing names imports nothing. Adding one is one row in the module of its kind; `tests/training/test_rows.py` takes
every net and every method to its end, `tests/export/test_formats.py` every format.
"""

from lungcli.core.registry.data_sets import DATA_SETS, DataSet, Mirror, data_set
from lungcli.core.registry.export_formats import EXPORT_FORMATS, ExportFormat, export_format
from lungcli.core.registry.methods import METHODS, Method, method
from lungcli.core.registry.nets import NETS, ArchSpec, net

__all__ = [
    "DATA_SETS",
    "EXPORT_FORMATS",
    "METHODS",
    "NETS",
    "ArchSpec",
    "DataSet",
    "ExportFormat",
    "Method",
    "Mirror",
    "data_set",
    "export_format",
    "method",
    "net",
]
