"""Certificates for servers on 127.0.0.1, signed by an authority that is made for the test."""

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def write_certificates(root: Path, names: tuple[str, ...]) -> str:
    """Write server.pem and server.key; return the certificate of who signed them."""
    now = dt.datetime.now(dt.UTC)

    def build(subject, key, issuer, signer, extensions):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=2))
            .not_valid_after(now + dt.timedelta(days=2))
        )
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, critical=is_critical)
        return builder.sign(signer, hashes.SHA256())

    def called(name):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = build(
        called("Test authority"),
        authority_key,
        called("Test authority"),
        authority_key,
        [(x509.BasicConstraints(ca=True, path_length=None), True)],
    )
    alternatives = [
        x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
        for name in names
    ]
    server = build(
        called(names[0]),
        server_key,
        called("Test authority"),
        authority_key,
        [(x509.SubjectAlternativeName(alternatives), False)],
    )
    pem = serialization.Encoding.PEM
    (root / "server.pem").write_bytes(server.public_bytes(pem))
    (root / "server.key").write_bytes(
        server_key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return authority.public_bytes(pem).decode()
