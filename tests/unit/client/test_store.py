"""`isthmus store`: what is sent, what is not sent again, what is told."""

import io
from pathlib import Path

import httpx
import pytest
from pydicom.data import get_testdata_file
from rich.console import Console

from server.client import store_command
from server.client.files import InstanceFile, SkippedFile, look_at
from server.client.store import RefusedFile, StoreReport, batches, plan, store_files
from server.client.store_command import run_store
from server.client.store_response import describe, meaning, read_outcome
from server.client.stow import Remote, ServerRefused, ServerUnreachable

from .conftest import FakeServer, failed_item


def store(remote: Remote, folder: Path) -> StoreReport:
    files, skipped = plan([folder])
    report = StoreReport(skipped=skipped)
    done: list[int] = []
    store_files(remote, files, report, lambda count, _length: done.append(count))
    assert sum(done) == len(files)
    return report


def test_plan_finds_instances_and_says_why_others_are_skipped(folder: Path) -> None:
    files, skipped = plan([folder, folder / "series0", folder / "missing"])
    assert [file.path.name for file in files] == ["0.dcm", "2.dcm", "4.dcm", "1.dcm", "3.dcm"]
    assert {(s.path.name, s.reason.split(" (")[0]) for s in skipped} == {
        ("readme.txt", "not a DICOM file"),
        ("empty", "not a DICOM file"),
        ("short.dcm", "not a DICOM file"),
        ("missing", "does not exist"),
    }


def test_look_at_dicomdir() -> None:
    found = look_at(Path(str(get_testdata_file("DICOMDIR", download=False))))
    assert isinstance(found, SkippedFile)
    assert found.reason == "a DICOMDIR, not an instance"


def test_look_at_broken_header_leaves_the_word_to_the_server(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x00" * 128 + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00\xff\xff\xff\xff\x99")
    assert isinstance(look_at(broken), InstanceFile)


def test_everything_is_stored_as_it_is(fake: FakeServer, remote: Remote, folder: Path) -> None:
    report = store(remote, folder)
    assert (report.sent, report.already_stored, report.exit_code) == (5, 0, 0)
    assert fake.stored["1.2.3.4"] == (folder / "series0" / "4.dcm").read_bytes()


def test_second_run_sends_nothing(fake: FakeServer, remote: Remote, folder: Path) -> None:
    store(remote, folder)
    fake.requests.clear()
    report = store(remote, folder)
    assert (report.sent, report.already_stored, report.exit_code) == (0, 5, 0)
    assert {method for method, _ in fake.requests} == {"GET"}


