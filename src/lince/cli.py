"""The command line: parse, call, and turn errors into exit codes. Stages are imported inside the commands.

Exit codes: 0 done, 1 a LinceError (one sentence, no traceback), 2 usage, 3 a service that could not start,
130 interrupted. Results go to stdout, everything else to stderr.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from lince import __version__, native, stages
from lince.console import csv_rows, json_lines, print_json, print_text, progress_bar, say, show, stderr, text_lines
from lince.errors import LinceError

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
MODEL_HELP = "A model file (.tflite), a run folder, or cifar10, the model that ships."
ModelFile = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, e.g. train.epochs=5; see docs/recipes.md."),
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of every random choice.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop when a file cannot be read; otherwise it is left out.")]
Force = Annotated[bool, typer.Option("--force", help="Publish although int8 loses more than the bound; recorded.")]


def main() -> None:
    """The `lince` program."""
    try:
        app()
    except LinceError as error:
        _fail(error, code=1)
    except OSError as error:
        what = repr(error.filename) if error.filename else "A file"
        message = f"{what} could not be read or written ({error.strerror}). Files from before are intact: "
        _fail(LinceError(message + "make room, or correct path and permissions, and try again."), code=1)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def train(
    context: typer.Context,
    source: Annotated[str | None, typer.Argument(metavar="DATA", help=DATA_HELP)] = None,
    recipe: Annotated[str, typer.Option(help="One that ships (classic), or the path of a TOML file.")] = "classic",
    overrides: Overrides = None,
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
    if resume is not None:
        _refuse_with_resume(context, "recipe", "overrides", "name", "runs", "seed", "deterministic", "strict")
    pipeline = stages.pipeline(deterministic=deterministic, run=resume)
    with progress_bar(stderr()) as progress:
        if resume is not None:
            run = pipeline.resume(pipeline.RunFolder(resume), progress=progress)
        else:
            chosen = pipeline.recipes.load(recipe, overrides or ())
            folder = pipeline.RunFolder(runs / (name or chosen.name))
            run = pipeline.start(
                source, chosen, folder, seed=seed, deterministic=deterministic, strict=strict, progress=progress
            )
    stages.say_start(run)
    going_on = f"lince train --resume {run.folder.path}"
    with stages.interruptible(going_on), pipeline.watch(stderr(), run, tensorboard=tensorboard) as display:
        pipeline.train_model(run, display, resume=resume is not None)
    if until == "report":
        stages.publish(run.folder.path, name=None, overrides=(), force=force, as_json=as_json, opened=run)


@app.command()
def quantize(
    run: Run,
    name: Annotated[str | None, typer.Option(help="Of the model; otherwise the run's.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe's [quantize] or [calibrate]."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Quantise, calibrate and certify the trained network of RUN, into RUN/model.tflite."""
    stages.publish(run, name=name, overrides=tuple(overrides or ()), force=force, as_json=as_json)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP + " Or a .keras file, or an address.")],
    source: Annotated[
        str | None, typer.Argument(metavar="DATA", help=DATA_HELP + " The run's own if left out.")
    ] = None,
    split: Annotated[Literal["test", "validation", "train", "all"], typer.Option(help="Which images.")] = "test",
    as_json: Json = False,
) -> None:
    """Measure a float model, a model file or a running server on labelled images."""
    with stages.needs("Evaluating", "train"):
        from lince import subject

        with native.hushed():
            found = subject.find(model)
    with progress_bar(stderr()) as progress:
        images = subject.images(found, source, split, progress=progress)
        report, sets = subject.measure(found, images, progress=lambda done, total: progress(done, total, "evaluating"))
    if as_json:
        print_json({"model": model, "split": split, "report": report, "sets": sets})
        return
    from lince.reporting import tables

    show(tables.report_table(report), tables.class_table(report), tables.mistakes_table(report.mistakes))
    if sets:
        show(tables.sets_table(sets))


