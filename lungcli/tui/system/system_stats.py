"""The load of this machine and the runs that cause it, as values and as text."""

import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from lungcli.core import paths, runs
from lungcli.core.formatting import plain
from lungcli.views import bars
from lungcli.views.units import duration, size

if TYPE_CHECKING:
    import psutil

_SPARKS = "▁▂▃▄▅▆▇█"
_GPU_QUERY = "name,utilization.gpu,memory.used,memory.total"
_PATIENCE = 2.0
_HOT = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU: its `load` from 0 to 1 and its memory in bytes."""

    name: str
    load: float
    used: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProcess:
    """One process that works on a run, its workers included: `cpu` in cores, `memory` in bytes, `seconds` it runs."""

    run: str
    pid: int
    cpu: float
    memory: int
    threads: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One measurement: `cores` from 0 to 1 each, memory and swap in bytes, `load` the mean of a minute."""

    cores: tuple[float, ...]
    used: int
    total: int
    swap: int
    load: float
    disk_free: int
    gpus: tuple[Gpu, ...] = ()
    jobs: tuple[RunProcess, ...] = ()

    @property
    def cpu(self) -> float:
        """Mean over the cores."""
        return sum(self.cores) / len(self.cores) if self.cores else 0.0


class SystemMonitor:
    """Measures the machine again and again: the share of a processor is the mean since the last time."""

    def __init__(self) -> None:
        self._processes: dict[int, psutil.Process] = {}

    def measure(self) -> Usage:
        """Return the load of the machine now; takes about 10 ms, more with many processes."""
        import psutil

        memory = psutil.virtual_memory()
        home = next(folder for folder in (paths.home(), *paths.home().parents) if folder.exists())
        return Usage(
            cores=tuple(share / 100 for share in psutil.cpu_percent(percpu=True)),
            used=memory.total - memory.available,
            total=memory.total,
            swap=psutil.swap_memory().used,
            load=psutil.getloadavg()[0],
            disk_free=shutil.disk_usage(home).free,
            gpus=gpus(),
            jobs=tuple(self._jobs()),
        )

    def _jobs(self) -> Iterator[RunProcess]:
        import psutil

        locks = {str(folder / ".lock"): name for name, folder in runs.known().items()}
        working = {}
        for process in psutil.process_iter():
            try:
                if not any("lungcli" in part for part in process.cmdline()):
                    continue
                names = [locks[file.path] for file in process.open_files() if file.path in locks]
                if names:
                    working[process.pid] = self._processes.get(process.pid, process)
                    yield _job(names[0], working[process.pid])
            except (psutil.Error, OSError):
                # It ended, or belongs to someone else.
                continue
        self._processes = working


def _job(run: str, process: "psutil.Process") -> RunProcess:
    family = [process, *process.children(recursive=True)]
    return RunProcess(
        run=run,
        pid=process.pid,
        cpu=sum(member.cpu_percent() for member in family) / 100,
        memory=sum(member.memory_info().rss for member in family),
        threads=process.num_threads(),
        seconds=time.time() - process.create_time(),
    )


def gpus() -> tuple[Gpu, ...]:
    """Ask the NVIDIA driver's own tool; nothing where it is not installed or does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    try:
        done = subprocess.run(  # noqa: S603
            [tool, f"--query-gpu={_GPU_QUERY}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse_gpus(done.stdout)


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """Read the tool's lines: name, load in percent, memory used and total in MiB; lines it leaves open are skipped."""
    devices = []
    for line in text.splitlines():
        name, *numbers = (part.strip() for part in line.rsplit(",", 3))
        if len(numbers) == 3 and all(number.isdigit() for number in numbers):
            load, used, total = map(int, numbers)
            devices.append(Gpu(name=name, load=load / 100, used=used << 20, total=total << 20))
    return tuple(devices)


def spark(values: Sequence[float], width: int) -> str:
    """Draw the last `width` values, each from 0 to 1, as one line of blocks."""
    return "".join(_SPARKS[min(int(value * len(_SPARKS)), len(_SPARKS) - 1)] for value in values[-width:]).rjust(width)


def meter(share: float, width: int) -> Text:
    """Draw a share from 0 to 1 as a bar with its percentage, red where little is left."""
    return bars.meter(share, width, "red" if share >= _HOT else "green")


def cores(usage: Usage, width: int) -> Text:
    """Draw every core, as many beside each other as fit into `width`."""
    bar = 14
    beside = max(1, width // (bar + 12))
    text = Text()
    for number, share in enumerate(usage.cores):
        text.append(f"{number:>3} ", "dim").append_text(meter(share, bar))
        text.append("\n" if (number + 1) % beside == 0 or number + 1 == len(usage.cores) else "   ")
    return text


def memory(usage: Usage, width: int) -> Text:
    """Draw memory, swap, disk and GPUs."""
    bar = max(4, min(30, width - 32))
    text = Text.assemble(("memory ", "dim"), meter(usage.used / usage.total, bar))
    text.append(f"  {size(usage.used)} of {size(usage.total)}\n")
    text.append("swap   ", "dim").append(f"{size(usage.swap)}\n")
    text.append("disk   ", "dim").append(f"{size(usage.disk_free)} free\n")
    for gpu in usage.gpus:
        text.append("\n").append(plain(gpu.name), "bold").append("\n")
        text.append("load   ", "dim").append_text(meter(gpu.load, bar)).append("\n")
        text.append("memory ", "dim").append_text(meter(gpu.used / gpu.total if gpu.total else 0, bar))
        text.append(f"  {size(gpu.used)} of {size(gpu.total)}\n")
    if not usage.gpus:
        text.append("GPU    ", "dim").append("none found")
    return text


def rows(jobs: Iterable[RunProcess]) -> list[tuple[str, ...]]:
    """Show each job as the cells of a table."""
    return [
        (plain(job.run), f"{job.cpu:.1f}", size(job.memory), str(job.threads), duration(job.seconds), str(job.pid))
        for job in jobs
    ]
