"""The backend is chosen before Keras is imported, and described afterwards."""

import os
import platform
import subprocess
import sys

import pytest

from lince.errors import TrainingError
from lince.system import machine
from lince.training import backend


def python(program: str, **environment: str) -> str:
    """What a program prints in a process of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("KERAS_", "TF_"))}
    done = subprocess.run(
        [sys.executable, "-c", program], env=kept | environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert "" == done.stderr
    return done.stdout.strip()


class TestPrepare:
    def test_tensorflow_unless_told_otherwise(self):
        """Without KERAS_BACKEND it is TensorFlow; nothing is written to the terminal while it loads."""
        program = (
            "from lince.training import backend; backend.prepare(deterministic=True); import keras, os;"
            "print(keras.backend.backend(), os.environ['TF_DETERMINISTIC_OPS'], backend.describe()['backend'])"
        )
        assert "tensorflow 1 tensorflow" == python(program)

    def test_the_user_s_choice_is_kept(self):
        """KERAS_BACKEND decides; nothing forces another one."""
        program = "from lince.training import backend; backend.prepare(); import keras; print(keras.backend.backend())"
        assert "jax" == python(program, KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")

    @pytest.mark.parametrize("chosen", ["numpy", "TensorFlow", "nonsense"])
    def test_a_backend_that_does_not_train(self, monkeypatch, chosen):
        """It is named before Keras is imported, together with those that train."""
        monkeypatch.setenv("KERAS_BACKEND", chosen)
        with pytest.raises(TrainingError, match=f"KERAS_BACKEND={chosen} .*Expected tensorflow or jax, or none"):
            backend.prepare()

    def test_an_empty_variable_is_none(self):
        """A shell that sets KERAS_BACKEND to nothing has chosen nothing."""
        program = "from lince.training import backend; backend.prepare(); print(backend.describe()['backend'])"
        assert "tensorflow" == python(program, KERAS_BACKEND="")

    @pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="oneDNN's kernels are asked for on x86")
    @pytest.mark.parametrize(("own", "expected"), [({}, "True 1"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "False 0")])
    def test_kernels_of_onednn(self, own, expected):
        """TensorFlow uses them on any x86 processor, unless the environment says otherwise."""
        program = (
            "from lince.training import backend; backend.prepare(); from tensorflow.python.framework import test_util;"
            "import os; print(test_util.IsMklEnabled(), os.environ['TF_ENABLE_ONEDNN_OPTS'])"
        )
        assert expected == python(program, **own)

    def test_import_alone_changes_nothing(self):
        """The module can be imported by whoever wants to describe the machine: no Keras, no environment."""
        program = (
            "import os; before = dict(os.environ); from lince.training import backend; import sys;"
            "print(before == dict(os.environ), 'keras' in sys.modules)"
        )
        assert "True False" == python(program)


class TestResolvePrecision:
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_a_choice_is_kept(self, precision):
        """Only `auto` depends on the machine."""
        assert precision == backend.resolve_precision(precision)

    @pytest.mark.parametrize(
        ("flags", "keras_backend", "expected"),
        [
            ({"avx2"}, "tensorflow", "float32"),
            ({"avx512f"}, "tensorflow", "float32"),
            ({"avx512f", "avx512_bf16"}, "tensorflow", "bfloat16"),
            ({"amx_bf16"}, "tensorflow", "bfloat16"),
            ({"avx512_bf16"}, "jax", "float32"),
            (set(), "tensorflow", "float32"),
        ],
    )
    def test_auto(self, monkeypatch, flags, keras_backend, expected):
        """bfloat16 only where the processor has instructions for it, and TensorFlow, which uses them."""
        monkeypatch.setattr(machine, "processor_flags", lambda: flags)
        monkeypatch.setenv("KERAS_BACKEND", keras_backend)
        assert expected == backend.resolve_precision("auto")


class TestDescribe:
    def test_names_what_a_result_depends_on(self, monkeypatch):
        """Backend, machine and versions of the packages whose code computes."""
        monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
        found = backend.describe()
        assert {"backend", "machine", "versions"} == found.keys()
        assert ("tensorflow", machine.describe()) == (found["backend"], found["machine"])
        assert {"lince", "keras", "numpy", "pillow", "ai-edge-litert", "ai-edge-quantizer"} <= found["versions"].keys()
