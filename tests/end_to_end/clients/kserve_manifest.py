"""Prints the keys of KServe's objects that its classes do not have, as JSON. The objects are JSON on stdin."""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import kserve
from kubernetes import client

_KINDS = {"ServingRuntime": kserve.V1alpha1ServingRuntime, "InferenceService": kserve.V1beta1InferenceService}


def unknown(kind: str, value: Any, place: str) -> Iterator[str]:
    """Places of keys that a class does not have, in an object of its kind."""
    if found := re.fullmatch(r"list\[(.+)\]", kind):
        for one in value:
            yield from unknown(found[1], one, place)
        return
    model = getattr(kserve, kind, None) or getattr(client, kind, None)
    if model is None:  # text, a number, a dictionary with keys of any name
        return
    attributes = {key: model.openapi_types[name] for name, key in model.attribute_map.items()}
    for key, inner in value.items():
        where = f"{place}.{key}".removeprefix(".")
        if key in attributes:
            yield from unknown(attributes[key], inner, where)
        else:
            yield where


documents = json.load(sys.stdin)
print(json.dumps([place for one in documents for place in unknown(_KINDS[one["kind"]].__name__, one, "")]))
