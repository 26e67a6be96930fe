"""A stand-in for the Hugging Face Hub: what its client asks for when a commit is made."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

TOKEN = "hf_" + "s3cr3t" * 5


class StandIn(ThreadingHTTPServer):
    """Repositories in memory.

    Attributes:
        files: repository -> file name -> content.
        private: repositories that were made private.
        stored: large files by their SHA-256, as git-lfs keeps them.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.stored: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        if not self._is_allowed():
            return None
        name = "/".join(self.path.removeprefix("/api/models/").split("/")[:2]).split("?")[0]
        if name not in self.server.files:
            return self._answer({"error": "Repository not found"}, 404)
        files = self.server.files[name]
        if "/tree/" in self.path:
            return self._answer(
                [
                    {"type": "file", "path": path, "size": len(data), "oid": "0" * 40}
                    for path, data in files.items()
                ]
            )
        return self._answer(
            {"id": name, "sha": "0" * 40, "siblings": [{"rfilename": path} for path in files]}
        )

    def do_PUT(self) -> None:
        data = self._body()
        self.server.stored[hashlib.sha256(data).hexdigest()] = data
        self._answer({})

    def do_POST(self) -> None:
        body = self._body()
        if not self._is_allowed():
            return None
        if self.path.endswith("/commit/main"):
            return self._commit(body)
        said = json.loads(body)
        if self.path == "/api/repos/create":
            name = f"{said['organization']}/{said['name']}" if said.get("organization") else said["name"]
            is_new = name not in self.server.files
            self.server.files.setdefault(name, {})
            if said.get("private") or said.get("visibility") == "private":
                self.server.private.add(name)
            page = {
                "url": f"{self.server.url}/{name}",
                "name": name,
                "error": "You already created this model repo",
            }
            return self._answer(page, 200 if is_new else 409)
        if self.path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in said["files"]
            ]
            return self._answer({"files": files})
        if self.path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**item, "actions": {"upload": {"href": f"{self.server.url}/store/{item['oid']}"}}}
                for item in said["objects"]
            ]
            return self._answer({"transfer": "basic", "objects": objects})
        return self._answer({"error": f"unknown {self.path}"}, 404)

    def _commit(self, body: bytes) -> None:
        name = "/".join(self.path.removeprefix("/api/models/").split("/")[:2])
        files = self.server.files[name]
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.server.stored[value["oid"]]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        self._answer({"commitUrl": f"{self.server.url}/{name}/commit/{'0' * 40}", "commitOid": "0" * 40})

    def _is_allowed(self) -> bool:
        is_allowed = self.headers.get("authorization") == f"Bearer {TOKEN}"
        if not is_allowed:
            self._answer({"error": "Invalid credentials"}, 401)
        return is_allowed

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _answer(self, value: object, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """Serve until the block ends."""
    server = StandIn()
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
