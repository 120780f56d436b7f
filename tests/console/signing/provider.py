"""A small OpenID Connect provider, run as a process of its own: `python -m tests.console.signing.provider`.

It is strict where a real one is (redirect address, client's secret, PKCE, one use of a code), signs in whoever it was told to
without asking, and can be told to answer like a forger. It prints its address and ends with its parent's pipe.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, SECRET = "authsvc", "secret-of-the-client"
CALLBACK = "http://127.0.0.1:8081/accounts/oidc/callback/"


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Provider(BaseHTTPRequestHandler):
    key, other_key = new_key(), new_key()
    who: ClassVar[dict[str, Any]] = {}
    fault = ""
    codes: ClassVar[dict[str, dict[str, str]]] = {}
    asked: ClassVar[list[dict[str, str]]] = []

    @property
    def issuer(self) -> str:
        return f"http://{self.headers['Host']}"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match url.path:
            case "/.well-known/openid-configuration":
                self._answer(self._configuration())
            case "/jwks":
                jwk = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
                self._answer({"keys": [{**jwk, "kid": "k1", "use": "sig", "alg": "RS256"}]})
            case "/authorize":
                self._authorize(query)
            case "/userinfo":
                self._answer({**self.who, **({"sub": "somebody else"} if self.fault == "userinfo" else {})})
            case "/asked":
                self._answer({"asked": self.asked})
            case _:
                self._answer({"error": "not_found"}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path == "/be":
            told = json.loads(body)
            Provider.who, Provider.fault = told["who"], told["fault"]
            self._answer({})
        elif self.path == "/token":
            self._token({name: values[0] for name, values in parse_qs(body).items()})

    def _configuration(self) -> dict[str, Any]:
        return {
            "issuer": "https://evil.example" if self.fault == "issuer" else self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }

    def _authorize(self, query: dict[str, str]) -> None:
        Provider.asked.append(query)
        right = (
            query.get("client_id") == CLIENT
            and query.get("redirect_uri") == CALLBACK
            and query.get("response_type") == "code"
            and query.get("code_challenge_method") == "S256"
            and "openid" in query.get("scope", "").split()
            and bool(query.get("nonce"))
            and bool(query.get("state"))
        )
        if not right:
            self._answer({"error": "invalid_request", "got": query}, 400)
            return
        if self.fault == "denied":
            back = {"error": "access_denied", "state": query["state"]}
        else:
            code = secrets.token_urlsafe()
            self.codes[code] = query
            back = {"code": code, "state": query["state"]}
        self.send_response(302)
        self.send_header("Location", f"{CALLBACK}?{urlencode(back)}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _token(self, form: dict[str, str]) -> None:
        asked = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            asked is None
            or (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET)
            or form.get("redirect_uri") != asked["redirect_uri"]
            or challenge != asked["code_challenge"]
        ):
            self._answer({"error": "invalid_grant"}, 400)
            return
        answer: dict[str, Any] = {"access_token": secrets.token_urlsafe(), "token_type": "Bearer", "expires_in": 60}
        if self.fault != "no id token":
            answer["id_token"] = self._id_token(asked)
        self._answer(answer)

    def _id_token(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 60,
            "nonce": asked["nonce"],
            "sub": self.who["sub"],
        }
        match self.fault:
            case "nonce":
                claims["nonce"] = "of another sign-in"
            case "audience":
                claims["aud"] = "another client"
            case "expired":
                claims["exp"] = now - 3600
            case "signature":
                return jwt.encode(claims, self.other_key, algorithm="RS256", headers={"kid": "k1"})
            case "unsigned":
                return jwt.encode(claims, "", algorithm="none", headers={"kid": "k1"})
            case "unknown key":
                return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "k2"})
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "k1"})

    def _answer(self, content: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
