"""The command on real clusters of Ray on loopback: machines and drivers that die, and what is written then."""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lungcli.modelfile import model_file
from tests.batch import archives
from tests.batch.archives import command, environment, typed
from tests.modelfile import graphs

pytestmark = [
    archives.NEEDS_ARROW,
    archives.NEEDS_RAY,
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(
        sys.platform != "linux", reason="other systems have one address on loopback, two nodes want two"
    ),
]

COPIES, SHARD = 60, 20
# Seconds: a busy machine takes a minute to start Ray, an idle one five seconds.
PATIENCE = 500
# The store of a node lies in memory: as much as Ray takes at least.
STORE_BYTES = 100 << 20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graphs.model_file(tmp_path_factory.mktemp("model") / "m.onnx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some hundred files: enough that a job takes seconds."""
    return archives.many(tmp_path_factory.mktemp("archive"), COPIES)


@pytest.fixture
def short() -> Iterator[dict[str, str]]:
    """Where Ray may put its sockets: the names of pytest's folders are too long for them."""
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp" if Path("/tmp").is_dir() else None)
    yield {"TMPDIR": folder}
    shutil.rmtree(folder, ignore_errors=True)


def judged(output: Path) -> int:
    return len(list(output.glob("verdicts-*.parquet")))


def wait(until: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def require_same(output: Path, folder: Path, model: Path) -> None:
    """Every verdict is there once, and is that of one process."""
    expected = archives.in_one_process(folder, model_file.load(model, 1))
    assert len(expected) == COPIES * 10
    assert archives.by_source(archives.written(output)) == expected


def test_a_node_that_dies_loses_and_doubles_nothing(
    folder: Path, model: Path, home: Path, tmp_path: Path, short: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    output = tmp_path / "out"
    for name, value in (environment(home, short) | token).items():
        monkeypatch.setenv(name, value)
    with two_nodes(short["TMPDIR"]) as (address, kill):
        asked = command(folder, "--output", output, "--model", model, "--shard-size", SHARD, "--address", address)
        process = subprocess.Popen(
            asked, env=environment(home, short | token), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        wait(lambda: judged(output) > 2, process)
        kill()
        assert judged(output) < COPIES * 11 // SHARD
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 4, said
    assert "Traceback" not in said
    require_same(output, folder, model)


@contextlib.contextmanager
def two_nodes(temporary: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """A cluster of two nodes of one core each; yields its address and what kills the second one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        node = {"num_cpus": 1, "object_store_memory": STORE_BYTES}
        # The dead are missed in seconds rather than in half a minute.
        quick = {
            "health_check_initial_delay_ms": 0,
            "health_check_period_ms": 1000,
            "health_check_failure_threshold": 3,
        }
        head = {"_system_config": quick, "include_dashboard": False, "node_ip_address": "127.0.0.2"}
        # Where Ray notes the address, it makes no folder.
        Path(temporary, "ray").mkdir()
        cluster = Cluster(initialize_head=True, head_node_args=node | head)
        try:
            second = cluster.add_node(**node, node_ip_address="127.0.0.3")
            yield cluster.address, lambda: cluster.remove_node(second, allow_graceful=False)
        finally:
            cluster.shutdown()


def test_a_killed_job_goes_on_with_what_is_missing(
    folder: Path, model: Path, home: Path, tmp_path: Path, short: dict[str, str]
) -> None:
    output = tmp_path / "out"
    asked = (folder, "--output", output, "--model", model, "--shard-size", SHARD, "--threads", 1)
    process = subprocess.Popen(
        command(*asked), env=environment(home, short), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait(lambda: judged(output) > 1, process)
    process.kill()
    process.communicate()
    before = {path.name: path.stat().st_mtime_ns for path in output.glob("verdicts-*.parquet")}
    assert 1 < len(before) < COPIES * 11 // SHARD
    # As a job that was killed while it wrote would leave them.
    torn = next(iter(before))
    (output / torn).write_bytes((output / torn).read_bytes()[:-20])
    (output / f".{torn}.left.partial").write_bytes(b"half")
    done = typed(*asked, "--json", home=home, check=4, extra=short)
    summary = json.loads(done.stdout)
    assert summary["found"] == len(before) - 1
    assert f"{len(before) - 1} of {summary['shards']} shards were complete already" in done.stderr
    kept = {path.name: path.stat().st_mtime_ns for path in output.glob("verdicts-*.parquet")}
    assert all(kept[name] == changed for name, changed in before.items() if name != torn)
    require_same(output, folder, model)
    assert summary["tally"]["files"] == COPIES * 11
    assert not list(output.glob(".*"))
    require_no_orphans(short["TMPDIR"])


def require_no_orphans(temporary: str) -> None:
    """No process of a cluster outlives its driver, be it killed."""
    import psutil

    deadline = time.monotonic() + 60
    while left := [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(temporary in word for word in process.info["cmdline"] or ())
    ]:
        assert time.monotonic() < deadline, left
        time.sleep(0.5)


def test_an_interrupted_job_says_how_to_go_on(
    folder: Path, model: Path, home: Path, tmp_path: Path, short: dict[str, str]
) -> None:
    output = tmp_path / "out"
    asked = command(folder, "--output", output, "--model", model, "--shard-size", SHARD, "--threads", 1)
    process = subprocess.Popen(
        asked, env=environment(home, short), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait(lambda: judged(output) > 0, process)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, said
    assert f"of {COPIES * 11} files are written" in said
    assert said.rstrip().endswith("the same command resumes with the others")
    assert "Traceback" not in said
    require_no_orphans(short["TMPDIR"])


def fragile(*arguments: object, home: Path, short: dict[str, str]) -> str:
    """What workers that die of a file leave to be said."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.batch.fragile", *map(str, arguments)],
        env=environment(home, short),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_file_that_its_reader_dies_of_is_named_and_no_patient(
    model: Path, home: Path, tmp_path: Path, short: dict[str, str]
) -> None:
    folder = archives.archive(tmp_path / "in")
    told = fragile(folder, model, "erika-1.dcm", home=home, short=short)
    said = told.splitlines()
    assert f"every worker that reads {folder}/…/…/…-1.dcm dies" in said[-2]
    assert said[-1] == (
        "hint the shards that are written are kept; move that file out of the archive (with --include-phi and another "
        "--output it is named in full), then run the same command again"
    )
    assert not any(planted in told.casefold() for planted in archives.PLANTED)
    judged = [line for line in said if line.startswith("judged ")]
    assert len(judged) == len(set(judged))
    require_no_orphans(short["TMPDIR"])


def test_a_file_is_named_as_far_as_headers_tell_whom_its_name_names(
    model: Path, home: Path, tmp_path: Path, short: dict[str, str]
) -> None:
    """Where its own header ends who reads it, those beside it count; where all do, its folders may name anybody."""
    folder = archives.alike(tmp_path / "in")
    output = fragile(folder, model, "MUSTERFRAU^ERIKA/erika-1.dcm", "names", home=home, short=short)
    # Ray prints there too, and its lines may begin or end in ours.
    ends = re.findall("ended .*? reads (.*? dies)", output)
    assert ends == [
        f"{folder}/…/…-1.dcm dies",
        "…/…-1.dcm dies",
        "…/erika-1.dcm dies",
        f"{folder}/MUSTERFRAU^ERIKA/erika-1.dcm dies",
    ], output
    hints = ["named in full" in hint for hint in re.findall("hint the shards.*", output)]
    assert hints == [True, True, True, False], output
