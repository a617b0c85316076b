"""Processes that watch over one another, here as threads of one: connections that end are processes that died."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, Queue

import pytest
import torch.distributed as dist

from eac_lightning import process_watch
from eac_lightning.process_watch import Member, ProcessWatch, meet


class Training:
    """Three watches, joined as those of three processes are."""

    def __init__(self, how: str = "") -> None:
        self.ended: Queue[tuple[int, int]] = Queue()
        server = socket.create_server(("localhost", 0))
        first = Member(0, 3, "here", 100, server.getsockname()[1], "secret")
        self.everybody = [first, Member(1, 3, "here", 101), Member(2, 3, "there", 102)]
        self.watches = [
            ProcessWatch(
                self.everybody, rank, "localhost", server if rank == 0 else None, lambda _: how, 0.1,
                lambda status, rank=rank: self.ended.put((rank, status)),
            )
            for rank in range(3)
        ]  # fmt: skip
        wait_for(lambda: len(self.watches[0]._peers) == 2)

    def kill(self, rank: int) -> None:
        """Close what the system closes of a process that dies."""
        self.watches[rank]._closed.set()  # its own threads are dead as well
        for connection in self.watches[rank]._peers:
            connection.shutdown(socket.SHUT_RDWR)


def wait_for(condition: object) -> None:
    deadline = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_watch, "_TO_NOTICE", 0.1)
    monkeypatch.setattr(process_watch, "_TO_CLOSE", 0.1)


@pytest.fixture
def training() -> Iterator[Training]:
    training = Training()
    yield training
    for watch in training.watches:
        watch.close()


@pytest.mark.parametrize(("victim", "who"), [(0, "process 100 on here"), (2, "process 102 on there")])
def test_who_lost_another_says_which_and_ends(
    training: Training, victim: int, who: str, caplog: pytest.LogCaptureFixture
) -> None:
    training.kill(victim)
    others = {0, 1, 2} - {victim}
    assert {training.ended.get(timeout=20) for _ in others} == {(rank, 1) for rank in others}
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    for rank in others:
        assert f"rank {victim} of 3 ({who}) died without a word. rank {rank} of 3" in " ".join(said)


def test_who_asks_says_the_news_itself(training: Training, caplog: pytest.LogCaptureFixture) -> None:
    training.kill(1)
    news = training.watches[2].news(20)
    assert news.startswith("rank 1 of 3 (process 101 on here) died without a word. rank 2 of 3")
    assert training.watches[0].news(20)
    training.ended.get(timeout=20)
    assert not caplog.records


def test_the_first_process_may_know_how_another_died() -> None:
    training = Training("by signal SIGKILL")
    training.kill(1)
    assert "(process 101 on here) died by signal SIGKILL. rank 2" in training.watches[2].news(20)


def test_who_fails_tells_the_others_why(training: Training) -> None:
    training.watches[1].tell("DataError: no label.")
    for rank in (0, 2):
        assert "rank 1 of 3 (process 101 on here) ended: DataError: no label. rank" in training.watches[rank].news(20)
    training.watches[1]._hear("another", 0)
    assert not training.watches[1].news(0)  # it has a failure of its own
    assert {training.ended.get(timeout=20)[0] for _ in range(2)} == {0, 2}


def test_the_first_news_counts(training: Training) -> None:
    training.kill(1)
    news = training.watches[0].news(20)
    training.watches[0].tell("its own end, which follows from that")
    assert training.watches[2].news(20).startswith(news.partition(". ")[0])


def test_nobody_is_missed_who_leaves_in_peace(training: Training) -> None:
    for rank in (1, 0, 2):
        training.watches[rank].close()
    with pytest.raises(Empty):
        training.ended.get(timeout=0.5)
    assert not any(watch.news(0) for watch in training.watches)


def test_a_slow_process_is_not_dead(training: Training) -> None:
    with pytest.raises(Empty):
        training.ended.get(timeout=1)


@pytest.fixture
def first() -> Iterator[ProcessWatch]:
    """The first of two processes, which waits for the other."""
    server = socket.create_server(("localhost", 0))
    everybody = [Member(0, 2, "here", 100, server.getsockname()[1], "secret"), Member(1, 2, "here", 101)]
    watch = ProcessWatch(everybody, 0, "localhost", server, patience=0.1, end=lambda _: None)
    yield watch
    watch.close()


def call(first: ProcessWatch, text: str) -> socket.socket:
    connection = socket.create_connection(("localhost", first.everybody[0].port), timeout=20)
    connection.sendall(text.encode())
    return connection


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    "line",
    [
        '["guess", 1]\n["news", "lies"]', "[]", "5", "GET / HTTP/1.1", '["é", 1]', r'["\ud800", 1]', "[" * 5000, "\0",
        '["secret", 0]', '["secret", 2]', '["secret", 7]', '["secret", [1]]', '["secret", null]',
    ],
)  # fmt: skip
def test_strangers_are_sent_away(first: ProcessWatch, line: str) -> None:
    with call(first, f"{line}\n") as stranger, suppress(ConnectionResetError):  # where it had more to say
        assert stranger.recv(1) == b""
    assert not first._peers
    assert not first.news(0.1)


def test_who_says_nothing_is_sent_away(first: ProcessWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_watch, "_TO_GREET", 0.1)
    with call(first, '["secr') as stranger:
        assert stranger.recv(1) == b""


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("line", ["5", "[]", "[" * 100, "null", '["odd", 1]'])
def test_a_process_that_talks_nonsense_is_gone(first: ProcessWatch, line: str) -> None:
    with call(first, f'["secret", 1]\n{line}\n'):
        assert "(process 101 on here) died without a word" in first.news(20)


def test_nobody_is_waited_for_when_all_are_there(training: Training) -> None:
    with pytest.raises(ConnectionRefusedError):
        call(training.watches[0], "")


def test_who_has_dealt_with_the_news_lives_on(training: Training) -> None:
    training.kill(1)
    assert training.watches[0].news(20)
    training.watches[0].close()
    assert training.ended.get(timeout=20) == (2, 1)
    with pytest.raises(Empty):
        training.ended.get(timeout=0.5)


def test_but_not_when_python_cannot_end() -> None:
    """As where destroying a process group waits for a process that is gone."""
    code = (
        "import atexit, socket, time\nfrom eac_lightning.process_watch import Member, ProcessWatch\n"
        "watch = ProcessWatch([Member(0, 1, 'here', 1)], 0, server=socket.create_server(('localhost', 0)), patience=1)\n"
        "from threading import Thread\nThread(target=watch._hear, args=('rank 1 died', 0), daemon=True).start()\n"
        "watch.news()\nwatch.close()\ntime.sleep(2)\nprint('lived on', flush=True)\natexit.register(time.sleep, 200)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (1, "lived on\n"), done.stderr


def test_training_goes_on_unwatched_where_the_first_process_cannot_be_reached(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    everybody = [Member(0, 2, "far", 1, port, "secret"), Member(1, 2, "here", 2)]
    watch = ProcessWatch(everybody, 1, "localhost")
    assert f"cannot reach rank 0 of 2 (process 1 on far) at localhost:{port}" in caplog.text
    watch.close()


def test_connections_are_let_go_of_in_silence(training: Training) -> None:
    process_watch._forked()
    process_watch._forked()
    for watch in training.watches:
        assert {connection.fileno() for connection in watch._peers} == {-1}
    assert training.watches[0]._server.fileno() == -1  # type: ignore[union-attr]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_holds_no_connection(training: Training) -> None:
    before = [connection.fileno() for connection in training.watches[1]._peers]
    assert min(before) >= 0
    child = os.fork()
    if not child:
        held = [c.fileno() for watch in training.watches for c in (*watch._peers, watch._server) if c is not None]
        os._exit(0 if set(held) == {-1} else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert [connection.fileno() for connection in training.watches[1]._peers] == before


def test_processes_of_a_group_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    store = dist.HashStore()
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        watch = meet(lambda _: "")
    finally:
        dist.destroy_process_group()
    (me,) = watch.everybody
    assert (me.rank, me.world, me.pid) == (0, 1, os.getpid())
    assert me.port
    assert len(me.token) == 64
    watch.close()
