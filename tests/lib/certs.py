# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, made by the openssl command: self-signed, each its own authority."""
import base64
import pathlib
import ssl
import subprocess
import tempfile


class Certificate:
    """PEM texts of a certificate and its key; names: "a.example.com", "*.b.example.com"."""

    def __init__(self, *names, days=30, kind=("ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
        with tempfile.TemporaryDirectory() as folder:
            key, cert = pathlib.Path(folder, "key"), pathlib.Path(folder, "cert")
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-subj", "/CN=test", "-days", str(days), "-addext",
                 "subjectAltName=" + ",".join(f"DNS:{name}" for name in names), "-keyout", key, "-out", cert],
                check=True, capture_output=True, timeout=60)
            self.key, self.cert = key.read_text(), cert.read_text()

    def data(self):
        """As the data of a Secret."""
        return {"tls.crt": base64.b64encode(self.cert.encode()).decode(),
                "tls.key": base64.b64encode(self.key.encode()).decode()}

    def secret(self, name):
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "kubernetes.io/tls",
                "data": self.data()}

    def client(self):
        """Who trusts this certificate, and no other."""
        return ssl.create_default_context(cadata=self.cert)

    @property
    def der(self):
        return ssl.PEM_cert_to_DER_cert(self.cert)
