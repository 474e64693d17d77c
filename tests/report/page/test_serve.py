# SPDX-License-Identifier: MIT
"""The live page: for this machine alone, made anew when a run writes."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.report.page.render import Samples
from mixmask_solo.report.page.serve import Live, _Handler
from support.pages import Parsed, run_folder


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    drawn = []

    def draw(record: object) -> Samples:
        drawn.append(record)
        return Samples("", note=f"drawn {len(drawn)} times")

    with Live([run_folder(tmp_path / "a", status="interrupted")], draw) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(live: Live, path: str = "/", host: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", live.server_port, timeout=20)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_page_follows_its_run(live: Live) -> None:
    status, content = get(live)
    parsed = Parsed(content)
    assert status == 200
    assert parsed.policy.endswith("connect-src 'self'")
    assert (200, parsed.data["version"]) == get(live, "/version")
    file = live.folders[0] / "metrics.csv"
    file.write_text(file.read_text() + "39,3,,,,99.5,\n")
    again = Parsed(get(live)[1])
    assert again.data["version"] != parsed.data["version"]
    assert again.data["charts"][0]["curves"][0]["y"][-1] == 99.5
    assert "drawn 1 times" in again.text  # once a run


def test_a_file_that_is_damaged_meanwhile_leaves_the_page(live: Live) -> None:
    before = get(live)
    (live.folders[0] / "result.json").write_text("{")
    assert get(live) == before
    assert get(live, "/version")[0] == 200


def test_a_file_of_a_run_is_its_folder(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a")
    with Live([folder / "result.json"], None) as server:
        assert server.folders == [folder]
        before = server.made()
        told = json.loads((folder / "result.json").read_text())
        (folder / "result.json").write_text(json.dumps({**told, "epochs": 2}))
        version, content = server.made()
    assert version != before[0]
    assert "2 of 3 epochs" in Parsed(content).text


def test_a_record_that_is_none_is_answered_in_a_line(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a", wall_seconds="x")
    with Live([folder], None) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        status, said = get(server)
        server.shutdown()
        thread.join()
    assert status == 503
    assert said.startswith(f"{folder}/result.json is not as docs/results.md says: ValueError")
    assert said.count("\n") == 1


@pytest.mark.parametrize("error", [ConnectionResetError, BrokenPipeError, ConnectionAbortedError])
def test_a_browser_that_goes_is_not_worth_a_word(
    live: Live, monkeypatch, capfd, caplog, error: type[Exception]
) -> None:
    def gone(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(_Handler, "_answer", gone)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            get(live)
    assert get(live)[0] == 200
    assert (*capfd.readouterr(), caplog.text) == ("", "", "")


def test_what_an_answer_fails_on_is_a_line(live: Live, monkeypatch, capfd, caplog) -> None:
    def broken() -> tuple[str, str]:
        raise RuntimeError("of two\nlines")

    with monkeypatch.context() as patch:
        patch.setattr(live, "made", broken)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            get(live)
    assert "a page was not answered: RuntimeError of two lines" in caplog.text
    assert capfd.readouterr() == ("", "")
    assert get(live)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "[::1]:80", "a:b:c"])
def test_other_names_are_refused(live: Live, host: str) -> None:
    assert get(live, host=host)[0] == 403
    assert get(live, "/version", host=host)[0] == 403


def test_it_listens_to_this_machine_and_serves_nothing_else(live: Live) -> None:
    assert live.server_address[0] == "127.0.0.1"
    assert get(live, host="localhost:8000")[0] == 200  # a forwarded port
    assert get(live, "/../a/result.json")[0] == 404
    with pytest.raises(ConfigError, match=rf"--port {live.server_port}: .*in use"):
        Live(live.folders, None, live.server_port)
