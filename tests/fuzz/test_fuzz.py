"""Any bytes give a value or one of our errors, in bounded time and memory: for every parser of foreign bytes.

Seconds in the ordinary run, the same ones each time. Longer, with new ones: `FUZZ_SECONDS=600 pytest -m fuzz`
(CPU seconds a parser). What was found once lies in `corpus/` and is tried each time.
"""

import functools
import gc
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lungcli.core.errors import LungcliError
from tests.fuzz.mutations import EDITS, Edit, damaged
from tests.fuzz.targets import TARGETS
from tests.memory import forget_peak, peak

CORPUS = Path(__file__).parent / "corpus"
SECONDS = float(os.environ.get("FUZZ_SECONDS", "600"))

# One picture of 64 million pixels is 256 MB of grey values, and decoding it takes a second.
MOST_SECONDS = 10.0
MOST_BYTES = 1 << 30

_CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


def parsers() -> list[object]:
    """Name each target; one whose extra is missing is skipped."""
    return [
        pytest.param(
            name,
            marks=[
                pytest.mark.skipif(
                    importlib.util.find_spec(target.needs) is None,
                    reason=f"{target.needs} is not installed",
                ),
                # Gradio and what it brings warn of their own future.
                pytest.mark.filterwarnings("ignore"),
            ],
        )
        if target.needs
        else name
        for name, target in TARGETS.items()
    ]


@pytest.fixture(scope="module", autouse=True)
def _ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what targets leave apart, and end the page's server where one was started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("targets")))
        yield
        if "tests.fuzz.page" in sys.modules:
            sys.modules["tests.fuzz.page"].end()


@pytest.fixture(autouse=True)
def _collected(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collect what the page leaves open here, where that is let pass, and not in whichever test comes next."""
    yield
    if "page" in request.node.name:
        gc.collect()


@functools.cache
def seeds(name: str) -> tuple[bytes, ...]:
    return TARGETS[name].seeds()


def spent() -> float:
    """Seconds of processor time so far, those of processes that have ended included."""
    return sum(os.times()[:4])


def check(name: str, content: bytes) -> None:
    """Parse it. Raises AssertionError, or what the parser raises besides our own errors."""
    forget_peak()
    before, _ = peak()
    start, told = time.process_time(), "a value"
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        try:
            TARGETS[name].parse(content, Path(folder))
        except LungcliError as error:
            told = error.message
    assert told
    assert "\n" not in told, told
    took = time.process_time() - start
    assert took <= MOST_SECONDS, f"{took:.1f} s"
    assert peak()[1] - before <= MOST_BYTES


def fuzz(name: str, examples: int, seed: int | None) -> None:
    whole = seeds(name)

    @settings(
        deadline=None,
        max_examples=examples,
        derandomize=seed is None,
        database=None,
        suppress_health_check=_CHECKS,
    )
    @given(
        first=st.integers(0, len(whole) - 1),
        second=st.integers(0, len(whole) - 1),
        edits=st.lists(EDITS, min_size=1, max_size=6),
    )
    def tried(first: int, second: int, edits: Sequence[Edit]) -> None:
        content = damaged(whole[first], whole[second], edits)
        if keep := os.environ.get("FUZZ_KEEP"):
            (Path(keep) / f"{name}.last").write_bytes(content)
        try:
            check(name, content)
        except BaseException as error:
            error.add_note(f"{name}: {content[:2000]!r}")
            if keep := os.environ.get("FUZZ_KEEP"):
                (Path(keep) / name).write_bytes(content)
            raise

    (tried if seed is None else hypothesis.seed(seed)(tried))()


@pytest.mark.parametrize("name", parsers())
def test_whole_files_are_read(name: str) -> None:
    """What is mutated is worth mutating: at least one seed gives a value."""
    accepted = 0
    for content in seeds(name):
        with tempfile.TemporaryDirectory() as folder:
            try:
                TARGETS[name].parse(content, Path(folder))
                accepted += 1
            except LungcliError:
                continue
    assert accepted


@pytest.mark.parametrize("name", parsers())
def test_damage_gives_a_value_or_our_error(name: str) -> None:
    fuzz(name, 40, None)


@pytest.mark.parametrize(
    "path", sorted(CORPUS.glob("*/*")), ids=lambda path: path.relative_to(CORPUS).as_posix().replace("/", "-")
)
def test_what_was_found_once(path: Path) -> None:
    check(path.parent.name, path.read_bytes())


@pytest.mark.fuzz
@pytest.mark.parametrize("name", parsers())
def test_damage_for_longer(name: str) -> None:
    start, seed = spent(), int(os.environ.get("FUZZ_SEED", "1"))
    while spent() - start < SECONDS:
        fuzz(name, 300, seed)
        seed += 1
