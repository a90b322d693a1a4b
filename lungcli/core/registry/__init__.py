"""What lungcli knows by name: nets, distillation methods and published data sets. Listing names imports nothing.

Adding one is one row in `nets`, `methods` or `data_sets`; `tests/training/test_rows.py` takes every net and every
method to its end.
"""

from lungcli.core.registry.data_sets import DATA_SETS, DataSet, Mirror, data_set
from lungcli.core.registry.methods import METHODS, Method, method
from lungcli.core.registry.nets import NETS, ArchSpec, net

__all__ = ["DATA_SETS", "METHODS", "NETS", "ArchSpec", "DataSet", "Method", "Mirror", "data_set", "method", "net"]
