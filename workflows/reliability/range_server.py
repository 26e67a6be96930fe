"""A slow web server with byte ranges: ``python range_server.py FOLDER [PORT]`` prints its port.

A process of its own, because rasterio opens files without letting go of the interpreter, so that a server in
a thread could never answer. It is slow so that it can be ended between two requests of a run.
"""

from __future__ import annotations

import functools
import sys
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DELAY = 0.1


class RangeHandler(SimpleHTTPRequestHandler):
    """Answers requests for a part of a file with that part."""

    def log_message(self, *_words: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Send a part of a file, or all of it."""
        time.sleep(DELAY)
        path, wanted = Path(self.translate_path(self.path)), self.headers.get("Range")
        if not path.is_file() or not wanted:
            super().do_GET()
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        data = path.read_bytes()
        part = data[int(first) : int(last) + 1 if last else None]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


if __name__ == "__main__":
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    server = ThreadingHTTPServer(("127.0.0.1", port), functools.partial(RangeHandler, directory=sys.argv[1]))
    print(server.server_port, flush=True)
    server.serve_forever()
