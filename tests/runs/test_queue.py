"""Which queued runs start: the limits hold, the order too, and every run comes to its turn."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.run_settings import NONE, RunSettings, TagLimit
from supervisor.runs.queue import Ended, Event, Held, Limits, Queue, Queued, Started, Waiting


def run(number: int, location: str = "team", **tags: str) -> Waiting:
    return Waiting(f"r{number}", (number, f"r{number}"), location, tags)


def queue_of(limits: Limits, *runs: Waiting, most: float = NONE) -> tuple[Queue, list[str]]:
    queue = Queue(limits, most=most)
    return queue, [one for item in runs for one in queue.handle(Queued(item))]


def test_without_limits_all_start() -> None:
    queue, started = queue_of(Limits(), run(1), run(2))
    assert started == ["r1", "r2"]
    assert (len(queue), queue.going) == (0, 2)


def test_the_workspace_has_a_limit_and_runs_start_in_order() -> None:
    queue, started = queue_of(Limits(), *map(run, (1, 2, 3, 4)), most=2)
    assert started == ["r1", "r2"]
    assert [queue.place(one) for one in ("r3", "r4", "r1")] == [1, 2, 0]
    assert queue.why("r4") == "waits: 2 runs of the workspace are under way, and at most 2 may be"
    assert queue.handle(Ended("r2")) == ["r3"]
    assert queue.handle(Ended("r2")) == []
    assert queue.why("r3") == ""


def test_what_is_held_back_holds_up_nothing_behind_it() -> None:
    limits = Limits(locations={"team": RunSettings(max_concurrent=1)})
    queue, started = queue_of(limits, run(1), run(2), run(3, "other"))
    assert started == ["r1", "r3"]
    assert queue.why("r2") == "waits: 1 run of team is under way, and at most 1 may be"
    assert queue.handle(Ended("r3")) == []
    assert queue.handle(Ended("r1")) == ["r2"]


def test_limits_by_tag() -> None:
    tags = TagLimit("team", 1, "ml"), TagLimit("database", 2), TagLimit("user", 1, each=True)
    limits = Limits(RunSettings(tag_concurrency=tags))
    queue, started = queue_of(
        limits,
        run(1, team="ml"),
        run(2, team="ml"),
        run(3, team="web"),
        run(4, database="a"),
        run(5, database="b"),
        run(6, database="c"),
        run(7, user="ann"),
        run(8, user="ann"),
        run(9, user="bob"),
    )
    assert started == ["r1", "r3", "r4", "r5", "r7", "r9"]
    assert {one: queue.why(one) for one in ("r2", "r6", "r8")} == {
        "r2": "waits: 1 run with tag team=ml is under way, and at most 1 may be",
        "r6": "waits: 2 runs with tag database are under way, and at most 2 may be",
        "r8": "waits: 1 run with tag user=ann is under way, and at most 1 may be",
    }


def test_a_tag_limit_of_a_location_counts_its_own_runs() -> None:
    own = RunSettings(tag_concurrency=(TagLimit("a", 1),))
    queue, started = queue_of(
        Limits(locations={"team": own}), run(1, a="x"), run(2, "other", a="x"), run(3, a="y")
    )
    assert started == ["r1", "r2"]
    assert queue.why("r3") == "waits: 1 run with tag a of team is under way, and at most 1 may be"


def test_a_limit_of_none_and_of_nothing() -> None:
    limits = Limits(RunSettings(max_concurrent=NONE), {"team": RunSettings(max_concurrent=0)})
    queue, started = queue_of(limits, run(1), run(2, "other"), run(3, "other"), most=1)
    assert started == ["r2", "r3"]
    assert queue.why("r1") == "no runs of team are started"


def test_what_an_earlier_supervisor_started_counts_be_it_more_than_may_start() -> None:
    queue = Queue(most=2)
    for number in (1, 2, 3):
        assert queue.handle(Started(run(number))) == []
    assert queue.handle(Queued(run(4))) == []
    assert queue.why("r4") == "waits: 3 runs of the workspace are under way, and at most 2 may be"
    assert queue.handle(Ended("r1")) == []
    assert queue.handle(Ended("r2")) == ["r4"]


def test_a_run_that_has_begun_by_itself_no_longer_waits() -> None:
    queue, _ = queue_of(Limits(), run(1), run(2), most=1)
    assert queue.handle(Started(run(2))) == []
    assert (len(queue), queue.going) == (0, 2)


def test_a_location_that_cannot_start_any_is_passed_over() -> None:
    queue = Queue(most=1)
    queue.handle(Held({"team": "team is loading"}))
    assert queue.handle(Queued(run(1))) == []
    assert queue.why("r1") == "team is loading"
    assert queue.handle(Queued(run(2, "other"))) == ["r2"]
    assert queue.handle(Ended("r2")) == []
    assert queue.handle(Held()) == ["r1"]


def test_other_limits_count_at_once_and_for_what_goes_on_too() -> None:
    queue, _ = queue_of(Limits(), *(run(one) for one in range(6)), most=2)
    assert queue.handle(Limits(RunSettings(max_concurrent=4))) == ["r2", "r3"]
    assert queue.handle(Limits(RunSettings(max_concurrent=1))) == []
    assert [queue.handle(Ended(f"r{one}")) for one in range(4)] == [[], [], [], ["r4"]]


def test_a_run_that_needs_two_limits_is_not_overtaken_for_ever() -> None:
    tags = TagLimit("a", 1), TagLimit("b", 1)
    queue = Queue(Limits(RunSettings(tag_concurrency=tags)), overtaken=5)
    assert queue.handle(Queued(run(0, a="1"))) == ["r0"]
    queue.handle(Queued(run(1, a="1", b="1")))
    overtakers, going = 0, ["r0"]
    for number in range(2, 100):  # one of them goes on at any time
        going += queue.handle(Queued(run(number, **{"ab"[number % 2 == 0]: "1"})))
        if "r1" in going:
            break
        overtakers += len(going) - 1
        going = [*going[1:], *queue.handle(Ended(going[0]))]
    assert "r1" in going
    assert overtakers <= 5 + 2


_TAGS = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xyz"))
_SETTINGS = st.builds(
    RunSettings,
    max_concurrent=st.none() | st.integers(1, 3) | st.just(NONE),
    tag_concurrency=st.none()
    | st.lists(
        st.builds(
            TagLimit,
            st.sampled_from("ab"),
            st.integers(1, 2),
            st.none() | st.sampled_from("xy"),
            st.booleans(),
        ),
        max_size=3,
    ).map(lambda found: tuple(one if not one.each else TagLimit(one.key, one.limit, each=True) for one in found)),
)  # fmt: skip
_LIMITS = st.builds(
    Limits, _SETTINGS, st.dictionaries(st.sampled_from(["one", "two"]), _SETTINGS, max_size=2)
)


def within(limits: Limits, most: float, going: list[Waiting]) -> bool:
    """Whether so many may go on, judged anew."""
    said = limits.workspace.max_concurrent
    if len(going) > (most if said is None else said):
        return False
    scopes = [(limits.workspace, going)]
    for name, own in limits.locations.items():
        here = [one for one in going if one.location == name]
        if own.max_concurrent is not None and len(here) > own.max_concurrent:
            return False
        scopes.append((own, here))
    for own, here in scopes:
        for limit in own.tag_concurrency or ():
            values = Counter(
                one.tags[limit.key]
                for one in here
                if limit.key in one.tags and limit.value in (None, one.tags[limit.key])
            )
            count = max(values.values(), default=0) if limit.each else values.total()
            if count > limit.limit:
                return False
    return True


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    _LIMITS,
    st.integers(1, 4),
    st.integers(0, 3),
    st.lists(
        st.tuples(st.sampled_from(["queue", "end", "hold", "free", "cancel"]),
                  st.sampled_from(["one", "two"]), _TAGS, st.integers(0, 10)),
        max_size=60,
    ),
)  # fmt: skip
def test_never_above_a_limit_in_order_and_all_in_the_end(
    limits: Limits, most: int, overtaken: int, steps: list[tuple[str, str, dict[str, str], int]]
) -> None:
    queue = Queue(limits, most=most, overtaken=overtaken)
    known: dict[str, Waiting] = {}
    going: list[str] = []
    waiting: list[str] = []
    begun: list[str] = []
    held: dict[str, str] = {}

    def tell(event: Event) -> None:
        started = queue.handle(event)
        for name in started:
            waiting.remove(name)
            going.append(name)
            begun.append(name)
        assert within(limits, most, [known[one] for one in going])
        assert all(queue.why(one) for one in waiting)
        assert [queue.place(one) for one in waiting] == list(range(1, len(waiting) + 1))

    for number, (what, location, tags, which) in enumerate(steps):
        if what == "queue":
            one = run(number, location, **tags)
            known[one.id] = one
            waiting.append(one.id)
            tell(Queued(one))
        elif what == "end" and going:
            name = going.pop(which % len(going))
            tell(Ended(name))
        elif what == "cancel" and waiting:
            name = waiting.pop(which % len(waiting))
            tell(Ended(name))
        elif what == "hold":
            held[location] = f"{location} is loading"
            tell(Held(dict(held)))
        elif what == "free":
            held.pop(location, None)
            tell(Held(dict(held)))
    held.clear()
    tell(Held())
    while going:
        tell(Ended(going.pop(0)))
    assert waiting == []  # each came to its turn
    assert len(begun) == len(set(begun))
    alike: dict[object, list[int]] = {}
    for name in begun:
        one = known[name]
        alike.setdefault((one.location, frozenset(one.tags.items())), []).append(one.key[0])
    assert all(keys == sorted(keys) for keys in alike.values())


@settings(max_examples=100, deadline=None)
@given(_LIMITS, st.integers(1, 4), st.lists(st.tuples(st.sampled_from(["one", "two"]), _TAGS)))
def test_nothing_waits_that_could_go_on(
    limits: Limits, most: int, wanted: list[tuple[str, dict[str, str]]]
) -> None:
    queue = Queue(limits, most=most)  # of so few runs none is overtaken too often
    known, going = {}, []
    for number, (location, tags) in enumerate(wanted):
        one = known[f"r{number}"] = run(number, location, **tags)
        going += queue.handle(Queued(one))
    for name in known.keys() - set(going):
        assert not within(limits, most, [known[one] for one in (*going, name)])
