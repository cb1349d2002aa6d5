"""The command line: parse, call, and turn errors into exit codes. Stages are imported inside the commands.

Exit codes: 0 done, 1 a LinceError (one sentence, no traceback), 2 usage, 3 a service that could not start,
130 interrupted. Results go to stdout, everything else to stderr.
"""

import errno
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lince import __version__
from lince.console import csv_rows, json_lines, print_json, progress_bar, say, show, stderr, text_lines
from lince.errors import LinceError
from lince.records import RunReport, Split

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="From labelled images to a small, fast, honest classifier in production: train, evaluate, quantise, serve.",
)
data_app = typer.Typer(no_args_is_help=True, help="Look at a dataset.")
app.add_typer(data_app, name="data")

DATA_HELP = "cifar10, a folder with a folder of images per class, or a .zip of one."
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, for example runs/classic.")]
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file (.tflite).")]
Seed = Annotated[int, typer.Option(min=0, help="Of every random choice.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop when a file cannot be read; otherwise it is left out.")]
Force = Annotated[bool, typer.Option("--force", help="Publish although int8 loses more than the bound; recorded.")]
# What the operating system says when there is no room: on the disk, in the user's quota, in the file.
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main() -> None:
    """The `lince` program."""
    try:
        app()
    except LinceError as error:
        _fail(error, code=1)
    except OSError as error:
        if error.errno not in _FULL_DISK:
            raise
        message = (
            f"A file could not be written ({error.strerror}). Those from before are intact: make room, and try again."
        )
        _fail(LinceError(message), code=1)
    except KeyboardInterrupt:
        say("Interrupted.")
        sys.exit(130)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def train(
    source: Annotated[str | None, typer.Argument(metavar="DATA", help=DATA_HELP)] = None,
    recipe: Annotated[str, typer.Option(help="One that ships (classic), or the path of a TOML file.")] = "classic",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, e.g. train.epochs=5.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the run folder; otherwise the recipe's name.")] = None,
    runs: Annotated[Path, typer.Option(help="Where run folders are made.")] = Path("runs"),
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a run, from its last finished epoch.")
    ] = None,
    seed: Seed = 0,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="The same bits on every run.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard logs, too.")] = False,
    until: Annotated[Literal["train", "report"], typer.Option(help="The last stage to run.")] = "report",
    strict: Strict = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train on DATA, quantise, calibrate, certify and report, into runs/NAME/."""
    if (source is None) == (resume is None):
        raise typer.BadParameter("Expected either DATA or --resume RUN.")
    stages = _training_stages(deterministic=deterministic, resume=resume)
    with progress_bar(stderr()) as progress:
        if resume is not None:
            run = stages.resume(stages.RunFolder(resume), progress=progress)
        else:
            chosen = stages.recipes.load(recipe, overrides or ())
            folder = stages.RunFolder(runs / (name or chosen.name))
            run = stages.start(
                source, chosen, folder, seed=seed, deterministic=deterministic, strict=strict, progress=progress
            )
    _say_start(run)
    try:
        with stages.watch(stderr(), run, tensorboard=tensorboard) as display:
            stages.train_model(run, display, resume=resume is not None)
    except KeyboardInterrupt:
        say(f"Stopped. Go on with: lince train --resume {run.folder.path}")
        sys.exit(130)
    if until == "report":
        report = stages.publish(run, force=force, say=say)
        _write_report(run.folder.path)
        _show_run(report, as_json=as_json)


@app.command()
def quantize(
    run: Run,
    name: Annotated[str | None, typer.Option(help="Of the model; otherwise the run's.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Quantise, calibrate and certify the trained network of RUN, into RUN/model.tflite."""
    stages = _training_stages(deterministic=False, resume=run)
    with progress_bar(stderr()) as progress:
        opened = stages.resume(stages.RunFolder(run), progress=progress)
    published = stages.publish(opened, name=name, force=force, say=say)
    _write_report(run)
    _show_run(published, as_json=as_json)


@app.command()
def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A .tflite or .keras file, RUN, or a server's address.")
    ],
    source: Annotated[str | None, typer.Argument(metavar="DATA", help=DATA_HELP + " RUN's own if left out.")] = None,
    split: Annotated[Literal["test", "validation", "train"], typer.Option(help="Which images.")] = "test",
    as_json: Json = False,
) -> None:
    """Measure a float model, a model file or a running server on labelled images."""
    from lince import calibration, evaluate, subject

    found = subject.find(model)
    with progress_bar(stderr()) as progress:
        images = _split(found, source, split, progress)
        _check_classes(found.classes, images.classes)
        report = evaluate.evaluate(found.predict, images, progress=lambda n, total: progress(n, total, "evaluating"))
    sets = None
    if found.classifier:
        prediction = found.classifier.predict(images.images)
        sets = calibration.set_report(prediction, images.labels, found.classifier.manifest.calibration)
    if as_json:
        print_json({"model": model, "split": split, "report": report, "sets": sets})
    else:
        from lince.reporting import tables

        show(tables.report_table(report), tables.class_table(report), *([tables.sets_table(sets)] if sets else []))


