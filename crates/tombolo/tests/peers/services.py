"""A service of the console's test: it prints what it is asked, calls the next one if it was given one, and fails what
is to fail: paths with `fail` in them, and messages whose data say so."""

import json, os, sys, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME, NEXT = os.environ["NAME"], os.environ.get(os.environ.get("NEXT", ""))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        print(f"{NAME} is asked for {self.path}", flush=True)
        if "fail" in self.path:
            print(f"{NAME} fails <b>as asked</b>", file=sys.stderr, flush=True)
            return self.answer(500, "failed")
        if NEXT and self.path != "/health":
            urllib.request.urlopen(NEXT + self.path).read()
        self.answer(200, NAME)

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        failed = "fail" in json.dumps(message)
        print(f"{NAME} {'fails' if failed else 'handles'} a message", flush=True)
        self.answer(500 if failed else 200, "{}")

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
