"""A certificate authority of the tests, and certificates for loopback."""

import base64
import datetime as dt
import ipaddress
import json
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

_FROM = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_TO = dt.datetime(2120, 1, 1, tzinfo=dt.UTC)
NAMES = ("localhost", "registry.example")
ADDRESSES = ("127.0.0.1", "127.0.0.2")


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


class Authority:
    """A CA with its files in a folder: `ca` (PEM), and what `issue` makes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign("imgframe test authority", self._key, authority=True)
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(
        self, common_name: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, *, authority: bool
    ) -> x509.Certificate:
        others = [
            *map(x509.DNSName, NAMES),
            *(x509.IPAddress(ipaddress.ip_address(one)) for one in ADDRESSES),
        ]
        issuer = _name("imgframe test authority")
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_FROM)
            .not_valid_after(_TO)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if not authority:
            certificate = certificate.add_extension(x509.SubjectAlternativeName(others), critical=False)
        return certificate.sign(self._key, hashes.SHA256())

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate and key for loopback, as files; also good as a client certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate, secret = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        signed = self._sign(name, key, authority=False)
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(_pem(key))
        return certificate, secret

    def server_context(self) -> ssl.SSLContext:
        """For a server of Python's own on loopback."""
        certificate, secret = self.issue("server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, secret)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Trusts this authority alone."""
        return ssl.create_default_context(cafile=str(self.ca))

    def token_signer(self) -> "Signer":
        """Signs registry tokens with a certificate of this authority."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return Signer(key, self._sign("token server", key, authority=False))


class Signer:
    """JSON web tokens, RS256, that carry their certificate as the registry wants it."""

    def __init__(self, key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        der = certificate.public_bytes(serialization.Encoding.DER)
        self._header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}

    def sign(self, claims: dict) -> str:
        """The token of these claims."""
        text = b".".join(_unpadded(json.dumps(part).encode()) for part in (self._header, claims))
        signature = self._key.sign(text, padding.PKCS1v15(), hashes.SHA256())
        return (text + b"." + _unpadded(signature)).decode()


def _unpadded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
