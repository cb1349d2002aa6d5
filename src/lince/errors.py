"""Every error that Lince raises on purpose.

    LinceError                    one clear sentence: received, expected, how to repair it
    ├── ImageError                bytes that cannot be decoded into pixels (has a `code`)
    ├── DataError                 a dataset that cannot be used
    │   └── DownloadError         a download that failed, or is not the expected file
    ├── RecipeError               a recipe that is not valid
    ├── TrainingError             training that cannot go on (non-finite loss, full disk, …)
    │   └── ResumeError           a run folder that cannot be resumed
    ├── QuantizationError         a network that cannot be quantized as requested
    │   └── GateError             a model that is not good enough to be published
    ├── OutputError               results that could not be written to standard output
    ├── ModelFileError            a model file that is damaged, of another program or manipulated
    └── ServiceError              a server that cannot start, or does not answer as Lince does

`cli/commands.py` turns a LinceError into exit code 1; the server's error table turns an ImageError into a 4xx.
"""

from typing import Any, Literal

ImageErrorCode = Literal[
    "empty_image", "unsupported_format", "corrupt_image", "image_too_large", "image_too_complex", "decode_timeout"
]

WRITE_AGAIN = "Write the file again with lince quantize RUN, or fetch it again."
"""How to repair a model file: the end of many a ModelFileError."""


class LinceError(Exception):
    """Base of all errors that a user can repair. `str(error)` is the sentence to show. Processes can pass them on."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Python itself would call the class with the sentence alone, and some take more."""
        return _passed_on, (type(self), self.args, self.__dict__)


def _passed_on(kind: type[LinceError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> LinceError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(attributes)
    return error


class ImageError(LinceError):
    """Bytes that cannot be decoded into pixels.

    Attributes:
        code: stable, machine-readable reason; also the `code` of the HTTP answer.
    """

    def __init__(self, code: ImageErrorCode, message: str):
        super().__init__(message)
        self.code = code


class DataError(LinceError):
    """A dataset that cannot be used as it is."""


class DownloadError(DataError):
    """A download that failed, stopped short or is not the expected file."""


class RecipeError(LinceError):
    """A recipe (or a `--set` override) that is not valid."""


class TrainingError(LinceError):
    """Training that cannot go on."""


class ResumeError(TrainingError):
    """A run folder from which training cannot be resumed."""


class QuantizationError(LinceError):
    """A network that cannot be quantized as requested."""


class GateError(QuantizationError):
    """A model that is not published: it lost more than the bound, or is no better than always naming one class."""


class OutputError(LinceError):
    """Results that could not be written to standard output."""


class ModelFileError(LinceError):
    """A model file that is damaged, of another program or manipulated."""


class ServiceError(LinceError):
    """A server that cannot start, an address that does not answer as Lince does, or an error that a service answers.

    Attributes:
        code: of the service's error, such as `overloaded`: stable, for programs. None where no service has answered.
        status: of that answer, such as 503; None likewise.
    """

    def __init__(self, message: str, *, code: str | None = None, status: int | None = None):
        super().__init__(message)
        self.code = code
        self.status = status
