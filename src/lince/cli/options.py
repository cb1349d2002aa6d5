"""The arguments and options of the commands: type, name, help, and the error for a value that is not valid."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import Meta
from typer.models import OptionInfo

from lince import schema
from lince.language import LANGUAGES


def _flag(name: str, help: str) -> OptionInfo:
    """An option without a value, and without the `--no-…` that typer would add."""
    option: OptionInfo = typer.Option(name, help=help)
    return option


def _number(*, help: str, least: int | None = None, most: int | None = None) -> OptionInfo:
    """An option that takes a whole number within bounds. Its error says what was received and what was expected."""
    kind: Any = int if least is most is None else Annotated[int, Meta(ge=least, le=most)]

    def parse(text: str) -> int:
        try:
            number: int = schema.convert(int(text), kind)
        except ValueError as error:
            raise typer.BadParameter(f"Received {str(text)!r}. Expected {schema.expects(kind)}.") from error
        return number

    option: OptionInfo = typer.Option(parser=parse, metavar="NUMBER", help=help)
    return option


def _choice(*words: str, help: str) -> OptionInfo:
    """An option that takes one of a few words. Its error lists them; typer's own adds the words "Value error"."""

    def parse(text: str) -> str:
        if text not in words:
            raise typer.BadParameter(f"Received {text!r}. Expected one of {', '.join(map(repr, words))}.")
        return text

    def complete() -> list[str]:
        return list(words)

    option: OptionInfo = typer.Option(parser=parse, metavar="|".join(words), autocompletion=complete, help=help)
    return option


DATA_HELP = (
    "cifar10, a folder with a folder of images per class, or a .zip of one. JPEG, PNG, WebP, BMP, GIF, TIFF and AVIF "
    "are read."
)
MODEL_HELP = "A model file (.tflite), a run folder, or a model that ships: cifar10, cifar10-best, cifar10-tiny."

# Arguments
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, for example runs/classic.")]
Data = Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)]
TrainingData = Annotated[str | None, typer.Argument(metavar="DATA", help=DATA_HELP)]
EvaluationData = Annotated[str | None, typer.Argument(metavar="DATA", help=DATA_HELP + "  [default: the run's own]")]
ModelFile = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
ServedModels = Annotated[list[str] | None, typer.Argument(metavar="MODEL", help=MODEL_HELP + "  [default: cifar10]")]
ModelFolder = Annotated[
    Path | None,
    typer.Option(
        "--models",
        metavar="FOLDER",
        help="Serve NAME.tflite and NAME/VERSION.tflite of a folder, and swap them when the files change.",
    ),
]
EvaluatedModel = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model file (.tflite), a run folder, a model that ships, a run's model.keras, or the "
        "address of a running server.",
    ),
]


def _files(paths: list[Path] | Path) -> list[Path] | Path:
    """Refuses addresses, of which a path keeps one slash."""
    for path in [paths] if isinstance(paths, Path) else paths:
        if str(path).startswith(("http:/", "https:/")):
            raise typer.BadParameter(f"Received the address {str(path)!r}. Expected a file: download it first.")
    return paths


Images = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATH", callback=_files, help="Images (JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF), folders, .zip files."
    ),
]

Image = Annotated[
    Path,
    typer.Argument(metavar="IMAGE", callback=_files, help="One image (JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF)."),
]

# Options of several commands
Seed = Annotated[int, _number(least=0, most=2**32 - 1, help="Seed of all random choices.")]
Json = Annotated[bool, _flag("--json", "Print the result as JSON.")]
Strict = Annotated[bool, _flag("--strict", "Stop when a file cannot be read; otherwise it is left out.")]
Force = Annotated[
    bool,
    _flag("--force", "Publish although int8 loses too much, or the model is no better than one class; recorded."),
]
Fallback = Annotated[
    bool,
    _flag("--fallback", "When int8 loses more than the bound, keep the most sensitive layers in float; recorded."),
]

