"""Converts plain data to records, describes fields in words, and names the first value that does not fit.

`msgspec` decides whether data fits. Its messages are not parsed. Data that does not fit is compared with the record's
fields again. The sentence is made from the path, the value and the field's type.
"""

import difflib
import json
import math
from collections.abc import Collection, Iterable, Iterator
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, inspect

_Record = TypeVar("_Record")

Count = Annotated[int, Meta(ge=1)]
Counts = Annotated[tuple[Count, ...], Meta(min_length=1)]
Share = Annotated[float, Meta(ge=0, lt=1)]

_Table = inspect.StructType | inspect.DataclassType | inspect.TypedDictType
_List = inspect.VarTupleType | inspect.ListType
_Number = inspect.IntType | inspect.FloatType
_WITH_ARTICLE = ("whole number", "number", "list", "non-empty list", "table")
_MAX_CHARACTERS = 100
_MOST = 2**63  # of TOML's whole numbers
# Of `difflib`. In the same table it lets through two wrong letters of six, in another table one: a similar name there
# is seldom the intended one.
_SIMILARITY, _SIMILARITY_ELSEWHERE = 0.65, 0.8


class MisfitError(ValueError):
    """Data that does not fit a record; `str(error)` is one or two sentences."""


def convert(data: Any, kind: type[_Record]) -> _Record:
    """Converts plain data, as JSON and TOML give it, to a record.

    Args:
        data: dictionaries, lists, texts, numbers, truth values, None.
        kind: a Struct, a dataclass, or another type that msgspec knows.

    Raises:
        MisfitError: the data does not fit.
    """
    try:
        return msgspec.convert(data, kind)
    except RecursionError as error:
        raise MisfitError("It is nested too deep.") from error
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # half of a surrogate pair, from the command line
        raise MisfitError(_sentence(error, data, kind)) from error


