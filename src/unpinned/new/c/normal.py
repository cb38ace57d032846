# SPDX-License-Identifier: Apache-2.0
"""Rewrite kernel C so that a parser of plain C reads it; no text moves to another line."""

from __future__ import annotations

import re
from typing import Final

#: Words of sparse and of compilers that stand where C has no place for them; some take an argument.
_WORDS: Final = re.compile(
    r"\b__(?:acquires|releases|must_hold|cond_acquires|cond_lock|printf|aligned|counted_by)\s*(?=\()"
    r"|\b(?:__user|__iomem|__rcu|__force|__percpu|__must_check|__maybe_unused|__always_unused|__always_inline|__init"
    r"|__exit|__sched|__cold|__read_mostly|__ro_after_init|__bitwise|noinline|notrace|asmlinkage|__visible)\b"
)
#: Macros that take a type.
_TYPED: Final = re.compile(
    r"\b(?:container_of\w*|list_\w*entry\w*|hlist_entry\w*|rb_entry\w*|min_t|max_t|clamp_t|offsetof|typeof|__typeof__"
    r"|struct_size\w*|kzalloc_obj\w*|kmalloc_obj\w*|llist_entry|hmm_\w+_entry)\s*\("
)
_STRUCT: Final = re.compile(r"\b(?:struct|union|enum)\b")
#: Macros that stand where the head of a loop would.
_HEADS: Final = re.compile(r"\b(?:\w*for_each\w*|scoped_guard|scoped_cond_guard)\s*\(")


def normalise(text: str) -> str:
    """Return C with the same lines that has neither words of sparse nor macros which are no expressions.

    Sparse words and `struct` in macros that take a type become blanks. `for_each_x(a, b) {` becomes
    `for (;for_each_x(a, b);) {`, and scoped_guard likewise.
    """
    text = _without_words(text)
    for match in list(_TYPED.finditer(text)):
        end = _closing(text, match.end() - 1)
        inside = _STRUCT.sub(lambda word: " " * len(word[0]), text[match.end() : end])
        text = text[: match.end()] + inside + text[end:]
    out, at = [], 0
    for match in _HEADS.finditer(text):
        end = _closing(text, match.end() - 1)
        if match.start() >= at and _is_head(text, match.start(), end):
            out += [text[at : match.start()], "for (;", text[match.start() : end + 1], ";)"]
            at = end + 1
    return "".join([*out, text[at:]])


def _without_words(text: str) -> str:
    """Blank out words of sparse, with their arguments."""
    out, at = [], 0
    for match in _WORDS.finditer(text):
        if match.start() < at:
            continue
        end = match.end()
        if match[0].startswith("__") and text[end : end + 1] == "(":
            end = _closing(text, end) + 1
        out += [text[at : match.start()], re.sub(r"[^\n]", " ", text[match.start() : end])]
        at = end
    return "".join([*out, text[at:]])


def _closing(text: str, start: int) -> int:
    """Return where the bracket at `start` is closed, or the end of the text."""
    depth = 0
    for at in range(start, len(text)):
        if text[at] == "(":
            depth += 1
        elif text[at] == ")":
            depth -= 1
            if not depth:
                return at
    return len(text) - 1


def _is_head(text: str, start: int, end: int) -> bool:
    """Say whether a macro from `start` to its bracket at `end` is the head of a loop, and no call or definition."""
    line = text.rfind("\n", 0, start) + 1
    if text[line:start].lstrip().startswith("#"):
        return False
    before = text[:start].rstrip()
    behind = text[end + 1 : end + 200].lstrip()
    in_place = not before or before[-1] in "{};):/" or re.search(r"\b(?:else|do)$", before[-8:]) is not None
    return in_place and bool(behind) and behind[0] not in ";,)" and not text[:start].endswith("#define ")
