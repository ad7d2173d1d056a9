"""One connection to an MQTT broker, as aiomqtt makes it, and what its failures mean for a person.

It dials once and keeps nothing up: `broker_link` does. Invariant: no line that is made here holds a password.
"""

import asyncio
import logging
import random
import ssl
from collections.abc import Iterator
from typing import Any

import aiomqtt
from aiomqtt.exceptions import MqttConnectError

from server.mqtt.address import BrokerAddress

KEEP_ALIVE_S = 5
"""A broker that says nothing for one and a half times as long is gone, though its socket is open."""
ANSWER_S = 5.0
_REFUSALS = (4, 5, 134, 135)
"""Codes of a CONNACK for a login that is wrong or missing, in MQTT 3.1.1 and as paho names them in MQTT 5."""
_OTHER_NAME = (62, 64)
"""OpenSSL's codes for a certificate that is of another host, or of another address."""

_log = logging.Logger("server.mqtt.client")
_log.addHandler(logging.NullHandler())


def tls_context(address: BrokerAddress) -> ssl.SSLContext | None:
    """What TLS goes by; None without TLS. Raises ValueError, one line, for a CA file that cannot be used."""
    if not address.is_tls:
        return None
    try:
        return ssl.create_default_context(cafile=address.ca or None)
    except OSError as fault:  # ssl.SSLError is one too.
        reason = "holds no certificate" if isinstance(fault, ssl.SSLError) else (fault.strerror or str(fault)).lower()
        raise ValueError(f"CA file {address.ca!r} {reason}; give ?ca= a PEM file with the CA's certificate") from None


def new_client(address: BrokerAddress, role: str, tls: ssl.SSLContext | None) -> aiomqtt.Client:
    """A client that is not connected yet. `role` begins its identifier, which is drawn by lot behind it."""
    return aiomqtt.Client(
        address.host,
        address.port,
        username=address.user or None,
        password=address.password or None,
        tls_context=tls,
        identifier=f"{role}-{random.getrandbits(48):012x}",
        keepalive=KEEP_ALIVE_S,
        timeout=ANSWER_S,
        logger=_log,
    )


def hear_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio is to do with an exception that nobody awaits: of a connection that broke, nothing.

    One that ends in several places at once leaves such behind, and that it has ended is told by whoever waits for it.
    """
    if not isinstance(context.get("exception"), aiomqtt.MqttError | OSError):
        loop.default_exception_handler(context)


def is_lasting(fault: BaseException) -> bool:
    """Whether dialling again cannot mend it: a certificate, a login."""
    return any(isinstance(each, ssl.SSLError) or _is_refusal(each) for each in _chain(fault))


def explain(address: BrokerAddress, fault: BaseException) -> str:
    """What went wrong with this broker, one line with the remedy where there is one; it does not name the broker."""
    for each in _chain(fault):
        if isinstance(each, ssl.SSLCertVerificationError):
            return _about_certificate(address, each)
        if isinstance(each, ssl.SSLError):
            return "it does not speak TLS there; write mqtt://, or the port of its TLS listener"
        if _is_refusal(each):
            return _about_login(address)
        if isinstance(each, OSError) and each.strerror:
            return each.strerror.lower()
    return str(fault).lower()


def _about_certificate(address: BrokerAddress, fault: ssl.SSLCertVerificationError) -> str:
    if fault.verify_code in _OTHER_NAME:
        return f"its certificate is not of {address.host}; write the host as the certificate names it"
    whose = f"by {address.ca}" if address.ca else "here"
    remedy = "give the right CA's file" if address.ca else "for a CA of your own write mqtts://...?ca=FILE.pem"
    return f"its certificate is not trusted {whose} ({fault.verify_message}); {remedy}"


def _about_login(address: BrokerAddress) -> str:
    if address.user:
        return f"it does not let user {address.user!r} in with this password; correct them in the URL"
    return "it lets nobody in without a login; write mqtt://USER:PASSWORD@HOST"


def _is_refusal(fault: BaseException) -> bool:
    if not isinstance(fault, MqttConnectError):
        return False  # Other errors have codes too, with other meanings.
    return getattr(fault.rc, "value", fault.rc) in _REFUSALS


def _chain(fault: BaseException) -> Iterator[BaseException]:
    """The fault and what it came from."""
    each: BaseException | None = fault
    while each is not None:
        yield each
        each = each.__cause__ or each.__context__
