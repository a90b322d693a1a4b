"""Threads that read the same kind of file for the first time at once: msgspec before 0.23 crashes the process."""

import subprocess
import sys

# In a process of its own, which a race would crash.
RACE = """
import sys, threading, msgspec

sys.setswitchinterval(1e-6)
for number in range(400):
    parts = [msgspec.defstruct(f"Part{number}_{k}", [(f"field{j}", int) for j in range(6)]) for k in range(5)]
    kind = msgspec.defstruct(f"Whole{number}", [(f"part{k}", part) for k, part in enumerate(parts)])
    value = {f"part{k}": {f"field{j}": 1 for j in range(6)} for k in range(5)}
    json, msgpack = msgspec.json.encode(value), msgspec.msgpack.encode(value)
    barrier, right = threading.Barrier(6), []

    def decode(way, content):
        barrier.wait()
        right.append(msgspec.to_builtins(way(content, type=kind)) == value)

    ways = ((msgspec.json.decode, json), (msgspec.msgpack.decode, msgpack), (msgspec.convert, value))
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
