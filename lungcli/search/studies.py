"""Studies: the trials of many processes, in any storage that Optuna supports."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lungcli.core import names, paths, versioned
from lungcli.core.errors import LungcliError, UsageError
from lungcli.search import space
from lungcli.search.space import StudyPlan

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage

# Seconds between heartbeats of a trial, and seconds without one after which it counts as interrupted.
BEAT, GRACE = 60, 180
# A trial that is interrupted this often is not retried: it may be what kills the process.
MOST_RETRIES = 3
_PLAN = "plan"
_FORMAT = versioned.Format(kind="study", version=space.FORMAT_VERSION, content=StudyPlan)


def home() -> Path:
    """Folder of the studies of this machine, and of the locks of their workers."""
    return paths.home() / "searches"


def storage_of(name: str, storage: str) -> str:
    """Return the storage of the study called `name`: `storage` (a URL or a file), or a journal file of its own."""
    return storage or str(home() / f"{names.checked(name, 'study')}.journal")


def redacted_storage(storage: str) -> str:
    """Return a storage URL without its password."""
    scheme, separator, rest = storage.partition("://")
    account, at, where = rest.rpartition("@")
    return f"{scheme}{separator}{account.partition(':')[0]}{at}{where}"


def create_or_open(name: str, storage: str, plan: StudyPlan) -> "Study":
    """Create a study, or open the one of that name.

    Raises UsageError when that has another plan, LungcliError when the storage cannot be used.
    """
    optuna = import_optuna()
    with storage_errors(storage):
        study: Study = optuna.create_study(
            storage=open_storage(storage),
            study_name=names.checked(name, "study"),
            directions=["maximize"] if plan.limited else ["minimize", "minimize", "maximize"],
            load_if_exists=True,
            pruner=_pruner(),
        )
        if _PLAN not in study.user_attrs:
            study.set_user_attr(_PLAN, msgspec.to_builtins(plan))
        if differing := _differing(_plan(study), plan):
            raise UsageError(
                f"the study {name!r} has another plan: it differs in {', '.join(differing)}",
                f"give another --study; or resume this one with its own options: lungcli search --study {name}",
            )
    return study


def find(name: str, storage: str) -> "tuple[Study, StudyPlan]":
    """Open the study called `name`, with its plan. Raises UsageError when there is none, else as `create_or_open`."""
    if not exists(name, storage):
        raise UsageError(
            f"there is no study {name!r} in {redacted_storage(storage)}",
            f"start it: lungcli search --study {name} --student mobilenetv2 --student shufflenetv2",
        )
    with storage_errors(storage):
        study: Study = import_optuna().load_study(study_name=name, storage=open_storage(storage), pruner=_pruner())
        return study, _plan(study)


def exists(name: str, storage: str) -> bool:
    """Whether there is a study of that name. Raises LungcliError when the storage cannot be used."""
    if "://" not in storage and not Path(storage).is_file():
        return False
    with storage_errors(storage):
        return name in import_optuna().get_all_study_names(open_storage(storage))


@contextlib.contextmanager
def storage_errors(storage: str) -> Iterator[None]:
    """Turn errors of the storage into a LungcliError, and silence warnings of Optuna."""
    import_optuna()
    import sqlalchemy.exc
    from optuna.exceptions import ExperimentalWarning, StorageInternalError

    try:
        with warnings.catch_warnings():
            # Experimental parts of Optuna may change, so its major version is pinned.
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
        cause = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None) or error
        raise LungcliError(
            f"cannot use the storage {redacted_storage(storage)}: {str(cause).strip().splitlines()[0]}",
            "check that it can be reached, and run the same command again: finished trials are kept",
        ) from error


def open_storage(storage: str) -> "BaseStorage":
    """Open a database by its URL, with heartbeats, or a journal file, which has none.

    Raises UsageError when the database's driver is not installed, LungcliError when the file cannot be written.
    """
    optuna = import_optuna()
    if "://" not in storage:
        from optuna.storages import journal

        path = Path(storage)
        with paths.os_errors_as(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            return journal.JournalStorage(journal.JournalFileBackend(str(path)))
    scheme, _, rest = storage.partition("://")
    url = f"postgresql+psycopg://{rest}" if scheme in ("postgresql", "postgres") else storage
    retry_stale = optuna.storages.RetryHeartbeatStaleTrialCallback(
        max_retry=MOST_RETRIES, inherit_intermediate_values=True
    )
    import sqlalchemy.pool

    # Connections are needed only a few times a minute, so none is kept open.
    pool = {"poolclass": sqlalchemy.pool.NullPool}
    try:
        opened: BaseStorage = optuna.storages.RDBStorage(
            url, pool, heartbeat_interval=BEAT, grace_period=GRACE, heartbeat_stale_trial_callback=retry_stale
        )
    except ImportError as error:
        raise UsageError(
            f"the storage {redacted_storage(storage)} needs a driver that is not installed",
            "for PostgreSQL: pip install 'lungcli[sweep-postgresql]'",
        ) from error
    return opened


def import_optuna() -> Any:
    """Import Optuna, with its log messages off. Raises UsageError where it is not installed."""
    try:
        import optuna  # 0.5 s
    except ImportError as error:
        raise UsageError(
            "searching needs the extra `sweep`, which is not installed", "install it: pip install 'lungcli[sweep]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _pruner() -> Any:
    """Prune trials below the median of at least five others at the same epoch, from the second epoch on."""
    return import_optuna().pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)


def _differing(ours: StudyPlan, theirs: StudyPlan) -> list[str]:
    """Return the names of what differs between two plans, both as a study saves them."""
    first, second = (
        {**plan.axes, **plan.settings, "the data or its split": plan.split, "the seed of the search": plan.seed}
        | {"the largest size": plan.max_bytes, "the largest p50": plan.max_p50}
        for plan in (_as_kept(ours), _as_kept(theirs))
    )
    return [name for name in {**first, **second} if first.get(name) != second.get(name)]


def _as_kept(plan: StudyPlan) -> StudyPlan:
    return msgspec.json.decode(msgspec.json.encode(plan), type=StudyPlan)


def _plan(study: "Study") -> StudyPlan:
    name, hint = repr(study.study_name), "give another --study"
    if _PLAN not in study.user_attrs:
        raise UsageError(f"the study {name} was not made by lungcli search", hint)
    return _FORMAT.decode(msgspec.json.encode(study.user_attrs[_PLAN]), name, hint)
