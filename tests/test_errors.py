"""The errors that Lince raises on purpose."""

import pickle

import pytest

from lince import errors

ERRORS = [
    errors.ImageError("corrupt_image", "It is damaged."),
    errors.ServiceError("It is busy.", code="overloaded", status=503),
    errors.DataError("It cannot be used."),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_processes_pass_errors_on(error: errors.LinceError):
    """With the sentence, and with all that the class adds."""
    found = pickle.loads(pickle.dumps(error))
    assert (type(error), str(error), vars(error)) == (type(found), str(found), vars(found))


def test_no_error_has_arguments_of_another_kind():
    """The errors above stand for all: those with a constructor of their own are among them."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.LinceError)]
    assert {kind for kind in kinds if "__init__" in vars(kind)} <= {type(error) for error in ERRORS}
