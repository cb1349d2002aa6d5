"""The Keras backend: chosen before Keras is imported, described afterwards."""

import contextlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lince import machine
from lince.training.recipe import Precision

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

    Args:
        deterministic: ask for operations that give the same bits on every run.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if deterministic:
        os.environ["TF_DETERMINISTIC_OPS"] = "1"
    # TensorFlow logs what it exports, in a notebook even to stdout, where results belong.
    logging.getLogger("tensorflow").setLevel(logging.WARNING)
    with _held_back_stderr():
        importlib.import_module("keras")


def resolve_precision(precision: Precision) -> str:
    """`float32` or `bfloat16`: what `auto` means on this machine.

    bfloat16 is chosen only where the processor has instructions for it and TensorFlow uses them; elsewhere it is
    emulated and several times slower than float32.
    """
    if precision != "auto":
        return precision
    on_tensorflow = os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
    return "bfloat16" if on_tensorflow and machine.processor_flags() & {"avx512_bf16", "amx_bf16"} else "float32"


def describe() -> dict[str, Any]:
    """Backend, package versions and machine, for the run folder and the manifest."""
    return {"backend": os.environ.get("KERAS_BACKEND"), "machine": machine.describe(), "versions": _versions()}


@contextlib.contextmanager
def _held_back_stderr() -> Iterator[None]:
    """Holds back what native code writes while it is loaded, and shows it only when loading fails.

    TensorFlow greets every process with six lines that no setting turns off.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


def _versions() -> dict[str, str]:
    found = {}
    for package in _RECORDED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
