"""python notebooks/render.py NOTEBOOK PAGE: executes a notebook in quick mode, and writes it as an HTML page.

Its pictures are drawn, so that the page may be published. Needs the environment of `make notebook`.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

import jupytext
import nbclient
import nbformat

NOTEBOOKS = {"en": Path(__file__).with_name("training.py"), "pt": Path(__file__).with_name("training.pt-BR.py")}


def executed(path: Path, folder: Path, *, kernel: str = "python3") -> nbformat.NotebookNode:
    """A notebook with its outputs in quick mode.

    Args:
        path: its text.
        folder: where it runs and leaves its files.
        kernel: the name of the Jupyter kernel.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    resources = {"metadata": {"path": str(folder)}}
    client = nbclient.NotebookClient(jupytext.read(path), timeout=900, kernel_name=kernel, resources=resources)
    return client.execute(env=os.environ | {"LINCE_NOTEBOOK_QUICK": "1"})


def page(notebook: nbformat.NotebookNode, *, language: str) -> str:
    """An executed notebook as one HTML page, which loads nothing from other sites.

    Args:
        notebook: with its outputs.
        language: of its text, such as `en`.
    """
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(language_code=language, mathjax_url="", require_js_url="")
    title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
    html, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})
    return re.sub(r'<script src="">\s*</script>', "", html)


def main(notebook: Path, written: Path) -> None:
    """Writes the page."""
    with tempfile.TemporaryDirectory() as work:
        html = page(executed(notebook, Path(work)), language="pt-BR" if notebook == NOTEBOOKS["pt"] else "en")
    written.write_text(html, encoding="utf-8")
    print(written)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
