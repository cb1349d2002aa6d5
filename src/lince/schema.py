"""Plain data into records: what a record takes, in words, and what is wrong with data that does not fit.

`msgspec` decides whether data fits. When it does not, the data is compared with the record's fields once more, to name
the first part that is wrong: its place, what it received, what was expected.
"""

import difflib
import json
import math
from collections.abc import Collection, Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

_Record = TypeVar("_Record")

_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "multiple of"}
_RECORDS = (inspect.StructType, inspect.DataclassType)
_LISTS = (inspect.VarTupleType, inspect.ListType)
_COUNTED = ("whole number", "number", "list", "non-empty", "table")  # words that take an article
_SHOWN_CHARACTERS = 100
_MOST = 2**63  # of TOML's whole numbers
_ALIKE = 0.65  # of `difflib`: lets through one or two wrong letters of six


class MisfitError(ValueError):
    """Data that is not what a record takes; `str(error)` is one or two sentences."""


def convert(data: Any, kind: type[_Record]) -> _Record:
    """Plain data, as JSON and TOML have it, as a record.

    Args:
        data: dictionaries, lists, texts, numbers, truth values, None.
        kind: a Struct or a dataclass.

    Raises:
        MisfitError: it does not fit.
    """
    try:
        return msgspec.convert(data, kind)
    except RecursionError as error:
        raise MisfitError("It is nested too deep.") from error
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # halves of surrogates, from the command line
        raise MisfitError(_sentence(error, data, kind)) from error


def from_json(data: bytes, kind: Any) -> Any:
    """The bytes of a JSON file as a record.

    Raises:
        MisfitError: it is not JSON, or does not fit.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise MisfitError(_sentence(error, _plain(data), kind)) from error
    except RecursionError as error:
        raise MisfitError("It is nested too deep.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MisfitError("It is not JSON.") from error


def require_usable_numbers(data: dict[str, Any]) -> None:
    """Refuses what TOML takes for a number and no option can mean: `inf`, `nan`, and more than 64 bits.

    Raises:
        MisfitError: it holds such a number.
    """
    pending: list[tuple[str, Any]] = [("", data)]
    for path, value in pending:
        if isinstance(value, dict):
            pending += ((_joined(path, key), one) for key, one in value.items())
        elif isinstance(value, list):
            pending += ((f"{path}[{place}]", one) for place, one in enumerate(value))
        elif isinstance(value, float) and not math.isfinite(value):
            raise MisfitError(f"{path} received {value}. Expected a finite value.")
        elif isinstance(value, int) and not -_MOST <= value < _MOST:
            raise MisfitError(f"{path} received a number of more than 64 bits. Expected a smaller one.")


def _plain(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except RecursionError as error:
        raise MisfitError("It is nested too deep.") from error
    except msgspec.ValidationError as error:  # 1e999
        raise MisfitError("A number is out of range.") from error


def takes(kind: inspect.Type, *, quote: str = "'") -> str:
    """What a field takes, in words: `whole number ≥ 1`.

    Args:
        kind: as `msgspec.inspect` has it.
        quote: put around words that can be chosen.
    """
    match kind:
        case inspect.LiteralType():
            return _either(f"{quote}{value}{quote}" for value in kind.values)
        case inspect.UnionType():
            others = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
            return _either(takes(one, quote=quote) for one in others)
        case inspect.VarTupleType() | inspect.ListType():
            some = "non-empty " if kind.min_length else ""
            return f"{some}list of {takes(kind.item_type, quote=quote)}"
        case inspect.IntType() | inspect.FloatType():
            bounds = {sign: getattr(kind, name) for name, sign in _BOUNDS.items()}
            said = ", ".join(
                f"{sign} {bound if isinstance(bound, int) else f'{bound:g}'}"
                for sign, bound in bounds.items()
                if bound is not None
            )
            return f"{'whole number' if isinstance(kind, inspect.IntType) else 'number'} {said}".rstrip()
        case inspect.BoolType():
            mark = quote.strip("'")  # a truth value is no text
            return f"{mark}true{mark} or {mark}false{mark}"
        case inspect.StrType():
            return "text"
        case inspect.NoneType():
            return "nothing"
        case inspect.StructType() | inspect.DataclassType() | inspect.DictType():
            return "table"
    return "a value"


def expects(kind: Any) -> str:
    """What a type takes, as it stands behind "Expected": `a whole number ≥ 1`."""
    return _expected(inspect.type_info(kind))


def _sentence(error: ValueError, data: Any, kind: Any) -> str:
    if isinstance(error.__cause__, ValueError):  # a record's own rule, in `__post_init__`
        return f"{error.__cause__}."
    return next(_misfits(data, inspect.type_info(kind), "", inspect.type_info(kind)), "A value is out of range.")


def _misfits(value: Any, kind: inspect.Type, path: str, root: inspect.Type) -> Iterator[str]:
    """A sentence for every part of `value`, which is at `path`, that is not of this kind."""
    if isinstance(kind, inspect.UnionType):
        kind = _alternative(value, kind)
    if isinstance(kind, inspect.UnionType):
        yield _wrong_tag(value, kind, path)
    elif not _fits(value, kind):
        yield f"{path or 'It'} received {_shown(value)}. Expected {_expected(kind)}."
    elif isinstance(kind, _RECORDS):
        yield from _misfit_fields(value, kind, path, root)
    elif isinstance(kind, _LISTS):
        for place, one in enumerate(value):
            yield from _misfits(one, kind.item_type, f"{path}[{place}]", root)
    elif isinstance(kind, inspect.DictType):
        for key, one in value.items():
            yield from _misfits(one, kind.value_type, _joined(path, key), root)


def _misfit_fields(value: dict[str, Any], kind: Any, path: str, root: inspect.Type) -> Iterator[str]:
    fields = {field.encode_name: field for field in kind.fields}
    known = {*fields, getattr(kind, "tag_field", None)}
    if getattr(kind, "forbid_unknown_fields", False):
        for key in value:
            if key not in known:
                yield f"{_joined(path, key)} is not known.{_suggestion(key, path, known - {None}, root)}"
    for name, field in fields.items():
        if name in value:
            yield from _misfits(value[name], field.type, _joined(path, name), root)
        elif field.required:
            yield f"{_joined(path, name)} is missing. Expected {_expected(field.type)}."


def _alternative(value: Any, union: inspect.UnionType) -> inspect.Type:
    """That of a union's kinds which was meant; the union itself when its tables have tags and `value` has none."""
    kinds = [kind for kind in union.types if value is not None or isinstance(kind, inspect.NoneType)]
    tagged = [kind for kind in kinds if getattr(kind, "tag_field", None)]
    if tagged and isinstance(value, dict):
        return next((kind for kind in tagged if kind.tag == value.get(kind.tag_field)), union)
    others = [kind for kind in kinds if not isinstance(kind, inspect.NoneType)]
    return next((kind for kind in kinds if _fits(value, kind)), (others or union.types)[0])


