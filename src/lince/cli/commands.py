"""The verbs of the command line: they parse, call a stage, and turn errors into exit codes.

Exit codes: 0 done, 1 a LinceError (one sentence, no traceback), 2 usage, 3 a service that could not start,
130 interrupted, 141 the reader of stdout has gone. Results go to stdout, everything else to stderr.
Stages are imported inside the commands, so that each verb needs only its own packages.
"""

import difflib
import re
import shlex
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import Meta
from typer.core import TyperGroup
from typer.models import OptionInfo

from lince import __version__, schema
from lince.cli import run_commands
from lince.cli.console import (
    csv_rows,
    errors_as_exit_codes,
    fail,
    json_lines,
    print_json,
    print_text,
    progress_bar,
    say,
    show,
    stderr,
    text_lines,
)
from lince.errors import LinceError
from lince.publishing.options import PublishOptions, PublishRequest
from lince.system import quiet, streams


class Verbs(TyperGroup):
    """Commands by name. The error for an unknown name suggests a similar one, and lists all of them."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # click's types: newer typers have a private copy
        """As typer does it, with another error for an unknown name."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            inside = {
                sub: f"{verb} {sub}" for verb, one in self.commands.items() for sub in getattr(one, "commands", ())
            }
            known = {verb: verb for verb in self.commands} | inside
            near = difflib.get_close_matches(name.lower(), known, 1)
            meant = f" Did you mean {known[near[0]]!r}?" if near else ""
            ctx.fail(f"Received {name!r}.{meant} Expected one of {', '.join(self.commands)}.")
        return super().resolve_command(ctx, args)


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
    """An option that takes one of a few words. Its error lists them; typer's own names a "Value error" as well."""

    def parse(text: str) -> str:
        if text not in words:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(map(repr, words))}.")
        return text

    def complete() -> list[str]:
        return list(words)

    option: OptionInfo = typer.Option(parser=parse, metavar="|".join(words), autocompletion=complete, help=help)
    return option


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="From labelled images to a small, fast, honest classifier in production: train, evaluate, quantize, serve.",
)
data_app = typer.Typer(cls=Verbs, no_args_is_help=True, help="Look at a dataset.")
app.add_typer(data_app, name="data")

DATA_HELP = (
    "cifar10, a folder with a folder of images per class, or a .zip of one. JPEG, PNG, WebP, BMP, GIF, TIFF and AVIF "
    "are read."
)
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, for example runs/classic.")]
MODEL_HELP = "A model file (.tflite), a run folder, or cifar10, the model that ships."
ModelFile = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, e.g. train.epochs=5; see docs/recipes.md."),
]
Seed = Annotated[int, _number(least=0, most=2**32 - 1, help="Seed of all random choices.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop when a file cannot be read; otherwise it is left out.")]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Publish although int8 loses too much, or the model is no better than one class; recorded."
    ),
]
Fallback = Annotated[
    bool,
    typer.Option(
        "--fallback",
        help="When int8 loses more than the bound, keep the most sensitive layers in float; recorded.",
    ),
]

# Keys of a recipe that have an effect only in a run with a teacher.
_TEACHER_KEY = re.compile(r"\s*(train|augment)\.teacher_")

_MOST_HOURS = 1000  # of a time budget: six weeks

_TOP_IN_JSON = 5  # as the service's `top`

# Options that --resume takes from the run.
_FIXED_BY_THE_RUN = (
    *("recipe", "overrides", "time_budget", "name", "runs", "seed", "deterministic", "strict"),
    *("teacher", "leave_out", "fit"),
)


