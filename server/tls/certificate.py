"""The certificate of a server and its key, and how this machine's own clients trust it. Nothing here opens a socket.

Each fault of the two files is reported in one line with its remedy. A key that needs a password is refused.
"""

import ssl
import sys
from pathlib import Path

from server.accept.listener import CannotListen
from server.config import ServerConfig

_CERTIFICATE_HEAD = b"-----BEGIN CERTIFICATE-----"
_KEY_TAIL = b"PRIVATE KEY-----"


class _PasswordWanted(Exception):
    """OpenSSL asks for a password."""


def context_of(config: ServerConfig) -> ssl.SSLContext | None:
    """The context of a server with this configuration; None: it speaks no TLS. Raises CannotListen."""
    if not config.has_tls:
        return None
    if sys.platform != "linux":
        raise CannotListen("TLS needs Linux; leave cert and key out, and put a proxy in front of the server")
    return load_context(config.cert, config.key)


def load_context(certificate: str, key: str) -> ssl.SSLContext:
    """A context from two PEM files: the certificate, followed by its chain, and its key. Raises CannotListen.

    TLS 1.2 and newer, HTTP/1.1 inside.
    """
    _require_pem("cert", certificate, _CERTIFICATE_HEAD)
    _require_pem("key", key, _KEY_TAIL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # Each renegotiation would cost us work.
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except _PasswordWanted:
        raise CannotListen(
            f"key {key} is encrypted, and there is no password; 'openssl pkey -in {key} -out FILE' writes it decrypted"
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CannotListen(
                f"key {key} does not belong to cert {certificate}; give the two that were made together"
            ) from None
        reason = (error.reason or "unknown fault").lower().replace("_", " ")
        raise CannotListen(
            f"cert {certificate} and key {key} cannot be used: {reason}; give PEM files that openssl reads"
        ) from None
    return context


def _require_pem(name: str, path: str, mark: bytes) -> None:
    """Raise CannotListen when a file cannot be read, or does not have this mark in it."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise CannotListen(
            f"{name} {path} cannot be read: {(error.strerror or str(error)).lower()}; "
            "give a PEM file that this user may read"
        ) from None
    if mark not in text:
        raise CannotListen(f"{name} {path} holds no {mark.decode().strip('-').lower()}; give a PEM file that does")


def _refuse_password() -> str:
    raise _PasswordWanted


def trusting(certificate: str) -> ssl.SSLContext:
    """The context of a client that trusts the certificate in this file and no other. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The server with the certificate's key is the right one, under any host name: it is met on loopback, too.
    context.check_hostname = False
    context.load_verify_locations(certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
