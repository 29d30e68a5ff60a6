"""The matrix: every client, way and size; windows; resets. Exits with 1 if one byte is wrong or something is left."""
import hashlib
import json
import random
import re
import subprocess
import sys
import time
import urllib.request

import httpx
from h2.exceptions import ProtocolError

import origin
from raw import Broken, Client

KIB, MIB = 1024, 1024 * 1024
SIZES = [0, 1, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 65_534, 65_535, 65_536, MIB, 64 * MIB]
# A window, and the largest body that passes through it within seconds.
WINDOWS = {1: 2_000, 100: 65_536, 16_383: MIB, 65_535: 64 * MIB, MIB: 64 * MIB, 2**31 - 1: 64 * MIB}
RESETS = 100

passed, failed = 0, []
hashes = {size: origin.digest(size) for size in SIZES + [2_000]}


def check(what, got, expected):
    global passed
    if got == expected:
        passed += 1
    else:
        failed.append(f"{what}: got {got}, expected {expected}")
        print(f"FAILED {failed[-1]}", flush=True)


def attempt(what, expected, action):
    try:
        got = action()
    except (Broken, ProtocolError, httpx.HTTPError, OSError, subprocess.SubprocessError) as error:
        got = repr(error)
    check(what, got, expected)


def sizes_up_to(most):
    return [size for size in SIZES if size < most] + ([most] if most in hashes else [])


def with_h2(gate):
    for window, most in WINDOWS.items():
        for size in sizes_up_to(most):
            expected = ("200", hashes[size], size)
            for kind in ("bytes", "chunks"):
                client = Client(gate, window)
                attempt(f"h2 window {window}: {kind} {size}", expected,
                        lambda: client.read(client.begin("GET", f"/{kind}/{size}", True)))
                client.close()
    said = lambda size: ("200", *digest_of(f"{hashes[size]} {size}"))
    for size in SIZES:
        for length in (None, size):
            client = Client(gate, MIB)

            def upload():
                stream = client.begin("POST", "/hash", False, length)
                client.write(stream, origin.content(size))
                return client.read(stream)

            attempt(f"h2: upload {size}, length {length}", said(size), upload)
            client.close()


def digest_of(text):
    return hashlib.sha256(text.encode()).hexdigest(), len(text)


def with_resets(gate, seed):
    """Streams that end at random points, on connections that go on."""
    chance = random.Random(seed)
    client = Client(gate, MIB)
    for turn in range(RESETS):
        size = chance.choice([size for size in SIZES if size > 1])
        stop = chance.randrange(min(size, 3 * MIB))
        if turn % 2:
            attempt(f"reset a download of {size} at {stop}", True, lambda: client.read(
                client.begin("GET", f"/{chance.choice(['bytes', 'chunks'])}/{size}", True), stop) in
                (None, ("200", hashes[size], size)))
        else:
            attempt(f"reset an upload of {size} at {stop}", False, lambda: client.write(
                client.begin("POST", "/hash", False, chance.choice([None, size])), origin.content(size), stop))
        # And the connection is whole: as much credit as ever, in both directions.
        if turn % 10 == 9:
            attempt("a download after resets", ("200", hashes[MIB], MIB),
                    lambda: client.read(client.begin("GET", f"/bytes/{MIB}", True)))

            def upload():
                stream = client.begin("POST", "/hash", False)
                client.write(stream, origin.content(MIB))
                return client.read(stream)

            attempt("an upload after resets", ("200", *digest_of(f"{hashes[MIB]} {MIB}")), upload)
    client.close()


def with_httpx(gate):
    for name, versions in (("HTTP/2", {"http1": False, "http2": True}), ("HTTP/1.1", {"http1": True})):
        with httpx.Client(base_url=gate, timeout=60, **versions) as client:
            for size in SIZES:
                for kind in ("bytes", "chunks"):
                    def download():
                        body = hashlib.sha256()
                        with client.stream("GET", f"/{kind}/{size}") as answer:
                            for piece in answer.iter_raw():
                                body.update(piece)
                        return answer.http_version, answer.status_code, body.hexdigest()

                    attempt(f"httpx {name}: {kind} {size}", (name, 200, hashes[size]), download)

                def upload(content, fields):
                    answer = client.post("/hash", content=content, headers=fields)
                    return answer.http_version, answer.text

                expected = (name, f"{hashes[size]} {size}")
                attempt(f"httpx {name}: upload {size}", expected, lambda: upload(origin.content(size), {}))
                attempt(f"httpx {name}: upload {size} of known length", expected,
                        lambda: upload(origin.content(size), {"content-length": str(size)}))


def with_curl(gate):
    def curl(*arguments, body=None):
        command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "60", *arguments]
        return subprocess.run(command, input=body, capture_output=True, check=True).stdout

    for version in ("--http2-prior-knowledge", "--http1.1"):
        for size in SIZES:
            for kind in ("bytes", "chunks"):
                def download():
                    return hashlib.sha256(curl(version, f"{gate}/{kind}/{size}")).hexdigest()

                attempt(f"curl {version}: {kind} {size}", hashes[size], download)
            body = b"".join(origin.content(size))
            for fields in ([], ["--header", "Transfer-Encoding: chunked"]):
                if fields and version != "--http1.1":
                    continue
                attempt(f"curl {version}: upload {size} {fields}", f"{hashes[size]} {size}".encode(),
                        lambda: curl(version, *fields, "--data-binary", "@-", f"{gate}/hash", body=body))


def nothing_is_left(admin):
    """Every permit, stream and connection is back, within ten seconds."""
    names = ("in_flight", "waiting", "queue_bytes", "streams", "connections")
    for _ in range(100):
        with urllib.request.urlopen(f"{admin}/status") as answer:
            status = json.load(answer)
        left = {name: status[name] for name in names if status[name]}
        if not left:
            break
        time.sleep(0.1)
    check("nothing is left", left, {})
    check("nothing was refused", status["refused"], {})


def main(program, seed):
    behind = origin.start()
    gate = subprocess.Popen([program, f"http://127.0.0.1:{behind}", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
                            stderr=subprocess.PIPE, text=True)
    try:
        address, admin = (re.search(r"http://[^ /]+", gate.stderr.readline())[0] for _ in range(2))
        for part in (with_h2, lambda gate: with_resets(gate, seed), with_httpx, with_curl):
            begun = time.monotonic()
            part(address)
            print(f"{getattr(part, '__name__', '').replace('<lambda>', 'with_resets')}: "
                  f"{passed} passed, {len(failed)} failed, {time.monotonic() - begun:.1f} s", flush=True)
        nothing_is_left(admin)
    finally:
        gate.kill()
        gate.wait()
    print(f"{passed} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
