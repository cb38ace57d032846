# SPDX-License-Identifier: Apache-2.0
"""Write a system as a Promela model: SPIN stores exactly the states of it that the reference engine counts.

One proctype a thread, one label a step. A step is one `atomic` sequence: its first statement is the guard
that says whether the whole step can be taken, so that nothing after it blocks, and its last one goes to a
label outside; SPIN stores no state in between. A thread that is done stays at an end label: a process that
died would leave the state. The proctype `stopped` adds no state: where a rule is broken it loops, failing
an assertion that names the rule, so that the invalid end states are the deadlocks alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from textwrap import indent
from typing import Final

from unpinned.export.guards import both, given, ready
from unpinned.export.identifiers import RESERVED, proctypes, variables
from unpinned.ir.program import (
    TRUE,
    Body,
    Branch,
    Check,
    Choose,
    Const,
    Expr,
    Goto,
    Local,
    Op,
    Set,
    Shared,
    Step,
    System,
    Thread,
    Var,
    reads,
)
from unpinned.ir.rules import CODES, LIMIT, RULES

#: spin less its optimisations: dead variables kept, variables never read kept, no statements merged.
SPIN_ARGS: Final = ("-a", "-o1", "-o2", "-o3")
#: pan.c without partial order reduction; it stores whole states, never hashes of them.
GCC_ARGS: Final = ("-DSAFETY", "-DNOREDUCE", "-DNOFAIR", "-DVECTORSZ=16384", "-DMEMLIM=8000")
#: pan to the end of the search, whatever it finds, and without its list of statements never reached.
PAN_ARGS: Final = ("-c0", "-n")

_HEADER = """\
/* {title}

   SPIN stores as many states of this as unpinned counts where the plan holds, and says what goes wrong. (Where it
   races unpinned stops at the first race, and SPIN goes on.)

     spin {spin} model.pml
     gcc -O2 {gcc} -o pan pan.c
     ./pan {pan} -m10000000       "broken!=CODE": a rule breaks; "invalid end state": a deadlock
     ./pan {pan} -m10000000 -E    errors: states that break a promised rule or reach a limit
     ./pan {pan} -m10000000 -A    errors: deadlocks

   If pan says "max search depth too small", its figures are those of a part: search again with a larger -m.
   SPIN does not judge whether a fault is replayed for ever, which is part of the rule progress.

   promised: {promised} */

