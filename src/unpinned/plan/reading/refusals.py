# SPDX-License-Identifier: Apache-2.0
"""Say what to write instead of each construct of Python that is not in the plan language."""

from __future__ import annotations

import ast
import builtins
from typing import Final

from unpinned.plan.vocabulary import DRIVER_FIELDS, LATER_WORDS, MODEL_FIELDS, MODEL_WORDS, nearest

Words = tuple[str, str]

_ERRORS: Words = (
    "there are no exceptions in a plan",
    "Test with `if`, and return FAULT where the kernel would fail.",
)
_NO_ASYNC: Words = (
    "async and await are not in the plan language",
    "Leave it out: other CPUs run between any two steps.",
)
_NO_FUNCTION: Words = (
    "a method may not hold functions or classes",
    "Make it a method of the plan: `def f(self, x):`.",
)
_NO_LIST: Words = (
    "lists, tuples, sets and dicts are not in the plan language",
    "Use a name or a field for each value.",
)
_NO_LOOP_EXPR: Words = ("comprehensions are not in the plan language", "Write the loop: `for gfn in r:`.")
_NO_STRING: Words = (
    "strings are not in the plan language",
    "Use True, False or an integer; say it in a comment.",
)
_NO_YIELD: Words = (
    "yield is not in the plan language",
    "Call a method: `self.m(...)`; any other CPU may run between.",
)
_NO_SCOPE: Words = (
    "there are no global variables in a plan",
    "Make it a field: `x = Counter()` in the class body.",
)

#: What is wrong with a kind of node wherever it stands, and what to write instead.
NODES: Final[dict[str, Words]] = {
    "AnnAssign": ("an assignment has no annotation in a plan", "Write `x = value`."),
    "Assert": ("assert is not in the plan language", "The rules are checked in every step: leave it out."),
    "AsyncFor": _NO_ASYNC,
    "AsyncFunctionDef": _NO_ASYNC,
    "AsyncWith": _NO_ASYNC,
    "Await": _NO_ASYNC,
    "ClassDef": _NO_FUNCTION,
    "Delete": ("del is not in the plan language", "Leave it out: locals end with the method."),
    "Dict": _NO_LIST,
    "DictComp": _NO_LOOP_EXPR,
    "FormattedValue": _NO_STRING,
    "FunctionDef": _NO_FUNCTION,
    "GeneratorExp": _NO_LOOP_EXPR,
    "Global": _NO_SCOPE,
    "Import": ("a method may not import", "Put `from unpinned import ...` at the top of the file."),
    "ImportFrom": ("a method may not import", "Put `from unpinned import ...` at the top of the file."),
    "JoinedStr": _NO_STRING,
    "Lambda": ("lambda is not in the plan language", "Make it a method of the plan: `def f(self, x):`."),
    "List": _NO_LIST,
    "ListComp": _NO_LOOP_EXPR,
    "Match": ("match is not in the plan language", "Write `if ...:` and `elif ...:`."),
    "NamedExpr": ("`:=` is not in the plan language", "Assign on a line of its own: `x = value`."),
    "Nonlocal": _NO_SCOPE,
    "Raise": _ERRORS,
    "Set": _NO_LIST,
    "SetComp": _NO_LOOP_EXPR,
    "Slice": ("slices are not in the plan language", "Index one element: `self.f[gfn]`."),
    "Starred": ("starred values are not in the plan language", "Write each argument out."),
    "TemplateStr": _NO_STRING,
    "Try": _ERRORS,
    "TryStar": _ERRORS,
    "Tuple": _NO_LIST,
    "TypeAlias": ("a method may not define types", "Leave it out."),
    "Yield": _NO_YIELD,
    "YieldFrom": _NO_YIELD,
}

_MULTIPLY: Words = ("this arithmetic is not in the plan language", "Only + and - are: counters count.")
_BITS: Words = (
    "bit operators are not in the plan language",
    "Use `and`, `or`, `not`, and a Flag for each bit.",
)

