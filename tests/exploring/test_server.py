"""The server answers whoever has the whole address and asks what the page asks; everybody else gets a sentence."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import urllib.parse
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from citris_cli.errors import InputError
from citris_cli.exploring import server as serving
from citris_cli.exploring.answers import MOST_SAMPLES, Answers, Sample
from citris_cli.exploring.server import MOST_PICTURE, MOST_QUESTION, ExploreServer
from citris_cli.exploring.workbench import Workbench
from tests.exploring.models import HOSTILE, small_model
from tests.exploring.serving import served
from tests.exploring.test_workbench import FRAMES, png

JSON, BYTES = "application/json", "application/octet-stream"


class Client:
    """Asks a server over one connection, as a browser does.

    Args:
        server: that is being served.
    """

    def __init__(self, server: ExploreServer) -> None:
        url = urllib.parse.urlsplit(server.url)
        self.root, self.host = url.path, url.netloc
        self.connection = http.client.HTTPConnection(url.netloc, timeout=60)

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content; ``_`` in the names of headers stands for ``-``."""
        self.connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
        response = self.connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()

    def get(self, name: str = "", **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self.ask("GET", self.root + name, **headers)

    def post(self, name: str, body: bytes, kind: str = JSON, **headers: str) -> tuple[int, Any]:
        status, _, content = self.ask("POST", self.root + name, body, Content_Type=kind, **headers)
        return status, json.loads(content)

    def question(self, name: str, **question: Any) -> tuple[int, Any]:
        return self.post(name, json.dumps(question).encode())


@pytest.fixture(scope="module")
def noted() -> list[str]:
    return []


@pytest.fixture(scope="module")
def server(noted: list[str]) -> Iterator[ExploreServer]:
    samples = [Sample(f"s{number}", frame) for number, frame in enumerate(FRAMES)]
    with served(small_model(), samples, noted.append) as made:
        yield made


@pytest.fixture
def client(server: ExploreServer) -> Iterator[Client]:
    made = Client(server)
    yield made
    made.connection.close()


def test_it_listens_on_this_machine_alone(server: ExploreServer, client: Client) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert len(server.root.strip("/")) >= 20
    assert client.get()[0] == 200
    assert client.get(Host="localhost:1234", Origin="http://localhost:1234")[0] == 200  # a port that was forwarded


def test_who_has_not_the_token_gets_nothing(client: Client) -> None:
    right = client.root
    for path in ("/", "", "//", right[:-1], right[:-2] + "/", "/x" + right, right.upper(), "/wrong/", "/favicon.ico"):
        if path != right:
            status, _, content = client.ask("GET", path or "*")
            assert (status, json.loads(content)["error"][:11]) == (403, "the address")
    status, _, _ = client.ask("POST", "/wrong/start", b'{"seed": 1}', Content_Type=JSON)
    assert status == 403


def test_other_names_and_other_pages_get_nothing(client: Client) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example:80", "", "10.0.0.1", "[::1]", "localhost.:80"):
        status, _, content = client.get(Host=host)
        assert (status, json.loads(content)) == (403, {"error": "this is 127.0.0.1, and answers to no other name"})
    question = b'{"seed": 1}'
    for origin in ("null", "http://evil.example", f"https://{client.host}", "http://127.0.0.1:1", "http://localhost"):
        assert client.post("start", question, Origin=origin) == (403, {"error": "no other page may send requests here"})
    assert client.post("start", question, Origin=f"http://{client.host}")[0] == 200


@pytest.mark.parametrize(
    "path",
    ["../", "../../etc/passwd", "..%2f..%2fetc/passwd", "sample/../../etc/passwd", "start", "change", "samples",
     "sample", "sample?", "sample?-1", "sample?x", "sample?../../etc/passwd", "sample?%30", "sample?1234567890",
     "?/etc/passwd/../x", "x" * 3000],
)  # fmt: skip
def test_there_is_nothing_but_the_page(client: Client, path: str) -> None:
    status, _, content = client.get(path)
    if path.startswith("?"):  # the page itself, whatever it is asked with
        assert status == 200
        assert content == client.get()[2]
    else:
        assert (status, json.loads(content)) == (404, {"error": "there is nothing at this address"})


def test_the_page_may_load_nothing_from_elsewhere_and_stand_in_no_other(client: Client) -> None:
    status, headers, content = client.get()
    assert status == 200
    assert "{{" not in content.decode()
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert HOSTILE not in content.decode()
    assert client.get("sample?2")[1]["Content-Type"] == "image/png"
    assert client.get("sample?3")[0] == 422


def test_starts_and_changes(client: Client) -> None:
    status, start = client.question("start", sample=1)
    assert (status, start["notes"], len(start["z"])) == (200, [], 7)
    assert start["original"].startswith("data:image/png;base64,")
    common = {"z": start["z"], "before": start["z"], "names": "turn"}
    for how in ({"place": 5}, {"seed": 5}, {"other": client.question("start", seed=3)[1]["z"]}):
        status, view = client.question("change", **common, **how)
        assert status == 200
        # The numbers come back to the last bit.
        changed = [index for index, (old, new) in enumerate(zip(start["z"], view["z"], strict=True)) if old != new]
        assert changed == [2, 3]
    status, start = client.post("picture", png(50, 40), BYTES)
    assert (status, start["notes"]) == (
        200, ["the picture: cropped from 50×40 to its middle 40×40 and resized to 32×32 pixels"],
    )  # fmt: skip


def test_malformed_questions_get_a_sentence(client: Client, noted: list[str]) -> None:
    for content in (b"", b"{", b"[]", b"7", b"\xff\xfe", b"[" * 100_000, b'"start"'):
        status, answer = client.post("start", content)
        assert status == 400
        assert answer["error"].startswith(("the request is not JSON", "the request is not a JSON object"))
    z = [0.0] * 7
    right = {"z": z, "before": z, "names": "x", "place": 1}
    assert client.question("change", **right)[0] == 200
    wrong: list[dict[str, Any]] = [
        {"z": None}, {"z": "x"}, {"z": z[:6]}, {"z": [[0.0]] * 7}, {"z": [True] * 7}, {"z": [1e300] * 7},
        {"before": {}}, {"before": [float("nan")] * 7}, {"before": [10**400] * 7}, {"names": 3}, {"names": "q"},
        {"names": ""}, {"names": "lost"}, {"place": -1}, {"place": 48}, {"place": 1.0}, {"place": True},
        {"place": 10**30}, {"place": None},
    ]  # fmt: skip
    for one in wrong:
        status, answer = client.question("change", **{**right, **one})
        assert status == 422, one
        assert answer["error"].count("\n") == 0
    for one in ({}, {"seed": -1}, {"seed": 2**32}, {"seed": "x"}, {"sample": 3}, {"sample": -1}):
        assert client.question("start", **one)[0] == 422
    for content in (b"", b"no picture", png()[:40], png()[:-30]):
        assert client.post("picture", content, BYTES)[0] == 422
    assert noted == []  # nothing of all this was unexpected


def test_too_much_is_refused_before_it_is_kept(client: Client, server: ExploreServer) -> None:
    said = "a question has 2.0 MB; give at most 1.0 MB"
    assert client.post("start", b" " * (2 * MOST_QUESTION)) == (413, {"error": said})
    assert client.post("picture", bytes(MOST_PICTURE + 1), BYTES)[0] == 413
    assert client.question("start", seed=1)[0] == 200
    # A picture that says that it has ten thousand million pixels, in a few bytes.
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    status, answer = client.post("picture", bomb + b"\0\0\0\0IDAT" + bytes(4), BYTES)
    assert (status, "more than 64,000,000 pixels" in answer["error"]) == (422, True)


def test_what_is_no_request_of_the_page_is_refused_and_the_server_goes_on(
    client: Client, server: ExploreServer
) -> None:
    assert client.post("start", b'{"seed": 1}', "text/plain")[0] == 415  # what any page's form may send
    assert client.post("picture", png(), "multipart/form-data")[0] == 415
    assert client.ask("PUT", client.root, b"x")[0] == 501
    root = client.root.encode()
    host = client.host.encode()
    for request in (
        b"no request at all HTTP/1.1\r\n\r\n",
        b"GET " + root + b" HTTP/1.1\r\nHost: " + host + b"\r\nHost: evil.example\r\n\r\n",
        b"GET http://evil.example" + root + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n",
        b"POST " + root + b"start HTTP/1.1\r\nHost: " + host + b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}   ",
        b"POST " + root + b"start HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: -5\r\n\r\n",
        b"POST " + root + b"start HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection(server.server_address[:2], 60) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := connection.recv(1 << 16):
                answer += piece
        status = int(answer.split(b" ")[1])
        assert 400 <= status < 500, request[:40]
        assert b"Traceback" not in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    # Those who leave in the middle of what they say.
    for request in (b"POST " + root + b"start HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 99\r\n\r\n{", b"GET"):
        with socket.create_connection(server.server_address[:2], 60) as connection:
            connection.sendall(request)
    assert client.question("start", seed=1)[0] == 200


def test_the_rest_of_a_refused_request_is_not_taken_for_another(client: Client) -> None:
    smuggled = f"GET {client.root} HTTP/1.1\r\nHost: {client.host}\r\n\r\n".encode()
    status, headers, _ = client.ask("POST", "/wrong/", smuggled, Content_Type=JSON)
    assert (status, headers["Connection"]) == (403, "close")


def test_an_error_that_nobody_expected_is_told_to_both(
    client: Client, server: ExploreServer, noted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Workbench, seed: int) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(Workbench, "from_memory", fail)
    assert client.question("start", seed=1) == (500, {"error": "unexpected ZeroDivisionError: by nothing"})
    assert noted == ["unexpected ZeroDivisionError: by nothing"]
    noted.clear()
    monkeypatch.undo()
    assert client.question("start", seed=1)[0] == 200  # the lock was given back


def test_many_at_once_get_what_each_asked(server: ExploreServer) -> None:
    first = Client(server)
    z = first.question("start", sample=0)[1]["z"]
    asked = [{"z": z, "before": z, "names": name, "place": place} for name in ("x", "turn") for place in range(8)]
    alone = [first.question("change", **one)[1] for one in asked]

    def ask(number: int) -> Any:
        return Client(server).question("change", **asked[number])[1]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ask, [*range(len(asked))] * 3))
    assert together == alone * 3


