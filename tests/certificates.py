"""Certificates as nobody should have them: of other times, usages, names and authorities."""

import ipaddress
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from enforcer.api.server import TlsFiles
from tests.control import key_pem

CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CONTROL = "spiffe://example.org/control/control-1"
AUDITOR = "spiffe://example.org/auditor/auditor"


def certificate(
    authority,
    uris=(AUDITOR,),
    *,
    hosts=(),
    usages=(CLIENT,),
    begins=timedelta(hours=-1),
    ends=timedelta(hours=1),
):
    """Return a new key with a certificate that begins and ends so far from now."""
    key = generate_private_key(SECP256R1())
    now = datetime.now(UTC)
    names = [x509.UniformResourceIdentifier(uri) for uri in uris]
    names += [x509.IPAddress(ipaddress.ip_address(host)) for host in hosts]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(authority.key, SHA256())
    return TlsFiles(signed.public_bytes(Encoding.PEM), key_pem(key), authority.pem)


def server_certificate(authority, **changes):
    """Return a control plane's, for 127.0.0.1."""
    given = {"hosts": ("127.0.0.1",), "usages": (CLIENT, SERVER), **changes}
    return certificate(authority, (CONTROL,), **given)
