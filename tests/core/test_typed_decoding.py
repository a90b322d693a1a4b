"""Types that many threads decode for the first time at once."""

import subprocess
import sys

import msgspec
import pytest

from lungcli.core import typed_decoding

# In a process of its own, which a race would crash.
RACE = """
import sys, threading, msgspec
from lungcli.core import typed_decoding

sys.setswitchinterval(1e-6)
for number in range(400):
    parts = [msgspec.defstruct(f"Part{number}_{k}", [(f"field{j}", int) for j in range(6)]) for k in range(5)]
    kind = msgspec.defstruct(f"Whole{number}", [(f"part{k}", part) for k, part in enumerate(parts)])
    value = {f"part{k}": {f"field{j}": 1 for j in range(6)} for k in range(5)}
    json, msgpack = msgspec.json.encode(value), msgspec.msgpack.encode(value)
    barrier, right = threading.Barrier(6), []

    def decode(way, content):
        barrier.wait()
        right.append(msgspec.to_builtins(way(content, kind)) == value)

    ways = ((typed_decoding.json, json), (typed_decoding.msgpack, msgpack), (typed_decoding.convert, value))
    threads = [threading.Thread(target=decode, args=way) for way in ways * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 6
"""


def test_threads_that_decode_a_type_first_do_not_crash() -> None:
    done = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_no_such_type_is_refused_as_msgspec_does() -> None:
    assert typed_decoding.json(b"[1]", list[int]) == [1]
    with pytest.raises(msgspec.ValidationError):
        typed_decoding.json(b'["a"]', list[int])
    with pytest.raises(msgspec.ValidationError):
        typed_decoding.msgpack(msgspec.msgpack.encode("a"), int)
    with pytest.raises(msgspec.ValidationError):
        typed_decoding.convert("a", int)
