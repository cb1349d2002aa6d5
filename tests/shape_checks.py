"""Arrays have the shapes that annotations say: each call in the tests is checked, by jaxtyping's import hook."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import jaxtyping
from beartype import BeartypeConf, beartype

SOURCE = Path(__file__).parents[1] / "src"

# An int where a float is expected is right, as PEP 484 has it.
_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def install() -> None:
    """Every module of lince that annotates arrays is imported with checks; call it before the first import."""
    jaxtyping.install_import_hook(list(_modules_with_arrays()), f"{__name__}.{checked.__name__}")


def _modules_with_arrays() -> Iterator[str]:
    """Names of modules that import jaxtyping. The others would only become slower: the hook wraps every function.

    A Keras layer is left out. Keras reads the signature of its methods, and the wrapped ones have none.
    """
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "jaxtyping" in text and "(keras.layers.Layer)" not in text:
            yield ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes each call of a function check the arrays that it takes and returns: kind, dtype and shape.

    Other annotations are left to mypy, which sees each of them without running it.
    """
    hints = function.__annotations__
    for name in [name for name, hint in hints.items() if not _has_array(hint)]:
        del hints[name]
    return _check(function) if hints else function


def _has_array(hint: object) -> bool:
    """Whether an annotation is an array's, or a tuple, list or alternative of such."""
    if inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(_has_array(part) for part in get_args(hint) if not isinstance(part, list))
