"""The socket on which the service listens: why it cannot be opened."""

import errno
import os
import socket

import pytest

from lince.errors import ServiceError
from lince.serving import listener
from lince.serving.settings import ServeSettings


class TestListen:
    def test_name_that_is_unknown(self, monkeypatch):
        """The host is to be corrected, not the port."""

        def unknown(*_: object, **__: object) -> list[tuple[object, ...]]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(ServiceError, match=r"'host' received 'nohost'\. .* Correct --host or LINCE_HOST\.$"):
            listener.listen(ServeSettings(host="nohost"))

    def test_port_that_is_taken(self):
        """The address is named once."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(ServiceError) as error:
                listener.listen(ServeSettings(host="127.0.0.1", port=port))
        reason = os.strerror(errno.EADDRINUSE)
        assert str(error.value).startswith(f"Cannot listen on 127.0.0.1:{port}: {reason}. Expected an address")

    def test_address_of_another_machine(self):
        """An address for documentation (RFC 5737), which no machine has: the host is named as what to correct."""
        with pytest.raises(ServiceError, match=f"{os.strerror(errno.EADDRNOTAVAIL)}.*correct --host, choose another"):
            listener.listen(ServeSettings(host="192.0.2.1", port=0))


class TestTurnAway:
    @pytest.mark.parametrize(("tls", "beginning"), [(False, b"HTTP/1.1 503 "), (True, b"")])
    def test_who_waits_gets_an_answer_or_an_end(self, tls: bool, beginning: bytes):
        """Nothing can be said over TLS without a handshake: what is not encrypted would be taken for an attack."""
        with (
            socket.create_server(("127.0.0.1", 0)) as one,
            socket.create_connection(one.getsockname(), timeout=20) as waiting,
        ):
            listener.turn_away(one, tls=tls)
            answer = b"".join(iter(lambda: waiting.recv(65536), b""))
        assert beginning == answer[:13]
