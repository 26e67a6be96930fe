"""A web server with byte ranges for one folder, as a process: ``python range_server.py FOLDER`` prints its port.

rasterio opens files without letting go of the interpreter, so a server in a thread of the same process could
never answer.
"""

from __future__ import annotations

import functools
import os
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class RangeHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.translate_path(self.path)
        wanted = self.headers.get("Range")
        if not os.path.isfile(path) or not wanted:
            super().do_GET()
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        with open(path, "rb") as file:
            data = file.read()
        part = data[int(first) : int(last) + 1 if last else None]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(RangeHandler, directory=sys.argv[1]))
    print(server.server_port, flush=True)  # noqa: T201
    server.serve_forever()
