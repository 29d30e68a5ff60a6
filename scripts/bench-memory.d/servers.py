"""The servers of scripts/bench-memory: how each is started, and what a running one holds."""
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

TIDEGATE = os.environ["TIDEGATE"]
HERE = os.path.dirname(os.path.abspath(__file__))
# What lets nothing but memory bound the gate.
GATE = ["--memory", "64MiB", "--limit", "20000", "--max-queue", "20000", "--max-streams", "20000", "--max-wait", "60s",
        "--client-timeout", "10m"]
NGINX = """
worker_processes 1; daemon off; pid {work}/nginx.pid; error_log {work}/error.log;
events {{ worker_connections 20000; }}
http {{
    access_log off; client_body_temp_path {work}; proxy_temp_path {work}; client_max_body_size 0;
    fastcgi_temp_path {work}; uwsgi_temp_path {work}; scgi_temp_path {work};
    # Else it would write the endless answers to its disk.
    proxy_max_temp_file_size 0; proxy_request_buffering off;
    server {{ listen 127.0.0.1:{two} http2; location / {{ proxy_pass http://{origin}; proxy_http_version 1.1; }} }}
    server {{ listen 127.0.0.1:{one}; location / {{ proxy_pass http://{origin}; proxy_http_version 1.1; }} }}
}}
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def start(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class Server:
    """A running server: `two` and `one` are where it speaks HTTP/2 and HTTP/1, `behind` is whom to tell of a release."""

    def __init__(self, process, two, one, behind=None, also=()):
        self.process, self.two, self.one, self.also = process, two, one, also
        self.behind = behind or one

    def family(self):
        pids, known = [self.process.pid], []
        while pids:
            pid = pids.pop()
            known.append(pid)
            try:
                with open(f"/proc/{pid}/task/{pid}/children") as children:
                    pids += map(int, children.read().split())
            except OSError:
                pass
        return known

    def rss(self):
        total = 0
        for pid in self.family():
            try:
                with open(f"/proc/{pid}/status") as status:
                    total += int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) * 1024
            except (OSError, TypeError):
                pass
        return total

    def kernel(self):
        """Bytes that the kernel holds for its sockets, those to an origin included: skmem's r, w and f."""
        ends = {f"sport = :{address.split(':')[1]}" for address in (self.two, self.one)}
        if self.also:
            ends.add(f"dport = :{self.behind.split(':')[1]}")
        shown = subprocess.run(["ss", "-tmnH", " or ".join(ends)], capture_output=True, text=True).stdout
        return sum(map(int, re.findall(r"[(,][rwf](\d+)", shown)))

    def held(self, known=()):
        """What the kernel holds for each client that has been let in and has not taken everything, and who was let in."""
        port = self.two.split(":")[1], self.one.split(":")[1]
        shown = subprocess.run(["ss", "-tmnpHO", "state", "established"], capture_output=True, text=True).stdout
        each, inside = [], set()
        for line in shown.splitlines():
            unread, queued, ours, peer = line.split()[:4]
            # Who waits to be let in has been accepted, and what it asks has not been read.
            if (peer in known or unread == "0") and ours.rsplit(":", 1)[1] in port and "users:" in line:
                inside.add(peer)
                if int(queued):
                    each.append(sum(map(int, re.findall(r"[(,][rwf](\d+)", line))))
        return each, inside

    def stop(self):
        for pid in self.family():
            os.kill(pid, signal.SIGKILL)
        for process in (self.process, *self.also):
            process.kill()
            process.wait()


def lab_origin():
    origin = start([TIDEGATE, "lab", "origin", "--listen", "127.0.0.1:0", "--workers", "1000", "--mean", "1ms"])
    return origin, re.search(r"http://([^/ ]+)", origin.stdout.readline())[1]


def tidegate(flags=()):
    origin, behind = lab_origin()
    gate = start([TIDEGATE, f"http://{behind}", *GATE, *flags, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
    address, admin = (re.search(r"http://([^/ ]+)", gate.stderr.readline())[1] for _ in range(2))
    # What it logs must not fill the pipe: it would wait for whoever reads.
    threading.Thread(target=gate.stderr.read, daemon=True).start()
    server = Server(gate, address, address, behind, [origin])
    server.admin = admin
    return server


def nginx():
    origin, behind = lab_origin()
    work, two, one = tempfile.mkdtemp(), free_port(), free_port()
    os.chmod(work, 0o777)
    with open(f"{work}/nginx.conf", "w") as file:
        file.write(NGINX.format(work=work, two=two, one=one, origin=behind))
    process = start(["nginx", "-c", f"{work}/nginx.conf", "-e", f"{work}/error.log"])
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", two)).close()
            break
        except OSError:
            time.sleep(0.05)
    return Server(process, f"127.0.0.1:{two}", f"127.0.0.1:{one}", behind, [origin])


def printing(*command):
    process = start(command)
    addresses = process.stdout.readline().split()
    return Server(process, addresses[0], addresses[-1])


SERVERS = {
    "tidegate": tidegate,
    "hyper": lambda: printing(os.environ["HYPER"]),
    "nginx": nginx,
    "go": lambda: printing(os.environ["GO"]),
    "node": lambda: printing("node", f"{HERE}/server.js"),
}
