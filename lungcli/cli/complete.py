"""What the shell offers for names: they are listed without opening what they name."""

from collections.abc import Callable, Iterable

from lungcli.core import package_data, registry

Complete = Callable[[str], list[str]]


def _of(names: Iterable[str]) -> Complete:
    def complete(incomplete: str) -> list[str]:
        return _starting(names, incomplete)

    return complete


nets, methods = _of(registry.NETS), _of(registry.METHODS)
export_formats, published = _of(registry.EXPORT_FORMATS), _of(registry.DATA_SETS)


def data_sets(incomplete: str) -> list[str]:
    """Data sets on this machine."""
    from lungcli.datasets import manifest

    return _starting(manifest.existing(), incomplete)


def lesions(incomplete: str) -> list[str]:
    """Data sets on this machine, and the drawn lesions."""
    from lungcli.core.recipe import DRAWN_LESIONS

    return sorted({*data_sets(incomplete), *_starting((DRAWN_LESIONS,), incomplete)})


def runs(incomplete: str) -> list[str]:
    """Runs on this machine."""
    from lungcli.core import runs

    return _starting(runs.known(), incomplete)


def models(incomplete: str) -> list[str]:
    """The bundled model, adopted ones, runs, and after `RUN/` the stages that have a model file."""
    from lungcli.core import runs
    from lungcli.modelfile import model_paths

    known = runs.known()
    run, slash, _ = incomplete.partition("/")
    if slash and run in known:
        return _starting((f"{run}/{file.parent.name}" for file in known[run].glob("*/model.onnx")), incomplete)
    return _starting(("bundled", *model_paths.adopted(), *known), incomplete)


def teachers(incomplete: str) -> list[str]:
    """The bundled model, runs, adopted models and nets."""
    from lungcli.modelfile import model_paths

    return runs(incomplete) + _starting(("bundled", *model_paths.adopted()), incomplete) + nets(incomplete)


def recipes(incomplete: str) -> list[str]:
    """Bundled recipes."""
    return _starting(package_data.recipe_files(), incomplete)


def settings(incomplete: str) -> list[str]:
    """Settings of `lungcli config`."""
    from lungcli.core import settings

    return _starting(settings.SETTINGS, incomplete)


BY_CHOICES: dict[str, Complete] = {
    "nets": nets,
    "teachers": teachers,
    "runs": runs,
    "data": data_sets,
    "lesions": lesions,
    "models": models,
}
"""By what a declared option names; see `core.options.Option.choices_from`."""


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
