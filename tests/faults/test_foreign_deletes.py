"""A deletion meets an object that someone else wrote meanwhile (P6): theirs stays and is shown, ours goes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.bench import Bench, until
from tests.support.faulty_store import FOR_GOOD, Moment

Make = Callable[..., Bench]


def theirs_alone(bench: Bench, name: str = "a", **ours: bytes) -> None:
    """Bucket and tree hold their version, at once and not after a time to live, and `ours`."""
    bench.drain()
    assert bench.bucket() == {name: b"theirs", **ours}
    assert bench.tree() == bench.bucket()
    assert bench.conflicts() == 0
    assert bench.oddities() == []


def upload(bench: Bench, path: str, data: bytes = b"ours") -> None:
    bench.write(path, data)
    bench.drain()


def test_a_foreign_version_between_unlink_and_delete(bench: Bench) -> None:
    upload(bench, "/a")
    gate = bench.store.hold("delete", "a")
    bench.fs.unlink("/a")
    gate.wait_arrived()
    bench.memory.foreign_put("a", b"theirs")
    assert not bench.exists("/a")
    gate.open()
    theirs_alone(bench)
    assert (bench.store.count("delete"), bench.store.count("head", "a")) == (1, 2), "one HEAD to judge, one to show it"


def test_a_foreign_version_between_a_rename_and_the_delete_of_its_source(bench: Bench) -> None:
    upload(bench, "/a")
    gate = bench.store.hold("delete", "a")
    bench.fs.rename("/a", "/b")
    gate.wait_arrived()
    bench.memory.foreign_put("a", b"theirs")
    gate.open()
    theirs_alone(bench, b=b"ours")


def test_a_foreign_version_that_was_there_before_the_unlink_and_not_yet_seen(bench: Bench) -> None:
    upload(bench, "/a")
    bench.memory.foreign_put("a", b"theirs")
    bench.fs.unlink("/a")
    theirs_alone(bench)


def test_a_foreign_version_of_what_was_only_ever_listed(bench: Bench) -> None:
    bench.memory.foreign_put("a", b"first")
    assert bench.exists("/a")
    bench.memory.foreign_put("a", b"theirs")
    bench.fs.unlink("/a")
    theirs_alone(bench)


def test_the_name_is_taken_again_before_the_foreign_version_is_met(make_bench: Make) -> None:
    bench = make_bench(delay_s=0.2)
    upload(bench, "/a")
    bench.fs.unlink("/a")
    bench.memory.foreign_put("a", b"theirs")
    bench.write("/a", b"ours again")
    bench.drain()
    assert sorted(bench.bucket().values()) == [b"ours again", b"theirs"]
    assert bench.bucket()["a"] == b"theirs"
    assert bench.conflicts() == 1


def test_a_foreign_version_below_a_directory_that_was_removed(make_bench: Make) -> None:
    bench = make_bench(ttl_s=0.0)
    bench.mkdir("/d")
    upload(bench, "/d/a")
    gate = bench.store.hold("delete", "d/a")
    bench.fs.unlink("/d/a")
    gate.wait_arrived()
    bench.fs.rmdir("/d")
    bench.memory.foreign_put("d/a", b"theirs")
    gate.open()
    theirs_alone(bench, "d/a")
    assert bench.object_keys() == {"d/a"}


def test_a_listing_under_way_does_not_bring_back_what_was_removed(bench: Bench) -> None:
    """Its page was read before their version came, and shows the one that was removed here."""
    upload(bench, "/a")
    delete = bench.store.hold("delete", "a")
    bench.fs.unlink("/a")
    delete.wait_arrived()
    bench.refresh()
    listing = bench.store.hold("list_page", moment=Moment.AFTER)
    with ThreadPoolExecutor(1) as pool:
        names = pool.submit(bench.names)
        listing.wait_arrived()
        bench.memory.foreign_put("a", b"theirs")
        delete.open()
        bench.drain()
        listing.open()
        assert names.result() == []
    theirs_alone(bench)


def test_one_foreign_version_among_many_deletions(make_bench: Make) -> None:
    bench = make_bench(delay_s=0.2)
    for number in range(30):
        bench.write(f"/{number}", b"ours")
    bench.drain()
    heads = bench.store.count("head")
    for number in range(30):
        bench.fs.unlink(f"/{number}")
    bench.memory.foreign_put("7", b"theirs")
    bench.drain()
    assert bench.store.count("head") - heads == 1
    assert bench.memory.request_counts()["DeleteObjects"] < 5
    theirs_alone(bench, "7")


def test_what_nobody_else_wrote_costs_one_request(bench: Bench) -> None:
    upload(bench, "/a")
    heads = bench.store.count("head")
    bench.fs.unlink("/a")
    bench.check({})
    assert bench.store.count("head") == heads
    assert bench.store.count("delete") == 1


@pytest.mark.parametrize("again", [False, True], ids=["gone", "foreign"])
def test_the_reply_of_the_delete_is_lost(bench: Bench, again: bool) -> None:
    upload(bench, "/a")
    bench.store.fail("delete", "a", moment=Moment.AFTER)
    bench.fs.unlink("/a")
    until(lambda: bench.store.count("delete") == 1)
    until(lambda: "a" not in bench.bucket())
    if not again:
        bench.check({})
        return
    bench.memory.foreign_put("a", b"theirs")
    theirs_alone(bench)


@pytest.mark.parametrize("operation", ["delete", "head"])
@pytest.mark.parametrize("moment", list(Moment))
def test_it_dies_in_between(make_bench: Make, operation: str, moment: Moment) -> None:
    """Before or after the DELETE, or before what refused it was looked at: the next mount ends alike."""
    bench = make_bench()
    upload(bench, "/a")
    if operation == "head":
        bench.memory.foreign_put("a", b"theirs")
    bench.store.fail(operation, "a", moment=moment, times=FOR_GOOD)
    count = bench.store.count(operation, "a")
    bench.fs.unlink("/a")
    until(lambda: bench.store.count(operation, "a") > count)
    bench.drive.close()
    bench.memory.foreign_put("a", b"theirs")
    bench.store.heal()
    bench.start()
    theirs_alone(bench)


def test_our_own_later_write_is_deleted_though_its_version_was_never_known(bench: Bench) -> None:
    upload(bench, "/a", b"first")
    rule = bench.store.fail("put", "a", moment=Moment.AFTER, times=FOR_GOOD)
    bench.write("/a", b"second")
    until(lambda: bench.bucket()["a"] == b"second")
    bench.fs.unlink("/a")
    rule.times = 0
    bench.check({})


def test_our_own_later_write_in_flight_at_the_unlink(bench: Bench) -> None:
    upload(bench, "/a", b"first")
    gate = bench.store.hold("put", "a", moment=Moment.AFTER)
    bench.write("/a", b"second")
    gate.wait_arrived()
    bench.fs.unlink("/a")
    gate.open()
    bench.check({})


def test_a_foreign_version_over_a_write_of_ours_without_a_known_outcome(bench: Bench) -> None:
    """The write was looked for and found; theirs came between that look and the DELETE."""
    rule = bench.store.fail("put", "a", moment=Moment.AFTER, times=FOR_GOOD)
    bench.write("/a", b"ours")
    until(lambda: "a" in bench.bucket())
    gate = bench.store.hold("delete", "a")
    bench.fs.unlink("/a")
    rule.times = 0
    gate.wait_arrived()
    bench.memory.foreign_put("a", b"theirs")
    gate.open()
    theirs_alone(bench)


def test_the_look_after_a_refusal_fails_for_a_while(bench: Bench) -> None:
    upload(bench, "/a")
    bench.memory.foreign_put("a", b"theirs")
    bench.store.fail("head", "a", times=2)
    bench.fs.unlink("/a")
    theirs_alone(bench)


def test_their_version_is_gone_again_when_it_is_looked_at(bench: Bench) -> None:
    upload(bench, "/a")
    bench.memory.foreign_put("a", b"theirs")
    gate = bench.store.hold("head", "a")
    bench.fs.unlink("/a")
    gate.wait_arrived()
    bench.memory.foreign_delete("a")
    gate.open()
    bench.check({})
