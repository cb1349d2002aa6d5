"""The commands of `lince`: their options, and which of them go together. `run_commands.py` does the work.

Exit codes: 0 done; 1 a LinceError (one sentence, no traceback); 2 usage; 3 a service that could not start;
130 interrupted; 141 the reader of stdout closed it. Results go to stdout, everything else to stderr.
Stages are imported inside the commands, so that each command needs only its own packages.
"""

import re
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from lince import __version__
from lince.cli import (
    evaluation,
    explanation,
    frameworks,
    options,
    prediction,
    run_commands,
    run_publishing,
    run_start,
)
from lince.cli.console import (
    errors_as_exit_codes,
    fail,
    print_json,
    print_text,
    progress_bar,
    say,
    show,
    stderr,
)
from lince.errors import LinceError
from lince.language import Language
from lince.publishing.options import PublishOptions, PublishRequest
from lince.system import garbage, quiet, streams
from lince.text import NAME


class Commands(TyperGroup):
    """Commands by name. The error for an unknown name suggests a similar one, and lists all of them."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # click's types: newer typers have a private copy
        """As typer does it, with another error for an unknown name."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            import difflib

            known = {command: command for command in self.commands}
            for group, one in self.commands.items():
                known |= {inner: f"{group} {inner}" for inner in getattr(one, "commands", ())}
            near = difflib.get_close_matches(name.lower(), known, 1)
            meant = f" Did you mean {known[near[0]]!r}?" if near else ""
            ctx.fail(f"Received {name!r}.{meant} Expected one of {', '.join(self.commands)}.")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="From labelled images to a small, fast image classifier in production: train, evaluate, quantize, serve.",
)
data_app = typer.Typer(cls=Commands, no_args_is_help=True, help="Look at a dataset.")
app.add_typer(data_app, name="data")
feedback_app = typer.Typer(cls=Commands, no_args_is_help=True, help="Use the corrections that a service has stored.")
app.add_typer(feedback_app, name="feedback")

# Keys of a recipe that have an effect only in a run with a teacher.
_TEACHER_KEY = re.compile(r"\s*(train|augment)\.teacher_")