@app.command()
def predict(
    model: ModelFile,
    paths: Annotated[list[Path], typer.Argument(metavar="PATHS...", help="Images, folders, .zip files.")],
    top: Annotated[int, typer.Option(min=1, help="Classes to list for each image, with --json.")] = 5,
    logits: Annotated[bool, typer.Option("--logits", help="Add the network's raw output; with --json.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A header and one row an image.")] = False,
) -> None:
    """Classify images; exit code 1 when one of them could not be read."""
    if as_json and as_csv:
        raise typer.BadParameter("Expected --json or --csv, not both.")
    if logits and not as_json:
        raise typer.BadParameter("--logits has a place in --json only. Add --json.")
    from lince import artifact
    from lince.classifier import Classifier
    from lince.predict import predict_paths

    with native.hushed():
        classifier = Classifier.load(artifact.locate(model))
    rows = predict_paths(classifier, paths, top=top, logits=logits)
    write = json_lines if as_json else csv_rows if as_csv else text_lines
    failed = write(rows)
    if failed:
        say(f"Files that could not be read: {failed:,}.")
        sys.exit(1)


@app.command()
def inspect(model: ModelFile, as_json: Json = False) -> None:
    """Show what a model file says of itself, after verifying it."""
    from lince import artifact
    from lince.classifier import Classifier

    with native.hushed():
        classifier = Classifier.load(artifact.locate(model))
    if as_json:
        print_json(classifier.manifest)
    else:
        print_text(classifier.card)


@app.command()
def bench(model: ModelFile, as_json: Json = False) -> None:
    """Time a model file on this machine: one image at a time, on one thread and on all."""
    from lince import artifact, latency, machine

    read = artifact.read(artifact.locate(model))
    with native.hushed():
        measured = [latency.measure(read, threads=threads) for threads in sorted({1, machine.cores()})]
    if as_json:
        print_json({"model": read.manifest.version, "machine": machine.describe(), "latencies": measured})
        return
    print_text(f"{read.manifest.name} {read.manifest.version} on {machine.describe()}")
    for one in measured:
        print_text(
            f"threads {one.threads}: median {one.median_us:,.0f} µs, 95 % within {one.p95_us:,.0f} µs, "
            f"{one.images_per_second:,.0f} images/s (n = {one.runs})"
        )


@app.command()
def report(run: Run, as_json: Json = False) -> None:
    """Draw the plots and the HTML report of RUN anew."""
    from lince.run import RunFolder

    folder = RunFolder(run)
    folder.read_record()
    stages.write_report(run)
    if as_json:
        print_json(folder.read_report())


@data_app.command("check")
def data_check(
    source: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Report class counts, unreadable files, duplicates, and duplicates across train and test."""
    with stages.needs("Reading datasets", "train"):
        from lince import data
        from lince.reporting import dataset

    with progress_bar(stderr()) as progress:
        found = data.check(source, progress=progress)
    if as_json:
        print_json(found)
    else:
        show(*dataset.check_tables(found))
    if strict and found.rejected:
        raise LinceError(f"Files of {source!r} that cannot be used: {len(found.rejected):,}. Mend or remove them.")


@app.command()
def serve(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help=MODEL_HELP + " That one if left out.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.  [default: 8000]")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that answer.  [default: 1]")] = None,
) -> None:
    """Serve a model over HTTP, with a page at /. More settings: LINCE_... in the environment, see docs/http-api.md."""
    from lince import artifact

    with stages.needs("Serving", "serve"):
        from lince.serving.server import serve as run
        from lince.serving.settings import ServeSettings
    try:
        chosen = artifact.locate(model) if model else None
        run(ServeSettings.read(model=chosen, host=host, port=port, workers=workers))
    except LinceError as error:
        _fail(error, code=3)


def _refuse_with_resume(context: typer.Context, *parameters: str) -> None:
    """A run goes on as it began: options that would change it are refused, not ignored."""
    for parameter in parameters:
        if context.get_parameter_source(parameter).name == "COMMANDLINE":
            option = "--set" if parameter == "overrides" else f"--{parameter}"
            raise typer.BadParameter(f"{option} has no place beside --resume: a run goes on as it began. Leave it out.")


def _fail(error: LinceError, *, code: int) -> None:
    say(f"Error: {error}")
    sys.exit(code)
