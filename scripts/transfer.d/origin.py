"""The service behind: sends bodies of any size, and says the hash of those that it gets. HTTP/1.1, a thread a connection.

GET /bytes/N          N bytes, with their length
GET /chunks/N         the same, chunked
POST /hash            the SHA-256 of the body and its length
"""
import hashlib
import random
import socket
import threading

# Of a prime length, so that a piece that is lost or comes twice cannot go unseen.
BLOCK = random.Random(7).randbytes(65_521)
# As much of it as is sent at once.
PIECE = BLOCK * 8


def content(size):
    """The body of so many bytes, in pieces."""
    while size > 0:
        piece = PIECE[:size]
        size -= len(piece)
        yield piece


def digest(size):
    """The hash of the body of so many bytes."""
    whole = hashlib.sha256()
    for piece in content(size):
        whole.update(piece)
    return whole.hexdigest()


class Connection:
    def __init__(self, tcp):
        self.tcp, self.held = tcp, b""

    def line(self):
        while b"\r\n" not in self.held:
            self.more()
        line, self.held = self.held.split(b"\r\n", 1)
        return line

    def more(self):
        read = self.tcp.recv(262_144)
        if not read:
            raise EOFError
        self.held += read

    def take(self, count, into):
        while count > 0:
            if not self.held:
                self.more()
            piece, self.held = self.held[:count], self.held[count:]
            into.update(piece)
            count -= len(piece)
        return into

    def serve(self):
        while True:
            method, path, _ = self.line().decode().split(" ")
            fields = {}
            while line := self.line():
                name, value = line.decode().split(":", 1)
                fields[name.lower()] = value.strip()
            body, length = hashlib.sha256(), int(fields.get("content-length", 0))
            if fields.get("transfer-encoding") == "chunked":
                while size := int(self.line(), 16):
                    self.take(size, body)
                    self.line()
                    length += size
                while self.line():
                    pass
            else:
                self.take(length, body)
            self.answer(method, path, f"{body.hexdigest()} {length}".encode())

    def answer(self, method, path, said):
        _, kind, *rest = path.split("/")
        if kind == "hash":
            self.tcp.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))
            return
        size = int(rest[0])
        if kind == "bytes":
            self.tcp.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for piece in content(size):
                self.tcp.sendall(piece)
            return
        self.tcp.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in content(size):
            self.tcp.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.tcp.sendall(b"0\r\n\r\n")


def connection(tcp):
    with tcp:
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            Connection(tcp).serve()
        except (EOFError, OSError):
            pass


def start():
    """Its port. It ends with the program."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)

    def accept():
        while True:
            tcp, _ = listener.accept()
            threading.Thread(target=connection, args=(tcp,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


if __name__ == "__main__":
    import time
    print(start(), flush=True)
    time.sleep(1e9)
