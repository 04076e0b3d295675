"""Receives Tributary's webhooks and verifies them by the `standardwebhooks` package of PyPI.

    python3 standardwebhooks_receiver.py <port> <whsec_...>      (or PORT and SECRET; port 0 takes a free one)
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

ARGUMENTS = dict(enumerate(sys.argv))
PORT = int(ARGUMENTS.get(1) or os.environ.get("PORT", "8080"))
WEBHOOK = Webhook(ARGUMENTS.get(2) or os.environ["SECRET"])


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        raw_body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        result = {"verified": True, "id": headers.get("webhook-id"), "body": None}
        try:
            result["body"] = WEBHOOK.verify(raw_body, headers)
        except (WebhookVerificationError, ValueError) as error:  # ValueError: a signature that is not base64
            result.update(verified=False, error=str(error))
        self.send_response(200 if result["verified"] else 401)
        self.send_header("content-length", "0")
        self.end_headers()
        print(json.dumps(result), flush=True)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Receiver)
    server.daemon_threads = True
    print(f"listening {server.server_port}", flush=True)
    server.serve_forever()