def test_interrupted_run_goes_on(
    fake: FakeServer, remote: Remote, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.client.store.BATCH_FILES", 2)
    files, _ = plan([folder])
    report = StoreReport()

    def stop_after_two(count: int, _length: int) -> None:
        if report.sent == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store_files(remote, files, report, stop_after_two)
    assert len(fake.stored) == 2
    again = store(remote, folder)
    assert (again.sent, again.already_stored) == (3, 2)


def test_refusal_names_file_reason_and_attribute(fake: FakeServer, remote: Remote, folder: Path) -> None:
    fake.refuse["1.2.3.3"] = 0xA900
    report = store(remote, folder)
    assert (report.sent, report.exit_code) == (4, 1)
    reason = "the data set does not match its SOP Class (A900H): PatientID (0010,0020) is empty"
    assert report.refused == [RefusedFile(folder / "series1" / "3.dcm", reason)]


def test_all_refused_is_told_from_a_409(fake: FakeServer, remote: Remote, folder: Path) -> None:
    fake.refuse.update({f"1.2.3.{n}": 0xC000 for n in range(5)})
    report = store(remote, folder)
    assert (report.sent, len(report.refused), report.exit_code) == (0, 5, 1)


def test_busy_server_is_asked_again_after_its_time(fake: FakeServer, remote: Remote, folder: Path) -> None:
    fake.script = [
        lambda _request: httpx.Response(503, headers={"Retry-After": "7"}),
        lambda _request: httpx.Response(503, headers={"Retry-After": "99999"}),
        lambda _request: httpx.Response(429),
    ]
    assert store(remote, folder).sent == 5
    assert fake.waits == [7.0, 60.0, 4.0]


def test_broken_connection_is_tried_again(fake: FakeServer, remote: Remote, folder: Path) -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("gone")

    fake.script = [broken, broken]
    assert store(remote, folder).sent == 5


def test_server_that_stays_away_is_unreachable(fake: FakeServer, remote: Remote, folder: Path) -> None:
    fake.script = [lambda _request: httpx.Response(503)] * 10
    with pytest.raises(ServerUnreachable):
        store(remote, folder)
    assert len(fake.waits) == 5


@pytest.mark.parametrize("status", [401, 403, 404])
def test_sender_that_is_refused_stops(fake: FakeServer, remote: Remote, folder: Path, status: int) -> None:
    fake.script = [lambda _request: httpx.Response(status)]
    with pytest.raises(ServerRefused):
        store(remote, folder)


def test_answer_that_is_no_store_response(fake: FakeServer, remote: Remote, folder: Path) -> None:
    fake.script = [lambda _request: httpx.Response(200, text="<html>")]
    with pytest.raises(ServerRefused):
        store(remote, folder)


def test_too_large_request_is_halved(fake: FakeServer, remote: Remote, folder: Path) -> None:
    one = (folder / "series0" / "0.dcm").stat().st_size
    fake.largest = int(one * 2.5) + 400
    report = store(remote, folder)
    assert (report.sent, max(fake.posted)) == (5, 2)


def test_file_too_large_by_itself_is_refused(fake: FakeServer, remote: Remote, folder: Path) -> None:
    fake.largest = 10
    report = store(remote, folder)
    assert (report.sent, len(report.refused)) == (0, 5)
    assert report.refused[0].path == folder / "series0" / "0.dcm"


def test_token_that_may_not_ask_still_stores(fake: FakeServer, remote: Remote, folder: Path) -> None:
    asking = fake._query
    fake._query = lambda _request: httpx.Response(403)  # type: ignore[method-assign]
    assert store(remote, folder).sent == 5
    fake._query = asking  # type: ignore[method-assign]


def test_batches_are_bounded_by_bytes_and_count() -> None:
    def file(length: int) -> InstanceFile:
        return InstanceFile(Path("x"), length, "1.2")

    assert [len(batch) for batch in batches([file(20 << 20)] * 3)] == [1, 1, 1]
    assert [len(batch) for batch in batches([file(15 << 20)] * 3)] == [2, 1]
    assert [len(batch) for batch in batches([file(1)] * 250)] == [100, 100, 50]
    assert [len(batch) for batch in batches([file(99 << 20), file(1)])] == [1, 1]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (0xA700, "out of resources"),
        (0xA7FF, "out of resources"),
        (0xA901, "the data set does not match its SOP Class"),
        (0xC123, "the data set cannot be understood"),
        (0xC122, "the transfer syntax is not supported"),
        (0x0124, "not authorized"),
        (0x0001, "refused"),
    ],
)
def test_meaning_of_failure_reasons(reason: int, words: str) -> None:
    assert meaning(reason) == words


def test_describe_with_private_tag_and_without_attributes() -> None:
    item = failed_item("1.2", 0xC000)
    item["00741048"] = {"vr": "SQ", "Value": [{"00720026": {"vr": "AT", "Value": ["00291010"]}}]}
    assert describe(item).endswith("(C000H): (0029,1010)")
    assert describe({}) == "refused (0000H)"


def test_other_failures_have_no_name() -> None:
    outcome = read_outcome({"0008119A": {"vr": "SQ", "Value": [failed_item("", 0xC000)]}})
    assert outcome.refused[0].sop_instance_uid == ""


def run(monkeypatch: pytest.MonkeyPatch, fake: FakeServer, paths: list[Path]) -> tuple[int, str]:
    def connect(url: str, token: str | None) -> httpx.Client:
        assert (url, token) == ("http://server", "t")
        return httpx.Client(transport=httpx.MockTransport(fake), base_url=url)

    monkeypatch.setattr(store_command, "connect", connect)
    text = io.StringIO()
    code = run_store(paths, "http://server", "t", Console(file=text, width=200))
    return code, text.getvalue()


def test_run_store_tells_and_exits(monkeypatch: pytest.MonkeyPatch, fake: FakeServer, folder: Path) -> None:
    fake.refuse["1.2.3.0"] = 0xC122
    code, text = run(monkeypatch, fake, [folder])
    assert code == 1
    assert "the transfer syntax is not supported (C122H)" in text
    assert "4 stored" in text
    assert "1 refused, 3 skipped" in text
    fake.refuse.clear()
    code, text = run(monkeypatch, fake, [folder])
    assert code == 0
    assert "1 stored" in text
    assert "4 were there already" in text


def test_run_store_of_nothing_is_not_a_success(
    monkeypatch: pytest.MonkeyPatch, fake: FakeServer, tmp_path: Path
) -> None:
    assert run(monkeypatch, fake, [tmp_path])[0] == 1


def test_run_store_says_why_the_server_refuses(
    monkeypatch: pytest.MonkeyPatch, fake: FakeServer, folder: Path
) -> None:
    fake.script = [lambda _request: httpx.Response(401)]
    code, text = run(monkeypatch, fake, [folder])
    assert code == 1
    assert "valid token" in text
