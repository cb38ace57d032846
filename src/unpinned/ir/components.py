# SPDX-License-Identifier: Apache-2.0
"""Find the strongly connected components of a graph (Tarjan's algorithm, without recursion)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

N = TypeVar("N", bound=Hashable)


def components(successors: Mapping[N, Iterable[N]]) -> Iterator[list[N]]:
    """Yield the components, each before those that lead to it; every successor is itself a key."""
    number: dict[N, int] = {}
    low: dict[N, int] = {}
    open_: list[N] = []
    is_open: set[N] = set()
    for root, first in successors.items():
        if root in number:
            continue
        path = [(root, iter(first))]
        number[root] = low[root] = len(number)
        open_.append(root)
        is_open.add(root)
        while path:
            node, following = path[-1]
            for other in following:
                if other not in number:
                    number[other] = low[other] = len(number)
                    open_.append(other)
                    is_open.add(other)
                    path.append((other, iter(successors[other])))
                    break
                if other in is_open:
                    low[node] = min(low[node], number[other])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
                if low[node] == number[node]:
                    component: list[N] = []
                    while not component or component[-1] != node:
                        component.append(open_.pop())
                        is_open.discard(component[-1])
                    yield component
