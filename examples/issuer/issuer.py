"""An issuer of ID tokens for trying sign-in on one's own machine. It vouches for anybody who asks.

Needs the package `cryptography`. It listens on 127.0.0.1:8801, makes a new key at each start, and serves

    /.well-known/openid-configuration   where the keys are
    /keys                               the public key
    /token?sub=NAME                     an ID token of NAME, for the client `shop`
"""

import base64
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ADDRESS = ("127.0.0.1", 8801)
ISSUER = f"http://{ADDRESS[0]}:{ADDRESS[1]}"
KEY = ec.generate_private_key(ec.SECP256R1())


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def keys() -> dict:
    public = KEY.public_key().public_numbers()
    x, y = (encoded(number.to_bytes(32)) for number in (public.x, public.y))
    return {"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "alg": "ES256", "use": "sig", "x": x, "y": y}]}


def token(subject: str) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "shop", "sub": subject, "iat": now, "exp": now + 600}
    parts = ({"alg": "ES256", "kid": "1", "typ": "JWT"}, claims)
    text = ".".join(encoded(json.dumps(part).encode()) for part in parts)
    r, s = decode_dss_signature(KEY.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{encoded(r.to_bytes(32) + s.to_bytes(32))}"


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/.well-known/openid-configuration":
            body = json.dumps({"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"})
        elif url.path == "/keys":
            body = json.dumps(keys())
        elif url.path == "/token":
            body = token(parse_qs(url.query).get("sub", ["somebody"])[0])
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(ADDRESS, Answers).serve_forever()
