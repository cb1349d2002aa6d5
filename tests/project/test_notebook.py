"""The training notebook: its two languages have the same code, and it runs from its first cell to its last.

It runs in quick mode, on pictures that it draws.
"""

import runpy
from pathlib import Path

import jupytext
import nbformat
import pytest
from ipykernel import kernelspec

ROOT = Path(__file__).parents[2]
RENDER = runpy.run_path(str(ROOT / "notebooks" / "render.py"))
NOTEBOOKS = RENDER["NOTEBOOKS"]

pytestmark = pytest.mark.timeout(900)  # it trains twice; beside other work that takes minutes


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """The English notebook with its outputs. The code of the other one is the same."""
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as environment:
        _install_kernel(folder / "jupyter", environment)
        return RENDER["executed"](NOTEBOOKS["en"], folder, kernel="lince-test")


def test_every_code_cell_of_the_notebook_ran(executed):
    """nbclient stops at the first error; a cell without a number was passed over."""
    cells = _cells(executed, "code")
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


def test_notebook_shows_what_it_promises(executed):
    """Pictures, augmentation, curves, confusion matrix, the picture that is sent; both accuracies, the certificate."""
    shown = _text(executed)
    assert sum("image/png" in output.get("data", {}) for output in _outputs(executed)) == 5
    assert "test accuracy" in shown
    assert "| (means nothing: quick mode) | Keras, float32 | Lince, int8 |" in shown
    assert "| different answers |" in shown
    assert '"prediction_set": [' in shown


def test_quick_mode_learns(executed):
    """The numbers mean nothing, but a network that learned nothing would show nothing either."""
    [row] = [line for line in _text(executed).splitlines() if line.startswith("| test accuracy |")]
    assert all(float(cell.strip().rstrip("%")) > 50 for cell in row.split("|")[2:4])


def test_page_of_the_notebook_loads_nothing_from_other_sites(executed):
    """The documentation shows it, in its language and with its title."""
    page = RENDER["page"](executed, language="en")
    assert '<html lang="en">' in page
    assert "<title>CIFAR-10: a convolutional network, step by step, and the same with Lince</title>" in page
    assert "<script src=" not in page
    assert "<link" not in page


def test_notebook_uses_the_layers_of_the_course():
    """Those that the course names, in view and not behind a call into the package."""
    code = "\n".join(cell.source for cell in _cells(jupytext.read(NOTEBOOKS["en"]), "code"))
    for words in (
        *("keras.layers.RandomRotation(", "keras.layers.RandomZoom(", "keras.layers.RandomFlip("),
        *("keras.utils.to_categorical(", "keras.Sequential(", "keras.layers.MaxPooling2D(", "keras.layers.Dropout("),
        *('optimizer="adam"', 'loss="categorical_crossentropy"', 'metrics=["accuracy"]', "validation_split=0.2"),
        "keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True)",
    ):
        assert words in code


def test_both_languages_have_the_same_code():
    """Only the prose differs, cell by cell, and the language of the results: a change of one is made in the other."""
    english, portuguese = (jupytext.read(path) for path in NOTEBOOKS.values())
    assert [cell.cell_type for cell in english.cells] == [cell.cell_type for cell in portuguese.cells]
    for one, other in zip(english.cells, portuguese.cells, strict=True):
        code = other.source.replace('LANGUAGE = "pt"', 'LANGUAGE = "en"')
        assert (one.source == code) is (one.cell_type == "code")


@pytest.mark.parametrize("path", NOTEBOOKS.values(), ids=NOTEBOOKS)
def test_notebook_is_kept_without_outputs(path):
    """The text form holds no outputs, and prose beside every step."""
    notebook = jupytext.read(path)
    assert _outputs(notebook) == []
    assert len(_cells(notebook, "markdown")) >= 12


def _install_kernel(folder: Path, environment: pytest.MonkeyPatch) -> None:
    """A kernel of this very interpreter; nothing of the user's Jupyter or IPython is read or written."""
    kernelspec.install(prefix=str(folder), kernel_name="lince-test")
    environment.setenv("JUPYTER_PATH", str(folder / "share" / "jupyter"))
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        environment.setenv(name, str(folder / name.lower()))


def _cells(notebook: nbformat.NotebookNode, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def _outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def _text(notebook: nbformat.NotebookNode) -> str:
    """Everything written: streams, and what cells returned."""
    kinds = ("text/markdown", "text/plain")
    returned = [output.get("data", {}).get(kind, "") for output in _outputs(notebook) for kind in kinds]
    return "\n".join([*(output.get("text", "") for output in _outputs(notebook)), *returned])
