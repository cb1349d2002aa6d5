"""Certificates for tests, whose keys are public and protect nothing, and a client that believes all of them."""

import shutil
import ssl
from pathlib import Path

FOLDER = Path(__file__).parent / "certificates"
FIRST, SECOND = ((FOLDER / f"{name}.crt", FOLDER / f"{name}.key") for name in ("first", "second"))


def anybody() -> ssl.SSLContext:
    """A client's context that checks nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def der(certificate: Path) -> bytes:
    """A certificate as a client receives it."""
    return ssl.PEM_cert_to_DER_cert(certificate.read_text())


def copied(pair: tuple[Path, Path], folder: Path) -> tuple[Path, Path]:
    """A certificate and its key, as files that a test may replace."""
    target = folder / "tls.crt", folder / "tls.key"
    for source, copy in zip(pair, target, strict=True):
        shutil.copy(source, copy.with_suffix(".new"))
        copy.with_suffix(".new").replace(copy)
    return target
