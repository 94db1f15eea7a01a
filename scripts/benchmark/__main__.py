"""The command line of scripts/bench."""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmark import many, report, scale
from benchmark.inputs import make_inputs
from benchmark.peers import PEERS, Peer, PeerMissing
from benchmark.server import BenchServer
from benchmark.workload import Measures, Workload


def main() -> int:
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="s3mount-bench-", dir=options.folder))
    if options.scale:
        return _scale(folder, options)
    if options.many:
        return _many(folder, options)
    rounds: dict[str, list[Measures]] = {name: [] for name in options.peers}
    ends_s = time.monotonic() + options.minutes * 60
    try:
        files, large_mib, fio_mib, threads = (100, 16, 16, 4) if options.quick else (2000, 512, 1024, 64)
        inputs = make_inputs(folder, files=files, large_mib=large_mib)
        with BenchServer(folder / "server") as server:
            for number in rounds_within(options.rounds, ends_s):
                for name in options.peers:
                    print(f"round {number + 1} of {options.rounds}: {name}", file=sys.stderr, flush=True)
                    place = folder / f"{name}-{number}"
                    place.mkdir()
                    peer = PEERS[name](server, place)
                    work = Workload(
                        peer, inputs, place / "scratch", fio_mib=fio_mib, threads=threads, ends_s=ends_s,
                        profiles=options.profiles,
                    )  # fmt: skip
                    rounds[name].append(_measure(peer, work, place))
    except PeerMissing as error:
        print(f"bench: {error}, or leave it out with --peers", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = report.summary(rounds, files=inputs.files)
    print(report.one_line(found) if options.quick else report.markdown(found, options.peers))
    if options.json:
        options.json.write_text(report.one_line(found) + "\n")
    if options.plot:
        report.plot(found, options.peers, options.plot)
    return 0


def rounds_within(count: int, ends_s: float, monotonic_s: Callable[[], float] = time.monotonic) -> Iterator[int]:
    """The numbers of the rounds: the first in any case, each other one if it would end in time, when it takes as long
    as the longest before it."""
    longest_s = 0.0
    for number in range(count):
        began_s = monotonic_s()
        if number and began_s + longest_s > ends_s:
            print(f"no time for round {number + 1} of {count}", file=sys.stderr, flush=True)
            return
        yield number
        longest_s = max(longest_s, monotonic_s() - began_s)


def _scale(folder: Path, options: argparse.Namespace) -> int:
    try:
        found = scale.measure(folder, options.counts)
        changes = scale.measure_changes(folder, min(scale.CHANGED, max(options.counts)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(scale.markdown(found, changes))
    if options.json:
        options.json.write_text(report.one_line({"objects": found, "changes": changes}) + "\n")
    return 0


def _many(folder: Path, options: argparse.Namespace) -> int:
    try:
        found = many.measure(folder, options.many)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(many.markdown(found))
    if options.json:
        options.json.write_text(report.one_line(found) + "\n")
    return 0


def _measure(peer: Peer, work: Workload, place: Path) -> Measures:
    work.scratch.mkdir()
    try:
        return work.run()
    finally:
        peer.close()
        shutil.rmtree(place, ignore_errors=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="s3mount beside its peers, on one S3 server")
    parser.add_argument(
        "--quick", action="store_true", help="small inputs, one round, one line of JSON, under a minute"
    )
    parser.add_argument(
        "--scale", action="store_true", help="s3mount alone over computed buckets of up to ten million objects"
    )
    parser.add_argument("--counts", type=_counts, default=scale.COUNTS, help="with --scale: how many objects, 1000,…")
    parser.add_argument(
        "--many", type=_counts, metavar="N,…", help="s3mount alone: find, mv and rm -r of so many small files"
    )
    parser.add_argument("--peers", type=_peers, help=f"of {','.join(PEERS)} (default: all; with --quick: s3mount)")
    parser.add_argument("--rounds", type=int, help="how often each peer does it all, in turn (3; with --quick 1)")
    parser.add_argument(
        "--minutes", type=float, help="begin no step later, and no round that would end later (none; with --quick 0.5)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the medians there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the seconds there (.svg, .png)")
    parser.add_argument(
        "--profiles", type=Path, metavar="FOLDER", help="write a flame graph of s3mount for each step there; slower"
    )
    parser.add_argument("--folder", type=Path, help="where inputs, caches and the server's data go (a temporary one)")
    options = parser.parse_args()
    options.peers = options.peers or (["s3mount"] if options.quick or options.profiles else list(PEERS))
    if options.profiles:
        if options.peers != ["s3mount"]:
            parser.error("--profiles is of s3mount alone")
        options.profiles.mkdir(parents=True, exist_ok=True)
    options.minutes = options.minutes or (0.5 if options.quick else float("inf"))
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def _counts(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _peers(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in PEERS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {','.join(PEERS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
