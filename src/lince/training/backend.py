"""The Keras backend: chosen before Keras is imported, described afterwards."""

import importlib
import logging
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lince.system import machine, quiet
from lince.training.recipe import Precision
from lince.types import ComputeDtype

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
    """Imports Keras with its backend set up; call it before anything else imports Keras.

    TensorFlow gets a thread for each core that this process may use: by itself it heeds which cores those are, but not
    how much of their time the container has. It also gets oneDNN's kernels, which on Linux it takes by itself where
    there is VNNI, bf16 or AMX: with AVX2 alone they train 1.4 to 1.8 times as fast (docs/experiments.md). What the
    environment says already is kept. JAX is left as it comes: on the processor it takes every core.

    Args:
        deterministic: ask for operations that give the same bits on every run.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for kind in ("INTRAOP", "INTEROP"):
        os.environ.setdefault(f"TF_NUM_{kind}_THREADS", str(machine.cores()))
    if platform.machine().lower() in {"x86_64", "amd64"}:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if deterministic:
        os.environ["TF_DETERMINISTIC_OPS"] = "1"
    # TensorFlow logs what it exports, in a notebook even to stdout, where results belong; and it warns of every network
    # that is compiled besides the first, which a time budget measures on purpose.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with quiet.captured_stderr():
        importlib.import_module("keras")


def resolve_precision(precision: Precision) -> ComputeDtype:
    """`float32` or `bfloat16`: what `auto` means on this machine.

    bfloat16 is chosen only where the processor has instructions for it and TensorFlow uses them; elsewhere it
    would be emulated.
    """
    if precision != "auto":
        return precision
    on_tensorflow = os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
    return "bfloat16" if on_tensorflow and machine.processor_flags() & {"avx512_bf16", "amx_bf16"} else "float32"


def describe() -> dict[str, Any]:
    """Backend, package versions and machine, for the run folder and the manifest."""
    return {"backend": os.environ.get("KERAS_BACKEND"), "machine": machine.describe(), "versions": _versions()}


def _versions() -> dict[str, str]:
    found = {}
    for package in _RECORDED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
