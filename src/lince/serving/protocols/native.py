"""What a request for an answer may ask beside its images: the query of `POST /predict`.

FastAPI would read it too, in 25 µs a request, and most requests have none.
"""

from typing import Any, Self
from urllib.parse import parse_qsl

from pydantic import BaseModel, Field, ValidationError

from lince.serving.errors import RequestError
from lince.serving.settings import expected


class Question(BaseModel, frozen=True):
    """The parameters, by name; others are ignored."""

    top: int = Field(5, ge=1, description="Classes to list, best first; at most all of them.")
    logits: bool = Field(False, description="Add the network's output, in the order of the classes.")

    @classmethod
    def read(cls, query: str) -> Self:
        """Reads the part of an address behind its question mark; of a name given twice the last one counts.

        Raises:
            RequestError: a value out of range or of another type.
        """
        try:
            return cls.model_validate(dict(parse_qsl(query, keep_blank_values=True)))
        except ValidationError as error:
            first = error.errors()[0]
            received = f"{first['input']!r}"[:100]
            name = str(first["loc"][0])
            message = f"Parameter {name!r} received {received}. Expected {expected(cls.model_fields[name])}."
            raise RequestError("invalid_parameter", message) from error


def question_parameters() -> list[dict[str, Any]]:
    """The parameters as OpenAPI describes them."""
    properties = Question.model_json_schema()["properties"]
    return [
        {"name": name, "in": "query", "required": False, "description": schema.pop("description"), "schema": schema}
        for name, schema in properties.items()
    ]
