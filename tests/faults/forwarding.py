"""An address that leads to one server, and later to another: connections that stand stay where they are."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Forwarder:
    target: int  # the port of loopback that new connections are led to
    port: int = 0
    sockets: list[socket.socket] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    client.close()
                    continue
                self.sockets += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


@contextmanager
def forwarding(target: int) -> Iterator[Forwarder]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        forwarder = Forwarder(target, listener.getsockname()[1])
        thread = threading.Thread(target=forwarder.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield forwarder
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for each in forwarder.sockets:
                each.close()
            thread.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
