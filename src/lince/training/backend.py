"""The Keras backend: chosen before Keras is imported, described for the record of a run."""

import importlib
import logging
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import get_args

from lince.errors import TrainingError
from lince.system import machine, memory, quiet
from lince.training.recipe import Precision
from lince.types import Backend, ComputeDtype, Environment

_RECORDED = (
    "lince",
    "keras",
    "tensorflow-cpu",
    "tensorflow",
    "jax",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "numpy",
    "pillow",
)


def prepare(*, deterministic: bool = False) -> None:
    """Sets up the backend and imports Keras. Call it before anything else imports Keras.

    TensorFlow gets one thread for each core that this process may use. By itself it respects the affinity of the
    process, but not the container's share of CPU time. It also gets oneDNN's kernels. On Linux it chooses them only
    with VNNI, bf16 or AMX, but with AVX2 alone they train 1.4 to 1.8 times as fast (docs/experiments.md). Variables
    that the environment sets are kept. JAX keeps its defaults: on a CPU it uses every core.

    Args:
        deterministic: use operations that give the same bits on every run.

    Raises:
        TrainingError: KERAS_BACKEND names another backend than those that train here.
    """
    os.environ["KERAS_BACKEND"] = _chosen()
    memory.share_arena()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for kind in ("INTRAOP", "INTEROP"):
        os.environ.setdefault(f"TF_NUM_{kind}_THREADS", str(machine.cores()))
    if platform.machine().lower() in {"x86_64", "amd64"}:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if deterministic:
        os.environ["TF_DETERMINISTIC_OPS"] = "1"
    # TensorFlow logs each export, in a notebook even to stdout, where results belong. It also warns of every compiled
    # network after the first, which a time budget makes on purpose.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with quiet.captured_stderr():
        importlib.import_module("keras")


def resolve_precision(precision: Precision) -> ComputeDtype:
    """`float32` or `bfloat16`: what `auto` means on this machine.

    It means bfloat16 only if the processor has instructions for it and TensorFlow uses them. Elsewhere bfloat16 would
    be emulated.
    """
    if precision != "auto":
        return precision
    return (
        "bfloat16"
        if _chosen() == "tensorflow" and machine.processor_flags() & {"avx512_bf16", "amx_bf16"}
        else "float32"
    )


def describe() -> Environment:
    """Backend, package versions and machine, for the run folder and the manifest."""
    return {"backend": _chosen(), "machine": machine.describe(), "versions": _versions()}


def _chosen() -> Backend:
    match os.environ.get("KERAS_BACKEND") or "tensorflow":
        case "tensorflow" | "jax" as known:
            return known
        case unknown:
            expected = " or ".join(get_args(Backend))
            raise TrainingError(f"Received KERAS_BACKEND={unknown} in the environment. Expected {expected}, or none.")


def _versions() -> dict[str, str]:
    found = {}
    for package in _RECORDED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
