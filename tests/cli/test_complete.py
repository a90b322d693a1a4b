"""What the shell offers for names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lungcli.core import package_data, registry
from tests.cli.conftest import LUNGCLI, RUN, environment


def offered(home: Path, line: str) -> list[str]:
    words = line.split(" ")
    settings = environment(home) | {
        "_LUNGCLI_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run([LUNGCLI], env=settings, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("lungcli train -m mobilenetv", ["mobilenetv2", "mobilenetv3-large", "mobilenetv3-small"]),
        ("lungcli train --data ", ["phantom"]),
        ("lungcli compress --method kd", ["kd", "kd-mean"]),
        ("lungcli compress --recipe ", sorted(package_data.recipe_files())),
        ("lungcli distill -t compress", [RUN]),
        ("lungcli predict -m ", ["bundled", RUN]),
        (f"lungcli evaluate {RUN}/", [f"{RUN}/{stage}" for stage in ("base", "int8", "student", "teacher")]),
        ("lungcli runs resume ", [RUN]),
        ("lungcli data show ph", ["phantom"]),
        ("lungcli recipes show f", ["fast"]),
        ("lungcli config get th", ["theme", "threads"]),
        ("lungcli run", ["runs"]),
        ("lungcli no-such-command x", []),
    ],
)
def test_names_are_completed(workshop: Path, line: str, names: list[str]) -> None:
    assert [name for name in offered(workshop, line) if name in names or line.endswith(("-m ", " "))] == names


def test_nets_stand_beside_runs_as_teachers(workshop: Path) -> None:
    assert set(registry.NETS) < set(offered(workshop, "lungcli compress --teacher "))


@pytest.mark.parametrize(
    "typed",
    [
        {"_LUNGCLI_COMPLETE": "complete_bash", "COMP_WORDS": "lungcli\npredict\n-m\n", "COMP_CWORD": "3"},
        {"_LUNGCLI_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "lungcli predict -m "},
    ],
)
def test_completion_loads_nothing_heavy_and_no_other_command(workshop: Path, typed: dict[str, str]) -> None:
    code = (
        "import sys\n"
        "from lungcli.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *sys.modules)\n"
    )
    settings = environment(workshop) | typed | {"PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=True)
    assert RUN in done.stdout.partition("LOADED")[0]
    modules = done.stdout.partition("LOADED")[2].split()
    loaded = {name.partition(".")[0] for name in modules}
    assert loaded.isdisjoint({"numpy", "onnxruntime", "torch", "PIL", "textual", "pydicom"})
    assert "lungcli.cli.predict" in modules
    assert not {"lungcli.cli.train", "lungcli.cli.search", "lungcli.cli.evaluate"}.intersection(modules)
