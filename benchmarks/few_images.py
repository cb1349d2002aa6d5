"""With few images a class, is a model of Lince better than what scikit-learn makes of the same images?

    make .venv/baselines/ready
    .venv/baselines/bin/python benchmarks/few_images.py SET… --json few-images.json
    .venv/baselines/bin/python benchmarks/few_images.py --json few-images.json

A SET is a folder with a folder of images for each class, with or without `train` and `test` above them. For each seed,
`lince train SET` runs as a process of its own, with an empty cache of images. Its time is that from start to exit, its
memory the largest sum over all of its processes, its latency that of the certificate. Its accuracy is that of the
published int8 model on the test images.

Four baselines are fitted to the same training images, those that Lince validates with included, and are measured on
the same test images: a support vector machine on HOG and colours, a random forest and a logistic regression on pixels,
and a logistic regression on the features of the frozen network, at 128 px and with mirror images. Their settings are
chosen by cross-validation on training images.

The verdict is "ok" where Lince is not below any baseline by more than one standard error of the paired difference.

The table is written to stdout, in Markdown. With --json, results are kept, and what was measured is not measured again.
Without a SET, the kept results are printed. A run that ended without a model is repeated by the next call.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import few_images_baselines as baselines
import few_images_table as tables
from few_images_table import Failed, Result, Results, Trained
from process_tree import Watch

from lince import data
from lince.errors import LinceError
from lince.progress import silent
from lince.runs.run_folder import RunFolder
from lince.system import machine
from lince.types import ImageSpec

_SAMPLE_S = 0.02  # of memory; a sample of a process with 9 threads takes 0.1 ms
_STOP_TIMEOUT_S = 60  # an interrupted run writes its weights first
_MESSAGE_LINES = 5


def main() -> int:
    """Measures what is missing, and prints the table."""
    options = _options()
    try:
        results = _kept(options)
        for source in options.sets:
            _measure(source, results, options)
    except LinceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{tables.table(results)}\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", type=Path, metavar="SET", help="a folder, as for lince train")
    parser.add_argument("--seeds", type=int, default=3, metavar="NUMBER", help="seeds 0 to NUMBER - 1")
    parser.add_argument(
        "--recipe-args",
        type=shlex.split,
        default=[],
        metavar="TEXT",
        help="options for lince train, as --recipe-args='--recipe fast'",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the results, and continue with those kept")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help="keep the run folders, as SET-SEED")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--baselines-only", action="store_true", help="do not train Lince")
    only.add_argument("--lince-only", action="store_true", help="do not fit the baselines")
    options = parser.parse_args()
    names = [source.resolve().name for source in options.sets]
    if repeated := {name for name in names if names.count(name) > 1}:
        parser.error(f"received sets of the same name: {sorted(repeated)}. Expected a different name for each.")
    return options


def _kept(options: argparse.Namespace) -> Results:
    """The results of the file; new ones where there is none.

    Raises:
        LinceError: the file cannot be read, or its runs had other arguments.
    """
    results = tables.read(options.json) if options.json else None
    arguments = tuple(options.recipe_args)
    if results is None:
        return Results(arguments=arguments, machine=machine.describe())
    trains = bool(options.sets) and not options.baselines_only
    if trains and results.arguments != arguments:
        if any(one.lince for one in results.results):
            raise LinceError(
                f"{str(options.json)!r} has results of lince train {shlex.join(results.arguments)!r}, and received "
                f"{shlex.join(arguments)!r}. Expected the same --recipe-args, or another --json."
            )
        results.arguments = arguments
    return results


def _measure(source: Path, results: Results, options: argparse.Namespace) -> None:
    """Adds to the results what they lack of a set, one run or baseline after the other, and keeps them."""
    name, pictures = source.resolve().name, baselines.Pictures(source)
    if not options.lince_only:
        baselines.require_packages()
    for seed in range(options.seeds):
        result = results.of(name, seed)
        if not options.baselines_only and (result is None or result.lince is None):
            trained = train(source, seed=seed, arguments=results.arguments, runs=options.runs)
            result = put(results, trained)
            _keep(results, options, f"{name}, seed {seed}: {_outcome(result)}")
        if result is None:
            result = put(results, drawn(source, seed=seed))
        for baseline, fit in baselines.BASELINES.items():
            if not options.lince_only and baseline not in result.baselines:
                fitted = fit(pictures, result.train, result.test, seed=seed)
                result.baselines[baseline] = fitted
                share = 100 * tables.accuracy(fitted.right)
                _keep(results, options, f"{name}, seed {seed}: {baseline} {share:.1f} % {fitted.settings}")


def train(source: Path, *, seed: int, arguments: tuple[str, ...], runs: Path | None) -> Result:
    """Runs `lince train` to its end.

    Args:
        source: the set.
        seed: of the run.
        arguments: further options.
        runs: where the run folder is kept, as SET-SEED.

    Raises:
        LinceError: there is such a folder already.
    """
    name = f"{source.resolve().name}-{seed}"
    if runs is not None and (runs / name).exists():
        raise LinceError(
            f"{str(runs / name)!r} is there already, and its result is not. Move it away, or choose another --runs."
        )
    with tempfile.TemporaryDirectory(prefix="few-images-") as scratch:
        own = ["--seed", str(seed), "--name", name, "--runs", scratch]
        command = [sys.executable, "-m", "lince", "train", str(source), *arguments, *own]
        environment = os.environ | {"LINCE_CACHE": str(Path(scratch, "cache"))}
        with Path(scratch, "output").open("wb") as output:
            began = time.perf_counter()
            with subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process:
                try:
                    with Watch(process.pid, interval_s=_SAMPLE_S, shares=False) as watch:
                        exit_code = process.wait()
                finally:
                    _stop(process)
            seconds = time.perf_counter() - began
        folder = RunFolder(Path(scratch, name))
        if exit_code:
            lines = Path(output.name).read_text(encoding="utf-8", errors="replace").splitlines()
            result = drawn(source, seed=seed)
            result.failed = Failed(exit_code=exit_code, message="\n".join(lines[-_MESSAGE_LINES:]))
        else:
            result = answers(folder, name=source.resolve().name, seconds=seconds, peak_bytes=watch.peak_resident)
        if runs is not None and folder.path.exists():
            runs.mkdir(parents=True, exist_ok=True)
            shutil.move(folder.path, runs / name)
    return result


def answers(folder: RunFolder, *, name: str, seconds: float, peak_bytes: int) -> Result:
    """The result of a published run, from its folder."""
    from lince.training import backend

    backend.prepare()
    from lince import pipeline

    run, report = pipeline.resume(folder, progress=silent), folder.read_report()
    probabilities, labels = folder.read_answers()
    if labels.tolist() != run.test.labels.tolist():
        raise LinceError(f"{str(folder.answers)!r} has answers to other images than those of {run.record.source!r}.")
    right = "".join("01"[int(one)] for one in probabilities.argmax(axis=1) == labels)
    trained = Trained(
        right=right,
        seconds=seconds,
        peak_bytes=peak_bytes,
        latency_us=report.certificate.latency_us,
        recipe=run.recipe.name,
        float_accuracy=report.float32.accuracy.value,
    )
    return Result(
        data=name,
        seed=run.record.seed,
        classes=len(run.record.classes),
        train=tuple(sorted([*run.train.names, *run.validation.names])),
        test=tuple(run.test.names),
        lince=trained,
    )


def drawn(source: Path, *, seed: int) -> Result:
    """A result without a measurement: the split that Lince draws with a seed, or the set's own."""
    side = baselines.FEATURES_SIDE
    dataset = data.load(source, ImageSpec(side, side), seed=seed)
    train, test = dataset.train, dataset.test
    return Result(
        data=source.resolve().name,
        seed=seed,
        classes=len(train.classes),
        train=tuple(sorted(train.names)),
        test=tuple(test.names),
    )


def put(results: Results, result: Result) -> Result:
    """Puts a result into its place; baselines that were fitted to the same split are kept."""
    before = results.of(result.data, result.seed)
    if before is None:
        results.results.append(result)
    else:
        if (before.train, before.test) == (result.train, result.test):
            result.baselines = before.baselines
        results.results[results.results.index(before)] = result
    return result


def _outcome(result: Result) -> str:
    if result.lince is None:
        return f"lince train ended without a model:\n{result.failed.message}"
    share = 100 * tables.accuracy(result.lince.right)
    return f"Lince {share:.1f} % in {result.lince.seconds:.0f} s, {result.lince.recipe}"


def _keep(results: Results, options: argparse.Namespace, line: str) -> None:
    sys.stderr.write(f"{line}\n")
    if options.json:
        tables.write(options.json, results)


def _stop(process: subprocess.Popen) -> None:
    """Ends a run that was interrupted."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()


if __name__ == "__main__":
    sys.exit(main())
