"""The server of the page: on 127.0.0.1 alone, it only reads, and it gives nothing but what `Runs` lists.

Another page that is open in the browser can reach it too, so it refuses each request that names another host (DNS
rebinding), and forbids other pages to embed what it gives. What comes from a run folder can be made by somebody else:
its pages run without the rights of this one (`sandbox`).
"""

import errno
import functools
import hashlib
import json
import re
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from plotly.offline import get_plotlyjs

from ssl_lab.dashboard.runs import PICTURES, REPORT, Gone, Runs
from ssl_lab.errors import UserError
from ssl_lab.preview import POLICY, SCRIPTED
from ssl_lab.runfolder.reading import inside

ADDRESS = "127.0.0.1"
HOSTS = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")
HTML, SCRIPT, STYLE, JSON = (
    f"{kind}; charset=utf-8" for kind in ("text/html", "text/javascript", "text/css", "application/json")
)
OWN = (  # plotly writes styles into the page
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PICTURE = f"sandbox; {POLICY}; frame-ancestors 'self'"
SCRIPTED_PAGE = f"sandbox allow-scripts; {POLICY}{SCRIPTED}; frame-ancestors 'none'"
ALWAYS = {
    "Cache-Control": "no-cache",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@functools.cache
def assets() -> dict[str, tuple[str, bytes]]:
    """The type and the content of the page's own files, by path."""
    own, shared = files("ssl_lab.dashboard"), files("ssl_lab.report")
    scripts = {f"/{name}": (SCRIPT, (own / name).read_bytes()) for name in ("page.js", "list.js", "curves.js")}
    return scripts | {
        "/": (HTML, (own / "page.html").read_bytes()),
        "/page.css": (STYLE, (shared / "page.css").read_bytes() + (own / "page.css").read_bytes()),
        "/plotly.js": (SCRIPT, get_plotlyjs().encode()),
    }


class Dashboard(ThreadingHTTPServer):
    """Raises UserError where the port is taken. Port 0: any that is free."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int):
        self.runs = Runs(folder)
        try:
            super().__init__((ADDRESS, port), Request)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            why = "is in use, perhaps by another dashboard" if error.errno == errno.EADDRINUSE else "is not for users"
            raise UserError(
                f"port={port} {why}: choose another, as port={port + 1}, or port=0 for a free one"
            ) from error

    @property
    def address(self) -> str:
        return f"http://{ADDRESS}:{self.server_address[1]}/"


class Request(BaseHTTPRequestHandler):
    server: Dashboard
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "ssl_lab", ""
    timeout = 60  # seconds that a connection stays open when nothing is asked

    def do_GET(self) -> None:
        try:
            self._answer()
        except (BrokenPipeError, ConnectionResetError):  # the page was closed
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not said."""

    def _answer(self) -> None:
        if not HOSTS.fullmatch(self.headers.get("Host", "")):
            self._refuse(HTTPStatus.FORBIDDEN, "the dashboard answers as localhost and 127.0.0.1 alone")
            return
        asked = urlsplit(self.path)
        options = dict(parse_qsl(asked.query))
        try:
            if asked.path in assets():
                self._send(*assets()[asked.path], OWN)
            elif asked.path == "/file":
                self._send(*self._file(options))
            elif answer := self._answers().get(asked.path):
                self._send(JSON, json.dumps(answer(options)).encode(), OWN)
            else:
                self._refuse(HTTPStatus.NOT_FOUND, f"there is no page {asked.path}")
        except Gone as error:
            self._refuse(HTTPStatus.GONE, str(error))
        except (UserError, FileNotFoundError) as error:
            self._refuse(HTTPStatus.NOT_FOUND, str(error))
        except (KeyError, ValueError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, f"{asked.path}: {error} is missing or no number")

    def _answers(self) -> dict[str, Callable[[dict[str, str]], dict[str, Any]]]:
        runs = self.server.runs
        return {
            "/api/runs": lambda _: runs.listed(),
            "/api/run": lambda options: runs.about(options["run"]),
            "/api/curves": lambda options: runs.curves(
                options["run"], options.get("version", ""), int(options.get("since", 0))
            ),
        }

    def _file(self, options: dict[str, str]) -> tuple[str, bytes, str]:
        """Raises UserError where it is none that the page shows, or a link to what lies elsewhere."""
        folder, name = self.server.runs.place(options["run"]), options["name"]
        kind = (PICTURES | REPORT).get(name)
        if kind is None:
            raise UserError(f"the page does not show {name!r}")
        return kind, inside(folder, name).read_bytes(), SCRIPTED_PAGE if name in REPORT else PICTURE

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._send(JSON, json.dumps({"error": why}).encode(), OWN, status)

    def _send(self, kind: str, content: bytes, policy: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        """What the browser has already is not sent again."""
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        if status == HTTPStatus.OK and self.headers.get("If-None-Match") == tag:
            status, content = HTTPStatus.NOT_MODIFIED, b""
        self.send_response(status)
        for name, value in ALWAYS.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", policy)
        self.send_header("Content-Type", kind)
        self.send_header("ETag", tag)
        if status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