@app.command()
def predict(
    model: ModelFile,
    paths: Annotated[list[Path], typer.Argument(metavar="PATHS...", help="Images, folders, .zip files.")],
    top: Annotated[int, typer.Option(min=1, help="Classes to list for each image.")] = 5,
    logits: Annotated[bool, typer.Option("--logits", help="Add the network's raw output.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A header and one row an image.")] = False,
) -> None:
    """Classify images; exit code 1 when one of them could not be read."""
    if as_json and as_csv:
        raise typer.BadParameter("Expected --json or --csv, not both.")
    from lince.classifier import Classifier
    from lince.predict import predict_paths

    rows = predict_paths(Classifier.load(model), paths, top=top, logits=logits)
    write = json_lines if as_json else csv_rows if as_csv else text_lines
    failed = write(rows)
    if failed:
        say(f"{failed:,} files could not be read.")
        sys.exit(1)


@app.command()
def inspect(model: ModelFile, as_json: Json = False) -> None:
    """Show what a model file says of itself, after verifying it."""
    from lince.classifier import Classifier

    classifier = Classifier.load(model)
    if as_json:
        print_json(classifier.manifest)
    else:
        typer.echo(classifier.card)


@app.command()
def report(run: Run) -> None:
    """Draw the plots and the HTML report of RUN anew."""
    _write_report(run)


@data_app.command("check")
def data_check(
    source: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Report class counts, unreadable files, duplicates, and duplicates across train and test."""
    from lince import data

    with progress_bar(stderr()) as progress:
        found = data.check(source, progress=progress)
    if as_json:
        print_json(found)
    else:
        from lince.reporting import dataset

        show(*dataset.check_tables(found))
    if strict and found.rejected:
        raise LinceError(f"{len(found.rejected):,} files of {source!r} cannot be used. Mend or remove them.")


@app.command()
def serve(
    model: Annotated[
        Path | None, typer.Argument(metavar="[MODEL]", help="A model file; the one that ships if left out.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.  [default: 8000]")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that answer.  [default: 1]")] = None,
) -> None:
    """Serve a model over HTTP, with a page at /. More settings: LINCE_... in the environment, see docs/http-api.md."""
    try:
        from lince.serving.server import serve as run
        from lince.serving.settings import ServeSettings
    except ModuleNotFoundError as error:
        raise LinceError(
            f"Serving needs {error.name!r}, which is not installed: pip install 'lince[serve]'."
        ) from error
    try:
        run(ServeSettings.read(model=model, host=host, port=port, workers=workers))
    except LinceError as error:
        _fail(error, code=3)


def _say_start(run: Any) -> None:
    say(
        f"{run.folder.path}: {len(run.train):,} images to train on, {len(run.validation):,} to validate, "
        f"{len(run.test):,} to test, {len(run.record.classes)} classes; {run.record.precision}."
    )
    if run.record.rejected:
        first = run.record.rejected[0]
        say(f"Left out {len(run.record.rejected):,} files, the first: {first.path} ({first.reason})")


def _training_stages(*, deterministic: bool, resume: Path | None) -> Any:
    """`lince.training.pipeline`, imported once the backend has been told what the run wants."""
    from lince.run import RunFolder

    if resume is not None:
        deterministic = RunFolder(resume).read_record().deterministic
    try:
        from lince.training import backend

        backend.prepare(deterministic=deterministic)
        from lince.training import pipeline
    except ModuleNotFoundError as error:
        raise LinceError(
            f"Training needs {error.name!r}, which is not installed: pip install 'lince[train]'."
        ) from error
    return pipeline


def _split(found: Any, source: str | None, split: str, progress: Any) -> Split:
    """The images to evaluate on: of DATA, or of the run that the model lies in, with the run's own validation split."""
    from lince import data
    from lince.run import RunFolder

    if source is None and found.run is None:
        raise typer.BadParameter("Expected DATA: this model does not lie in a run folder.")
    if split == "validation" and found.run is None:
        raise typer.BadParameter("--split validation is known to a run folder only. Expected MODEL to lie in one.")
    record = RunFolder(found.run).read_record() if found.run else None
    dataset = data.load(source or record.source, found.spec, seed=record.seed if record else 0, progress=progress)
    if split == "test":
        return dataset.test
    if record is None:
        return dataset.train
    if dataset.fingerprint != record.fingerprint:
        raise LinceError(f"DATA is not what the run was trained on, so --split {split} has no meaning. Leave DATA out.")
    return dataset.train.take(RunFolder(found.run).read_splits()[split])


def _check_classes(model: tuple[str, ...], images: tuple[str, ...]) -> None:
    if model != images:
        raise LinceError(f"The model knows {list(model)}, DATA has {list(images)}. Expected the same classes.")


def _write_report(run: Path) -> None:
    from lince.reporting.run import write_run_report
    from lince.run import RunFolder

    write_run_report(RunFolder(run))
    say(f"Report: {run / 'report.html'}")


def _show_run(result: RunReport, *, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    from lince.reporting import tables

    show(tables.report_table(result.int8), tables.sets_table(result.sets), tables.certificate_table(result.certificate))


def _missing(what: str, extra: str, error: ModuleNotFoundError) -> LinceError:
    return LinceError(f"{what} needs {error.name!r}, which is not installed: pip install 'lince[{extra}]'.")


def _fail(error: LinceError, *, code: int) -> None:
    say(f"Error: {error}")
    sys.exit(code)