def main() -> None:
    """The `lince` program."""
    streams.prepare()
    warnings.filterwarnings("ignore", module="PIL")  # one damaged picture can cause 100,000 lines
    if "" in sys.argv[1:]:  # a shell variable that is not set; as a path it would mean the current folder
        fail(LinceError("Received an empty argument (''). Expected a name or a path there."), code=2)
    with errors_as_exit_codes():
        app(prog_name="lince")


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command(short_help="Train on DATA and publish a model, into runs/NAME/.")
def train(
    context: typer.Context,
    source: Annotated[str | None, typer.Argument(metavar="DATA", help=DATA_HELP)] = None,
    recipe: Annotated[
        str,
        typer.Option(
            help="A recipe that ships, or the path of a TOML file. default, best, fast, small and tiny are for small "
            "images, photos is for photographs, classic and resnet8 are for comparison. --time-budget picks one, "
            "unless you name one."
        ),
    ] = run_commands.DEFAULT_RECIPE,
    overrides: Overrides = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run folder.  [default: the recipe's, or the time budget]")
    ] = None,
    fit: Annotated[
        str | None,
        _choice(
            *("crop", "pad", "stretch"),
            help="How pictures become squares, in training and later: crop cuts out the centre, pad adds grey bars, "
            "stretch changes the proportions. Short for --set fit=….  [default: the recipe's, crop]",
        ),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder in which run folders are made.")] = Path("runs"),
    time_budget: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Train and publish within this time (90s, 20m, 2h): picks the recipe and how long to train; with "
            "--recipe, only how long.",
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Continue a run from its last finished epoch.")
    ] = None,
    seed: Seed = 0,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="Give the same bits on every run.")] = False,
    teacher: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Also learn from the logits of this model (distillation).")
    ] = None,
    leave_out: Annotated[
        str | None,
        typer.Option(
            metavar="OTHER",
            help="Do not train or validate on images that are in OTHER as well, a folder or .zip (same CLASS/NAME), "
            "so that OTHER can serve as a test.",
        ),
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard logs.")] = False,
    until: Annotated[str, _choice("train", "report", help="Last stage to run.")] = "report",
    strict: Strict = False,
    fallback: Fallback = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train on DATA, quantize, calibrate, certify and report, into runs/NAME/."""
    began = time.perf_counter()
    if (source is None) == (resume is None):
        raise typer.BadParameter("Expected either DATA or --resume RUN.")
    if resume is not None:
        _refuse_with_resume(context, *_FIXED_BY_THE_RUN)
    if until == "train":
        _refuse_without_effect(
            context, "fallback", "force", "as_json", where="with --until train: nothing is published"
        )
    if teacher is None and (given := [one for one in overrides or () if _TEACHER_KEY.match(one)]):
        raise typer.BadParameter(
            f"--set {given[0]} has no effect without --teacher MODEL. Add it, or leave the key out."
        )
    if time_budget is not None and deterministic:
        raise typer.BadParameter(
            "--time-budget cannot be combined with --deterministic, because timed runs are not reproducible. "
            "Leave one of them out."
        )
    if time_budget is not None and fallback:
        raise typer.BadParameter(
            "Expected --time-budget or --fallback, not both: how long a fallback takes cannot be predicted. Use "
            "lince quantize RUN --fallback after the training."
        )
    _refuse_force_and_fallback(force=force, fallback=fallback)
    overrides = _with_fit(overrides or [], fit)
    seconds = None if time_budget is None else _seconds(time_budget)
    named = seconds is None or _given(context, "recipe")
    asked = None
    if source is not None:
        asked = run_commands.request(
            source,
            recipe=recipe if named else None,
            overrides=overrides,
            runs=runs,
            name=time_budget if name is None and not named else name,
            teacher=teacher,
            leave_out=leave_out,
            seconds=seconds,
            began=began,
        )
    run_commands.prepare(deterministic=deterministic, run=resume, trains=True)
    from lince import pipeline

    with progress_bar(stderr()) as progress:
        if resume is not None:
            run = pipeline.resume(pipeline.RunFolder(resume), progress=progress)
        elif asked is not None:
            run = pipeline.start(
                asked.source,
                asked.recipe,
                asked.folder,
                seed=seed,
                deterministic=deterministic,
                strict=strict,
                progress=progress,
                teacher=asked.teacher,
                leave_out=leave_out,
                plan=run_commands.time_plan(asked.limit) if asked.limit else None,
            )
    run_commands.say_start(run)
    flags = {
        "--tensorboard": tensorboard,
        "--until=train": until == "train",
        "--fallback": fallback,
        "--force": force,
        "--json": as_json,
    }
    given = [flag for flag, is_given in flags.items() if is_given]
    going_on = shlex.join(["lince", "train", "--resume", str(run.folder.path), *given])
    with run_commands.interruptible(going_on), pipeline.watch(stderr(), run, tensorboard=tensorboard) as display:
        pipeline.train_model(run, display, resume=resume is not None)
    if until == "report":
        options = PublishOptions(force=force, fallback=fallback)
        request = PublishRequest(str(run.folder.path), options=options)
        run_commands.publish(request, as_json=as_json, opened=run)
    run_commands.say_cost(time.perf_counter() - began)


@app.command(short_help="Quantize, calibrate and certify RUN's network.")
def quantize(
    run: Run,
    name: Annotated[str | None, typer.Option(help="Name of the model.  [default: the run's]")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe's [quantize] or [calibrate]."),
    ] = None,
    about: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Markdown for the model's card: origin and licence of the data, limits."),
    ] = None,
    fallback: Fallback = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Quantize, calibrate and certify the trained network of RUN, into RUN/model.tflite."""
    _refuse_force_and_fallback(force=force, fallback=fallback)
    options = PublishOptions(name=name, force=force, fallback=fallback)
    run_commands.publish(PublishRequest(str(run), tuple(overrides or ()), options), about=about, as_json=as_json)


@app.command(short_help="Measure a network, a model file or a running server.")
def evaluate(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model file (.tflite), a run folder, cifar10 (the model that ships), a run's model.keras, or the "
            "address of a running server.",
        ),
    ],
    source: Annotated[str | None, typer.Argument(metavar="DATA", help=DATA_HELP + "  [default: the run's own]")] = None,
    split: Annotated[str, _choice("test", "validation", "train", "all", help="Which images of DATA.")] = "test",
    corruptions: Annotated[
        bool,
        typer.Option(
            "--corruptions",
            help="Also measure on degraded images: noise, blur, contrast, JPEG, pixelate, in 5 strengths each.",
        ),
    ] = False,
    foreign: Annotated[
        bool,
        typer.Option(
            "--foreign",
            help="Also measure on generated pictures that belong to no class; without DATA, on these alone.",
        ),
    ] = False,
    foreign_images: Annotated[
        list[Path] | None,
        typer.Option(
            "--foreign-images",
            metavar="PATH",
            help="As --foreign, and also on the pictures in this folder or .zip; repeatable.",
        ),
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure a float model, a model file or a running server on labelled images.

    --foreign measures how often the model says "I don't know" to pictures of no class of its training data. The result
    holds for these pictures; other kinds may give other rates.
    """
    foreign = foreign or bool(foreign_images)
    labelled = source is not None or corruptions or not foreign
    if not labelled:
        _refuse_without_effect(context, "split", where="with --foreign alone: no labelled image is read")
    if not corruptions and not foreign:
        _refuse_without_effect(context, "seed", where="without --corruptions or --foreign: nothing is drawn")
    with run_commands.needs("Evaluating", "train"):
        from lince.evaluation import accuracy, evaluated_model, robustness

        with quiet.captured_stderr():
            found = run_commands.open_model(model)
    result = dict.fromkeys(("report", "sets", "corruptions", "ood"))
    with progress_bar(stderr()) as progress:
        if labelled:
            images = evaluated_model.images(found, source, split, progress=progress)
            result["report"], result["sets"] = accuracy.evaluate(
                found.predict, images, fitted=found.fitted, progress=progress
            )
        if corruptions:
            result["corruptions"] = robustness.corruption_report(
                found.predict, images, fitted=found.fitted, seed=seed, progress=progress
            )
        if foreign:
            result["ood"] = robustness.ood_report(
                found.predict,
                found.spec,
                num_classes=len(found.classes),
                fitted=found.fitted,
                folders=foreign_images or (),
                seed=seed,
                progress=progress,
            )
    if as_json:
        print_json({"model": model, "split": split if labelled else None, **result})
        return
    from lince.reporting import tables

    show(*tables.evaluation_tables(**result))


@app.command()
def predict(
    model: ModelFile,
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Images (JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF), folders, .zip files."),
    ],
    top: Annotated[
        int | None,
        _number(
            least=1,
            help="List so many of the most probable classes of each image.  [default: 5 with --json, else none]",
        ),
    ] = None,
    logits: Annotated[bool, typer.Option("--logits", help="Add the network's output; with --json only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A header and one row an image.")] = False,
) -> None:
    """Classify images; exit code 1 when one of them could not be read."""
    if as_json and as_csv:
        raise typer.BadParameter("Expected --json or --csv, not both.")
    if logits and not as_json:
        raise typer.BadParameter("--logits works with --json only. Add --json.")
    from lince import calibration
    from lince.inference.classifier import Classifier
    from lince.inference.folder_prediction import predict_paths
    from lince.model_file import artifact

    with quiet.captured_stderr():
        classifier = Classifier.load(artifact.locate(model))
    fitted = classifier.manifest.calibration
    if fitted.set_threshold is None:
        say(calibration.what_is_missing(fitted))
    listed = min(top or 0, len(classifier.classes))
    rows = predict_paths(classifier, paths, top=listed or _TOP_IN_JSON, logits=logits)
    failed = json_lines(rows) if as_json else (csv_rows if as_csv else text_lines)(rows, top=listed)
    if failed:
        say(f"Files that could not be read: {failed:,}.")
        sys.exit(1)


@app.command()
def inspect(model: ModelFile, as_json: Json = False) -> None:
    """Verify a model file, and show its card."""
    from lince.inference.classifier import Classifier
    from lince.model_file import artifact

    with quiet.captured_stderr():
        classifier = Classifier.load(artifact.locate(model))
    if as_json:
        print_json(classifier.manifest)
    else:
        print_text(classifier.card)


@app.command(short_help="Time a model file: latency and throughput.")
def bench(model: ModelFile, as_json: Json = False) -> None:
    """Time a model file on this machine: latency and throughput, on one thread and on all."""
    from lince.inference import latency
    from lince.model_file import artifact

    read = artifact.read(artifact.locate(model))
    with quiet.captured_stderr():
        measured = latency.bench(read)
    if as_json:
        print_json(measured)
        return
    from lince.reporting import tables

    show(*tables.bench_tables(measured))


@app.command()
def report(run: Run, as_json: Json = False) -> None:
    """Write the plots and the HTML report of RUN again."""
    from lince.runs.run_folder import RunFolder

    folder = RunFolder(run)
    folder.read_record()
    run_commands.write_report(run)
    if as_json:
        print_json(folder.read_report())


@data_app.command("check", short_help="Report counts, broken files and duplicates.")
def data_check(
    source: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Report class counts, unreadable files, duplicates, and duplicates between train and test."""
    with run_commands.needs("Reading datasets", "train"):
        from lince import data
        from lince.reporting import dataset

    with progress_bar(stderr()) as progress:
        found = data.check(source, progress=progress)
    if as_json:
        print_json(found)
    else:
        show(*dataset.check_tables(found))
    if strict and (unusable := len(found.rejected) + len(found.empty)):
        what = f"Files or class folders of {source!r} that cannot be used"
        raise LinceError(f"{what}: {unusable:,}. Repair or remove them.")


@app.command()
def serve(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help=MODEL_HELP + "  [default: cifar10]")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, _number(help="Port; 0 takes a free one.  [default: 8000]")] = None,
    workers: Annotated[int | None, _number(help="Processes that answer.  [default: 1]")] = None,
    sha256: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="Refuse the model file unless its SHA-256 is HEX."),
    ] = None,
) -> None:
    """Serve a model over HTTP, with a page at /.

    More settings are variables LINCE_... of the environment; see docs/http-api.md.
    """
    from lince.model_file import artifact

    with run_commands.needs("Serving", "serve"):
        from lince.serving.server import serve as run
        from lince.serving.settings import ServeSettings
    try:
        chosen = artifact.locate(model) if model else None
        run(ServeSettings.read(model=chosen, host=host, port=port, workers=workers, sha256=sha256))
    except LinceError as error:
        fail(error, code=3)


