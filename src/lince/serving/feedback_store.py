"""Visitors' corrections in a database, SQLite or PostgreSQL: a picture without metadata, and its right class.

The service writes them, `lince feedback export` reads them.
"""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy
from sqlalchemy import BigInteger, Column, Engine, LargeBinary, MetaData, String, Table, delete, func, insert, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from lince.errors import LinceError

_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgresql+psycopg": "postgresql+psycopg"}
_HOW = "Expected sqlite:///FILE.db or postgresql://USER@HOST/DATABASE."
_DAY_S = 86_400
_CONNECT_TIMEOUT_S = 5

_corrections = Table(
    "lince_feedback",
    MetaData(),
    Column("id", String(32), primary_key=True),
    Column("created_s", BigInteger, nullable=False, index=True),
    Column("model", String, nullable=False),
    Column("version", String, nullable=False),
    Column("label", String, nullable=False),
    Column("png", LargeBinary, nullable=False),
)


class StoreError(LinceError):
    """The database cannot be used."""


class StoreFullError(StoreError):
    """As many corrections are stored as may be."""


@dataclass(frozen=True)
class Correction:
    """One correction.

    Attributes:
        model, version: that answered.
        label: the right class, as the visitor says.
        png: the picture, a PNG without metadata.
        id: 32 random hexadecimal digits. Who knows them may delete the correction.
        created_s: seconds since 1970.
    """

    model: str
    version: str
    label: str
    png: bytes = field(repr=False)
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    created_s: int = field(default_factory=lambda: int(time.time()))


class FeedbackStore:
    """A table of corrections, which is bounded in number and in age. It may be used from several processes."""

    def __init__(self, address: str, *, days: int, most: int):
        """Opens the database, and makes the table where there is none.

        Args:
            address: as SQLAlchemy writes it. A password in it is in no message of ours.
            days: after which a correction is deleted.
            most: corrections at a time.

        Raises:
            StoreError: the address is not valid, a driver is missing, or the database cannot be reached.
        """
        url = _url(address)
        self._shown = url.render_as_string(hide_password=True)
        self._days, self._most = days, most
        with self._errors_told():
            self._engine = _engine(url)
            _corrections.metadata.create_all(self._engine)

    def add(self, correction: Correction) -> None:
        """Stores a correction.

        Raises:
            StoreFullError: there is no room for it.
            StoreError: the database cannot be used.
        """
        self.purge()
        with self._errors_told(), self._engine.begin() as connection:
            count = connection.execute(select(func.count()).select_from(_corrections)).scalar_one()
            if count >= self._most:
                raise StoreFullError(
                    f"The server stores {count:,} corrections already. Expected at most {self._most:,}."
                )
            connection.execute(insert(_corrections).values(vars(correction)))

    def delete(self, id: str) -> bool:
        """Deletes a correction; False where there is none of that id.

        Raises:
            StoreError: the database cannot be used.
        """
        with self._errors_told(), self._engine.begin() as connection:
            return connection.execute(delete(_corrections).where(_corrections.c.id == id)).rowcount > 0

    def purge(self) -> None:
        """Deletes what is too old.

        Raises:
            StoreError: the database cannot be used.
        """
        oldest_s = time.time() - self._days * _DAY_S
        with self._errors_told(), self._engine.begin() as connection:
            connection.execute(delete(_corrections).where(_corrections.c.created_s < oldest_s))

    def __iter__(self) -> Iterator[Correction]:
        """All corrections, the oldest first; one picture is in memory at a time.

        Raises:
            StoreError: the database cannot be used.
        """
        of_one = select(_corrections)
        in_order = select(_corrections.c.id).order_by(_corrections.c.created_s, _corrections.c.id)
        with self._errors_told(), self._engine.connect() as connection:
            for id in connection.execute(in_order).scalars().all():
                for row in connection.execute(of_one.where(_corrections.c.id == id)).mappings():
                    yield Correction(**row)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            raise StoreError(f"Database {self._shown!r} cannot be used ({reason}). {_HOW}") from error


def _url(address: str) -> URL:
    try:
        url = make_url(address)
    except ArgumentError as error:
        raise StoreError(f"The address of the database for corrections cannot be read. {_HOW}") from error
    if url.drivername not in _DRIVERS:
        raise StoreError(f"The database for corrections is of the kind {url.drivername!r}. {_HOW}")
    return url.set(drivername=_DRIVERS[url.drivername])


def _engine(url: URL) -> Engine:
    if url.drivername != "sqlite":
        return sqlalchemy.create_engine(
            url, pool_size=1, pool_pre_ping=True, connect_args={"connect_timeout": _CONNECT_TIMEOUT_S}
        )
    if url.database and url.database != ":memory:":
        with suppress(FileExistsError):  # pictures of visitors: for the service's user alone
            os.close(os.open(Path(url.database), os.O_CREAT | os.O_EXCL, 0o600))
    engine = sqlalchemy.create_engine(url)
    # What is deleted is overwritten in the file.
    sqlalchemy.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA secure_delete = ON"))
    return engine
