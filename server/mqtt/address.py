"""Where an MQTT broker is: a URL such as mqtt://user:password@host:1883, or mqtts:// for TLS, in its parts.

A broker whose certificate is signed by a CA of one's own is written mqtts://host:8883?ca=/path/to/ca.pem. It opens
nothing. Invariant: `shown` never holds the password.
"""

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from server.protocol.http import authority_of

PORT, PORT_TLS = 1883, 8883
"""What MQTT is spoken on where a URL does not say."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A broker, and as whom to speak to it."""

    host: str
    port: int
    is_tls: bool = False
    user: str = ""
    password: str = ""
    ca: str = ""
    """A PEM file with the certificates to trust instead of the system's; "": the system's."""

    @property
    def shown(self) -> str:
        """The address for people."""
        return f"{'mqtts' if self.is_tls else 'mqtt'}://{authority_of(self.host, self.port)}"


def parse_broker(url: str) -> BrokerAddress:
    """The parts of a broker's URL. Raises ValueError with one line that names the fault and the remedy."""
    example = "write it like mqtt://HOST:1883 or mqtts://USER:PASSWORD@HOST:8883"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as fault:
        raise ValueError(f"broker {without_login(url)!r} is no URL: {fault}; {example}") from None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ValueError(f"broker {without_login(url)!r} is not the URL of an MQTT broker; {example}")
    if not _is_name(parts.hostname):
        raise ValueError(f"broker {without_login(url)!r} has a host that no name can be; {example}")
    if parts.path not in ("", "/") or parts.fragment:
        raise ValueError(f"broker {without_login(url)!r} has something behind its port; {example}")
    is_tls = parts.scheme == "mqtts"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    ca = _read_ca(url, parts.query, is_tls=is_tls)
    return BrokerAddress(parts.hostname, port or (PORT_TLS if is_tls else PORT), is_tls, user, password, ca)


def _is_name(host: str) -> bool:
    """Whether a host can be asked for at all: its labels are neither empty nor too long."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _read_ca(url: str, query: str, *, is_tls: bool) -> str:
    """The file that `?ca=FILE` names; "" without one. Raises ValueError for anything else behind the question mark."""
    options = parse_qs(query, keep_blank_values=True)
    ca = options.pop("ca", [""])[-1]
    if options or (query and not (ca and is_tls)):
        example = "write it like mqtts://HOST:8883?ca=FILE.pem"
        raise ValueError(f"broker {without_login(url)!r} has more than ?ca=FILE, which needs mqtts://; {example}")
    return ca


def without_login(url: str) -> str:
    """What of a URL, faulty or not, may be shown and kept: user and password, if it has any, are left out."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else url.rpartition("@")[2]
