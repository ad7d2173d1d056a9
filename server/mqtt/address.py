"""The address of an MQTT broker, parsed from a URL like mqtt://user:password@host:1883, or mqtts:// for TLS.

With mqtts://host:8883?ca=/path/to/ca.pem, the certificates in that file are trusted.
"""

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from server.protocol.http import authority_of

# The default ports.
PORT, PORT_TLS = 1883, 8883


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A broker and the login for it."""

    host: str
    port: int
    is_tls: bool = False
    user: str = ""
    password: str = ""
    ca: str = ""
    """A PEM file with the certificates to trust instead of the system's; "": the system's."""

    @property
    def shown(self) -> str:
        """The address to show, without login."""
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
        raise ValueError(f"broker {without_login(url)!r} has a host that is not a valid name; {example}")
    if parts.path not in ("", "/") or parts.fragment:
        raise ValueError(f"broker {without_login(url)!r} has something after its port; {example}")
    is_tls = parts.scheme == "mqtts"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    ca = _read_ca(url, parts.query, is_tls=is_tls)
    return BrokerAddress(parts.hostname, port or (PORT_TLS if is_tls else PORT), is_tls, user, password, ca)


def _is_name(host: str) -> bool:
    """Whether this can be a host name: its labels are neither empty nor too long."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _read_ca(url: str, query: str, *, is_tls: bool) -> str:
    """The file that `?ca=FILE` names, or "". Raises ValueError for anything else after the question mark."""
    options = parse_qs(query, keep_blank_values=True)
    ca = options.pop("ca", [""])[-1]
    if options or (query and not (ca and is_tls)):
        example = "write it like mqtts://HOST:8883?ca=FILE.pem"
        raise ValueError(f"broker {without_login(url)!r} has more than ?ca=FILE, which needs mqtts://; {example}")
    return ca


def without_login(url: str) -> str:
    """A URL, valid or not, without user and password, so that it may be shown and stored."""
    # Not parsed: a faulty URL may contain a password, too. The last @ ends the login, whatever it contains.
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else url.rpartition("@")[2]