# Options of lince train
RecipeName = Annotated[
    str | None,
    typer.Option(
        help="A recipe that ships, or the path of a TOML file. photos fine-tunes a pretrained network, photos-scratch "
        "trains one from scratch; default, best, fast, small and tiny are for small images; classic and resnet8 are "
        "for comparison.  [default: one that suits the pictures, their number and the time budget]"
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, e.g. train.epochs=5; see docs/recipes.md."),
]
RunName = Annotated[
    str | None, typer.Option(help="Name of the run folder.  [default: the recipe's, or the time budget]")
]
Fit = Annotated[
    str | None,
    _choice(
        *("crop", "pad", "stretch"),
        help="How pictures become squares, in training and later: crop cuts out the centre, pad adds grey bars, "
        "stretch changes the proportions. Short for --set fit=….  [default: the recipe's, crop]",
    ),
]
Runs = Annotated[Path, typer.Option(help="Folder in which run folders are made.")]
TimeBudget = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="Train and publish within about this time (90s, 20m, 2h). A pretrained network's head is published "
        "first, and fine-tuned in the time that is left.",
    ),
]
Resume = Annotated[Path | None, typer.Option(metavar="RUN", help="Continue a run from its last finished epoch.")]
Deterministic = Annotated[bool, _flag("--deterministic", "Give the same bits on every run.")]
Teacher = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Also learn from the logits of this model (distillation).")
]
LeaveOut = Annotated[
    str | None,
    typer.Option(
        metavar="OTHER",
        help="Do not train or validate on images that are in OTHER as well, a folder or .zip (same CLASS/NAME), "
        "so that OTHER can serve as a test.",
    ),
]
GroupRule = Annotated[
    str | None,
    typer.Option(
        "--groups",
        metavar="RULE",
        help="Keep images of one group, such as the frames of a film, on one side of every split. RULE is folder: a "
        "group is a folder below a class folder; or a pattern with {group} for what names have in common, e.g. "
        "'{group}_*.jpg'; see docs/data.md. Copies and look-alikes are kept together without it.",
    ),
]
TensorBoard = Annotated[bool, _flag("--tensorboard", "Also write TensorBoard logs.")]
Until = Annotated[str, _choice("train", "report", help="Last stage to run.")]

# Options of lince quantize
ModelName = Annotated[str | None, typer.Option(help="Name of the model.  [default: the run's]")]
PublishOverrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe's [quantize] or [calibrate]."),
]
About = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Markdown for the model's card: origin and licence of the data, limits."),
]

# Options of lince report
Lang = Annotated[str, _choice(*LANGUAGES, help="Language of the report: English or Brazilian Portuguese.")]

# Arguments of lince compare
ComparedRuns = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="Run folders, for example runs/fast runs/best.")
]

# Options of lince evaluate
SplitName = Annotated[str, _choice("test", "validation", "train", "all", help="Which images of DATA.")]
Corruptions = Annotated[
    bool,
    _flag(
        "--corruptions", "Also measure on degraded images: noise, blur, contrast, JPEG, pixelate, in 5 strengths each."
    ),
]
Foreign = Annotated[
    bool,
    _flag("--foreign", "Also measure on generated pictures that belong to no class; without DATA, on these alone."),
]
ForeignImages = Annotated[
    list[Path] | None,
    typer.Option(
        "--foreign-images",
        metavar="PATH",
        help="As --foreign, and also on the pictures in this folder or .zip; repeatable.",
    ),
]

# Options of lince predict
Top = Annotated[
    int | None,
    _number(
        least=1,
        help="List so many of the most probable classes of each image.  [default: none in text and CSV, else 5]",
    ),
]
Logits = Annotated[bool, _flag("--logits", "Add the network's output; with --json, .jsonl and .parquet.")]
JsonLines = Annotated[bool, _flag("--json", "One JSON object a line.")]
Csv = Annotated[bool, _flag("--csv", "A header and one row an image.")]