def from_json(data: bytes, kind: type[_Record]) -> _Record:
    """Converts the bytes of a JSON file to a record; see `convert`.

    Raises:
        MisfitError: the bytes are not JSON, or the data does not fit.
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
    """Refuses numbers that TOML takes and no option can use: `inf`, `nan`, and more than 64 bits.

    Raises:
        MisfitError: the data holds such a number.
    """
    pending: list[tuple[str, Any]] = [("", data)]
    for path, value in pending:
        if isinstance(value, dict):
            pending += ((_joined(path, key), one) for key, one in value.items())
        elif isinstance(value, list):
            pending += ((f"{path}[{place}]", one) for place, one in enumerate(value))
        elif isinstance(value, float) and not math.isfinite(value):
            raise MisfitError(f"{path} = {value}. Expected a finite number.")
        elif isinstance(value, int) and not -_MOST <= value < _MOST:
            raise MisfitError(f"{path} has more than 64 bits. Expected a smaller number.")


def _plain(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except RecursionError as error:
        raise MisfitError("It is nested too deep.") from error
    except msgspec.ValidationError as error:  # 1e999
        raise MisfitError("A number is out of range.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # damaged behind the place that does not fit
        raise MisfitError("It is not JSON.") from error


def takes(kind: inspect.Type, *, quote: str = "'", plural: bool = False) -> str:
    """The values that a field takes, in words: `whole number of at least 1`.

    Args:
        kind: as `msgspec.inspect` describes it.
        quote: the mark around the valid choices.
        plural: for the items of a list.
    """
    s = "s" if plural else ""
    match kind:
        case inspect.LiteralType():
            return _either(f"{quote}{value}{quote}" for value in kind.values)
        case inspect.UnionType():
            others = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
            return _either(takes(one, quote=quote, plural=plural) for one in others)
        case inspect.VarTupleType() | inspect.ListType():
            some = "non-empty " if kind.min_length else ""
            return f"{some}list{s} of {takes(kind.item_type, quote=quote, plural=True)}"
        case inspect.IntType() | inspect.FloatType():
            noun = "whole number" if isinstance(kind, inspect.IntType) else "number"
            return f"{noun}{s} {_bounds(kind)}".rstrip()
        case inspect.BoolType():
            mark = quote.strip("'")  # a truth value is no text
            return f"{mark}true{mark} or {mark}false{mark}"
        case inspect.StrType():
            return f"text{s}"
        case inspect.NoneType():
            return "nothing"
        case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType() | inspect.DictType():
            return f"table{s}"
    return "a value"


def expects(kind: Any) -> str:
    """The values that a type takes, as they follow "Expected": `a whole number of at least 1`."""
    return _expected(inspect.type_info(kind))


def _bounds(kind: _Number) -> str:
    """`of at least 1`, `from 2 to 24 and a multiple of 2`; empty when there are none."""
    if kind.ge is not None and kind.le is not None:
        words = [f"from {_plainly(kind.ge)} to {_plainly(kind.le)}"]
    else:
        bounds = {"of at least": kind.ge, "above": kind.gt, "of at most": kind.le, "below": kind.lt}
        words = [f"{word} {_plainly(bound)}" for word, bound in bounds.items() if bound is not None]
    if kind.multiple_of is not None:
        words.append(f"a multiple of {_plainly(kind.multiple_of)}")
    return " and ".join(words)


def _plainly(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


def _sentence(error: Exception, data: Any, kind: Any) -> str:
    if isinstance(error.__cause__, ValueError):  # a record's own rule, in `__post_init__`
        return f"{error.__cause__}."
    info = inspect.type_info(kind)
    return next(_misfits(data, info, "", info), "A value is out of range.")


def _misfits(value: Any, kind: inspect.Type, path: str, root: inspect.Type) -> Iterator[str]:
    """A sentence for every part of `value`, which is at `path`, that is not of this kind."""
    if isinstance(kind, inspect.UnionType):
        kinds = _meant(value, kind)
        if not kinds:
            yield _wrong_tag(value, _tagged(kind), path)
            return
        kind = kinds[0]
    if not _fits(value, kind):
        received = f"{path} = {_shown(value)}" if path else f"It holds {_shown(value)}"
        yield f"{received}. Expected {_expected(kind)}."
    elif isinstance(kind, _Table):
        yield from _misfit_fields(value, kind, path, root)
    elif isinstance(kind, _List):
        for place, one in enumerate(value):
            yield from _misfits(one, kind.item_type, f"{path}[{place}]", root)
    elif isinstance(kind, inspect.DictType):
        for key, one in value.items():
            yield from _misfits(one, kind.value_type, _joined(path, key), root)


def _misfit_fields(value: dict[str, Any], kind: _Table, path: str, root: inspect.Type) -> Iterator[str]:
    fields, tag = {field.encode_name: field for field in kind.fields}, getattr(kind, "tag_field", None)
    known = {*fields, *filter(None, [tag])}
    if getattr(kind, "forbid_unknown_fields", False):
        for key in value:
            if key not in known:
                yield f"{_joined(path, key)} is not known.{_suggestion(key, path, known, root)}"
    for name, field in fields.items():
        if name in value:
            yield from _misfits(value[name], field.type, _joined(path, name), root)
        elif field.required:
            yield f"{_joined(path, name)} is missing. Expected {_expected(field.type)}."


def _meant(value: Any, union: inspect.UnionType) -> list[inspect.Type]:
    """The types of a union, the intended one first; empty when its tables have tags and `value` has none of them."""
    tagged = _tagged(union)
    if tagged and isinstance(value, dict):
        return [kind for kind in tagged if kind.tag == value.get(kind.tag_field)]
    return sorted(union.types, key=lambda kind: (not _fits(value, kind), isinstance(kind, inspect.NoneType)))


def _tagged(union: inspect.UnionType) -> list[inspect.StructType]:
    return [kind for kind in union.types if isinstance(kind, inspect.StructType) and kind.tag_field]


def _wrong_tag(value: dict[str, Any], tables: list[inspect.StructType], path: str) -> str:
    key = str(tables[0].tag_field)
    received = f"= {_shown(value[key])}" if key in value else "is missing"
    return f"{_joined(path, key)} {received}. Expected {_either(sorted(repr(table.tag) for table in tables))}."


def _fits(value: Any, kind: inspect.Type) -> bool:
    """Whether a value is of a kind, without the values inside it."""
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
        case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType() | inspect.DictType():
            return isinstance(value, dict)
        case inspect.VarTupleType() | inspect.ListType():
            return isinstance(value, list | tuple) and len(value) >= (kind.min_length or 0)
        case inspect.UnionType():
            return any(_fits(value, one) for one in kind.types)
    return True


def _within(value: float, kind: _Number) -> bool:
    return (
        (kind.ge is None or value >= kind.ge)
        and (kind.gt is None or value > kind.gt)
        and (kind.le is None or value <= kind.le)
        and (kind.lt is None or value < kind.lt)
        and (kind.multiple_of is None or value % kind.multiple_of == 0)
    )


def _suggestion(unknown: str, table: str, own: Collection[str], root: inspect.Type) -> str:
    """The intended key: of the same name in another table, or of a similar name, in this table before others."""
    keys = sorted(_keys(root))
    if _joined(table, unknown) in keys:  # of another alternative of a union
        return " It belongs to another family: leave it out, or start from a recipe of that family."
    by_name = {key.rpartition(".")[2]: key for key in reversed(keys)}
    here = {name: _joined(table, name) for name in own}
    near = by_name.get(unknown) or _nearest(unknown, here, cutoff=_SIMILARITY)
    near = near or _nearest(unknown, by_name, cutoff=_SIMILARITY_ELSEWHERE)
    return f" Did you mean {near!r}?" if near else f" Expected one of {', '.join(sorted(own))}."


def _nearest(unknown: str, keys: dict[str, str], *, cutoff: float) -> str | None:
    """The key whose name is most similar to an unknown one; case and hyphens do not count."""
    names = difflib.get_close_matches(unknown.strip().lower().replace("-", "_"), keys, 1, cutoff=cutoff)
    return keys[names[0]] if names else None


def _keys(kind: Any, prefix: str = "") -> set[str]:
    """The dotted name of every key in a table and in the tables inside it."""
    fields = [field for one in getattr(kind, "types", (kind,)) for field in getattr(one, "fields", ())]
    inside = {f"{prefix}{field.encode_name}": field.type for field in fields}
    return set().union(*(_keys(type_, f"{key}.") or {key} for key, type_ in inside.items()))


def _joined(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _expected(kind: inspect.Type) -> str:
    words = takes(kind)
    return f"a {words}" if words.startswith(_WITH_ARTICLE) else words


def _shown(value: Any) -> str:
    """A value as TOML and JSON write it, cut off after 100 characters."""
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    try:
        text = repr(value) if is_plain else json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # Python writes no more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}…"


def _either(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
