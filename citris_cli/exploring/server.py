"""The server of the page: on 127.0.0.1 alone, for whoever has the address with its token.

It is Python's own ``http.server``: one user, one page and a few kinds of question need no more. Every path begins with
the token:

- ``GET /<token>/``: the page; ``GET /<token>/sample?<n>``: a sample as a PNG
- ``POST /<token>/start``, ``…/change``: a question in JSON, ``…/picture``: the bytes of a picture's file; see
  :class:`~citris_cli.exploring.answers.Answers`

No file is served by its name, and none is written.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from socketserver import TCPServer
from threading import Lock, Thread, current_thread
from typing import Any

from citris_cli.errors import CitrisError, InputError
from citris_cli.exploring.answers import Answers
from citris_cli.show.explore_page import explore_page
from citris_cli.system import may_reuse_addresses
from citris_cli.wording import reason, size_in_words, visible

#: The one address that is listened on, and its names.
HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
#: Bytes of a picture's file, and of a question in JSON.
MOST_PICTURE, MOST_QUESTION = 32_000_000, 1_000_000
#: Bytes of a refused upload that are read all the same: a browser that is cut off while it sends does not read why.
_READ_IN_VAIN = 4 * MOST_PICTURE
_PIECE = 1 << 16
#: Seconds to wait for the rest of a request, or for the next one on the same connection.
_PATIENCE = 60.0
#: What a request may send, and what answers it: content type and bytes.
_Routes = dict[str, Callable[[str], tuple[str, bytes]]]


class _RefusedError(Exception):
    """A request that is not answered: the status of HTTP, and a sentence that says why."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class ExploreServer(ThreadingHTTPServer):
    """Answers within ``serve_forever``; it listens as soon as it is there.

    Attributes:
        url: the address of the page, with its token.

    Args:
        answers: to the page's questions.
        port: to listen on; 0 for any that is free.
        framed: whether the page may be shown inside of another one, such as a notebook.
        note: takes a sentence about an error that nobody expected.

    Raises:
        InputError: the port cannot be listened on.
    """

    # A notebook's page is closed at exit, for which the interpreter first waits for all threads but daemons; those that
    # answer are waited for when the server closes.
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = may_reuse_addresses()

    def __init__(self, answers: Answers, port: int, framed: bool, note: Callable[[str], None]) -> None:
        self._open: set[socket] = set()
        self._answering: set[Thread] = set()
        self._closed, self._closing = False, Lock()
        self.answers = answers
        self.framed = framed
        self.note = note
        #: What marks the page's scripts and styles as its own.
        self.nonce = secrets.token_urlsafe(16)
        self.page = explore_page(answers.page_model(), MOST_PICTURE, self.nonce).encode()
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise InputError(
                f"port {port} of {HOST} cannot be listened on ({why}); choose another, or 0 for any that is free"
            ) from None
        self.root = f"/{secrets.token_urlsafe(16)}/"
        self.url = f"http://{HOST}:{self.server_address[1]}{self.root}"

    def server_bind(self) -> None:
        """Bind, without asking a name server for the name of this machine as ``HTTPServer`` does."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def get_request(self) -> tuple[socket, Any]:
        """The next connection, which stays open until its browser or this server closes it."""
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer what comes over a connection, in a thread that :meth:`server_close` knows of."""
        thread = current_thread()
        with self._closing:
            if self._closed:  # while this thread was being started: nobody waits for it any more
                self.shutdown_request(request)
                return
            self._answering.add(thread)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._answering.discard(thread)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that is done with."""
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Listen no longer, close what is open, and wait for what is being computed: nobody is answered after that.

        A thread that the interpreter ends while it is inside of PyTorch would take the process with it (SIGABRT).
        """
        super().server_close()
        for connection in self._open.copy():
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)
        with self._closing:
            self._closed = True
        for thread in self._answering.copy():
            thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: what is wrong with a request its answer says, and a browser may leave before that."""


class _Handler(BaseHTTPRequestHandler):
    server: ExploreServer
    protocol_version = "HTTP/1.1"  # so that a slider need not open a connection for every place
    server_version, sys_version = "citris", ""
    disable_nagle_algorithm = True
    timeout = _PATIENCE

    def do_GET(self) -> None:
        """The page and the samples."""
        self._answer({"": self._page, "sample": self._sample})

    def do_POST(self) -> None:
        """The page's questions."""
        answers = self.server.answers
        self._answer(
            {
                "start": lambda _: self._json(answers.start(self._question())),
                "change": lambda _: self._json(answers.change(self._question())),
                "picture": lambda _: self._json(
                    answers.picture(self._body(MOST_PICTURE, "application/octet-stream", "the picture's file"))
                ),
            }
        )

    def log_message(self, format: str, *args: Any) -> None:
        """Keep no log: the address holds the token."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no request, or one of another kind, in one sentence as all else."""
        self._unread = -1  # nobody knows what it brings
        self._refuse(HTTPStatus(code), message or HTTPStatus(code).description)

    def _answer(self, routes: _Routes) -> None:
        # What has not been read of a request would be taken for the next one.
        length, *more = self.headers.get_all("Content-Length", ["0"])
        known = length.isascii() and length.isdecimal() and not more and "Transfer-Encoding" not in self.headers
        self._unread = int(length) if known and len(length) < 19 else -1
        try:
            name, _, query = self._asked().partition("?")
            if name not in routes:
                raise _RefusedError(HTTPStatus.NOT_FOUND, "there is nothing at this address")
            kind, content = routes[name](query)
        except _RefusedError as refused:
            self._refuse(refused.status, str(refused))
        except CitrisError as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, visible(str(error)))
        except OSError:  # the browser left, or sends no more
            self.close_connection = True
        except Exception as error:
            sentence = f"unexpected {type(error).__name__}: {reason(error)}"
            self.server.note(sentence)
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, sentence)
        else:
            self._send(HTTPStatus.OK, kind, content)

    def _asked(self) -> str:
        """The address after the token, of a request that may come here."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].partition(":")[0].lower() not in NAMES:
            raise _RefusedError(HTTPStatus.FORBIDDEN, f"this is {HOST}, and answers to no other name")
        # Of a port that was forwarded, the browser knows another number than this server.
        if self.headers.get_all("Origin", [own := f"http://{hosts[0]}"]) != [own]:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "no other page may send requests here")
        root = self.server.root
        if not hmac.compare_digest(self.path[: len(root)].encode(errors="replace"), root.encode()):
            raise _RefusedError(HTTPStatus.FORBIDDEN, "the address is incomplete: open the one that was printed")
        return self.path[len(root) :]

    def _page(self, query: str) -> tuple[str, bytes]:
        return "text/html; charset=utf-8", self.server.page

    def _sample(self, query: str) -> tuple[str, bytes]:
        if not (query.isascii() and query.isdecimal() and len(query) < 10):
            raise _RefusedError(HTTPStatus.NOT_FOUND, "there is nothing at this address")
        return "image/png", self.server.answers.sample(int(query))

    def _json(self, answer: dict[str, Any]) -> tuple[str, bytes]:
        return "application/json", json.dumps(answer, allow_nan=False).encode()

    def _question(self) -> dict[str, Any]:
        content = self._body(MOST_QUESTION, "application/json", "a question")
        try:
            question = json.loads(content)
        except (ValueError, RecursionError):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "the request is not JSON") from None
        if not isinstance(question, dict):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "the request is not a JSON object")
        return question

    def _body(self, most: int, kind: str, what: str) -> bytes:
        """What a request brings.

        Args:
            most: bytes that it may have.
            kind: its content type, one that a page of another origin cannot send without asking first.
            what: what messages call it.
        """
        if "Content-Length" not in self.headers or self._unread < 0:
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, f"{what} was sent without its length")
        if self._unread > most:
            raise _RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"{what} has {size_in_words(self._unread)}; give at most {size_in_words(most)}",
            )
        if self.headers.get_content_type() != kind:
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{what} needs the content type {kind}")
        content = self.rfile.read(self._unread)
        if len(content) < self._unread:
            raise ConnectionResetError
        self._unread = 0
        return content

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        self._send(status, "application/json", json.dumps({"error": sentence}).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        unread, self._unread = getattr(self, "_unread", -1), 0
        if unread:
            self.close_connection = True
        nonce = f"'nonce-{self.server.nonce}'"
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": f"default-src 'none'; script-src {nonce}; style-src {nonce}; "
            "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
            + ("" if self.server.framed else "; frame-ancestors 'none'"),
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        if self.close_connection:
            headers["Connection"] = "close"
        with suppress(OSError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            left = min(unread, _READ_IN_VAIN)
            while left > 0 and (piece := self.rfile.read(min(left, _PIECE))):
                left -= len(piece)
