"""What the code itself may not do: unpickle, evaluate, call a shell, trust an archive; and whom it depends on."""

import ast
import re
from pathlib import Path

import pytest

import lungcli
from tests.security import licences

PACKAGE = Path(lungcli.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# Modules and calls by which data becomes code, or a path leads out.
FORBIDDEN_IMPORTS = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "yaml",
    "pty",
    "telnetlib",
}
BUILTINS = {"eval", "exec", "compile", "__import__"}
SHELLS = {"system", "popen"}
UNPACKING = {"extractall", "extract", "unpack_archive", "mktemp"}
# Names are made into functions only for rows of the catalogue and the list of screens, which are code.
IMPORTING = {"core/names.py", "tui/app.py"}
# All that are installed are looked at.
ALL_EXTRAS = ("pretrained", "web", "sweep-postgresql", "openvino", "ray")
STARTING = {
    "cli/notify.py",
    "core/worker_process.py",
    "modelfile/trial_run.py",
    "tui/jobs/processes.py",
    "tui/system/system_stats.py",
}


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """Every call by the last part of its name."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            found.append((name, node))
    return found


def given(call: ast.Call, name: str) -> object:
    """The constant given for a keyword of a call; None without."""
    return next(
        (word.value.value for word in call.keywords if word.arg == name and isinstance(word.value, ast.Constant)), None
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_executes_data(path: Path) -> None:
    tree, here = ast.parse(path.read_text()), path.relative_to(PACKAGE).as_posix()
    imported = {
        part
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        for part in name.split(".")
    }
    assert imported.isdisjoint(FORBIDDEN_IMPORTS)
    assert ("subprocess" in imported) <= (here in STARTING)
    for name, call in calls(tree):
        owner = getattr(getattr(call.func, "value", None), "id", "")
        assert not (isinstance(call.func, ast.Name) and name in BUILTINS), f"line {call.lineno}: {name}"
        assert not (owner == "os" and name in SHELLS), f"line {call.lineno}: {name}"
        assert name not in UNPACKING, f"line {call.lineno}: {name}"
        if name == "import_module":
            assert here in IMPORTING
        if (owner, name) == ("torch", "load") or name == "get_state_dict":
            assert given(call, "weights_only") is True
        if (owner, name) == ("np", "load"):
            assert given(call, "allow_pickle") is False
        assert given(call, "shell") is None


def test_pickle_is_named_only_where_it_is_refused() -> None:
    naming = {
        path.relative_to(PACKAGE).as_posix() for path in MODULES if re.search("pickle", path.read_text(), re.IGNORECASE)
    }
    refusing = {"modelfile/foreign_net.py", "training/state_dict.py"}
    assert naming == {"datasets/cache.py", "training/pretrained.py"} | refusing


def test_every_licence_suits_apache() -> None:
    assert licences.unsuitable(licences.needed(ALL_EXTRAS)) == {}


def test_every_dependency_has_a_lower_bound() -> None:
    """Below it may lie a version with a hole that is known."""
    for requirement in licences.asked_for("lungcli", ALL_EXTRAS):
        assert {each.operator for each in requirement.specifier} & {">=", "==", "~="}, str(requirement)


def test_installed_versions_satisfy_the_requirements() -> None:
    found = licences.needed(ALL_EXTRAS)
    for requirement in licences.asked_for("lungcli", ALL_EXTRAS):
        there = found.get(licences.name_of(requirement.name))
        assert there is None or requirement.specifier.contains(there.version, prereleases=True), str(requirement)


@pytest.mark.parametrize(
    ("text", "suits"),
    [
        ("MIT", True),
        ("BSD-3-Clause AND Zlib", True),
        ("GPL-3.0-only", False),
        ("GPL-2.0-only OR MIT", True),
        ("AGPL-3.0", False),
        ("LGPL-2.1-only", False),
        ("GNU General Public License v3 (GPLv3)", False),
        ("", False),
    ],
)
def test_copyleft_and_missing_licences_are_refused(text: str, suits: bool) -> None:
    class Told:
        metadata = {"License-Expression": text}  # noqa: RUF012

    Told.metadata = type("M", (dict,), {"get_all": lambda *_: None})({"License-Expression": text})
    assert (licences.unsuitable({"x": Told()}) == {}) is suits  # type: ignore[dict-item]


def test_python_is_never_started_with_the_current_folder_first() -> None:
    """A folder of foreign pictures may hold a `torch.py` too."""
    starting = [path for path in MODULES if "sys.executable" in path.read_text()]
    assert len(starting) == 3
    for path in starting:
        assert path.read_text().count("sys.executable") == path.read_text().count('sys.executable, "-P", "-m"')
