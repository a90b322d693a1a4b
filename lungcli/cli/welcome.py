"""What `lungcli` alone says: what is here, and what to try first."""

from lungcli import __version__
from lungcli.cli import console
from lungcli.core import runs

_SHOWN = 3


def show() -> None:
    """Print ten lines."""
    from lungcli.datasets import manifest

    data_sets, run_names = list(manifest.existing()), list(runs.known())
    lines = (
        f"lungcli {__version__}: small lung CT classifiers, trained, distilled, quantized and measured here",
        "",
        f"models     bundled{', and what the runs have made' if run_names else ''}",
        f"data sets  {_listed(data_sets)}",
        f"runs       {_listed(run_names)}",
        "",
        "lungcli demo                three real slices, predicted and explained",
        "lungcli predict scan.png    your own: pictures, DICOM, folders",
        _next_step(data_sets, run_names),
        "lungcli --help              all commands; lungcli doctor checks this machine",
    )
    console.out().print("\n".join(map(console.plain, lines)), soft_wrap=True)


def _listed(names: list[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[-_SHOWN:]) + more) or "none yet"


def _next_step(data_sets: list[str], run_names: list[str]) -> str:
    if run_names:
        return "lungcli compare             every model: size, latency, accuracy"
    if data_sets:
        return "lungcli compress -s mobilenetv2 -d DATA    a small model of your data"
    return "lungcli data phantom        a synthetic data set, to train on"
