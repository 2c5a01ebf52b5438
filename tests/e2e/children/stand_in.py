"""A small HTTP service with good manners: takes handed-over sockets, answers, drains on SIGTERM.

`GET /echo/N` is answered after some 20 ms with `N PID`, `GET /health` at once. On SIGTERM it stops
to accept, answers what it has accepted, and ends.
"""

import asyncio
import os
import signal
import socket

THINKING = 0.02


def main() -> None:
    assert os.environ["LISTEN_PID"] == str(os.getpid())
    asyncio.run(serve([socket.socket(fileno=3 + n) for n in range(int(os.environ["LISTEN_FDS"]))]))


async def serve(listening: list[socket.socket]) -> None:
    loop = asyncio.get_running_loop()
    answering: set[asyncio.Task[None]] = set()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)

    def accept(listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another run was quicker, or the client has gone
        connection.setblocking(False)
        task = loop.create_task(answer(connection))
        answering.add(task)
        task.add_done_callback(answering.discard)

    for each in listening:
        each.setblocking(False)
        loop.add_reader(each, accept, each)
    await stop.wait()
    # From here on clients wait in the backlog, for whoever shares the socket.
    for each in listening:
        loop.remove_reader(each)
        each.close()
    if answering:
        await asyncio.wait(answering)


async def answer(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with connection:
        request = b""
        while b"\r\n\r\n" not in request:
            data = await loop.sock_recv(connection, 65536)
            if not data:
                return
            request += data
        path = request.split()[1].decode()
        body = f"{path.rpartition('/')[2]} {os.getpid()}\n".encode()
        if path != "/health":
            await asyncio.sleep(THINKING)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        await loop.sock_sendall(connection, head.encode() + body)


if __name__ == "__main__":
    main()
