"""The tests' tree follows the source's by one rule, every test has its sentence, and the unit tests are known."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import unit_tests

ROOT = unit_tests.ROOT
TESTS = unit_tests.TESTS

# Where tests are by topic and not by module: whole programs, and the project itself.
BY_TOPIC = {"end_to_end", "project"}


def counterpart(folder: Path) -> Path:
    """The folder whose modules the tests of a folder are about."""
    return ROOT / "benchmarks" if folder.parts[:1] == ("benchmarks",) else ROOT / "src" / "lince" / folder


def has_module(path: Path) -> bool:
    """Whether `PACKAGE/test_MODULE.py` or `PACKAGE/test_MODULE_TOPIC.py`, below `tests/`, names a module."""
    if path.parent.as_posix() in BY_TOPIC:
        return True
    found = counterpart(path.parent)
    modules = [one.stem for one in found.iterdir()] if found.is_dir() else []
    words = path.stem.removeprefix("test_").split("_")
    return any("_".join(words[:count]) in modules for count in range(1, len(words) + 1))


def functions_of(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """Functions that pytest collects."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


def is_sentence(docstring: str | None) -> bool:
    """A text of several words that ends as a sentence does."""
    return bool(docstring) and docstring.rstrip().endswith((".", "?", "!")) and len(docstring.split()) > 1


def test_every_file_of_tests_has_its_module():
    """`tests/PACKAGE/test_MODULE.py` or `test_MODULE_TOPIC.py` tests `src/lince/PACKAGE/MODULE.py`."""
    files = [path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")]
    assert [] == [str(path) for path in sorted(files) if not has_module(path)]


@pytest.mark.parametrize("path", ["data/test_nothing.py", "nowhere/test_splits.py", "test_splits.py"])
def test_a_file_without_a_module_is_found(path: str):
    """The rule can fail: a module or a package that is not there, and a module of another package."""
    assert not has_module(Path(path))


def test_every_test_has_a_sentence():
    """A test's docstring says in a sentence what holds."""
    found = {
        f"{path.relative_to(TESTS)}::{test.name}"
        for path in TESTS.rglob("test_*.py")
        for test in functions_of(ast.parse(path.read_text(encoding="utf-8")))
        if not is_sentence(ast.get_docstring(test))
    }
    assert set() == found


@pytest.mark.parametrize("docstring", [None, "", "Word.", "No end"])
def test_what_is_no_sentence_is_found(docstring: str | None):
    """The check can fail: no docstring, a word, no end."""
    assert not is_sentence(docstring)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("data/test_splits.py", True),
        ("test_metrics.py", True),
        ("serving/test_app_predict.py", True),
        ("training/test_loop.py", False),
        ("test_pipeline.py", False),
        ("end_to_end/test_server.py", False),
        ("project/test_docs.py", False),
    ],
)
def test_unit_tests_follow_from_the_contract(path: str, expected: bool):
    """Packages that may serve have unit tests; those that train, and whole programs, have others."""
    assert expected == unit_tests.is_unit(TESTS / path)
