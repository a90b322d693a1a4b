"""What a visitor sees from an upload to its results: progress, the first card, then all of it."""

import itertools
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from lungcli.core.errors import LungcliError, UsageError
from lungcli.modelfile import model_file
from lungcli.views import prediction
from lungcli.web import html, results
from lungcli.web.slice_worker import SliceResult, Upload
from lungcli.web.workers import Workers

# Every picture is embedded in the page, some 100 kB each.
MAX_PICTURES = 100
# After so many that took too long, or ended their reader, the rest are left.
_MAX_FAILED = 3
_PROGRESS_SECONDS = 0.2

Shown = tuple[str | None, str | None]
"""The HTML of the status and of the results; None where it stays."""


class Visits:
    """Shows uploads to visitors; what a session asked for before is given up. Thread-safe."""

    def __init__(self, models: Mapping[str, Path], workers: Workers) -> None:
        self._models, self._workers = models, workers
        self._numbers = itertools.count()
        self._newest: dict[str, int] = {}

    def show(self, sent: tuple[Upload, ...], name: str, visitor: str, session: str) -> Iterator[Shown]:
        """Predict what was `sent` with the model called `name`, and yield what is to be shown meanwhile and then."""
        if not sent:
            return
        number = self._newest[session] = next(self._numbers)
        try:
            yield html.progress(0, min(len(sent), MAX_PICTURES)), ""
            try:
                for shown in self._shown(sent, name, visitor):
                    if self._newest.get(session) != number:
                        break
                    if shown:
                        yield shown
            except LungcliError as error:
                if self._newest.get(session) == number:
                    yield "", html.error_message(error.message, error.hint)
            if self._newest.get(session) != number:
                # What Gradio sends at the end once more.
                yield None, None
        finally:
            # Of a visitor who leaves as well, or what sessions call themselves would fill memory.
            if self._newest.get(session) == number:
                del self._newest[session]

    def _shown(self, sent: tuple[Upload, ...], name: str, visitor: str) -> Iterator[Shown | None]:
        """Yield what is new after each picture, None where that is nothing."""
        model = chosen(self._models, name)
        card = model_file.read_card(model)
        done: list[SliceResult] = []
        total, failed, shown_at = min(len(sent), MAX_PICTURES), 0, time.monotonic()
        for upload in sent[:total]:
            result = self._workers.predict(upload, model, visitor)
            failed += result.gave_up
            done.append(result)
            if len(done) == total or failed == _MAX_FAILED:
                break
            if len(done) == 1:
                yield html.progress(1, total), results.shown(done, card, name)
            elif time.monotonic() - shown_at > _PROGRESS_SECONDS:
                shown_at = time.monotonic()
                yield html.progress(len(done), total), None
            else:
                yield None
        notes = ""
        if left := total - len(done):
            notes = html.error_message(f"{left} more pictures have no prediction: these took too long", "send fewer")
        if beyond := len(sent) - total:
            notes += html.error_message(
                f"{beyond} more pictures have no prediction: the page takes {MAX_PICTURES} at once",
                "lungcli predict FOLDER has no limit",
            )
        said = prediction.finding_of(done[0].outcome) if len(done) == 1 else f"{len(done)} slices"
        yield html.unseen(f"done: {said}"), notes + results.shown(done, card, name)


def chosen(models: Mapping[str, Path], name: str) -> Path:
    """Return the model file called `name`. Raises UsageError."""
    if name not in models:
        raise UsageError("this model is not served here", "choose one from the list")
    return models[name]
