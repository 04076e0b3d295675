"""Receives Tributary's webhooks: checks the signature over the raw body, then answers.

    python3 subscriber.py <port> <secret>      (or PORT and SECRET; port 0 takes a free one)
"""

import base64
import hashlib
import hmac
import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ARGUMENTS = dict(enumerate(sys.argv))
PORT = int(ARGUMENTS.get(1) or os.environ.get("PORT", "8080"))
SECRET = ARGUMENTS.get(2) or os.environ["SECRET"]


def verified(raw_body, signature):
    digest = hmac.new(SECRET.encode(), raw_body, hashlib.sha256).digest()
    expected = base64.urlsafe_b64encode(digest).rstrip(b"=")
    given = (signature or "").encode("latin-1", "replace")
    # The length of a signature is no secret; its characters are compared in constant time.
    return len(given) == len(expected) and hmac.compare_digest(given, expected)


class Subscriber(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        # The bytes as sent: parse only after they are verified.
        raw_body = self.rfile.read(int(self.headers.get("content-length") or 0))
        ok = verified(raw_body, self.headers.get("x-stackone-signature"))
        self.send_response(200 if ok else 401)
        self.send_header("content-length", "0")
        self.end_headers()
        body = json.loads(raw_body) if ok else None
        print(json.dumps({"verified": ok, "id": self.headers.get("webhook-id"), "body": body}), flush=True)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Subscriber)
    server.daemon_threads = True
    print(f"listening {server.server_port}", flush=True)
    server.serve_forever()
