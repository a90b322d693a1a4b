"""Mutation testing: change one line of the program at random, and see whether a test notices.

Run: python -m tests.mutate [--seed N] [--count 60] [--rooms training imaging] [--base REVISION] [--only FILE:LINE]

Lines are drawn evenly over the files of `ROOMS`, the same ones for the same seed and sources. Each gets one change of
its syntax tree (`changes`), in a temporary copy of the working tree, or of REVISION; the working tree is never written
to. Against each change run the tests of the module's own file, and of files that import it as time allows. A test file
that fails without any change is named and left out.

Not drawn is text (docstrings, messages, annotations), what declares a class, and `strict=True` of `zip`, which only a
mistake in the program itself could break.
"""

import argparse
import ast
import builtins
import contextlib
import copy
import importlib.util
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "lungcli"
# Files under the package, as globs.
ROOMS: dict[str, tuple[str, ...]] = {
    "training": ("training/**/*.py",),
    "evaluation": ("metrics/*.py", "evaluation/*.py"),
    "quantize": ("quantize/*.py",),
    "imaging": ("imaging/*.py",),
}
# Rooms of tests that start whole commands, or measure.
LEFT_OUT = ("benchmarks", "cli", "faults", "fuzz")
# Seconds that the test files of a module beside its own may take together. All seconds here are of the processor, so
# that a busy machine changes nothing.
OTHERS_TAKE = 30.0
# A test that takes longer is left out: there are faster ones for nearly everything.
SLOWEST = 20.0
# Seconds before a change counts as an endless loop: so much, and so many times what its tests take without it.
LIMIT, TIMES = 60.0, 3.0
# Seconds of the clock for each of these, before a change counts as a wait without end.
PATIENCE = 15.0
# Bytes that one test process may take: a change may ask for any amount.
MEMORY = 12 * 2**30

COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "floor": "ceil", "ceil": "floor"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A changed file: its path from the root of the tree, the statement before and after, and the whole new source."""

    path: str
    line: int
    before: str
    after: str
    source: str


def main() -> None:
    """Draw, change, test; print a line for each mutant, then the share that survived."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--rooms", nargs="*", choices=ROOMS, default=list(ROOMS))
    parser.add_argument("--base", default="", help="the git revision to take sources and tests from")
    parser.add_argument("--only", nargs="*", default=[], metavar="FILE:LINE", help="of the lines drawn, these alone")
    parser.add_argument("--files", type=int, default=6, help="test files for one module at most, its own the first")
    parser.add_argument("--list", action="store_true", help="draw and print, test nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder)
        copy_tree(tree, options.base)
        drawn = draw(tree, options.rooms, options.count, options.seed)
        drawn = [each for each in drawn if not options.only or f"{each.path}:{each.line}" in options.only]
        if options.list:
            print(*map(described, drawn), sep="\n")
        else:
            report(tree, drawn, options.files)


def described(mutant: Mutant) -> str:
    """One line that says what was changed where."""
    return f"{mutant.path}:{mutant.line}  {mutant.before}  →  {mutant.after}"


def copy_tree(into: Path, revision: str) -> None:
    """Copy what git tracks or would track of this working tree, or `revision` of it."""
    root = Path(__file__).parent.parent
    if revision:
        archive = subprocess.run(["git", "archive", revision], cwd=root, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x"], cwd=into, input=archive, check=True)
        return
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (root / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, into / name)


def report(tree: Path, drawn: Sequence[Mutant], files: int) -> None:
    """Test every mutant with at most so many files, and print what became of it."""
    related = {path: tests_of(tree, path)[:files] for path in sorted({mutant.path for mutant in drawn})}
    seconds, slow = measured(tree, sorted({name for names in related.values() for name in names}))
    outcomes = []
    for mutant in drawn:
        tests = affordable(related[mutant.path], seconds)
        limit = LIMIT + TIMES * sum(seconds[name] for name in tests)
        with in_place(tree, mutant):
            outcome, by = tried(tree, tests, slow, limit)
        outcomes.append(outcome)
        print(f"{outcome:<9} {described(mutant)}  [{by or f'{len(tests)} files'}]", flush=True)
    counts = ", ".join(f"{outcomes.count(name)} {name}" for name in ("killed", "timeout", "survived"))
    print(f"{counts}; {outcomes.count('survived') / max(1, len(outcomes)):.1%} of {len(outcomes)} survive")


def draw(tree: Path, rooms: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """Draw `count` lines of `rooms` that can be changed, and one change for each."""
    rng = random.Random(seed)
    files = sorted({path for room in rooms for glob in ROOMS[room] for path in (tree / PACKAGE).glob(glob)})
    lines: dict[tuple[Path, int], list[tuple[int, int]]] = {}
    for path in files:
        for number, node in enumerate(live(ast.parse(path.read_text("utf-8")))):
            for which in range(len(changes(node))):
                lines.setdefault((path, node.lineno), []).append((number, which))
    chosen = rng.sample(sorted(lines), min(count, len(lines)))
    return [changed(tree, path, line, *rng.choice(lines[path, line])) for path, line in chosen]


def changed(tree: Path, path: Path, line: int, number: int, which: int) -> Mutant:
    """Make the mutant of one file in which its live node `number` went through change `which`."""
    module = ast.parse(path.read_text("utf-8"))
    before = ast.unparse(module)
    target = list(live(module))[number]
    after = ast.unparse(_Replace(target, changes(target)[which]).visit(module))
    compile(after, path, "exec")
    pair = next(pair for pair in zip(before.split("\n"), after.split("\n"), strict=True) if pair[0] != pair[1])
    old, new = _near_difference(pair[0].strip(), pair[1].strip())
    return Mutant(path=path.relative_to(tree).as_posix(), line=line, before=old, after=new, source=after)


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, new: ast.AST) -> None:
        self.target, self.new = target, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.target else super().generic_visit(node)


def _near_difference(old: str, new: str, most: int = 90) -> tuple[str, str]:
    """Both lines, cut to what stands around their first difference."""
    same = next((at for at, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), len(old))
    first = max(0, same - most // 2) if max(len(old), len(new)) > most else 0
    cut = slice(first, first + most)
    return ("…" if first else "") + old[cut], ("…" if first else "") + new[cut]


def live(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """Walk all statements and expressions that do something, rather than say it to people or the type checker."""
    below: list[ast.AST]
    match node:
        case ast.Raise() | ast.JoinedStr() | ast.ImportFrom() | ast.Import() | ast.arg():
            return
        case ast.Assign(value=ast.Subscript(value=ast.Name(id=name))) if name[0].isupper() and not name.isupper():
            return
        case ast.AnnAssign(value=value):
            below = [value] if value else []
        case ast.ClassDef(body=body):
            below = list(body)
        case ast.FunctionDef(args=arguments, body=body):
            below = [arguments, *body]
        case _:
            below = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.expr | ast.stmt):
        yield node
    for child in below:
        yield from live(child)


def changes(node: ast.AST) -> list[ast.AST]:
    """Everything that may take the place of a node."""
    match node:
        case ast.Compare(ops=ops):
            pairs = [(at, new) for at, op in enumerate(ops) for new in COMPARED[type(op)]]
            return [_with(node, ops=[*ops[:at], new(), *ops[at + 1 :]]) for at, new in pairs]
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATORS and not _is_union(node):
            return [_with(node, op=OPERATORS[type(op)]())]
        case ast.BoolOp(op=op):
            return [_with(node, op=ast.And() if isinstance(op, ast.Or) else ast.Or())]
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            return [operand]
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            return [_with(node, test=ast.UnaryOp(ast.Not(), test))]
        case ast.ListComp(generators=parts) | ast.SetComp(generators=parts) | ast.GeneratorExp(generators=parts):
            return _filters(node, parts)
        case ast.DictComp(generators=parts):
            return _filters(node, parts)
        case ast.Constant(value=bool() | int() | float() as value):
            return [ast.Constant(near) for near in _near(value)]
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            return [ast.Return(ast.Constant(None))]
        case ast.Expr(value=ast.Call()):
            return [ast.Pass()]
        case ast.Continue():
            return [ast.Break()]
        case ast.Call():
            return _calls(node)
    return []


def _filters(node: ast.expr, parts: Sequence[ast.comprehension]) -> list[ast.AST]:
    """A comprehension with the opposite of one of its conditions."""
    found: list[ast.AST] = []
    for at, part in enumerate(parts):
        for which, test in enumerate(part.ifs):
            ifs = [*part.ifs[:which], ast.UnaryOp(ast.Not(), test), *part.ifs[which + 1 :]]
            found.append(_with(node, generators=[*parts[:at], _with(part, ifs=ifs), *parts[at + 1 :]]))
    return found


def _calls(node: ast.Call) -> list[ast.AST]:
    """A call without one of its named arguments, or of the opposite function."""
    found: list[ast.AST] = [
        _with(node, keywords=[*node.keywords[:at], *node.keywords[at + 1 :]])
        for at, keyword in enumerate(node.keywords)
        if keyword.arg not in (None, "strict") and not _is_text(keyword.value)
    ]
    match node.func:
        case ast.Name(id=name) if name in NAMES:
            found.append(_with(node, func=ast.Name(NAMES[name], ast.Load())))
        case ast.Attribute(attr=name) if name in NAMES:
            found.append(_with(node, func=_with(node.func, attr=NAMES[name])))
    return found


def _near(value: float) -> tuple[float, ...]:
    """Values next to one, which a test should tell from it."""
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return value + 1, value - 1
    return (value * 1.25, value * 0.8) if value else (1.0,)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_union(node: ast.AST) -> bool:
    """Say whether this is `|` between types."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.BitOr):
        return False
    names = [re.split(r"[.\[]", ast.unparse(side))[0] for side in (node.left, node.right)]
    return any(hasattr(builtins, name) or name[:1].isupper() for name in names)


def tests_of(tree: Path, path: str) -> list[str]:
    """Test files for a module: the one named after it, those that import it, those that import what imports it."""
    module = path.removesuffix(".py").replace("/", ".")
    everything = sorted((tree / "tests").rglob("test_*.py"))
    tests = [file for file in everything if file.relative_to(tree).parts[1] not in LEFT_OUT]
    imported = {file: imports(file) for file in tests}
    users = {_dotted(tree, file) for file in (tree / PACKAGE).rglob("*.py") if module in imports(file)}
    own = [file for file in tests if file.stem == f"test_{Path(path).stem}"]
    own = [file for file in own if file.parent.name == Path(path).parent.name] or own[:1]
    found = [*own]
    for names in ({module}, users):
        others = [file for file in tests if names & imported[file]]
        found += sorted(others, key=lambda file: file.parent.name != Path(path).parent.name)
    return list(dict.fromkeys(file.relative_to(tree).as_posix() for file in found))


def _dotted(tree: Path, file: Path) -> str:
    return ".".join(file.relative_to(tree).with_suffix("").parts)


def imports(file: Path) -> frozenset[str]:
    """Every name that a file imports, and what it imports that from, dotted."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def affordable(related: Sequence[str], seconds: Mapping[str, float]) -> list[str]:
    """The first of the related files that passed, and of the others the fastest that fit into `OTHERS_TAKE`."""
    passed = [name for name in related if name in seconds]
    tests, left = passed[:1], OTHERS_TAKE
    for name in sorted(passed[1:], key=seconds.__getitem__):
        left -= seconds[name]
        if left > 0:
            tests.append(name)
    return tests


def measured(tree: Path, names: Sequence[str]) -> tuple[dict[str, float], list[str]]:
    """Seconds that each test file takes in the unchanged tree without its slow tests, and these.

    Files with a failure are left out, and named.
    """
    results = tree / "results.xml"
    before = _spent()
    pytest(tree, [*names, f"--junitxml={results}"], limit=3600)
    spent = _spent() - before
    cases = [(case.get("classname", "").replace(".", "/") + ".py", case) for case in ET.parse(results).iter("testcase")]
    share = spent / max(1e-9, sum(float(case.get("time", 0)) for _, case in cases))
    broken = {name for name, case in cases if case.find("failure") is not None or case.find("error") is not None}
    seconds = dict.fromkeys((name for name in names if name not in broken), 0.0)
    slow = []
    for name, case in cases:
        taken = share * float(case.get("time", 0))
        if taken > SLOWEST:
            slow.append(f"{name}::{case.get('name')}")
        elif name in seconds:
            seconds[name] += taken
    print(f"{spent:.0f} s for {len(names)} test files without a change; left out: {[*broken, *slow]}", flush=True)
    return seconds, slow


def _spent() -> float:
    """Seconds of the processor that ended processes of this one have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def in_place(tree: Path, mutant: Mutant) -> Iterator[None]:
    """Put a mutant in the place of its file, and the file back."""
    path = tree / mutant.path
    source = path.read_bytes()
    # A compiled file is taken for that of a source of the same size and second.
    compiled = Path(importlib.util.cache_from_source(str(path)))
    try:
        path.write_text(mutant.source, "utf-8")
        compiled.unlink(missing_ok=True)
        yield
    finally:
        path.write_bytes(source)
        compiled.unlink(missing_ok=True)


def tried(tree: Path, tests: Sequence[str], slow: Sequence[str], limit: float) -> tuple[str, str]:
    """Run tests until one fails: `killed`, `survived` or `timeout`, and the test that failed."""
    if not tests:
        return "survived", "no test imports it"
    code, out = pytest(tree, ["-x", *tests, *(f"--deselect={name}" for name in slow)], limit)
    if code in (None, 0):
        return "survived" if code == 0 else "timeout", ""
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", out, flags=re.MULTILINE)
    return "killed", failed[0].rpartition("/")[2] if failed else f"exit {code}"


def pytest(tree: Path, arguments: Sequence[str], limit: float) -> tuple[int | None, str]:
    """Run pytest on the copy; return its exit code, None past the limit, and what it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", *arguments],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: _bound(round(limit)),
    )
    try:
        out = process.communicate(timeout=PATIENCE * limit)[0]
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        # What a test started goes with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return None if process.returncode == -signal.SIGXCPU else process.returncode, out


def _bound(seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


if __name__ == "__main__":
    main()
