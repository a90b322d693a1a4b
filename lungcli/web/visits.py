"""What a visitor sees from an upload to its results: progress, the first card, then all of it; heat-maps when asked."""

import base64
import itertools
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from lungcli.core.errors import LungcliError, UsageError
from lungcli.modelfile import model_file
from lungcli.views import prediction
from lungcli.web import html, results
from lungcli.web.heat_inputs import HeatInputs
from lungcli.web.slice_worker import SliceResult, Upload
from lungcli.web.workers import Workers

# Every picture is embedded in the page, some 100 kB each.
MAX_PICTURES = 100
# After so many that took too long, or ended their reader, the rest are left.
_MAX_FAILED = 3
_PROGRESS_SECONDS = 0.2

Shown = tuple[str | None, str | None]
"""The HTML of the status and of the results; None where it stays."""

HeatAnswer = dict[str, str]
"""A heat-map for the page: `of` which slice, its `caption`, and its `layer`, a PNG in base64, where there is one."""


class Visits:
    """Shows uploads to visitors; what a session asked for before is given up. Thread-safe."""

    def __init__(self, models: Mapping[str, Path], workers: Workers, heat_inputs: HeatInputs) -> None:
        self._models, self._workers, self._heat_inputs = models, workers, heat_inputs
        self._numbers = itertools.count()
        self._newest: dict[str, int] = {}

    def show(self, sent: tuple[Upload, ...], name: str, visitor: str, session: str) -> Iterator[Shown]:
        """Predict what was `sent` with the model called `name`, and yield what is to be shown meanwhile and then."""
        if not sent:
            return
        number = self._newest[session] = next(self._numbers)
        self._heat_inputs.drop(session)
        try:
            yield html.progress(0, min(len(sent), MAX_PICTURES)), ""
            try:
                for shown in self._shown(sent, name, visitor, session, number):
                    if self._newest.get(session) != number:
                        break
                    if shown:
                        yield shown
            except LungcliError as error:
                if self._newest.get(session) == number:
                    yield "", html.error_message(error.message, error.hint)
        finally:
            # Of a visitor who leaves as well, or what sessions call themselves would fill memory.
            if self._newest.get(session) == number:
                del self._newest[session]

    def heat_map(self, asked: str, visitor: str, session: str) -> HeatAnswer:
        """Make the heat-map `asked` for: of a visit and one of its slices, as `results` names them."""
        named = re.fullmatch(r"(\d{1,18})-(\d{1,9})", asked, re.ASCII)
        kept = self._heat_inputs.find(session, int(named[1]), int(named[2])) if named else None
        if kept is None:
            return {"of": asked, "caption": "no heat-map: this slice is not kept any more; send it again"}
        try:
            heat = self._workers.explain(*kept, visitor)
        except LungcliError as error:
            return {"of": asked, "caption": f"{error.message}; {error.hint}"}
        return {"of": asked, "caption": heat.caption, "layer": base64.b64encode(heat.layer).decode()}

    def _shown(
        self, sent: tuple[Upload, ...], name: str, visitor: str, session: str, number: int
    ) -> Iterator[Shown | None]:
        """Yield what is new after each picture, None where that is nothing."""
        model = chosen(self._models, name)
        card = model_file.read_card(model)
        done: list[SliceResult] = []
        total, failed, shown_at = min(len(sent), MAX_PICTURES), 0, time.monotonic()
        for upload in sent[:total]:
            result = self._workers.predict(upload, model, visitor)
            failed += result.gave_up
            done.append(msgspec.structs.replace(result, number=len(done)))
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
        if self._newest.get(session) == number:
            self._heat_inputs.keep(session, number, model, [result.heat_input for result in done])
        yield html.unseen(f"done: {said}"), notes + results.shown(done, card, name, number)


def chosen(models: Mapping[str, Path], name: str) -> Path:
    """Return the model file called `name`. Raises UsageError."""
    if name not in models:
        raise UsageError("this model is not served here", "choose one from the list")
    return models[name]
