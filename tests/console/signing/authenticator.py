"""A passkey in software: what a browser and its authenticator answer to the page's options."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData


class Passkey:
    def __init__(self, origin: str = "http://localhost:8081", host: str = "localhost") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.id, self._origin, self._host, self._count = secrets.token_bytes(16), origin, host, 0
        self._user = b""

    def register(self, options: dict[str, Any]) -> str:
        asked = options["publicKey"]
        assert asked["rp"]["id"] == self._host
        self._user = asked["user"]["id"]
        data = AttestedCredentialData.create(b"\0" * 16, self.id, ES256.from_cryptography_key(self._key.public_key()))
        attested = AttestationObject.create("none", self._data(data), {})
        response = {
            "clientDataJSON": websafe_encode(self._client("webauthn.create", asked["challenge"])),
            "attestationObject": websafe_encode(attested),
        }
        return self._credential(response)

    def sign_in(self, options: dict[str, Any]) -> str:
        client = self._client("webauthn.get", options["publicKey"]["challenge"])
        data = bytes(self._data())
        signature = self._key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        response = {
            "clientDataJSON": websafe_encode(client),
            "authenticatorData": websafe_encode(data),
            "signature": websafe_encode(signature),
            "userHandle": self._user,
        }
        return self._credential(response)

    def _data(self, credential: AttestedCredentialData | None = None) -> AuthenticatorData:
        flags = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV
        if credential is not None:
            flags |= AuthenticatorData.FLAG.AT
        self._count += 1
        host = hashlib.sha256(self._host.encode()).digest()
        made: AuthenticatorData = AuthenticatorData.create(host, flags, self._count, bytes(credential or b""))
        return made

    def _client(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self._origin, "crossOrigin": False}).encode()

    def _credential(self, response: dict[str, Any]) -> str:
        name = websafe_encode(self.id)
        return json.dumps(
            {"id": name, "rawId": name, "type": "public-key", "response": response, "clientExtensionResults": {}}
        )
