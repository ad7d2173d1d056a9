"""The certificate that a server shows, and its key: read once, when it begins to listen.

It opens no socket. Invariant: whatever is wrong with the two files is told in one line with the remedy, and a key that
needs a password is refused, never asked for.
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
    """What a server of `config` needs to speak TLS, None where it speaks none. Raises CannotListen."""
    if not config.has_tls:
        return None
    if sys.platform != "linux":
        raise CannotListen("TLS needs Linux; leave cert and key out, and put a proxy in front of the server")
    return load_context(config.cert, config.key)


def load_context(certificate: str, key: str) -> ssl.SSLContext:
    """From two PEM files: the certificate, with its chain behind it, and its key. Raises CannotListen.

    TLS 1.2 and newer, HTTP/1.1 inside.
    """
    _require_pem("cert", certificate, _CERTIFICATE_HEAD)
    _require_pem("key", key, _KEY_TAIL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # It lets a client cost us work again and again.
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except _PasswordWanted:
        raise CannotListen(
            f"key {key} is encrypted, and nobody is here to ask; 'openssl pkey -in {key} -out FILE' writes it plainly"
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CannotListen(
                f"key {key} is not the one of cert {certificate}; give the two that were made together"
            ) from None
        reason = (error.reason or "unknown fault").lower().replace("_", " ")
        raise CannotListen(
            f"cert {certificate} and key {key} cannot be used: {reason}; give PEM files that openssl reads"
        ) from None
    return context


def _require_pem(name: str, path: str, mark: bytes) -> None:
    """Raise CannotListen when a file cannot be read or holds nothing of the kind."""
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
