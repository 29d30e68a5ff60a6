"""The origin, and the programs that can stand before it. Each is a child of ours and ends with us."""

import contextlib
import os
import queue
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

TIDEGATE = os.environ["TIDEGATE"]
ENVOY = os.environ["ENVOY"]
PATIENCE = 15  # seconds until a program has to listen


class CannotStart(Exception):
    """Why a program does not run, in a sentence."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def child(command, **options):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listening(process, stream):
    """The address in the line `listening on http://...`; the rest of the stream is read and dropped."""
    found = queue.Queue(1)

    def read():
        said = []
        for line in stream:
            match = re.search(r"listening on http://([^\s/]+)", line)
            if match and not found.full():
                found.put(match.group(1))
            elif not found.full():
                said = (said + [line.strip()])[-3:]
        if not found.full():
            found.put(CannotStart(" / ".join(said)))

    threading.Thread(target=read, daemon=True).start()
    try:
        address = found.get(timeout=PATIENCE)
    except queue.Empty:
        address = CannotStart("it does not say where it listens")
    if isinstance(address, CannotStart):
        raise address
    return address


def connectable(process, port):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return f"127.0.0.1:{port}"
        time.sleep(0.05)
    raise CannotStart("it does not listen")


@contextlib.contextmanager
def origin(workers=10, mean="20ms", dist="exp", delay="0", seed=1):
    command = [TIDEGATE, "lab", "origin", "--listen", "127.0.0.1:0", "--workers", str(workers)]
    command += ["--mean", mean, "--dist", dist, "--delay", delay, "--seed", str(seed)]
    with child(command, stdout=subprocess.PIPE, text=True) as process:
        yield listening(process, process.stdout)


def ask(address, path, method="GET"):
    request = urllib.request.Request(f"http://{address}{path}", method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


@contextlib.contextmanager
def none(origin_address):
    yield origin_address


@contextlib.contextmanager
def tidegate(origin_address):
    command = [TIDEGATE, "run", f"http://{origin_address}"]
    command += ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    with child(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        yield listening(process, process.stderr)


@contextlib.contextmanager
def configured(command, text, suffix):
    """A program with a file; `{port}`, `{dir}` and `{file}` are filled in."""
    if not shutil.which(command[0]):
        raise CannotStart(f"{command[0]} is not there")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "conf" + suffix)
        fill = {"port": port, "dir": folder, "file": path}
        with open(path, "w") as file:
            file.write(re.sub(r"\$\{(\w+)\}", lambda name: str(fill[name.group(1)]), text))
        os.chmod(folder, 0o755)  # nginx lowers the rights of its workers
        with child([word.format(**fill) for word in command], stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL) as process:
            yield connectable(process, port)


def nginx(limit):
    def start(origin_address):
        return configured(["nginx", "-p", "{dir}", "-c", "{file}"], f"""
daemon off; worker_processes 2; worker_rlimit_nofile 20000;
error_log /dev/null crit; pid ${{dir}}/pid;
events {{ worker_connections 9000; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path ${{dir}}/a; proxy_temp_path ${{dir}}/b; fastcgi_temp_path ${{dir}}/c;
  uwsgi_temp_path ${{dir}}/d; scgi_temp_path ${{dir}}/e;
  limit_conn_zone $server_name zone=all:1m; limit_conn_status 503;
  upstream origin {{ server {origin_address}; keepalive 64; }}
  server {{
    listen 127.0.0.1:${{port}} backlog=4096; server_name all; limit_conn all {limit};
    location / {{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_next_upstream off;
    }}
  }}
}}
""", ".conf")
    return start


def haproxy(places):
    # `maxqueue` would only send the request on to another server, and there is none: the rule cuts the queue.
    cut = f"  http-request deny deny_status 503 if {{ queue(origin) ge {places} }}\n" if places else ""

    def start(origin_address):
        return configured(["haproxy", "-db", "-f", "{file}"], f"""
global
  nbthread 2
  maxconn 9000
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  timeout queue 500ms
  maxconn 9000
frontend all
  bind 127.0.0.1:${{port}}
{cut}  default_backend origin
backend origin
  server one {origin_address} maxconn 10
""", ".cfg")
    return start


def envoy(origin_address):
    host, port = origin_address.rsplit(":", 1)
    # Adaptive concurrency as Envoy's documentation shows it.
    return configured([ENVOY, "-c", "{file}", "--disable-hot-restart", "--concurrency", "2", "-l", "off"], f"""
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: ${{port}} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: all
          route_config:
            virtual_hosts:
            - {{ name: all, domains: ["*"], routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: origin }} }}] }}
          http_filters:
          - name: envoy.filters.http.adaptive_concurrency
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency
              gradient_controller_config:
                sample_aggregate_percentile: {{ value: 90 }}
                concurrency_limit_params: {{ concurrency_update_interval: 0.1s }}
                min_rtt_calc_params: {{ jitter: {{ value: 10 }}, interval: 60s, request_count: 50 }}
              enabled: {{ default_value: true, runtime_key: adaptive_concurrency.enabled }}
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: origin
    connect_timeout: 2s
    circuit_breakers: {{ thresholds: [{{ max_connections: 9000, max_pending_requests: 9000, max_requests: 9000 }}] }}
    load_assignment:
      cluster_name: origin
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: {host}, port_value: {port} }} }} }} }}] }}]
""", ".yaml")


PROGRAMS = {
    "none": none,
    "tidegate": tidegate,
    "nginx-10": nginx(10),
    "nginx-20": nginx(20),
    "haproxy-500ms": haproxy(None),
    "haproxy-25": haproxy(25),
    "envoy": envoy,
}
