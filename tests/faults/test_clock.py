"""A wall clock that is set five hours forward and back, over and over, while things are under way: nothing is lost."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lungcli.search import studies
from lungcli.search import trials as search_trials
from tests.datasets.servers import Answer, Served
from tests.faults.commands import PATIENCE, TINY, Call, events_of, figures, require_whole, results
from tests.faults.conftest import RUN
from tests.faults.test_kills import archive
from tests.search import trying

COMPILER = shutil.which("cc")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="the clock is set by what the loader of Linux preloads"),
    pytest.mark.skipif(COMPILER is None, reason="no C compiler, which makes the clock"),
]

# The library that stands between a process and its wall clock, which is another one after each fiftieth of a second.
CLOCK = """
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t which, struct timespec *now) {
  struct timespec since;
  int failed = syscall(SYS_clock_gettime, which, now);
  if (failed || (which != CLOCK_REALTIME && which != CLOCK_REALTIME_COARSE)) return failed;
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &since);
  now->tv_sec += ((since.tv_sec * 50 + since.tv_nsec / 20000000) % 3 - 1) * 5 * 3600;
  return 0;
}

int gettimeofday(struct timeval *now, void *zone) {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  now->tv_sec = time.tv_sec;
  now->tv_usec = time.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *now) {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  if (now != NULL) *now = time.tv_sec;
  return time.tv_sec;
}
"""


@pytest.fixture(scope="session")
def clock(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a process has in its environment to have that clock."""
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(CLOCK)
    library = folder / "clock.so"
    subprocess.run([str(COMPILER), "-shared", "-fPIC", "-o", str(library), str(folder / "clock.c")], check=True)
    return {"LD_PRELOAD": str(library)}


def under(clock: dict[str, str], call: Call) -> str:
    """Run a command by that clock to its end, in patient time; return what it says."""
    env = call.env() | clock
    done = subprocess.run(call.words(), env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_the_clock_is_set_and_what_measures_time_is_not(clock: dict[str, str]) -> None:
    source = (
        "import time; wall = [(time.sleep(0.1), time.time())[1] for _ in range(10)]\n"
        "print(max(wall) - min(wall) > 36000, wall != sorted(wall))"
    )
    done = subprocess.run([sys.executable, "-c", source], env=os.environ | clock, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True"], done


def test_a_download_ends(clock: dict[str, str], served: Served, slices: Path, tmp_path: Path) -> None:
    url = served.give(Answer(body=archive(slices, tmp_path), pause=0.1))
    home = tmp_path / "home"
    under(clock, Call(home=home, arguments=("data", "download", "chest-ctscan", "--url", url)))
    require_whole(home)
    assert (home / "data" / "chest-ctscan" / "manifest.json").is_file()
    assert len(served.asked) == 1


def test_a_training_ends_as_it_would_and_is_shown(clock: dict[str, str], made: Path, phantoms: Path) -> None:
    """Its scratch folders and locks are not taken from it, and its events have the times that the clock said."""
    under(clock, Call(home=phantoms, arguments=("train", "--model", "ownmodel", "--name", RUN, *TINY)))
    assert results(phantoms, RUN) == results(made, RUN)
    assert figures(events_of(phantoms, RUN)) == figures(events_of(made, RUN))
    times = [event.time for event in events_of(phantoms, RUN)]
    assert times != sorted(times)
    for words in (("runs", "list"), ("runs", "show", RUN), ("dashboard", "--once")):
        assert "done" in under(clock, Call(home=phantoms, arguments=words))


def test_a_search_of_two_processes_does_every_trial_once(
    clock: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither takes the trial of the other for abandoned."""
    home = tmp_path / "home"
    monkeypatch.setenv("LUNGCLI_HOME", str(home))
    plan = trying.plan()
    storage = studies.storage_of("s", "")
    env = os.environ | clock | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "tests.search.trying", "s", storage, "6", "0.8"]
    two = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    done = [process.communicate(timeout=PATIENCE)[0].split("done", 1)[1].split() for process in two]
    assert [process.returncode for process in two] == [0, 0]
    with studies.storage_errors(storage):
        outcomes = search_trials.outcomes(*studies.find("s", storage))
    assert [each.state for each in outcomes] == ["complete"] * 6
    assert len({str(each.drawn) for each in outcomes}) == 6
    assert sorted(done[0] + done[1]) == sorted(f"{each.trial}:{each.run}" for each in outcomes)
    assert plan.combinations == 6