def test_a_port_in_use_and_too_many_samples_are_refused_in_a_sentence(server: ExploreServer) -> None:
    answers = Answers(Workbench(small_model()), [])
    port = server.server_address[1]
    with pytest.raises(InputError, match=rf"^port {port} of 127.0.0.1 cannot be listened on \(address already"):
        ExploreServer(answers, port, False, print)
    many = [Sample("s", np.zeros((1, 32, 32, 3), np.uint8))] * (MOST_SAMPLES + 1)
    with pytest.raises(InputError, match="1,001 frames are more than a page offers; give at most 1,000"):
        Answers(Workbench(small_model()), many)


def test_who_says_nothing_is_not_waited_for(server: ExploreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving._Handler, "timeout", 0.2)
    with socket.create_connection(server.server_address[:2], 60) as connection:
        connection.sendall(b"GET")
        assert connection.recv(10) == b""


def test_closing_waits_for_what_is_being_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    # A thread inside of PyTorch that outlives the main one ends the process with SIGABRT.
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def slowly(*_: object) -> object:
        began.set()
        may_end.wait(60)
        ended.set()
        raise InputError("too late")

    monkeypatch.setattr(Workbench, "from_memory", slowly)
    server = ExploreServer(Answers(Workbench(small_model()), []), 0, False, print)
    serving_thread = threading.Thread(target=server.serve_forever)
    serving_thread.start()
    client, idle = Client(server), Client(server)
    assert idle.get()[0] == 200  # its connection stays open, as a browser's does

    def ask() -> None:
        with suppress(OSError):  # it may have been answered, or cut off
            client.question("start", seed=1)

    asking = threading.Thread(target=ask)
    asking.start()
    assert began.wait(60)
    server.shutdown()
    serving_thread.join()
    closing = threading.Thread(target=server.server_close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    assert not ended.is_set()
    may_end.set()
    closing.join(60)
    assert not closing.is_alive()
    assert ended.is_set()
    asking.join(60)
    client.connection.close()
    idle.connection.close()


def test_a_connection_whose_thread_comes_too_late_is_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of a thread that has only just been started, closing does not know.
    answered: list[object] = []
    monkeypatch.setattr(serving._Handler, "handle", answered.append)
    server = ExploreServer(Answers(Workbench(small_model()), []), 0, False, print)
    ours, browsers = socket.socketpair()
    server.server_close()
    with browsers:
        server.process_request_thread(ours, server.server_address)
        assert browsers.recv(10) == b""
    assert not answered
