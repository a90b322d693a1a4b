"""`lungcli help`: what concerns more than one command, and what is too long for a command's page."""

from typing import Annotated

import typer

from lungcli.cli import help_pages
from lungcli.core import names, registry, settings


def method_text(method: registry.Method) -> str:
    """Say what a method of distillation does, and which settings it changes."""
    settled = ", ".join(f"{field.replace('_', ' ')} {value:g}" for field, value in method.preset.items())
    return f"{method.about}{f' ({settled})' if settled else ''}"


EXIT_CODES: tuple[help_pages.Record, ...] = (
    ("0", "Done"),
    ("1", "Failed; what is finished is kept"),
    ("2", "Usage: an option, a name or a file is wrong"),
    ("3", "The model file is damaged, foreign or of a newer version"),
    ("4", "A picture was refused or could not be read; the others are done"),
    ("5", "A check was not passed: accuracy lost in compression or export"),
    ("6", "A prediction is referred, with --strict"),
    ("7", "Network, or a checksum that differs"),
    ("130", "Interrupted; the work is saved, and the message says how to continue"),
    ("141", "Nobody reads the output any more"),
)
ENVIRONMENT: tuple[help_pages.Record, ...] = (
    *((setting.variable, setting.about) for setting in settings.SETTINGS.values()),
    ("LUNGCLI_CONFIG", "The settings file, see `lungcli config list`"),
    ("NO_COLOR", "1: no colours. TERM=dumb also means no bars and no dashboard"),
    ("COLUMNS", "Width of help where there is no terminal"),
)
FILES: tuple[help_pages.Record, ...] = (
    ("data/NAME/", "A data set: slices/, manifest.json, and its splits"),
    ("runs/NAME/run.json", "What a run is and how it stands"),
    ("runs/NAME/recipe.toml", "What decides its result"),
    ("runs/NAME/events.jsonl", "What happened, a line each; the dashboard reads it"),
    ("runs/NAME/STAGE/", "model.onnx, with its card inside, and evaluation.json"),
)
PREDICTIONS = (
    "Every picture gets one finding: suspicious (for malignancy, or what the model's positive class is), clear, refer "
    "(left to a radiologist) or refused (no axial lung CT slice). A slice is suspicious from a probability of it on "
    "that was chosen on slices new to the model, its operating point; probabilities are calibrated. It is referred "
    "where its confidence, how probable the finding is, is below the referral threshold, or where it was acquired "
    "unlike the slices the model learned from. `lungcli calibrate` shows both and sets them.",
    "In folders and .zip files other files are skipped, and a DICOM series is sorted from feet to head. A series also "
    "gets a prediction of its own, the mean of its slices that were neither refused nor referred. It is referred if "
    "those are fewer than half, if its confidence is below the threshold, or if one of them is suspicious and the "
    "mean is not.",
    "With several models, each at its own size, the probabilities are averaged; a prediction is referred where the "
    "models disagree, or below the mean of their thresholds. --tta averages ten views, after the temperature.",
)
SEARCH = (
    "An option given once is fixed; given several times, or as LOW:HIGH, it is searched. Every trial is a run tagged "
    "with the name of the study and evaluated on the validation part of the grouped split; no trial sees the test "
    "part.",
    "Run the same command in other processes, or on other machines with --storage, to share the trials; --study NAME "
    "is enough once the study exists. The storage is a database, as postgresql://USER@HOST/DB, or a journal file on a "
    "shared disk; a local journal file if left out. Run it again to continue, also with trials that were killed.",
    "With --max-size or --max-p50 the only objective is balanced accuracy within these limits: a trial is stopped "
    "early when it is below the median of the others after the same epoch, or when its net exceeded the limits before. "
    "With several objectives no trial is stopped early. Latencies are comparable only where nothing else runs.",
)
TOPICS: dict[str, tuple[str, tuple[help_pages.Record, ...] | tuple[str, ...]]] = {
    "predictions": ("What is refused, referred and averaged", PREDICTIONS),
    "methods": (
        "Methods of distillation, with the settings they change",
        tuple((method.name, method_text(method)) for method in registry.METHODS.values()),
    ),
    "studies": ("How a study of many trials runs", SEARCH),
    "exit-codes": ("Exit codes", EXIT_CODES),
    "environment": ("Environment variables", ENVIRONMENT),
    "files": ("Files, in the folder that `lungcli doctor` names", FILES),
}


def help_(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="One of these, or a command")] = "",
) -> None:
    """Explain exit codes, environment, files and more.

    \b
    Examples:
      lungcli help exit-codes
      lungcli help compress
    """
    program = context.find_root()
    commands = {name: command for name, command in vars(program.command)["commands"].items() if name != "help"}
    if topic in commands:
        command = commands[topic]
        page = command.get_help(command.context_class(command, info_name=topic, parent=program))
    elif topic:
        page = topic_page(names.find(topic, TOPICS, "topic", f"or a command: {', '.join(commands)}"))
    else:
        records = [(name, about) for name, (about, _) in TOPICS.items()]
        page = "Topics:\n" + help_pages.definitions(records, help_pages.columns())
    typer.echo(page)


def topic_page(topic: tuple[str, tuple[help_pages.Record, ...] | tuple[str, ...]]) -> str:
    """Write the page of a topic, as wide as the terminal."""
    title, content = topic
    width = help_pages.columns()
    records = [item for item in content if not isinstance(item, str)]
    texts = [help_pages.paragraph(item, width, "  ") for item in content if isinstance(item, str)]
    return "\n\n".join([f"{title}:", *texts]) if texts else f"{title}:\n{help_pages.definitions(records, width)}"
