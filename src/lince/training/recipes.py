"""Reads recipes: by name or path, with overrides, from TOML files and from the records of runs.

Overrides come as `key=value` with dotted keys: `train.epochs=5`. Every mistake is one sentence that names the key.
"""

import difflib
import re
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from lince.errors import RecipeError
from lince.files import read_bounded
from lince.training.recipe import Recipe

_MAX_RECIPE_BYTES = 2**14  # those that ship have 2 kB; one long dotted key takes tomllib 0.6 s here, 9 s at 64 kB


def names() -> list[str]:
    """The recipes that ship, sorted."""
    return sorted(entry.name.removesuffix(".toml") for entry in _shipped().iterdir() if entry.name.endswith(".toml"))


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a recipe by its name (one that ships) or its path (`*.toml`), and applies overrides.

    Args:
        name_or_path: `classic`, or `mine.toml`.
        overrides: `key=value` with dotted keys and TOML values: `train.epochs=5`, `model.dense=[64]`.

    Raises:
        RecipeError: unknown recipe, key or value; the sentence names the key and what was expected.
    """
    text = _read(name_or_path)
    try:
        table: dict[str, Any] = tomllib.loads(text)
        for override in overrides:
            _override(table, override)
    except (ValueError, RecursionError) as error:  # ValueError: TOMLDecodeError, and numbers of 5,000 digits
        raise RecipeError(f"Recipe {str(name_or_path)!r} is not valid TOML: {_brief(error)}.") from error
    table.setdefault("name", Path(name_or_path).stem)
    return from_table(table, source=str(name_or_path))


def from_table(table: dict[str, Any], *, source: str) -> Recipe:
    """Turns a parsed table into a Recipe; `source` names it in error messages."""
    try:
        return msgspec.convert(table, Recipe)
    except RecursionError as error:
        raise RecipeError(f"Recipe {source!r}: {_brief(error)}.") from error
    except (msgspec.ValidationError, ValueError) as error:
        raise RecipeError(f"Recipe {source!r}: {error}.{_suggestion(str(error)) or _choices(str(error))}") from error


def override(recipe: Recipe, overrides: Sequence[str], *, tables: Sequence[str]) -> Recipe:
    """A recipe with `key=value` overrides, of the given tables only.

    Raises:
        RecipeError: a key of another table, or a value that is not valid.
    """
    table = to_table(recipe)
    for text in overrides:
        if text.partition(".")[0] not in tables:
            raise RecipeError(
                f"Received --set {text!r}. Expected a key of {' or '.join(tables)}: the rest is trained in."
            )
        _override(table, text)
    return from_table(table, source=recipe.name)


def to_table(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON data; `from_table` reads it back."""
    return msgspec.to_builtins(recipe)


def _suggestion(sentence: str) -> str:
    """The key that was meant, where msgspec's sentence is about an unknown one."""
    found = re.search(r"unknown field `(\w+)`(?: - at `\$\.([\w.]+)`)?", sentence)
    if found is None:
        return ""
    unknown, table, keys = found[1], found[2] or "", sorted(_keys(msgspec.inspect.type_info(Recipe)))
    if f"{table}.{unknown}" in keys:  # of another family of networks
        return " It belongs to another family: leave it out, or begin from a recipe of that family."
    elsewhere = [key for key in keys if key.endswith(f".{unknown}")]
    own = {leaf: key for key in keys for parent, _, leaf in [key.rpartition(".")] if parent == table}
    near = elsewhere or [own[leaf] for leaf in difflib.get_close_matches(unknown, own, 1, cutoff=0.65)]
    return f" Perhaps {near[0]!r} was meant." if near else f" Expected one of {', '.join(own)}."


def _keys(kind: Any, prefix: str = "") -> set[str]:
    """Every dotted key that has a value, in a table and in those inside it."""
    fields = [field for one in getattr(kind, "types", (kind,)) for field in getattr(one, "fields", ())]
    inside = {f"{prefix}{field.encode_name}": field.type for field in fields}
    return set().union(*(_keys(type_, f"{key}.") or {key} for key, type_ in inside.items()))


def _choices(sentence: str) -> str:
    """What the key that msgspec's sentence is about may be, where that is one of a few words."""
    path = re.search(r"at `\$\.([\w.]+)", sentence)
    kinds, tags = [msgspec.inspect.type_info(Recipe)], []
    for key in path[1].split(".") if path else ():
        tags = [kind.tag for kind in kinds if getattr(kind, "tag_field", None) == key]
        found = [field.type for kind in kinds for field in getattr(kind, "fields", ()) if field.encode_name == key]
        kinds = [inner for kind in found for inner in getattr(kind, "types", (kind,))]
    words = sorted(tags) or [word for kind in kinds for word in getattr(getattr(kind, "item_type", kind), "values", ())]
    return f" Choose {', '.join(map(repr, words[:-1]))} or {words[-1]!r}." if words else ""


def _shipped():
    return resources.files("lince") / "recipes"


def _read(name_or_path: str | Path) -> str:
    name = str(name_or_path)
    if name in names():
        return (_shipped() / f"{name}.toml").read_text(encoding="utf-8")
    try:
        return read_bounded(Path(name_or_path), _MAX_RECIPE_BYTES).decode().replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "not text in UTF-8")
        found, known = "" if isinstance(error, FileNotFoundError) else f" ({reason})", ", ".join(names())
        message = f"Received recipe {name!r}{found}. Expected one of {known}, or the path of a TOML file."
        raise RecipeError(message) from error


def _override(table: dict[str, Any], override: str) -> None:
    """Sets one dotted key; a word that is not TOML is taken as a string, so that `train.optimizer=adam` works."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"Received --set {override!r}. Expected key=value, for example train.epochs=5.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError) as error:
        if text.lstrip().startswith(("[", "{")):
            reason = _brief(error).partition(" (at ")[0]  # a position in a line that nobody wrote
            raise RecipeError(
                f"Received --set {override[:200]!r}, whose value is not TOML: {reason}. "
                "Expected, for example, train.phases=[{until=0.5, image_size=24}]."
            ) from error
        value = text
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise RecipeError(f"Received --set {override!r}, but {parent!r} is a value, not a table.")
    table[leaf] = value


def _brief(error: Exception) -> str:
    return "its brackets or keys are nested too deep" if isinstance(error, RecursionError) else str(error)[:500]