def _seconds(duration: str) -> float:
    """Seconds of a text like 90s, 20m, 1.5h or 1h30m."""
    found = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?", duration)
    hours, minutes, rest = found.groups(default="0") if found else ("0", "0", "0")
    try:
        seconds = 3600 * float(hours) + 60 * float(minutes) + float(rest)
    except ValueError:  # such as 1.2.3
        seconds = 0
    if not 0 < seconds <= _MOST_HOURS * 3600:
        raise typer.BadParameter(
            f"Received --time-budget {duration!r}. Expected a time such as 90s, 20m, 2h or 1h30m, at most "
            f"{_MOST_HOURS:,} hours."
        )
    return seconds


def _with_fit(overrides: list[str], fit: str | None) -> list[str]:
    if fit is None:
        return overrides
    if given := [override for override in overrides if override.partition("=")[0].strip() == "fit"]:
        raise typer.BadParameter(f"Expected --fit or --set fit=…, not both; received --fit {fit} and --set {given[0]}.")
    return [*overrides, f"fit={fit}"]


def _refuse_force_and_fallback(*, force: bool, fallback: bool) -> None:
    if fallback and force:
        raise typer.BadParameter(
            "--fallback, which keeps the bound, cannot be combined with --force, which ignores it. Leave one out."
        )


def _given(context: typer.Context, parameter: str) -> bool:
    """Whether the user has set this option on the command line."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def _refuse_with_resume(context: typer.Context, *parameters: str) -> None:
    """Refuses options that would change a run which is continued, rather than ignore them."""
    for parameter in parameters:
        if _given(context, parameter):
            option = "--set" if parameter == "overrides" else f"--{parameter.replace('_', '-')}"
            raise typer.BadParameter(
                f"{option} cannot be combined with --resume: a run continues with its own settings. Leave it out."
            )


def _refuse_without_effect(context: typer.Context, *parameters: str, where: str) -> None:
    """Refuses options that would have no effect, rather than ignore them."""
    for parameter in parameters:
        if _given(context, parameter):
            name = parameter.removeprefix("as_").replace("_", "-")
            raise typer.BadParameter(f"--{name} has no effect {where}. Leave it out.")