#: What is wrong with an operator, and what to write instead.
OPERATORS: Final[dict[str, Words]] = {
    "BitAnd": _BITS,
    "BitOr": _BITS,
    "BitXor": _BITS,
    "Div": _MULTIPLY,
    "FloorDiv": _MULTIPLY,
    "Invert": _BITS,
    "Is": ("`is` is not in the plan language", "Write `==`; a page that was got is always there."),
    "IsNot": (
        "`is not` is not in the plan language",
        "Write `!=`; a page that was got is always there.",
    ),
    "LShift": _BITS,
    "MatMult": _MULTIPLY,
    "Mod": _MULTIPLY,
    "Mult": _MULTIPLY,
    "Pow": _MULTIPLY,
    "RShift": _BITS,
    "UAdd": ("unary + is not in the plan language", "Leave the + out."),
}

_CALLS: Final[dict[str, str]] = {
    "atomic_dec": "Write `self.n -= 1`, with `n = Atomic()`.",
    "atomic_inc": "Write `self.n += 1`, with `n = Atomic()`.",
    "atomic_read": "Write `self.n`, with `n = Atomic()`.",
    "bool": "Any value but 0 is true: write the value alone.",
    "enumerate": "Write `for gfn in r`.",
    "int": "Values are integers already: write the value alone.",
    "len": "A range has no length here: write `for gfn in r`.",
    "print": "The report shows every step: leave it out.",
    "kfree": "Write `self.mr.free()`, with `mr = Object()`.",
    "kfree_rcu": "Write `self.mr.kfree_rcu()`, with `mr = Object()`.",
    "queue_work": "Write `self.work.queue()`, with `work = WorkItem('method')`.",
    "range": "Write `for gfn in r`; for a loop that waits, `while`.",
    "rcu_read_unlock": "The end of the block does it: write `with rcu_read_lock():`.",
    "reversed": "Write `for gfn in r`.",
    "sorted": "Write `for gfn in r`.",
    "srcu_read_lock": "Write `with self.srcu.read():`, with `srcu = Srcu()`.",
    "synchronize_srcu": "Write `self.srcu.synchronize()`, with `srcu = Srcu()`.",
    "wait_event": "Write `self.queue.wait_event(COND)`, with `queue = WaitQueue()`.",
    "wake_up": "Write `self.queue.wake_up()`, with `queue = WaitQueue()`.",
}

#: Methods by which locks of other languages are taken and dropped.
LOCK_METHODS: Final = frozenset(["__enter__", "__exit__", "acquire", "down", "lock", "release", "unlock", "up"])


def node_words(node: ast.AST) -> Words:
    """Return what is wrong with a node that may not stand where it does, and what to write instead."""
    kind = type(node).__name__
    if kind == "Expr":
        return "this line does nothing", "Call a method, assign the value, or leave the line out."
    return NODES.get(kind, (f"this is not in the plan language ({kind})", "What is, docs/plan-language.md lists."))


def operator_words(op: ast.AST) -> Words:
    """Return what is wrong with an operator, and what to write instead."""
    kind = type(op).__name__
    return OPERATORS.get(kind, (f"this operator is not in the plan language ({kind})", "Only + and - are."))


def call_words(name: str) -> Words:
    """Return why a function of that name cannot be called in a plan, and what to write instead."""
    if name in LATER_WORDS:
        return f"`{name}` is not in the language yet", "Write what it does with locks, counters and flags."
    if name in DRIVER_FIELDS | MODEL_FIELDS:
        return f"`{name}` makes a field, not a value", f"Declare it in the class body: `x = {name}()`."
    if name in MODEL_WORDS:
        return model_words(f"{name}()")
    if name in _CALLS:
        return f"`{name}()` is not in the plan language", _CALLS[name]
    hint = "A plan calls its own methods, `self.m(...)`, all_pages() and page_range(gfn)."
    if hasattr(builtins, name):
        return f"`{name}()` is not in the plan language", hint
    return f"there is no function `{name}`{nearest(name, ['all_pages', 'page_range'])}", hint


def model_words(word: str) -> Words:
    """Return why a driver may not use a word of models."""
    return (
        f"only models and unpinned's own mm/ may use {word}: hardware gives no such step",
        "Write it with locks, counters and flags, as the driver would have to.",
    )
