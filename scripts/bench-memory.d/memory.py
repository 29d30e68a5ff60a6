"""Runs the attacks of scripts/bench-memory and prints what each server held. JSON lines go to target/bench-memory/."""
import json
import os
import random
import re
import socket
import sys
import threading
import time

from servers import HERE, SERVERS, TIDEGATE, printing, start, tidegate

EACH = float(os.environ.get("SECONDS_EACH", "5"))
ONLY = [name for name in os.environ.get("ONLY", "").split(",") if name]
MIB = 1 << 20


def get(address, path, method="GET", client="127.0.0.1"):
    with socket.create_connection(tuple(address.split(":")), timeout=20, source_address=(client, 0)) as tcp:
        tcp.sendall(f"{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
        answer = b""
        while read := tcp.recv(65_536):
            answer += read
        return answer.decode(errors="replace")


class Probe(threading.Thread):
    """Another client, at another address: a request every 10 ms on connections of its own; how long each took."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address, self.took, self.failed, self.over = address, [], 0, False

    def run(self):
        while not self.over:
            begun = time.monotonic()
            try:
                if not get(self.address, "/", client="127.0.0.9").startswith("HTTP/1.1 200"):
                    self.failed += 1
                self.took.append(time.monotonic() - begun)
            except OSError:
                self.failed += 1
            time.sleep(0.01)

    def end(self):
        self.over = True
        took = sorted(self.took) or [float("inf")]
        rank = lambda share: round(took[min(len(took) - 1, int(share * len(took)))] * 1000, 1)
        return {"requests": len(self.took), "failed": self.failed, "p50_ms": rank(0.5), "p99_ms": rank(0.99)}


class Watch(threading.Thread):
    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.over, self.peak, self.kernel = server, False, 0, 0
        self.each, self.most, self.inside, self.left = 0, 0, {}, []

    def run(self):
        looked = 0
        while not self.over:
            self.peak = max(self.peak, self.server.rss())
            if time.monotonic() > looked + 1:
                looked = time.monotonic()
                self.kernel = max(self.kernel, self.server.kernel())
                self.look(looked)
            time.sleep(0.02)

    def look(self, now):
        each, inside = self.server.held(self.inside)
        if len(each) >= 10:
            self.each, self.most = max(self.each, sum(each) / len(each)), max(self.most, *each)
        for peer in inside - self.inside.keys():
            self.inside[peer] = now
        for peer in self.inside.keys() - inside:
            self.left.append(now - self.inside.pop(peer))

    def stays(self):
        """How many were let in, and how long the longest of those that have left stayed."""
        return {"let_in": len(self.inside) + len(self.left), "left": len(self.left), "inside": len(self.inside),
                "longest_s": round(max(self.left, default=0), 1)}


def row(attack, name, **figures):
    shown = "  ".join(f"{key} {value}" for key, value in figures.items())
    print(f"{attack:7} {name:10} {shown}", flush=True)
    os.makedirs("target/bench-memory", exist_ok=True)
    with open("target/bench-memory/figures.jsonl", "a") as file:
        file.write(json.dumps({"attack": attack, "server": name, **figures}) + "\n")


class Crowds:
    """Several attacks as if they were one."""

    def __init__(self, *crowds):
        self.crowds, self.stdout, self.stderr = crowds, self, crowds[0].stderr

    def readline(self):
        lines = [crowd.stdout.readline() for crowd in self.crowds]
        if not all(line.startswith("{") for line in lines):
            return lines[0]
        reports = [json.loads(line) for line in lines]
        return json.dumps({key: sum(report[key] for report in reports) for key in reports[0]})


def attack(mode, server, path, *arguments, seconds=EACH):
    address = server.one if mode == "slow" else server.two
    return start([TIDEGATE, "lab", "attack", mode, f"http://{address}{path}", *map(str, arguments),
                  "--duration", f"{int(seconds * 1000)}ms"])


def measured(what, name, server, crowd, finish=lambda: {}, per=1, stays=False):
    before = server.rss()
    watch, probe = Watch(server), Probe(server.one)
    watch.start()
    said = crowd.stdout.readline()
    assert said == "open\n", (said, crowd.stderr.read())
    # The origin, not the gate, is busy at first: it fills its sockets' buffers.
    time.sleep(min(2, EACH / 2))
    probe.start()
    more = finish()
    report = crowd.stdout.readline()
    watch.over = True
    other = probe.end()
    if stays:
        more = {**more, "kernel_kib_each_unread": round(watch.each / 1024, 1), "kernel_kib_most": round(watch.most / 1024, 1),
                **watch.stays()}
    row(what, name, rss_before=round(before / MIB, 1), rss_peak=round(watch.peak / MIB, 1),
        kernel_kib_each=round(watch.kernel / 1024 / per, 1), **more, crowd=json.loads(report or "{}"), other=other)
    server.stop()


def unread():
    for name, server in servers():
        measured("unread", name, server, attack("unread", server, "/.lab/endless", "--connections", 40, "--streams", 200), per=40)


def slow():
    # The origin has two descriptors for each in a proxy, near the system's usual 20,000.
    kinds = [("slow", 5_000, 1), ("slow-http2", 2_500, 1), ("slow-http2", 2_500, 4)]
    for name, server in servers({"tidegate": lambda: tidegate(["--stall-timeout", "10s"])}):
        crowd = Crowds(*(attack(mode, server, "/.lab/endless", "--connections", connections, "--streams", streams,
                                "--from", f"127.0.0.{client}", seconds=8 * EACH)
                         for client, (mode, connections, streams) in enumerate(kinds, 2)))
        measured("slow", name, server, crowd, per=sum(connections for _, connections, _ in kinds), stays=True)


def hold():
    for name, server in servers():
        crowd = attack("hold", server, "/.lab/unread", "--connections", 600, "--streams", 10, "--upload", 100_000, seconds=12 * EACH)

        def finish():
            time.sleep(EACH)
            get(server.behind, "/.lab/release", "POST")
            begun = time.monotonic()
            crowd.wait(timeout=20 * EACH)
            return {"finished_s": round(time.monotonic() - begun, 1)}

        measured("hold", name, server, crowd, finish, per=600)


def zero():
    for name, server in servers():
        measured("zero", name, server, attack("zero", server, "/.lab/endless", "--connections", 40, "--streams", 100), per=40)


def bomb():
    for name, server in servers():
        measured("bomb", name, server, attack("bomb", server, "/.lab/endless", "--connections", 20, "--streams", 200), per=20)


def flood(address, head, over):
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    try:
        with socket.create_connection(tuple(address.split(":"))) as tcp:
            tcp.sendall(head)
            tcp.setblocking(False)
            while not over.is_set():
                try:
                    tcp.send(piece)
                except BlockingIOError:
                    time.sleep(0.001)
    except OSError:
        pass


def echo():
    """The gate before asyncio's echo that waits would be asyncio's figure; before one that echoes bodies it is its own."""
    head = b"POST /.lab/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    for name, begin in {
        "tidegate": tidegate,
        "asyncio": lambda: printing(sys.executable, f"{HERE}/echo.py"),
        "drain": lambda: printing(sys.executable, f"{HERE}/echo.py", "drain"),
    }.items():
        if ONLY and name not in ONLY:
            continue
        server, over = begin(), threading.Event()
        time.sleep(0.5)
        before, watch = server.rss(), Watch(server)
        watch.start()
        crowd = [threading.Thread(target=flood, args=(server.one, head if name == "tidegate" else b"", over)) for _ in range(10)]
        for one in crowd:
            one.start()
        time.sleep(EACH)
        over.set()
        for one in crowd:
            one.join()
        watch.over = True
        row("echo", name, rss_before=round(before / MIB, 1), rss_peak=round(watch.peak / MIB, 1))
        server.stop()


def charged(server):
    return float(re.search(r"^tidegate_memory_charged_bytes (\S+)", get(server.admin, "/metrics"), re.M)[1])


def chance():
    """C 12: everything at once, in any order."""
    server = tidegate(["--stall-timeout", "5s"])
    dice, crowds, over = random.Random(12), [], time.monotonic() + float(os.environ.get("SECONDS", "600"))
    watch, most = Watch(server), 0
    before = charged(server)
    watch.start()
    while time.monotonic() < over:
        mode, path = dice.choice([("unread", "/.lab/endless"), ("unread", "/.lab/bytes/300000"), ("zero", "/.lab/endless"),
                                  ("hold", "/.lab/unread"), ("hold", "/.lab/sink"), ("bomb", "/.lab/bytes/1000"),
                                  ("slow", "/.lab/endless"), ("unacknowledged", "/")])
        crowds.append(attack(mode, server, path, "--connections", dice.randint(1, 200), "--streams", dice.randint(1, 200),
                             "--upload", dice.randint(0, MIB), seconds=dice.uniform(0.5, 8)))
        while len([crowd for crowd in crowds if crowd.poll() is None]) > 8:
            most = max(most, charged(server))
            time.sleep(0.05)
        crowds = [crowd for crowd in crowds if crowd.poll() is None]
        most = max(most, charged(server))
    for crowd in crowds:
        crowd.kill()
    for _ in range(100):
        time.sleep(0.1)
        if charged(server) <= before:
            break
    watch.over = True
    row("random", "tidegate", charged_peak=round(most / MIB, 2), rss_peak=round(watch.peak / MIB, 1),
        charged_after=charged(server) - before)
    server.stop()


def leak():
    """C 9: does every connection have its credit again, and the gate its memory, after so many cancelled streams?"""
    server, streams, connections = tidegate(), int(os.environ.get("STREAMS", "1000000")), 40
    before, watch, begun = charged(server), Watch(server), time.monotonic()
    rss = server.rss()
    watch.start()
    crowd = attack("cancel", server, "/", "--connections", connections, "--streams", streams // connections, seconds=3600)
    crowd.stdout.readline()
    report = json.loads(crowd.stdout.readline())
    took = time.monotonic() - begun
    # An upload that nobody answers is kept for a while after its client has gone.
    for _ in range(300):
        after = charged(server)
        if after <= before:
            break
        time.sleep(0.1)
    watch.over = True
    row("leak", "tidegate", cancelled=report["cancelled"], connections=connections, credit_back=report["whole"],
        ended_by_gate=report["ended"] - connections, charged_after=after - before, rss_before=round(rss / MIB, 1),
        rss_peak=round(watch.peak / MIB, 1), rss_after=round(server.rss() / MIB, 1), seconds=round(took))
    server.stop()


def servers(changed={}):
    for name, begin in SERVERS.items():
        if ONLY and name not in ONLY:
            continue
        try:
            server = changed.get(name, begin)()
        except (OSError, KeyError, IndexError) as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        time.sleep(0.5)
        yield name, server


ATTACKS = {"unread": unread, "slow": slow, "hold": hold, "zero": zero, "bomb": bomb, "echo": echo, "random": chance,
           "leak": leak}

if __name__ == "__main__":
    for name in sys.argv[1:] or ATTACKS:
        ATTACKS[name]()
