"""The service's settings: each option once, set on the command line, by `LINCE_…` in the environment or in a file."""

import difflib
import json
import os
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_origin

from msgspec import Meta
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from lince.errors import ServiceError
from lince.model_file import artifact
from lince.schema import expects
from lince.serving import settings_file
from lince.types import ImageLimits

LogFormat = Literal["text", "json"]

_PREFIX = "LINCE_"
_LIST = 'a JSON list of text, such as ["example.org"]'
_SIMILAR = 0.8  # similarity; that of LINCE_PORT_80_TCP, which Kubernetes sets, to LINCE_PORT is 0.74
_FILE = "LINCE_CONFIG"
_OTHER_VARIABLES = (_FILE, "LINCE_API_KEY", "LINCE_CACHE", "LINCE_CIFAR10_URL")
_BOUNDS = ("ge", "gt", "le", "lt")
_DECODER_BYTES = 5  # a pixel: enough for PNG, BMP, GIF and the JPEGs of cameras
_DECODER_SPARE_BYTES = 8 * 2**20  # with these, a WebP of 8 megapixels fits as well


def shipped_model() -> Path:
    """The model file inside the package, whatever the working folder holds."""
    return artifact.shipped_models()[artifact.SHIPPED]


def expected(field: FieldInfo) -> str:
    """The values that a field accepts, in words: its title, or its type and bounds."""
    if field.title:
        return field.title
    kind = field.annotation
    if get_origin(kind) is frozenset:
        return _LIST
    bounds = {name: getattr(one, name) for one in field.metadata for name in _BOUNDS if hasattr(one, name)}
    return expects(Annotated[kind, Meta(**bounds)] if bounds else kind)


