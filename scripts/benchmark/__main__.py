"""The command line of scripts/bench."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmark import report, scale
from benchmark.inputs import Inputs, make_inputs
from benchmark.peers import PEERS, PeerMissing
from benchmark.server import BenchServer
from benchmark.workload import Measures, Workload


def main() -> int:
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="s3mount-bench-", dir=options.folder))
    if options.scale:
        return _scale(folder, options)
    rounds: dict[str, list[Measures]] = {name: [] for name in options.peers}
    try:
        files, large_mib, fio_mib, threads = (300, 32, 32, 8) if options.quick else (2000, 512, 1024, 64)
        inputs = make_inputs(folder, files=files, large_mib=large_mib)
        with BenchServer(folder / "server") as server:
            for number in range(options.rounds):
                for name in options.peers:
                    print(f"round {number + 1} of {options.rounds}: {name}", file=sys.stderr, flush=True)
                    place = folder / f"{name}-{number}"
                    place.mkdir()
                    rounds[name].append(_measure(name, server, place, inputs, fio_mib, threads))
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


def _measure(name: str, server: BenchServer, place: Path, inputs: Inputs, fio_mib: int, threads: int) -> Measures:
    peer = PEERS[name](server, place)
    scratch = place / "scratch"
    scratch.mkdir()
    try:
        return Workload(peer, inputs, scratch, fio_mib=fio_mib, threads=threads).run()
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
    parser.add_argument("--peers", type=_peers, help=f"of {','.join(PEERS)} (default: all; with --quick: s3mount)")
    parser.add_argument("--rounds", type=int, help="how often each peer does it all, in turn (3; with --quick 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the medians there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the seconds there (.svg, .png)")
    parser.add_argument("--folder", type=Path, help="where inputs, caches and the server's data go (a temporary one)")
    options = parser.parse_args()
    options.peers = options.peers or (["s3mount"] if options.quick else list(PEERS))
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
