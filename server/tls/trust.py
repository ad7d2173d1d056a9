"""What this machine's own clients trust: the server that shows a certificate whose file they know, and no other.

It opens no socket and knows no names: whoever has the certificate's key is the server, wherever it is met. Invariant:
nothing that a system trusts counts here.
"""

import ssl


def trusting(certificate: str) -> ssl.SSLContext:
    """What a client goes by at a server that shows the certificate in this file. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