Output = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="Write a .jsonl, .csv or .parquet file, which --resume continues."),
]
ResumeOutput = Annotated[bool, _flag("--resume", "Continue the file of --output after an interruption.")]
SortInto = Annotated[
    Path | None,
    typer.Option(
        "--sort-into",
        metavar="DIR",
        help="Also put the images into DIR, in a folder for each class: links, or copies where links are not possible.",
    ),
]
PredictWorkers = Annotated[
    int | None,
    _number(least=1, help="Processes for many images.  [default: one for each core that this process may use]"),
]

# Options of lince data check
LabelRun = Annotated[
    Path | None,
    typer.Option(
        "--model",
        metavar="RUN",
        help="Also list images of DATA whose label may be wrong. RUN is a run of recipe photos trained on DATA.",
    ),
]
LabelPage = Annotated[
    Path | None,
    typer.Option("--page", metavar="FILE", help="With --model: also write these images and labels as an HTML page."),
]

# Options of lince explain
ExplainedClass = Annotated[
    str | None, typer.Option("--class", metavar="NAME", help="Explain this class.  [default: the model's answer]")
]
Overlay = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="The PNG file to write.  [default: IMAGE's stem + .explained.png, in this folder]"
    ),
]

# Options of lince serve
Host = Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")]
Port = Annotated[int | None, _number(help="Port; 0 takes a free one.  [default: 8000]")]
Workers = Annotated[int | None, _number(help="Processes that answer.  [default: 1]")]
ApiKeys = Annotated[
    Path | None,
    typer.Option(
        "--api-keys", metavar="FILE", help="Answer only clients that have a key of this file; lince key makes them."
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Settings as TOML; options and the environment go first.  [default: none]"
    ),
]
PrintConfig = Annotated[bool, _flag("--print-config", "Print all settings as such a file, and serve nothing.")]
TlsCert = Annotated[
    Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate in PEM, for HTTPS; with --tls-key.")
]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Private key of that certificate.")]
Sha256 = Annotated[str | None, typer.Option(metavar="HEX", help="Refuse the model file unless its SHA-256 is HEX.")]

# Options of lince key
FeedbackFolder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="A folder that does not exist yet, or is empty.")
]

KeyName = Annotated[str, typer.Argument(metavar="NAME", help="Who will have the key: letters, digits, _, . and -.")]
Admin = Annotated[bool, _flag("--admin", "The key may swap models as well, below /v2/repository/.")]

_MOST_HOURS = 1000  # of a time budget: six weeks


def seconds(duration: str) -> float:
    """Seconds of a `--time-budget` such as 90s, 20m, 1.5h or 1h30m.

    Raises:
        typer.BadParameter: it is not a duration, or it is longer than 1,000 hours.
    """
    found = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?", duration)
    hours, minutes, rest = found.groups(default="0") if found else ("0", "0", "0")
    try:
        total = 3600 * float(hours) + 60 * float(minutes) + float(rest)
    except ValueError:  # such as 1.2.3
        total = 0
    if not 0 < total <= _MOST_HOURS * 3600:
        raise typer.BadParameter(
            f"Received --time-budget {duration!r}. Expected a time such as 90s, 20m, 2h or 1h30m, at most "
            f"{_MOST_HOURS:,} hours."
        )
    return total


def is_given(context: typer.Context, parameter: str) -> bool:
    """Whether the user has set this option on the command line."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def refuse(context: typer.Context, *parameters: str, reason: str) -> None:
    """Refuses options of which another option makes no use, instead of ignoring them.

    Raises:
        typer.BadParameter: the user has set one of the parameters.
    """
    names = {one.name: one.opts[0] for one in context.command.params}
    for parameter in parameters:
        if is_given(context, parameter):
            raise typer.BadParameter(f"{names[parameter]} {reason}. Leave it out.")
