"""How the processes of a training notice that one of them is gone."""

import json
import logging
import os
import secrets
import socket
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, TextIO

import torch.distributed as dist

_PATIENCE = 30.0  # seconds that a process has to end by itself once it has lost another
_TO_NOTICE = 0.5  # seconds in which its main thread notices by itself, if it waits for one that died
_TO_CLOSE = 3.0  # the same, if it waits for one that tidies up before it goes
_TO_GREET = 20.0  # seconds that who connects has to prove itself
_PROBES = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # a machine that is gone is missed after 30 s

logger = logging.getLogger("eac_lightning")


class Member(NamedTuple):
    """A process of a training; of the first, also where the others reach it and what they prove themselves by."""

    rank: int
    world: int
    host: str
    pid: int
    port: int = 0
    token: str = ""

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.world} (process {self.pid} on {self.host})"


class ProcessWatch:
    """Ends this process when another one of the training has died, and says which.

    Every process keeps a connection to the first, which tells the others what it learns. Nothing is sent on it while
    all is well: the system closes it when an end dies, however that dies and whatever its interpreter was busy with.
    So a death is noticed at once, and a slow process, which reads pictures for an hour, is never taken for dead.

    The main thread asks for :meth:`news` when its work fails. If it does not within a moment, because it computes or
    waits for ever, the watch says the news. ``patience`` later it ends the process, unless :meth:`close` has said that
    the main thread has dealt with the news; then the process may live on, and has ``patience`` again once its main
    thread ends, for Python may then wait for ever to destroy the process group.

    Args:
        everybody: All processes, by rank.
        rank: This one.
        address: Where the first process is reached.
        server: Of the first process: the socket that listens on its port.
        how_it_died: Says how a rank ended where the first process can know, else ``""``.
        patience: Seconds from the news to the end.
        end: Ends the process with an exit code.
    """

    def __init__(
        self,
        everybody: Sequence[Member],
        rank: int,
        address: str = "",
        server: socket.socket | None = None,
        how_it_died: Callable[[int], str] = lambda _: "",
        patience: float = _PATIENCE,
        end: Callable[[int], None] = os._exit,
    ) -> None:
        self.everybody = everybody
        self.rank = rank
        self._how_it_died = how_it_died
        self._patience = patience
        self._end = end
        self._news = ""
        self._lock = threading.Lock()
        self._arrived, self._asked, self._closed = threading.Event(), threading.Event(), threading.Event()
        self._server = server
        self._peers: list[socket.socket] = []
        _open.add(self)
        if server is not None:
            _in_background(self._welcome, server)
        else:
            self._call(address)

    def news(self, timeout: float = 5.0) -> str:
        """Wait for the news that another process is gone, which then is said by who asked; ``""`` if there is none."""
        if not self._arrived.wait(timeout):
            return ""
        self._asked.set()
        return self._news

    def tell(self, reason: str) -> None:
        """Let all others know that this process ends, and why."""
        self._asked.set()
        with self._lock:
            if self._news:
                return
            self._news = reason
        self._send(["news", f"{self.everybody[self.rank]} ended: {reason}"])

    def close(self) -> None:
        """Leave in peace: nobody is ended because this process is, nor is it because another was."""
        self._closed.set()
        self._send(["bye", ""])
        for connection in [*self._peers, *([self._server] if self._server else [])]:
            _shut(connection)

    def leave_to_parent(self) -> None:
        """Let go of the connections in a forked process, which would keep them open when its parent dies."""
        for connection in [*self._peers, *([self._server] if self._server else [])]:
            if connection.fileno() >= 0:
                os.close(connection.detach())

    def _call(self, address: str) -> None:
        first = self.everybody[0]
        try:
            connection = _probed(socket.create_connection((address, first.port), timeout=20))
        except OSError as error:
            logger.warning(
                "%s cannot reach %s at %s:%d (%s): if one of them dies, the other notices only when its collectives "
                "fail.", self.everybody[self.rank], first, address, first.port, error,
            )  # fmt: skip
            return
        self._peers.append(connection)
        self._send([first.token, self.rank])
        _in_background(self._listen, connection.makefile("r"), 0)

    def _welcome(self, server: socket.socket) -> None:
        with suppress(OSError):  # closed, for all are there or this process leaves
            while True:
                connection, _ = server.accept()
                _in_background(self._greet, connection)

    def _greet(self, connection: socket.socket) -> None:
        """Listen to a process that proves to be one of this training."""
        connection.settimeout(_TO_GREET)
        lines = connection.makefile("r")
        try:
            token, rank = json.loads(lines.readline(200))
            proven = secrets.compare_digest(str(token).encode(), self.everybody[0].token.encode())
        except (OSError, ValueError, TypeError):
            proven = False
        if not proven or rank not in range(1, len(self.everybody)):
            lines.close()
            _shut(connection)
            return
        self._peers.append(_probed(connection))
        if self._server and len(self._peers) == len(self.everybody) - 1:
            _shut(self._server)
        self._listen(lines, int(rank))

    def _listen(self, lines: TextIO, rank: int) -> None:
        kind = text = ""
        with suppress(OSError, ValueError, TypeError), lines:  # ended, reset (a dead machine's), or nothing of ours
            kind, text = json.loads(lines.readline())
        if kind == "news":
            self._hear(str(text), _TO_CLOSE)
        elif kind != "bye" and not self._closed.is_set():
            how = self._how_it_died(rank) or "without a word"
            self._hear(f"{self.everybody[rank]} died {how}", _TO_NOTICE)

    def _hear(self, text: str, moment: float) -> None:
        with self._lock:
            if self._news or self._closed.is_set():
                return
            self._news = f"{text.rstrip('.')}. {self.everybody[self.rank]} ends too, for it cannot go on alone."
        self._send(["news", text])
        self._arrived.set()
        if not self._asked.wait(moment):
            logger.error(self._news)
        if self._closed.wait(self._patience):
            threading.main_thread().join()
            time.sleep(self._patience)
        self._end(1)

    def _send(self, line: list[object]) -> None:
        for connection in self._peers:
            with suppress(OSError):  # gone itself
                connection.sendall((json.dumps(line) + "\n").encode())


def meet(how_it_died: Callable[[int], str], one_machine: bool = False) -> ProcessWatch:
    """Begin to watch over the processes of the default group, all of which call this.

    Args:
        how_it_died: See :class:`ProcessWatch`.
        one_machine: Whether all of them are on this machine, so that no other one needs to reach the first.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    address = "localhost" if one_machine else os.environ.get("MASTER_ADDR", "localhost")
    me = Member(rank, world, socket.gethostname(), os.getpid())
    server = None
    if rank == 0:
        server = socket.create_server(("localhost" if one_machine else "", 0))
        me = me._replace(port=server.getsockname()[1], token=secrets.token_hex())
    everybody: list[Member] = [me] * world
    dist.all_gather_object(everybody, me)
    return ProcessWatch(everybody, rank, address, server, how_it_died)


def _probed(connection: socket.socket) -> socket.socket:
    """Have the system probe the other end, which may lose its power or its cable and say nothing."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES.items():
        if hasattr(socket, name):  # of Linux
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return connection


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it
    connection.close()


def _in_background(work: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True, name="process-watch").start()


_open: "weakref.WeakSet[ProcessWatch]" = weakref.WeakSet()


def _forked() -> None:
    for watch in _open:
        watch.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