class ServeSettings(BaseSettings):
    """Options of `lince serve`; `LINCE_PORT=9000` sets `port`, and so on. All limits hold for each worker."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="forbid")

    model: Annotated[tuple[Path, ...], NoDecode] = Field(
        (),
        title="a path or the name of a model that ships, or a JSON list of them",
        description="Model file, run folder or model that ships, or a JSON list of them: the first is the default.  "
        "[default: cifar10]",
    )
    models: Path | None = Field(
        None, description="Folder of models to serve, and to watch: NAME.tflite, or NAME/VERSION.tflite."
    )
    default_model: str | None = Field(
        None,
        description="Name of the model in that folder that answers when a request names none; the first by default.",
    )
    sha256: str | None = Field(
        None,
        title="64 hexadecimal digits",
        pattern="^[0-9A-Fa-f]{64}$",
        description="SHA-256 of the model file, as sha256sum prints it; another file is refused.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on. Loopback by default: this machine only.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    workers: int = Field(1, ge=1, le=64, description="Processes that answer, each with its own copy of the model.")
    allowed_hosts: frozenset[str] = Field(
        frozenset(),
        description='Names accepted in the Host header, as a JSON list; ["*"] accepts all. '
        "By default localhost only when listening on loopback, all otherwise.",
    )
    allowed_origins: frozenset[str] = Field(
        frozenset(),
        description='Other web sites whose pages may send requests, as a JSON list: ["https://cats.example"]; '
        '["*"] is all.',
    )
    api_keys: Path | None = Field(
        None, description="File of API keys, with lines that `lince key` prints. Without it everybody may ask."
    )
    tls_cert: Path | None = Field(None, description="Certificate in PEM, with those of its issuers behind it: HTTPS.")
    tls_key: Path | None = Field(None, description="Private key of that certificate, in PEM without a password.")
    rate_limit: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Requests a second of one client address, and with one API key; two seconds' worth at once. "
        "0 sets no limit.",
    )
    trusted_proxies: frozenset[IPv4Network | IPv6Network] = Field(
        frozenset(),
        title='a JSON list of addresses and networks, such as ["10.0.0.0/8"]',
        description="Proxies whose X-Forwarded-For is believed, as a JSON list of addresses and networks.",
    )

    max_body_bytes: int = Field(
        ImageLimits().max_bytes, ge=1024, description="Bytes of one request: one image, or all parts of a form."
    )
    # 64 images take the network that ships about 50 ms. Requests take turns, image by image.
    max_parts: int = Field(64, ge=1, description="Images in one request.")
    # The 24-megapixel pictures of today's phones, not the 50 that `lince predict` takes.
    max_pixels: int = Field(25_000_000, ge=1, description="Width × height of one image, as its header declares them.")
    # At 2,000 requests a second this is a wait of an eighth of a second.
    max_waiting: int = Field(
        256, ge=1, description="Requests that wait for an answer; the next one gets 503 with Retry-After."
    )
    # Three of the largest requests, or 256 requests of 125 KB.
    max_buffered_bytes: int = Field(
        32 * 2**20, ge=1024, description="Bytes of all request bodies held at a time; more get 503 with Retry-After."
    )
    max_connections: int = Field(1000, ge=1, description="Open connections; the next one gets 503 and is closed.")
    # A 25-megapixel PNG takes 0.27 s on an idle Zen 4 core, and 0.45 to over 0.8 s on a shared one. Small boxes are
    # slower still. Starting and ending the process is not counted.
    decode_cpu_s: float = Field(
        2.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds of CPU time that decoding one image may take; all images of a form twice as much.",
    )
    deadline_s: float = Field(
        30.0, gt=0, allow_inf_nan=False, description="Seconds that a request may wait before work on it begins."
    )
    # One decodes while the other runs the network; more threads only wait for each other.
    threads: int = Field(2, ge=1, le=64, description="Threads that decode small images and run the network.")
    receive_timeout_s: float = Field(
        30.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds a client may take to send its headers, and again for its body.",
    )
    # Balancers keep an idle connection for 60 s as a rule. One that the server closes first loses the next request.
    keep_alive_s: int = Field(75, ge=1, description="Seconds that an idle connection stays open.")
    shutdown_s: int = Field(10, ge=0, description="Seconds that requests in flight may take after a stop signal.")
    feedback: str | None = Field(
        None,
        title="an address of a database, such as sqlite:///feedback.db",
        description="Database of visitors' corrections, as SQLAlchemy writes it: sqlite:///feedback.db. "
        "Without it none are taken.",
    )
    feedback_days: int = Field(30, ge=1, le=3650, description="Days after which a correction is deleted.")
    feedback_max: int = Field(10_000, ge=1, description="Corrections stored at a time; more get 507.")
    access_log: bool = Field(False, description="Log every request to stderr.")
    log_format: LogFormat = Field("text", description="text, or json: one JSON object a line.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuses what only looks as if it had an effect."""
        if self.models is not None and (self.model or self.sha256):
            raise ServiceError("Received models and a folder of models, or a hash for one. Expected either of them.")
        if self.models is None and self.default_model is not None:
            raise ServiceError("Received a default model without a folder of models: the first model is the default.")
        if self.sha256 is not None and len(self.model) > 1:
            raise ServiceError(f"Received one SHA-256 for {len(self.model)} models. Expected it for one model alone.")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ServiceError("Received one of --tls-cert and --tls-key. Expected both, or neither.")
        return self

    @field_validator("model", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        """A path, or a list of them, which is JSON in the environment."""
        if isinstance(value, str) and value.startswith("["):
            return json.loads(value)
        return (value,) if isinstance(value, str | Path) else value

    @classmethod
    def read(cls, *, file: Path | None = None, **options: Any) -> Self:
        """Settings from options, then the environment, then a file, then the defaults.

        Args:
            file: TOML, instead of the one that `LINCE_CONFIG` names.
            options: fields by name; None means "not given".

        Raises:
            ServiceError: a value that is not valid; the message names the field, what it received and expected.
        """
        file = file or (Path(os.environ[_FILE]) if os.environ.get(_FILE) else None)
        in_file = cls._of_file(file) if file is not None else {}
        given = {name: value for name, value in options.items() if value is not None}
        try:
            return cls(**in_file | given)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            if name not in cls.model_fields:
                raise ServiceError(f"There is no setting {name!r}.{_did_you_mean(name, cls.model_fields)}") from error
            received, wanted = str(first["input"])[:100], expected(cls.model_fields[name])
            is_in_file = name in in_file and name not in given
            where = f"it in {str(file)!r}" if is_in_file else f"the option or {_PREFIX}{name.upper()}"
            raise ServiceError(
                f"Setting {name!r} received {received!r}. Expected {wanted}. Correct {where}."
            ) from error
        except SettingsError as error:  # pydantic reads lists of the environment as JSON
            lists = {
                f"{_PREFIX}{name.upper()}": name for name in ("allowed_hosts", "allowed_origins", "trusted_proxies")
            }
            # Names of variables may be in small letters.
            received_by = {name.upper(): value for name, value in os.environ.items()}
            broken = next(name for name in lists if not _is_json(received_by.get(name, "[]")))
            wanted = expected(cls.model_fields[lists[broken]])
            raise ServiceError(f"{broken} received {received_by[broken][:100]!r}. Expected {wanted}.") from error

    @classmethod
    def _of_file(cls, path: Path) -> dict[str, Any]:
        """The settings of a file that are not set in the environment, which goes first."""
        found = settings_file.read(path)
        for name in found:
            if name not in cls.model_fields:
                meant = _did_you_mean(name, cls.model_fields)
                raise ServiceError(f"There is no setting {name!r}, which stands in {str(path)!r}.{meant}")
        variables = {name.upper() for name in os.environ}  # as pydantic, for which their case means nothing
        return {name: value for name, value in found.items() if f"{_PREFIX}{name.upper()}" not in variables}

    @classmethod
    def misspelt(cls, environment: Iterable[str]) -> Iterator[str]:
        """A sentence for each variable whose name is similar to that of a setting."""
        known = [f"{_PREFIX}{name.upper()}" for name in cls.model_fields] + [*_OTHER_VARIABLES]
        for name in environment:
            is_unknown = name.startswith(_PREFIX) and name not in known
            if is_unknown and (meant := _did_you_mean(name, known, cutoff=_SIMILAR)):
                yield f"{name} is set, but there is no such setting.{meant}"

    @property
    def model_files(self) -> tuple[Path, ...]:
        """The files to serve: that of the model that ships when none is named, and none when there is a folder.

        Raises:
            ModelFileError: a folder without a model.
        """
        if self.model:
            return tuple(artifact.locate(str(one)) for one in self.model)
        return (shipped_model(),) if self.models is None else ()

    def export(self) -> None:
        """Writes every field that is set into the environment, where worker processes read them.

        They do not read the file: it may have changed since the start.
        """
        os.environ.pop(_FILE, None)
        for name, value in self.model_dump(mode="json", exclude_none=True).items():
            os.environ[_PREFIX + name.upper()] = value if isinstance(value, str) else json.dumps(value)

    def to_toml(self) -> str:
        """All settings as a file that `read` reads."""
        fields = self.model_dump(mode="json")
        sets = {name: sorted(value) for name, value in fields.items() if isinstance(getattr(self, name), frozenset)}
        return settings_file.to_toml(fields | sets)

    def allows_origin(self, origin: str) -> bool:
        """Whether `allowed_origins` lets a page of this origin send requests."""
        if not self.allowed_origins:
            return False
        names = {name.lower().rstrip("/") for name in self.allowed_origins}
        return "*" in names or origin.lower() in names

    @property
    def image_limits(self) -> ImageLimits:
        return ImageLimits(
            max_bytes=self.max_body_bytes,
            max_pixels=self.max_pixels,
            max_decoder_bytes=_DECODER_BYTES * self.max_pixels + _DECODER_SPARE_BYTES,
        )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def hosts(self) -> frozenset[str] | None:
        """Names accepted in the Host header; None for all."""
        if self.allowed_hosts:
            return None if "*" in self.allowed_hosts else frozenset(name.lower() for name in self.allowed_hosts)
        return frozenset({"localhost", "127.0.0.1", "[::1]", self.host}) if self.loopback else None


def _did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    near = difflib.get_close_matches(name, known, 1, cutoff=cutoff)
    return f" Did you mean {near[0]!r}?" if near else ""


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
