# SPDX-License-Identifier: Apache-2.0
"""Find counts that one hook raises and the other does not lower on every path."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from unpinned.lint.events import Compares, Event, Finds, Stores
from unpinned.lint.finding import Finding, Walked
from unpinned.lint.walk import Paths

#: Changes of more than this are one.
_MOST = 8

#: What is said of a range that may not block.
_REAPED = " where r is not blockable; the mm calls end for a start that has refused, too"

_START, _END, _PAGE = "invalidate_range_start", "invalidate_range_end", "invalidate_page"


def unbalanced_count(walked: Walked) -> Iterator[Finding]:
    """Find counts of which a start and its end, or a page, leave something behind on some path."""
    for name in _counts(walked):
        if _nets(walked.paths.get("page_fault"), name) != {0}:
            continue  # faults and invalidations share it: what one leaves, the other may take
        for paths, where in ((walked.paths, ""), (walked.reaped, _REAPED)):
            start, end = (_nets(paths.get(hook), name) for hook in (_START, _END))
            if start != {-net for net in end}:
                what = f"start adds {_listed(start)} to {name} and end {_listed(end)}, by the paths that they may take"
                yield _finding(walked, (_START, _END), name, what + where)
                break
        page = _nets(walked.paths.get(_PAGE), name)
        if page != {0}:
            yield _finding(
                walked, (_PAGE,), name, f"invalidate_page adds {_listed(page)} to {name}, and nobody undoes it"
            )


def _counts(walked: Walked) -> list[str]:
    """Return the fields that count what is under way: some are lowered, some only asked whether they are 0."""
    stores = [event for _, event in walked.events(tuple(walked.paths)) if isinstance(event, Stores)]
    lost = {event.field for event in stores if event.by is None}
    changed = {event.field for event in stores} - lost
    lowered = {event.field for event in stores if event.by is not None and event.by < 0}
    asked = {event.snapshot.field for event in walked.fault.events if isinstance(event, Finds)}
    compared = {event.old.field for event in walked.fault.events if isinstance(event, Compares)}
    return sorted(changed & (lowered | (asked - compared)))


def _nets(paths: Paths | None, name: str) -> frozenset[int]:
    """Return what the paths of a hook add to a counter, from its begin to its end."""

    def step(net: int, event: Event) -> int:
        if isinstance(event, Stores) and event.field == name and event.by is not None:
            return max(-_MOST, min(_MOST, net + event.by))
        return net

    return frozenset({0}) if paths is None else paths.follow(0, step) or frozenset({0})


def _finding(walked: Walked, hooks: tuple[str, ...], name: str, what: str) -> Finding:
    """Return the finding, at the first store of the first hook that has one."""
    stores = (
        (hook, event) for hook, event in walked.events(hooks) if isinstance(event, Stores) and event.field == name
    )
    hook, first = min(stores, key=lambda pair: (hooks.index(pair[0]), pair[1].pos.line))
    return Finding(
        "unbalanced-count",
        hook,
        first.pos,
        what,
        f"Lower {name} once for each time that it is raised, on every path, and on no other.",
    )


def _listed(nets: Collection[int]) -> str:
    """Write the changes that paths may make: "1", "0 or 1"."""
    return " or ".join(map(str, sorted(nets)))
