"""Scenarios and their figures. Every program meets the same arrivals: the same seed in the same run."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading

import programs
from programs import CannotStart, ask

LEFT_OUT = {}


def load(address, rate, seconds, seed, more=()):
    command = [programs.TIDEGATE, "lab", "load", f"http://{address}/", "--json", "--timeout", "1s"]
    command += ["--duration", f"{seconds}s", "--seed", str(seed), *more]
    if rate:
        command += ["--rate", rate]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def capacity(seconds=8, workers=10, mean_ms=20):
    """What the origin carries: a closed loop that always leaves as many requests waiting as it works on. The
    mean of five seeds, because the draws of one alone can be 3 % off."""
    rates = []
    for seed in range(1, 6):
        with programs.origin(workers=workers, mean=f"{mean_ms}ms", seed=seed) as address:
            rates.append(load(address, None, seconds, seed, ["--closed", str(2 * workers)])["ok_per_second"])
    carried = statistics.mean(rates)
    nominal = workers * 1000 / mean_ms
    print(f"capacity, closed loop: {carried:.1f}/s ({workers} workers of {mean_ms} ms, exponential)")
    if carried < 0.97 * nominal:
        print(f"this machine is too busy: {nominal:.0f}/s were due. Do not trust these figures.", file=sys.stderr)
    return carried


def run(name, rate, seconds, seed, more=(), changes=(), read_at=None, **origin):
    """One program, one load. `changes` are (second, query for /.lab/set); the origin's counts are read at the end,
    and at second `read_at`. None if it cannot start."""
    try:
        with programs.origin(seed=seed, **origin) as address:
            with programs.PROGRAMS[name](address) as gate:
                timers = [threading.Timer(at, ask, (address, f"/.lab/set?{change}", "POST"))
                          for at, change in changes]
                early = []
                if read_at is not None:
                    read = lambda: early.append(json.loads(ask(address, "/.lab/stats")))
                    timers.append(threading.Timer(read_at, read))
                for timer in timers:
                    timer.start()
                report = load(gate, rate, seconds, seed, more)
                for timer in timers:
                    timer.join()
            report["origin"] = json.loads(ask(address, "/.lab/stats"))
            report["origin early"] = early[0] if early else None
            return report
    except CannotStart as why:
        if LEFT_OUT.get(name) is None:
            print(f"{name} is left out: {why}", file=sys.stderr)
        LEFT_OUT[name] = str(why)
        return None


def total(report, what, begin, end):
    return sum(second[what] for second in report["seconds"][begin:end])


def share(part, whole):
    return 100.0 * part / max(whole, 1e-9)


def median(values):
    return statistics.median(values) if values else None


def overload_figures(report, seconds, capacity):
    offered, ok = (total(report, what, 5, seconds) for what in ("offered", "ok"))
    origin, early = report["origin"], report["origin early"]
    return {
        "goodput %": share(ok, min(offered, capacity * (seconds - 5))),
        "admitted %": share(report["offered"] - report["refused"], report["offered"]),
        "p99 ok ms": report["ok_ms"]["p99"] if report["ok"] else None,
        # The whole run's has the first seconds in it, in which the limit is searched for.
        "p99 ok ms, usual second from 5 on": median(
            [second["p99"] for second in report["seconds"][5:seconds] if second["ok"]]),
        "p99 refused ms": report["refused_ms"]["p99"] if report["refused"] else None,
        "gone work %": share(origin["gone_ns"] - early["gone_ns"], origin["busy_ns"] - early["busy_ns"]),
        "gone work % of the whole run": share(origin["gone_ns"], origin["busy_ns"]),
    }


def overload(options):
    seconds = options.seconds
    if seconds <= 5:
        sys.exit("figures are taken from second 5 on: give --seconds at least 6")
    carried = capacity()
    loads = [(f"{times}x", times, []) for times in options.loads]
    loads.append(("2x, 30 % leave", 2, ["--leave", "30%@60ms"]))
    for label, times, more in loads:
        yield label, lambda name, seed, times=times, more=more: (
            (report := run(name, str(carried * times), seconds, seed, more, read_at=5))
            and (report, overload_figures(report, seconds, carried)))


def recovery(_options):
    carried = capacity()
    changes = [(10, "workers=5"), (25, "workers=10")]

    def measure(name, seed):
        report = run(name, str(carried * 2), 36, seed, changes=changes)
        return report and (report, {
            "halved, 3-10 s after %": share(total(report, "ok", 13, 20), 7 * carried / 2),
            "restored, 3-10 s after %": share(total(report, "ok", 28, 35), 7 * carried),
        })

    yield "2x", measure


def retries(_options):
    carried = capacity()
    rate = f"{0.8 * carried},10s:{3 * carried},15s:{0.8 * carried}"
    for kind in ("naive", "retry-after"):
        def measure(name, seed, kind=kind):
            report = run(name, rate, 30, seed, ["--retries", "3", "--retry", kind])
            return report and (report, {
                "3-10 s after %": share(total(report, "ok", 18, 25), total(report, "offered", 18, 25)),
                "amplification": report["attempts"] / report["offered"],
            })
        yield f"0.8x, 5 s of 3x, {kind}", measure


def idle_to_1_3x(_options):
    carried = capacity(workers=200, mean_ms=100)

    def measure(name, seed):
        report = run(name, f"0,3s:{1.3 * carried}", 23, seed, workers=200, mean="100ms")
        return report and (report, {
            "first 5 s %": share(total(report, "ok", 3, 8), 5 * carried),
            "after that %": share(total(report, "ok", 8, 23), 15 * carried),
            "p99 ok ms": report["ok_ms"]["p99"],
        })

    yield "idle, 1.3x", measure


def delay_jump(_options):
    carried = capacity()

    def measure(name, seed):
        report = run(name, str(0.8 * carried), 25, seed, changes=[(10, "delay=100ms")], delay="1ms")
        return report and (report, {
            "refused from 3 s after %": share(total(report, "refused", 13, 25), total(report, "offered", 13, 25)),
            "answered from 3 s after %": share(total(report, "ok", 13, 25), total(report, "offered", 13, 25)),
        })

    yield "0.8x, delay 1 to 100 ms", measure


SCENARIOS = {
    "overload": (overload, list(programs.PROGRAMS)),
    "recovery": (recovery, ["none", "tidegate", "nginx-20", "haproxy-25", "envoy"]),
    "retries": (retries, ["none", "tidegate", "nginx-20", "haproxy-25", "envoy"]),
    "idle-to-1.3x": (idle_to_1_3x, ["none", "tidegate", "envoy"]),
    "delay-jump": (delay_jump, ["none", "tidegate", "envoy"]),
}


def cell(values):
    values = [value for value in values if value is not None]
    if not values:
        return "-"
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def table(label, results):
    names = [name for name in results if results[name]]
    if not names:
        return
    columns = list(results[names[0]][0])
    cells = [[name, *(cell([figures[column] for figures in results[name]]) for column in columns)] for name in names]
    rows = [[label, *columns], *cells]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    print()
    for row in rows:
        print("  ".join([row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:]))]))


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs, each with a seed of its own")
    parser.add_argument("--seconds", type=int, default=20, help="of each load, in `overload`")
    parser.add_argument("--only", help="programs, such as tidegate,nginx-10")
    parser.add_argument("--loads", default="0.5,1,2,5,10", help="multiples of capacity, in `overload`")
    options = parser.parse_args()
    options.loads = [float(times) for times in options.loads.split(",")]
    unknown = set((options.only or "none").split(",")) - set(programs.PROGRAMS)
    if unknown:
        parser.error(f"no such program: {', '.join(sorted(unknown))}; there are {', '.join(programs.PROGRAMS)}")
    return options


def main():
    options = arguments()
    scenario, names = SCENARIOS[options.scenario]
    names = options.only.split(",") if options.only else names
    loads = list(scenario(options))
    results = {label: {name: [] for name in names} for label, _ in loads}
    raw = []
    # Interleaved: what else the machine does falls on all programs alike.
    for number in range(1, options.runs + 1):
        for label, measure in loads:
            for name in names:
                if name in LEFT_OUT or not (measured := measure(name, number)):
                    continue
                report, figures = measured
                results[label][name].append(figures)
                raw.append({"load": label, "program": name, "run": number, "figures": figures, "report": report})
                print(f"run {number}  {label}  {name}  " +
                      "  ".join(f"{what} {cell([value])}" for what, value in figures.items()), file=sys.stderr)
    print(f"\n{options.scenario}: median (min-max) of {options.runs} interleaved runs")
    for label, _ in loads:
        table(label, results[label])
    path = os.path.join("target", "bench", f"{options.scenario}.json")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        json.dump({"scenario": options.scenario, "left out": LEFT_OUT, "runs": raw}, file)
    print(f"\nsecond by second: {path}")


main()
