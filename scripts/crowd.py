#!/usr/bin/env python3
"""Clients and origins that ordinary load generators do not play, for scripts/bench-cost.

crowd.py sink PORT                      an origin: swallows any request body, answers /wait only when the client goes
crowd.py idle HOST PORT COUNT           opens COUNT keep-alive connections, one request on each, prints `ready`, waits
crowd.py unread HOST PORT CONNS STREAMS PATH
                                        HTTP/2 streams that are never read: prints `ready` when all were asked, waits
"""
import resource
import socket
import sys
import threading
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def raise_limits():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def swallow(tcp):
    room, held = bytearray(1 << 20), b""
    with tcp:
        while True:
            while b"\r\n\r\n" not in held:
                more = tcp.recv(65536)
                if not more:
                    return
                held += more
            head, held = held.split(b"\r\n\r\n", 1)
            lines = head.lower().split(b"\r\n")
            left = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            left -= len(held)
            held = held[len(held) + left:] if left < 0 else b""
            while left > 0:
                read = tcp.recv_into(room, min(left, len(room)))
                if read == 0:
                    return
                left -= read
            if b" /wait" in lines[0]:
                tcp.recv(1)
                return
            tcp.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")


def sink(port):
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=1024)
    while True:
        tcp, _ = listener.accept()
        threading.Thread(target=swallow, args=(tcp,), daemon=True).start()


def idle(host, port, count):
    held = []
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    for number in range(int(count)):
        # One source address has too few ports on a small machine.
        tcp = socket.create_connection((host, int(port)), 30, (f"127.0.0.{2 + number % 4}", 0))
        tcp.sendall(request)
        answer = tcp.recv(65536)
        if not answer.startswith(b"HTTP/1.1 200"):
            sys.exit(f"connection {number}: {answer[:60]!r}")
        held.append(tcp)
    print("ready", flush=True)
    time.sleep(600)


def unread(host, port, connections, streams, path):
    """Grants all the credit there is, so that only the gateway's own bounds hold."""
    held = []
    settings = frame(4, 0, 0, (4).to_bytes(2, "big") + (2**31 - 1).to_bytes(4, "big"))
    credit = frame(8, 0, 0, (2**31 - 1 - 65535).to_bytes(4, "big"))
    # Indexed :method GET and :scheme http, then :path and :authority as literals (RFC 7541).
    block = b"\x82\x86\x04" + bytes([len(path)]) + path.encode() + b"\x01\x01-"
    for _ in range(int(connections)):
        tcp = socket.socket()
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        tcp.connect((host, int(port)))
        asked = b"".join(frame(1, 5, 1 + 2 * number, block) for number in range(int(streams)))
        tcp.sendall(PREFACE + settings + credit + frame(4, 1, 0, b"") + asked)
        held.append(tcp)
    print("ready", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    raise_limits()
    {"sink": sink, "idle": idle, "unread": unread}[sys.argv[1]](*sys.argv[2:])
