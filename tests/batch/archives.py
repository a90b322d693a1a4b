"""Archives for tests, what one process says of them, and `lungcli predict --engine ray` as typed."""

import contextlib
import functools
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lungcli.modelfile.model_file import Model
from lungcli.predict import inputs, prediction_json
from lungcli.predict.predict import predict
from tests.imaging import dicoms, intruders
from tests.imaging.pictures import encoded, write

NEEDS_ARROW = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="needs the extra ray: pip install '.[ray]'"
)
NEEDS_RAY = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs the extra ray: pip install '.[ray]'"
)
NEEDS_S3 = pytest.mark.skipif(
    importlib.util.find_spec("moto") is None, reason="needs a store on loopback: pip install '.[s3]'"
)
# What is another value in every process, or stands in a shard's metadata.
_APART = ("seconds", "disclaimer", "schema_version", "series")
PLANTED = ("musterfrau", "erika", "pid4711x", "19640812")

Row = dict[str, Any]


@functools.cache
def pictures() -> dict[str, bytes]:
    """Six drawn slices, a chest X-ray, files that are no pictures by content or by name."""
    drawn = [encoded(np.rint(grey * 255).astype(np.uint8)) for grey in intruders.slices(6)]
    files = {f"wards/{i % 2}/{i}.png": content for i, content in enumerate(drawn)}
    return files | {
        "x-ray.png": encoded(np.rint(intruders.x_ray(1) * 255).astype(np.uint8)),
        "text.png": b"this is text",
        "wards/cut.png": drawn[0][:900],
        "wards/notes.txt": b"hello",
        "wards/odd.xyz": drawn[1],
        "wards/.hidden.png": drawn[2],
    }


def study() -> dict[str, bytes]:
    """A scan of a patient who must not be named, with a picture and two damaged files beside it."""
    uid: dict[str, Any] = {"SeriesInstanceUID": "1.2.3.4", "ImageOrientationPatient": dicoms.AXIAL}
    files = {f"erika-{i}.dcm": dicoms.dicom(ImagePositionPatient=[0, 0, -i], **uid) for i in range(3)}
    files |= {"a musterfrau.png": b"no picture", "torn.dcm": files["erika-0.dcm"][:-5000]}
    files["a-mute.dcm"] = files["erika-0.dcm"][:140]
    return {f"MUSTERFRAU^ERIKA/PID4711X/{name}": content for name, content in files.items()}


def alike(folder: Path) -> Path:
    """Scans of two patients in folders named after them, whose files are called the same."""
    patients = {"MUSTERFRAU^ERIKA": "Musterfrau^Erika", "MUSTERFRAU^ANNA": "Musterfrau^Anna"}
    files = {
        f"{place}/erika-{i}.dcm": dicoms.dicom(PatientName=name, ImagePositionPatient=[0, 0, -i])
        for place, name in patients.items()
        for i in (1, 2)
    }
    return write(folder, files)


@contextlib.contextmanager
def store() -> Iterator[dict[str, str]]:
    """A store that speaks S3 on loopback, in a process of its own; yields the environment by which it is found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 300
        while not _answers(port):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as asked:
        asked.settimeout(1)
        return asked.connect_ex(("127.0.0.1", port)) == 0


def put(bucket: str, files: Mapping[str, bytes]) -> Any:
    """Make a bucket of files in the store of the environment; return the file system that holds it."""
    from pyarrow import fs

    found, _ = fs.FileSystem.from_uri(f"s3://{bucket}?allow_bucket_creation=true")
    found.create_dir(bucket)
    for name, content in files.items():
        with found.open_output_stream(f"{bucket}/{name}") as file:
            file.write(content)
    return found


def archive(folder: Path) -> Path:
    return write(folder, pictures() | study())


def many(folder: Path, copies: int) -> Path:
    """The pictures of an archive over and over, by links."""
    first = write(folder / "0000", pictures())
    for number in range(1, copies):
        for name in pictures():
            (folder / f"{number:04}" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:04}" / name).hardlink_to(first / name)
    return folder


def in_one_process(folder: Path, model: Model) -> dict[str, Row]:
    """Every line of `lungcli predict --jsonl FOLDER`, by its source."""
    items = inputs.items([str(folder)], inputs.Naming())
    lines = [json.loads(prediction_json.line(outcome)) for outcome, _ in predict(items, model)]
    return by_source(lines)


def by_source(rows: Iterable[Row]) -> dict[str, Row]:
    """Rows by their source, none twice, without what is left out and what differs from process to process."""
    found: dict[str, Row] = {}
    for row in rows:
        assert row["source"] not in found
        found[row["source"]] = {name: value for name, value in row.items() if value is not None and name not in _APART}
    return found


def table(content: bytes) -> list[Row]:
    """The rows of a Parquet file."""
    import pyarrow
    from pyarrow import parquet

    found: list[Row] = parquet.read_table(pyarrow.BufferReader(content)).to_pylist()
    return found


def written(output: Path) -> list[Row]:
    from pyarrow import parquet

    rows: list[Row] = [row for path in sorted(output.glob("*.parquet")) for row in parquet.read_table(path).to_pylist()]
    return rows


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process with its own home; Ray's workers would else stand back behind all others."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LUNGCLI", "NO_COLOR", "RAY_"))}
    own = {"LUNGCLI_HOME": str(home), "HOME": str(home), "COLUMNS": "120", "RAY_worker_niceness": "0"}
    return kept | own | dict(extra or {})


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "lungcli", "predict", "--engine", "ray", *map(str, arguments)]


def typed(
    *arguments: object, home: Path, check: int = 0, extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(*arguments),
        env=environment(home, extra),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    assert done.returncode == check, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done
