"""What holds the house up: who may import whom, what start-up may load, and how large a room may get."""

import ast
import functools
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import lungcli

PACKAGE = Path(lungcli.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
SILENT = ("torch", "torchvision", "textual", "onnx", "pydicom", "requests", "gradio")


def loaded_after(*arguments: str) -> set[str]:
    """Modules that a fresh interpreter has loaded after the command line ran with `arguments`."""
    code = (
        "import sys\n"
        f"sys.argv = ['lungcli', *{list(arguments)!r}]\n"
        "from lungcli.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("LOADED"))
    return {name.partition(".")[0] for name in line.split()[1:]}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["compress", "--help"],
        ["models", "list"],
        ["runs", "list"],
        ["data", "list"],
        ["compare", "--seconds", "0.05"],
        ["predict", "scan.png"],
        ["dashboard", "--once"],
    ],
    ids=" ".join,
)
def test_start_up_loads_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_after(*arguments).isdisjoint(SILENT)


def test_listing_names_starts_no_runtime() -> None:
    assert loaded_after("models", "list").isdisjoint({"numpy", "onnxruntime", "PIL"})


def test_reading_model_cards_starts_no_runtime() -> None:
    assert "onnxruntime" not in loaded_after("models", "card", "bundled")


def test_the_arrows_of_the_house_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@functools.lru_cache(maxsize=1)
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def modules(path: Path) -> set[str]:
    """Whole names of what a module imports anywhere in it; of `from a import b` both `a` and `a.b`."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_no_modules_import_in_a_circle() -> None:
    """Not even inside functions. The error names the circle."""
    paths = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in MODULES}
    graph = {name: modules(path) & paths.keys() for name, path in paths.items()}
    assert sum(map(len, graph.values())) > len(graph)
    graphlib.TopologicalSorter(graph).prepare()


def imports(path: Path) -> set[str]:
    """Top-level packages that a module imports anywhere in it."""
    return {name.partition(".")[0] for name in modules(path)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_modules_stay_small_and_in_their_room(path: Path) -> None:
    tree = parsed(path)
    assert len(path.read_text().splitlines()) <= 400
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name
    assert path.stem not in {"utils", "common", "base", "helpers"}
    assert "pickle" not in imports(path)
    room = path.relative_to(PACKAGE).parts[0]
    if room != "training":
        assert imports(path).isdisjoint({"torch", "torchvision"})


def broad(tree: ast.AST) -> int:
    return sum(
        isinstance(node, ast.ExceptHandler)
        and (node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException"))
        for node in ast.walk(tree)
    )


def test_only_the_two_boundaries_catch_everything() -> None:
    catching = {path.relative_to(PACKAGE).as_posix() for path in MODULES if broad(parsed(path))}
    assert catching == {"cli/app.py", "core/runs.py"}


def test_every_module_says_what_it_is() -> None:
    silent = [path for path in MODULES if not ast.get_docstring(parsed(path))]
    assert silent == []