"""

_OPERATORS: Final = {
    "or": ("||", 1), "and": ("&&", 2), "==": ("==", 3), "!=": ("!=", 3), "<": ("<", 4), "<=": ("<=", 4),
    ">": (">", 4), ">=": (">=", 4), "+": ("+", 5), "-": ("-", 5), "*": ("*", 6),
}  # fmt: skip
_UNARY: Final = 7


def promela(system: System, scenario: str = "") -> str:
    """Return a Promela model of `system`; its first comment names plan and scenario and says how to run it.

    :raises ValueError: if a Wait stands after a Set or Choose of its path, or a variable does not fit an int.
    """
    stops = [rule for rule in CODES if rule in (system.promised | {LIMIT}) - {"deadlock"}]
    taken = set(RESERVED) | {_code(rule) for rule in CODES}
    taken |= {_label(thread, place) for thread in system.threads for place in range(len(thread.steps))}
    names = proctypes((thread.name for thread in system.threads), taken)
    shared = variables((var.name for var in system.shared), taken)
    text = _HEADER.format(
        title=_comment(f"{system.name}: {scenario}" if scenario else system.name),
        spin=" ".join(SPIN_ARGS),
        gcc=" ".join(GCC_ARGS),
        pan=" ".join(PAN_ARGS),
        promised=", ".join(rule for rule in RULES if rule in system.promised) or "nothing",
    )
    text += "".join(f"#define {_code(rule)} {CODES[rule]}\n" for rule in stops)
    text += "\nbyte broken;  /* the rule that the last step broke: no thread moves any more */\n"
    text += "".join(_declaration(var, shared[var.name]) for var in system.shared)
    for thread, name in zip(system.threads, names, strict=True):
        own = variables((var.name for var in thread.locals), set(taken))
        scope: dict[Local | Shared, tuple[str, Var]] = {}
        scope |= {Shared(var.name): (shared[var.name], var) for var in system.shared}
        scope |= {Local(var.name): (own[var.name], var) for var in thread.locals}
        text += f"\nactive proctype {name}()\n{{\n"
        text += "".join("\t" + _declaration(var, own[var.name]) for var in thread.locals)
        text += _Writer(thread, frozenset(stops), scope).steps() + "}\n"
    text += "\nactive proctype stopped()\n{\nend:\tdo\n"
    for code in map(_code, stops):
        text += f"\t:: d_step {{ broken == {code} -> assert(broken != {code}) }}\n"
    return text + "\tod\n}\n"


def _code(rule: str) -> str:
    return rule.upper().replace("-", "_")


def _label(thread: Thread, place: int) -> str:
    return "end_done" if place == thread.end else f"L{place}"


def _comment(text: str) -> str:
    """Make a text fit to stand in a comment: one line of ASCII that neither ends nor opens a comment."""
    plain = text.encode("ascii", "replace").decode()
    return " ".join(plain.replace("*/", "* /").replace("/*", "/ *").replace("\\", "/").split())


def _declaration(var: Var, name: str) -> str:
    """Declare a variable in the smallest type that holds it, with its range and meaning beside it."""
    if not -(2**31) <= var.lo <= var.hi < 2**31:
        raise ValueError(f"{var.name} does not fit an int")
    if var.lo >= 0 and var.hi <= 255:
        type_ = "bit" if var.hi <= 1 and var.size == 1 else "byte"
    else:
        type_ = "short" if var.lo >= -(2**15) and var.hi < 2**15 else "int"
    size = f"[{var.size}]" if var.size > 1 else ""
    init = f" = {var.init}" if var.init else ""
    return f"{type_} {name}{size}{init};  /* {_comment(var.type)}, {var.lo}..{var.hi} */\n"


@dataclass(frozen=True, slots=True)
class _Writer:
    """Write the steps of a thread; `stops` are the rules that end a path, `scope` has identifiers."""

    thread: Thread
    stops: frozenset[str]
    scope: dict[Local | Shared, tuple[str, Var]]

    def steps(self) -> str:
        text = "".join(self.step(place, step) for place, step in enumerate(self.thread.steps))
        return text if self.thread.done is None else f"{text}end_done:\n\tfalse\n"

    def step(self, place: int, step: Step) -> str:
        source = f"{PurePath(step.pos.file).name}:{step.pos.line} {step.method}: {step.pos.text}"
        enabled = ready(step.body.stmts, step.body.end, self.stops)
        guard = "broken == 0" if enabled == TRUE else f"broken == 0 && {self.expr(enabled, 3)}"
        body = indent(";\n".join(self.body(step.body, place)), "\t\t")
        label = _label(self.thread, place)
        return f"{label}:\tif  /* {_comment(source)} */\n\t:: atomic {{ {guard} ->\n{body} }}\n\tfi;\n"

    def body(self, body: Body, place: int) -> list[str]:
        """Return the statements of a body; none blocks, for the step's guard has seen to the waits."""
        lines = []
        for stmt in body.stmts:
            match stmt:
                case Set(target, value):
                    lines.append(self.store(target, value))
                case Choose():
                    lines.append(_if(self.choices(stmt)))
                case Check(cond, rule, words) if rule in self.stops:
                    stop = [f"broken = {_code(rule)}", f"goto {_label(self.thread, place)}  /* {_comment(words)} */"]
                    lines.append(_if([(self.expr(Op("not", (cond,))), stop), ("else", [])]))
        match body.end:
            case Goto(goal):
                lines.append(f"goto {_label(self.thread, goal)}")
            case Branch(cond, then, orelse):
                bodies = self.body(then, place), self.body(orelse, place)
                lines.append(_if([(self.expr(cond), bodies[0]), ("else", bodies[1])]))
        return lines

    def store(self, target: Local | Shared, value: Expr) -> str:
        """Write an assignment; an index that reads the array itself is spelt out, element by element.

        On its way back pan computes the index anew, after the store, and would restore another element.
        """
        index, name = target.index, target.name
        if index is None or all(ref.name != name for ref in reads(index)):
            return f"{self.expr(target)} = {self.expr(value)}"
        size = self.scope[type(target)(name)][1].size
        here = [(Op("==", (index, Const(i))), type(target)(name, Const(i))) for i in range(size)]
        return _if([(self.expr(chosen), [f"{self.expr(ref)} = {self.expr(value)}"]) for chosen, ref in here])

    def choices(self, choose: Choose) -> list[tuple[str, list[str]]]:
        """Return an option for each value that the target could take, guarded where the state decides."""
        var = self.scope[Local(choose.target.name)][1]
        first = choose.lo.value if isinstance(choose.lo, Const) else var.lo
        last = choose.hi.value - 1 if isinstance(choose.hi, Const) else var.hi
        options = []
        for value in range(first, last + 1):
            guard = given(choose.where, choose.target, value)
            if not isinstance(choose.hi, Const):
                guard = both(Op("<", (Const(value), choose.hi)), guard)
            if not isinstance(choose.lo, Const):
                guard = both(Op("<=", (choose.lo, Const(value))), guard)
            store = self.store(choose.target, Const(value))
            options.append((store, []) if guard == TRUE else (self.expr(guard), [store]))
        return options

    def expr(self, expr: Expr, outer: int = 0) -> str:
        """Return an expression, in parentheses if it binds less than `outer`."""
        match expr:
            case Const(value):
                return str(value) if value >= 0 else f"({value})"
            case Local() | Shared():
                name, var = self.scope[type(expr)(expr.name)]
                return f"{name}[{self.expr(expr.index or Const(0))}]" if var.size > 1 else name
            case Op("not", (arg,)):
                text = f"!{self.expr(arg, _UNARY)}"
                return f"({text})" if outer == _UNARY else text  # `!!` sends a message
            case Op("?:", (cond, then, orelse)):
                return f"({self.expr(cond, 1)} -> {self.expr(then, 1)} : {self.expr(orelse, 1)})"
            case Op(op, (left, right)):
                sign, level = _OPERATORS[op]
                text = f"{self.expr(left, level)} {sign} {self.expr(right, level + 1)}"
                return f"({text})" if level < outer else text
        raise ValueError(f"unknown expression {expr}")


def _if(options: list[tuple[str, list[str]]]) -> str:
    """Write an `if` of options: each a guard, or a statement that never blocks, and what follows it."""
    if len(options) == 1 and not options[0][1]:
        return options[0][0]
    lines = []
    for guard, stmts in options:
        rest = indent(";\n".join(stmts), "\t")
        lines.append(f":: {guard} ->\n{rest}" if rest else f":: {guard}")
    return "\n".join(["if", *lines, "fi"])