def _wrong_tag(value: dict[str, Any], union: inspect.UnionType, path: str) -> str:
    field = next(kind.tag_field for kind in union.types if getattr(kind, "tag_field", None))
    tags = _either(sorted(repr(kind.tag) for kind in union.types if getattr(kind, "tag_field", None)))
    received = f"received {_shown(value[field])}" if field in value else "is missing"
    return f"{_joined(path, field)} {received}. Expected {tags}."


def _fits(value: Any, kind: inspect.Type) -> bool:
    """Whether a value is of a kind itself; what it holds is not looked at."""
    match kind:
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool) and _within(value, kind)
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool) and _within(value, kind)
        case inspect.StrType():
            return isinstance(value, str)
        case inspect.NoneType():
            return value is None
        case inspect.LiteralType():
            return isinstance(value, str | int) and value in kind.values
        case inspect.StructType() | inspect.DataclassType() | inspect.DictType():
            return isinstance(value, dict)
        case inspect.VarTupleType() | inspect.ListType():
            return isinstance(value, list | tuple) and len(value) >= (kind.min_length or 0)
        case inspect.UnionType():
            return any(_fits(value, one) for one in kind.types)
    return True


def _within(value: float, kind: Any) -> bool:
    return (
        (kind.ge is None or value >= kind.ge)
        and (kind.gt is None or value > kind.gt)
        and (kind.le is None or value <= kind.le)
        and (kind.lt is None or value < kind.lt)
        and (kind.multiple_of is None or value % kind.multiple_of == 0)
    )


def _suggestion(unknown: str, table: str, own: Collection[str], root: inspect.Type) -> str:
    """The key that was meant: of the same name in another table, or of a similar one, in this table before others."""
    keys = sorted(_keys(root))
    if _joined(table, unknown) in keys:  # of another table with the same name
        return " It belongs to another family: leave it out, or begin from a recipe of that family."
    by_name = {key.rpartition(".")[2]: key for key in reversed(keys)}
    here = {name: _joined(table, name) for name in own}
    near = by_name.get(unknown) or _nearest(unknown, here) or _nearest(unknown, by_name)
    return f" Did you mean {near!r}?" if near else f" Expected one of {', '.join(sorted(own))}."


def _nearest(unknown: str, keys: dict[str, str]) -> str | None:
    """The key whose name is most like an unknown one, whatever its case, with hyphens or without."""
    names = difflib.get_close_matches(unknown.strip().lower().replace("-", "_"), keys, 1, cutoff=_ALIKE)
    return keys[names[0]] if names else None


def _keys(kind: Any, prefix: str = "") -> set[str]:
    """Every dotted key that has a value, in a table and in those inside it."""
    fields = [field for one in getattr(kind, "types", (kind,)) for field in getattr(one, "fields", ())]
    inside = {f"{prefix}{field.encode_name}": field.type for field in fields}
    return set().union(*(_keys(type_, f"{key}.") or {key} for key, type_ in inside.items()))


def _joined(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _expected(kind: inspect.Type) -> str:
    words = takes(kind)
    return f"a {words}" if words.startswith(_COUNTED) else words


def _shown(value: Any) -> str:
    """A value as TOML and JSON have it; not endless."""
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    try:
        text = repr(value) if is_plain else json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # Python writes no more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _either(words: Any) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
