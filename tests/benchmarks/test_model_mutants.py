"""Model files altered by a stranger never end the process: they are refused by a sentence, or they answer."""

import json
import subprocess
import sys
from pathlib import Path

import model_mutants
import numpy as np
import pytest
from ai_edge_litert.tools import flatbuffer_utils
from mutate_model import Mutants, refit

from lince.model_file import artifact
from lince.quantization import flatbuffer_writer
from lince.runs.run_folder import RunFolder

SHIPPED = artifact.locate(artifact.SHIPPED)


def first_fields_lost(flatbuffer: bytes) -> bytes:
    """Byte 20 becomes 0: LiteRT 2.3 ended with SIGSEGV."""
    data = bytearray(flatbuffer)
    data[20] = 0
    return bytes(data)


def sum_without_multiplier(flatbuffer: bytes) -> bytes:
    """A sum's scale that no multiplier expresses: LiteRT 2.3 ended with SIGABRT."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(flatbuffer))
    graph = model.subgraphs[0]
    [addition, *_] = [
        one for one in graph.operators if flatbuffer_utils.opcode_to_name(model, one.opcodeIndex) == "ADD"
    ]
    graph.tensors[addition.outputs[0]].quantization.scale = [1e-9]
    return flatbuffer_writer.pack(model)


@pytest.fixture(scope="module", params=[first_fields_lost, sum_without_multiplier])
def deadly(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that LiteRT cannot be given."""
    sound = artifact.read(SHIPPED)
    path = tmp_path_factory.mktemp("deadly") / "deadly.tflite"
    path.write_bytes(refit(sound, request.param(sound.flatbuffer)))
    return path


@pytest.mark.parametrize("seed", [1, 2])
def test_mutants_of_a_small_network(run: RunFolder, seed: int):
    """Where most bytes are tables, vectors and names."""
    found = model_mutants.run(run.model, seed, range(250))
    assert {model_mutants.REFUSED, model_mutants.LOADED} == set(found)
    assert 250 == found.total()


def test_mutants_of_the_model_that_ships():
    """Every mutant is refused or answers; a process that ended would name its mutant here."""
    found = model_mutants.run(SHIPPED, 3, range(100))
    assert {model_mutants.REFUSED, model_mutants.LOADED} == set(found)


def test_mutants_are_what_their_numbers_say(run: RunFolder):
    """The same number is the same file, so that a crash can be looked into; other numbers are others."""
    mutants, again = (Mutants(artifact.read(run.model), 5) for _ in range(2))
    files = [mutants.file(number) for number in range(8)]
    assert files == [again.file(number) for number in range(8)]
    assert len({mutants.sound.flatbuffer, *map(mutants.flatbuffer, range(8))}) > 6


def test_crashes_are_counted(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The program sees a process that dies: here each one does, by SIGABRT, at its second mutant."""
    dying = tmp_path / "dying.py"
    dying.write_text("import os\nprint('refused', flush=True)\nos.abort()\n")
    monkeypatch.setattr(model_mutants, "__file__", str(dying))
    found = model_mutants.run(run.model, 0, range(4))
    assert 2 == found[model_mutants.REFUSED]
    assert ["mutant 1: exit code -6", "mutant 3: exit code -6"] == [
        line[line.index("mutant") :].strip() for line in found if line != model_mutants.REFUSED
    ]


@pytest.mark.parametrize("verb", ["inspect", "predict", "evaluate", "bench"])
def test_verbs_refuse_by_a_sentence(deadly: Path, lince, images_folder: Path, verb: str):
    """Exit code 1, one line that names the file, no traceback."""
    paths = [] if verb in {"inspect", "bench"} else [images_folder / "test"]
    done = lince(verb, deadly, *paths)
    assert 1 == done.returncode
    [line] = done.stderr.splitlines()
    assert line.startswith(f"Error: Model file {str(deadly)!r}: its network cannot be trusted: ")


@pytest.mark.parametrize("workers", [1, 2])
def test_serve_refuses_by_a_sentence(deadly: Path, lince, workers: int):
    """Exit code 3, as for any start that fails."""
    done = lince("serve", deadly, "--port", 0, "--workers", workers)
    assert 3 == done.returncode
    [line] = done.stderr.splitlines()
    assert line.startswith(f"Error: Model file {str(deadly)!r}: its network cannot be trusted: ")


def test_program_prints_one_object(run: RunFolder):
    """What `benchmarks/model_mutants.py` says last is JSON."""
    command = [sys.executable, model_mutants.__file__, "--model", run.model, "--mutants", "20"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert (20, 0) == (found["mutants"], found["crashes"])
    assert found["mutants"] == found["refused"] + found["loaded"]


def test_weights_may_be_anything(run: RunFolder):
    """Not refused: constants hold any numbers; a network with random ones loads, and its golden images tell."""
    sound = artifact.read(run.model)
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(sound.flatbuffer))
    largest = max(model.buffers, key=lambda buffer: 0 if buffer.data is None else len(buffer.data))
    largest.data = np.random.default_rng(0).integers(0, 256, len(largest.data), dtype=np.uint8)
    assert artifact.decode(refit(sound, flatbuffer_writer.pack(model))).manifest.name == "mutant"