# Options that a resumed run takes from its folder.
_FIXED_BY_THE_RUN = (
    *("recipe", "overrides", "time_budget", "name", "runs", "seed", "deterministic", "strict"),
    *("teacher", "leave_out", "groups", "fit"),
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
    source: options.TrainingData = None,
    recipe: options.RecipeName = None,
    overrides: options.Overrides = None,
    name: options.RunName = None,
    fit: options.Fit = None,
    runs: options.Runs = Path("runs"),
    time_budget: options.TimeBudget = None,
    resume: options.Resume = None,
    seed: options.Seed = 0,
    deterministic: options.Deterministic = False,
    teacher: options.Teacher = None,
    leave_out: options.LeaveOut = None,
    groups: options.GroupRule = None,
    tensorboard: options.TensorBoard = False,
    until: options.Until = "report",
    strict: options.Strict = False,
    fallback: options.Fallback = False,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Train on DATA, quantize, calibrate, certify and report, into runs/NAME/."""
    began = time.perf_counter()
    _check_train_options(context)
    overrides = _with_fit(overrides or [], fit)
    seconds = None if time_budget is None else options.seconds(time_budget)
    if resume is not None:
        run = frameworks.resume(resume, trains=True)
    elif source is not None:
        run = run_start.start(
            source,
            recipe=recipe,
            overrides=overrides,
            runs=runs,
            name=time_budget if name is None and recipe is None else name,
            teacher=teacher,
            leave_out=leave_out,
            groups=groups,
            seconds=seconds,
            began=began,
            seed=seed,
            deterministic=deterministic,
            strict=strict,
        )
    publish_options = PublishOptions(force=force, fallback=fallback) if until == "report" else None
    run_commands.train(
        run, publish_options, began=began, resumes=resume is not None, tensorboard=tensorboard, as_json=as_json
    )
    run_commands.say_cost(time.perf_counter() - began)


@app.command(short_help="Quantize, calibrate and certify RUN's network.")
def quantize(
    run: options.Run,
    name: options.ModelName = None,
    overrides: options.PublishOverrides = None,
    about: options.About = None,
    fallback: options.Fallback = False,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Quantize, calibrate and certify the trained network of RUN, into RUN/model.tflite."""
    _refuse_force_and_fallback(force=force, fallback=fallback)
    publish_options = PublishOptions(name=name, force=force, fallback=fallback)
    request = PublishRequest(str(run), tuple(overrides or ()), publish_options)
    run_publishing.publish(request, about=about, as_json=as_json)


@app.command(short_help="Measure a network, a model file or a running server.")
def evaluate(
    context: typer.Context,
    model: options.EvaluatedModel,
    source: options.EvaluationData = None,
    split: options.SplitName = "test",
    corruptions: options.Corruptions = False,
    foreign: options.Foreign = False,
    foreign_images: options.ForeignImages = None,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Measure a float model, a model file or a running server on labelled images.

    --foreign measures how often the model says "I don't know" to pictures of no class of its training data. The result
    holds for these pictures; other kinds may give other rates.
    """
    foreign = foreign or bool(foreign_images)
    reads_data = source is not None or corruptions or not foreign
    if not reads_data:
        options.refuse(context, "split", reason="has no effect with --foreign alone: no labelled image is read")
    if not corruptions and not foreign:
        options.refuse(context, "seed", reason="has no effect without --corruptions or --foreign: nothing is drawn")
    result = evaluation.evaluate(
        model,
        source,
        split=split if reads_data else None,
        corruptions=corruptions,
        foreign=foreign,
        foreign_images=foreign_images or (),
        seed=seed,
    )
    if as_json:
        print_json({"model": model, "split": split if reads_data else None, **result})
        return
    from lince.reporting import tables

    show(*tables.evaluation_tables(**result))


@app.command()
def predict(
    model: options.ModelFile,
    paths: options.Images,
    top: options.Top = None,
    logits: options.Logits = False,
    as_json: options.JsonLines = False,
    as_csv: options.Csv = False,
    output: options.Output = None,
    resume: options.ResumeOutput = False,
    sort_into: options.SortInto = None,
    workers: options.PredictWorkers = None,
) -> None:
    """Classify images; exit code 1 when one of them could not be read."""
    if as_json + as_csv + (output is not None) > 1:
        raise typer.BadParameter("Expected one of --json, --csv and --output.")
    if logits and not (as_json or (output and output.suffix.lower() in (".jsonl", ".parquet"))):
        raise typer.BadParameter("--logits works with --json, or --output FILE.jsonl or .parquet. Add one of them.")
    if resume and output is None:
        raise typer.BadParameter("--resume works with --output FILE only. Add --output.")
    failed = prediction.predict(
        model,
        paths,
        top=top or 0,
        logits=logits,
        output=output or ("json" if as_json else "csv" if as_csv else "text"),
        resume=resume,
        sort_into=sort_into,
        workers=workers,
    )
    if failed:
        say(f"Paths or images without an answer: {failed:,}.")
        sys.exit(1)


@app.command(short_help="List the models that ship.")
def models(as_json: options.Json = False) -> None:
    """List the models that ship, with the size, latency and accuracy that each file states."""
    from lince.model_file import catalog

    found = catalog.entries()
    if as_json:
        print_json(found)
        return
    from lince.reporting import catalog as page
    from lince.reporting import tables

    show(tables.rich_table(page.catalog_table(found)))


@app.command(short_help="Show what in IMAGE supports the answer.")
def explain(
    model: options.ModelFile,
    image: options.Image,
    label: options.ExplainedClass = None,
    out: options.Overlay = None,
    as_json: options.Json = False,
) -> None:
    """Show what in IMAGE supports the answer, and write a picture of it: IMAGE, and beside it a heat map over IMAGE.

    Parts of IMAGE are blurred in many ways, and the model answers each time. Orange supports the class, blue speaks
    against it, and a line surrounds the quarter that supports it most. --json prints the heat map as well.
    """
    explanation.explain(model, image, label=label, out=out, as_json=as_json)


@app.command()
def inspect(model: options.ModelFile, as_json: options.Json = False) -> None:
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
def bench(model: options.ModelFile, as_json: options.Json = False) -> None:
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


@app.command(short_help="Write the plots and the report of RUN again.")
def report(run: options.Run, lang: options.Lang = "en", as_json: options.Json = False) -> None:
    """Write the plots of RUN again, and its report as report.html and report.md."""
    from lince.runs.run_folder import RunFolder

    folder = RunFolder(run)
    folder.read_record()
    run_publishing.write_report(run, language=cast("Language", lang))
    say(f"Report: {folder.page}")
    if as_json:
        print_json(folder.read_report())


@app.command(short_help="Show published runs side by side.")
def compare(runs: options.ComparedRuns, as_json: options.Json = False) -> None:
    """Show published runs side by side: accuracy, loss by int8, size, latency, time, and what differs in the recipes.

    Where runs have the same test images, their answers to each image are compared with those of the first run.
    """
    from lince.reporting import comparison
    from lince.runs.run_folder import RunFolder

    found = comparison.compare(list(map(RunFolder, runs)))
    if as_json:
        print_json(found)
        return
    from lince.reporting import tables

    show(*map(tables.rich_table, comparison.comparison_tables(found)))


@data_app.command("check", short_help="Report counts, broken files and duplicates.")
def data_check(
    context: typer.Context,
    source: options.Data,
    model: options.LabelRun = None,
    page: options.LabelPage = None,
    groups: options.GroupRule = None,
    strict: options.Strict = False,
    as_json: options.Json = False,
) -> None:
    """Report class counts, unreadable files, duplicates, and duplicates between train and test.

    With --model, also list labels that may be wrong: another class is more probable to a classifier that was fitted to
    other images.
    """
    if model is None:
        options.refuse(context, "page", reason="has no effect without --model RUN: no label is checked")
    with frameworks.needs("Reading datasets", "train"):
        from lince import data
        from lince.reporting import dataset

    with progress_bar(stderr()) as progress:
        checked = run_commands.check_labels(source, model, page, progress=progress) if model is not None else None
        found = data.check(source, groups=groups, progress=progress)
    if checked is not None:
        found = replace(found, suspected_labels=checked.suspects)
    if as_json:
        print_json(found)
    else:
        show(*dataset.check_tables(found))
        print_text(dataset.conclusion(found))
    if strict and (unusable := len(found.rejected) + len(found.empty)):
        what = f"Files or class folders of {source!r} that cannot be used"
        raise LinceError(f"{what}: {unusable:,}. Repair or remove them.")


@app.command()
def serve(
    model: options.ServedModels = None,
    models: options.ModelFolder = None,
    host: options.Host = None,
    port: options.Port = None,
    workers: options.Workers = None,
    sha256: options.Sha256 = None,
    api_keys: options.ApiKeys = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    config: options.Config = None,
    print_config: options.PrintConfig = False,
) -> None:
    """Serve models over HTTP, with a page at /. The first one answers requests that name none.

    More settings are variables LINCE_... of the environment, or lines of a file; see docs/http-api.md.
    """
    with garbage.paused():  # until the service is ready
        with frameworks.needs("Serving", "serve"):
            from lince.serving.server import serve as run
            from lince.serving.settings import ServeSettings
        try:
            settings = ServeSettings.read(
                file=config,
                model=model,
                models=models,
                host=host,
                port=port,
                workers=workers,
                sha256=sha256,
                api_keys=api_keys,
                tls_cert=tls_cert,
                tls_key=tls_key,
            )
            if print_config:
                print_text(settings.to_toml())
            else:
                run(settings)
        except LinceError as error:
            fail(error, code=3)


@app.command(short_help="Make an API key for a client of the service.")
def key(name: options.KeyName, admin: options.Admin = False) -> None:
    """Make a random API key for a client of the service: lince key NAME >> keys.txt.

    The line for the file of lince serve --api-keys goes to stdout. The key itself goes to stderr. It is kept nowhere,
    so give it to the client now.
    """
    from lince.serving.api_keys import new_key

    if NAME.fullmatch(name) is None:
        raise typer.BadParameter(
            f"Received the name {name!r}. Expected at most 100 letters, digits, '_', '.' and '-', with a letter, a "
            "digit or '_' first."
        )
    made, line = new_key(name, "admin" if admin else "predict")
    print_text(line)
    say(f"Key, shown this once: {made}")


@feedback_app.command("export", short_help="Write corrections as a dataset, into FOLDER.")
def feedback_export(folder: options.FeedbackFolder, config: options.Config = None) -> None:
    """Write the corrections that a service has stored as a dataset: a folder for each class, for lince train.

    The database is the one that the service's settings name: LINCE_FEEDBACK, or the line feedback of its file.
    """
    with frameworks.needs("Exporting corrections", "serve,feedback"):
        from lince.cli import feedback
        from lince.serving.settings import ServeSettings

    feedback.export(ServeSettings.read(file=config), folder)


def _check_train_options(context: typer.Context) -> None:
    """Refuses options of `lince train` that contradict each other, and options without effect."""
    given = context.params
    if (given["source"] is None) == (given["resume"] is None):
        raise typer.BadParameter("Expected either DATA or --resume RUN.")
    if given["resume"] is not None:
        reason = "cannot be combined with --resume: a run continues with its own settings"
        options.refuse(context, *_FIXED_BY_THE_RUN, reason=reason)
    if given["until"] == "train":
        reason = "has no effect with --until train: nothing is published"
        options.refuse(context, "fallback", "force", "as_json", reason=reason)
    overrides = given["overrides"] or ()
    if given["teacher"] is None and (keys := [one for one in overrides if _TEACHER_KEY.match(one)]):
        raise typer.BadParameter(
            f"--set {keys[0]} has no effect without --teacher MODEL. Add it, or leave the key out."
        )
    if given["time_budget"] is not None and given["deterministic"]:
        raise typer.BadParameter(
            "--time-budget cannot be combined with --deterministic, because timed runs are not reproducible. "
            "Leave one of them out."
        )
    if given["time_budget"] is not None and given["fallback"]:
        raise typer.BadParameter(
            "Expected --time-budget or --fallback, not both: how long a fallback takes cannot be predicted. Use "
            "lince quantize RUN --fallback after the training."
        )
    _refuse_force_and_fallback(force=given["force"], fallback=given["fallback"])


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
