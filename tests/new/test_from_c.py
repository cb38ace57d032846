# SPDX-License-Identifier: Apache-2.0
"""C becomes a plan: each construct in its place, with its line, and a gap for what was not understood.

All C in here was written for these tests.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from unpinned.api import check
from unpinned.errors import PlanError, UsageError
from unpinned.mm.system import whole
from unpinned.new.c.normal import normalise
from unpinned.new.c.plan import Begun, begin
from unpinned.plan.reading.classes import read_plans

MIRROR = Path(__file__).with_name("c") / "mirror.c"
TABLE = """
static const struct mmu_notifier_ops ops = {
    .invalidate_range_start = start,
    .invalidate_range_end = end,
};
"""
END = "static void end(struct mmu_notifier *mn, const struct mmu_notifier_range *range) { }\n"


def read(folder: Path, text: str, fault: str | None = None) -> Begun:
    """Read C; the reader of plans must accept what comes of it."""
    file = folder / "driver.c"
    file.write_text(text, encoding="utf-8")
    begun = begin("driver", file, fault)
    assert not begun.refusal, begun.text
    made = folder / "driver.py"
    made.write_text(begun.text, encoding="utf-8")
    for plan in read_plans(made):
        whole(plan)
    return begun


def method(begun: Begun, name: str) -> str:
    """Return the statements of a method, without the comments that only give a line, and without its docstring."""
    lines = begun.text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"    def {name}("))
    found = []
    for line in lines[start + 2 :]:
        if line and not line.startswith("        "):
            break
        found.append(re.sub(r"  # \d+$", "", line[8:]))
    return "\n".join(found).strip("\n")


def start(folder: Path, statements: str, more: str = "") -> str:
    """Return what becomes of the statements of an invalidate_range_start, without the `return 0` at its end."""
    head = "static int start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)\n{\n"
    made = method(read(folder, f"{more}\n{END}{head}{statements}\n}}\n{TABLE}"), "invalidate_range_start")
    assert made.endswith("return 0")
    return made.removesuffix("return 0").rstrip("\n")


def fault(folder: Path, statements: str, more: str = "") -> str:
    """Return what becomes of the statements of a fault, which begins with locals of every kind."""
    head = "static int fault(struct client *c)\n{\nint ret; bool done; unsigned long seq;\n"
    return method(read(folder, f"{more}\n{head}{statements}\n}}\n", "fault"), "page_fault")


@pytest.mark.parametrize(
    ("c", "plan"),
    [
        ("spin_lock(&c->lock); a(); spin_unlock(&c->lock);", "with self.lock:\n    # GAP line 5: a()\n    pass"),
        ("mutex_lock(&m); c->n++; mutex_unlock(&m);", "with self.m:\n    self.n += 1"),
        ("write_lock_irq(&c->l); c->n--; write_unlock_irq(&c->l);", "with self.l.write():\n    self.n -= 1"),
        ("down_read(&c->sem); c->n += 2; up_read(&c->sem);", "with self.sem.read():\n    self.n += 2"),
        ("atomic_inc(&c->active);", "self.active += 1"),
        ("(void)atomic_dec_and_test(&c->active);", "self.active.add_return(-1)"),
        ("if (atomic_dec_and_test(&c->active)) wake_up_all(&c->queue);",
         "if self.active.add_return(-1) == 0:\n    self.queue.wake_up()"),
        ("refcount_set(&c->refs, 1);", "self.refs = 1"),
        ("wait_event(c->queue, atomic_read(&c->active) == 0);", "self.queue.wait_event(self.active == 0)"),
        ("c->valid = false; if (c->valid) c->n++;", "self.valid = False\nif self.valid:\n    self.n += 1"),
        ("WRITE_ONCE(c->valid, true); smp_wmb();", "WRITE_ONCE(self.valid, True)\nsmp_wmb()"),
        ("if (READ_ONCE(c->seq) != 3 && !c->count_seq) smp_mb();",
         "if READ_ONCE(self.seq) != 3 and not self.count_seq:\n    smp_mb()"),
        ("guard(mutex)(&c->m);\nc->n++;", "with self.m:\n    self.n += 1"),
        ("scoped_guard(spinlock, &c->l) {\nc->n++;\n}\nc->n--;", "with self.l:\n    self.n += 1\nself.n -= 1"),
        ("pr_debug(\"x\"); WARN_ON(1); c->n++;", "self.n += 1"),
        ("list_for_each_entry(p, &c->list, node) {\nc->n++;\n}",
         "for _5 in r:  # GAP line 5: for each of list_for_each_entry(p, &c->list, node)\n    self.n += 1"),
        ("while (c->seq) { c->n++; if (c->n > 3) break; }",
         "while True:\n    if not self.seq:\n        break\n    self.n += 1\n    if self.n > 3:\n        break"),
        ("do { c->n++; } while (c->seq);", "while True:\n    self.n += 1\n    if not self.seq:\n        break"),
        ("switch (c->kind) {\ncase ONE:\nc->n++;\nbreak;\ndefault:\nc->n--;\n}",
         "if self.gap_6:  # GAP line 6: ONE\n    self.n += 1\nelse:\n    self.n -= 1"),
        ("rcu_read_lock(); c->n++; rcu_read_unlock(); synchronize_rcu();",
         "with rcu_read_lock():\n    self.n += 1\nsynchronize_rcu()"),
        ("idx = srcu_read_lock(&c->srcu);\nc->n++;\nsrcu_read_unlock(&c->srcu, idx);\nsynchronize_srcu(&c->srcu);",
         "with self.srcu.read():\n    self.n += 1\nself.srcu.synchronize()"),
        ("guard(rcu)();\nc->n++;", "with rcu_read_lock():\n    self.n += 1"),
        ("guard(srcu)(&c->s);\nc->n++;", "with self.s.read():\n    self.n += 1"),
        ("xa_lock(&c->all); c->n++; xa_unlock(&c->all);", "with self.all:\n    self.n += 1"),
        ("kref_get(&c->ref); if (kref_get_unless_zero(&c->ref)) c->n++;",
         "self.ref.get()\nif self.ref.get_unless_zero():\n    self.n += 1"),
        ("if (range->flags & MMU_NOTIFIER_RANGE_BLOCKABLE) c->n++;", "if r.blockable:\n    self.n += 1"),
        ("u64 *l = kcalloc(3, 8, GFP_KERNEL);\nc->n++;\nkfree(l);",
         "# GAP line 5: l = kcalloc(3, 8, GFP_KERNEL)\nself.n += 1"),
        ("u64 *l = kcalloc(3, 8, GFP_KERNEL);\nc->l = l;\nkfree(l);",
         "# GAP line 5: l = kcalloc(3, 8, GFP_KERNEL)\n# GAP line 6: c->l = l\n# GAP line 7: kfree(l)"),
        ("#ifdef CONFIG_X\nc->n++;\n#else\nc->n--;\n#endif", "self.n += 1"),
    ],
)  # fmt: skip
def test_a_construct_in_its_place(c: str, plan: str, tmp_path: Path) -> None:
    assert start(tmp_path, c) == plan


def test_a_lock_that_is_tried(tmp_path: Path) -> None:
    c = "if (!spin_trylock(&c->lock))\n    return -EAGAIN;\nc->n++;\nspin_unlock(&c->lock);\nreturn 0;"
    assert start(tmp_path, c).splitlines() == [
        "with self.lock.trylock() as got_5:",
        "    if not got_5:",
        "        return -EAGAIN",
        "    self.n += 1",
    ]


def test_a_lock_that_is_taken_on_two_paths(tmp_path: Path) -> None:
    """What follows the choice is copied into both, under the lock that each took."""
    c = "if (mmu_notifier_range_blockable(range)) mutex_lock(&m);\nelse if (!mutex_trylock(&m)) return -EAGAIN;\n"
    made = start(tmp_path, f"{c}c->n++;\nmutex_unlock(&m);\nreturn 0;")
    assert made.count("self.n += 1") == 2
    assert "if r.blockable:\n    with self.m:\n        self.n += 1" in made
    assert "with self.m.trylock() as got_6:" in made


def test_a_condition_that_was_not_understood(tmp_path: Path) -> None:
    made = start(tmp_path, "if (range->event == MIGRATE && c->seq) c->n++;")
    assert made == "if self.gap_5 and self.seq:  # GAP line 5: range->event == MIGRATE\n    self.n += 1"
    assert "gap_5 = Flag()  # line 5: range->event == MIGRATE" in (tmp_path / "driver.py").read_text()


def test_a_call_in_a_value_that_was_not_understood_is_made(tmp_path: Path) -> None:
    made = fault(
        tmp_path, "if (get_user_pages(addr, 1, 0, &page) <= limit)\n    return -EFAULT;\nput_page(page);\nreturn 0;"
    )
    assert made.splitlines() == [
        "page = self.get_user_page(gfn, write)",
        "if self.gap_5:  # GAP line 5: get_user_pages(addr, 1, 0, &page) <= limit",
        "    return FAULT",
        "self.put_page(page)",
        "return MAPPED",
    ]


def test_a_call_that_may_be_left_out_is_told(tmp_path: Path) -> None:
    made = start(tmp_path, "if (x->y && atomic_dec_and_test(&c->n) == z->z) a();")
    assert "# GAP line 5: atomic_dec_and_test() is called here whatever stands before it\nself.n.add_return(-1)" in made


def test_a_lock_within_a_value_is_a_gap_and_so_is_its_drop(tmp_path: Path) -> None:
    made = start(tmp_path, "if (x->y && mutex_trylock(&m)) { c->n++; mutex_unlock(&m); }")
    assert "with" not in made
    assert "# GAP line 5: drops m" in made


def test_jumps(tmp_path: Path) -> None:
    """A jump back goes round, a jump forward does what stands there, and a jump out of a loop is left to a reader."""
    again = "retry:\nseq = c->seq;\nret = get_user_pages(c);\nif (ret)\ngoto out;\nif (seq != c->seq)\ngoto retry;\n"
    assert fault(tmp_path, f"{again}out:\nput_page(p);\nreturn ret;").splitlines() == [
        "ret = 0",
        "seq = 0",
        "while True:",
        "    seq = self.seq",
        "    page = self.get_user_page(gfn, write)",
        "    ret = self.gap_7  # GAP line 7: ret = get_user_pages(c)",
        "    if ret:",
        "        self.put_page(page)",
        "        return FAULT if ret < 0 else MAPPED",
        "    if seq != self.seq:",
        "        continue",
        "    self.put_page(page)",
        "    return FAULT if ret < 0 else MAPPED",
    ]
    out_of_a_loop = "again:\nget_user_pages(c);\nwhile (c->seq) {\ngoto again;\n}\nreturn 0;"
    assert "# GAP line 8: goto again, out of a loop" in fault(tmp_path, out_of_a_loop)


@pytest.mark.parametrize(
    ("value", "result"),
    [("0", "MAPPED"), ("-EFAULT", "FAULT"), ("-EAGAIN", "REPLAY"), ("-EBUSY", "REPLAY"), ("RET_PF_RETRY", "REPLAY")],
)
def test_what_a_fault_returns(value: str, result: str, tmp_path: Path) -> None:
    assert fault(tmp_path, f"get_user_pages(c); put_page(p); return {value};").endswith(f"return {result}")


def test_helpers_become_methods(tmp_path: Path) -> None:
    more = (
        "static bool stale(struct client *c, unsigned long seq)\n{\n"
        "    if (c->in_progress) return true;\n    smp_rmb();\n    return c->seq != seq;\n}\n"
        "static void forget(struct client *c)\n{\n    spin_lock(&c->lock); c->n++; spin_unlock(&c->lock);\n}\n"
    )
    c = "seq = c->seq;\nget_user_pages(c);\nif (stale(c, seq)) return -EAGAIN;\nforget(c);\nput_page(p);\nreturn 0;"
    made = fault(tmp_path, c, more)
    assert "if self.stale(page_range(gfn), seq):\n    return REPLAY\nself.forget(page_range(gfn))" in made
    begun = read(tmp_path, (tmp_path / "driver.c").read_text(), "fault")
    assert method(begun, "stale").splitlines()[-1] == "return self.seq != seq"
    assert method(begun, "forget") == "with self.lock:\n    self.n += 1"


def test_helpers_that_only_lock_stand_where_they_were_called(tmp_path: Path) -> None:
    more = (
        "static void l(struct c *c)\n{\nmutex_lock(&c->m);\n}\nstatic void u(struct c *c)\n{\nmutex_unlock(&c->m);\n}\n"
    )
    assert start(tmp_path, "l(c);\nc->n++;\nu(c);", more) == "with self.m:\n    self.n += 1"


def test_a_helper_that_calls_itself_is_a_gap(tmp_path: Path) -> None:
    more = "static void f(struct c *c)\n{\natomic_inc(&c->n);\nf(c);\n}\n"
    start(tmp_path, "f(c);", more)
    assert "f(), which was not followed" in (tmp_path / "driver.py").read_text()


def test_words_of_the_language_as_names(tmp_path: Path) -> None:
    """Locals, members and functions may be called what means something else in a plan."""
    more = "static void flush(struct c *c)\n{\nspin_lock(&c->map); c->lambda++; spin_unlock(&c->map);\n}\n"
    assert start(tmp_path, "flush(c);", more) == "self.flush_(r)"
    assert "self.lambda_ += 1" in (tmp_path / "driver.py").read_text()


def test_members_of_two_structures_with_one_name_are_two(tmp_path: Path) -> None:
    c = "struct one *a;\nstruct two *b;\nspin_lock(&a->lock);\nspin_lock(&b->lock);\nc->n++;\n"
    made = start(tmp_path, f"{c}spin_unlock(&b->lock);\nspin_unlock(&a->lock);")
    assert made == "with self.lock:\n    with self.two_lock:\n        self.n += 1"


def test_callbacks_that_the_language_does_not_call_are_there_too(tmp_path: Path) -> None:
    text = (
        f"{END}static void rel(struct mmu_notifier *mn, struct mm_struct *mm)\n"
        "{\nspin_lock(&l);\nspin_unlock(&l);\n}\n"
        "static const struct mmu_notifier_ops ops = { .invalidate_range_end = end, .clear_young = rel };\n"
    )
    begun = read(tmp_path, text)
    assert begun.callbacks == ("end", "rel")
    assert method(begun, "rel") == "with self.l:\n    pass"
    assert "GAP: the language does not call the op `clear_young`: nobody calls this method." in begun.text
    assert "GAP: no function of this file gets pages" in begun.text


def test_release_is_a_callback_without_a_range(tmp_path: Path) -> None:
    text = (
        f"{END}static void rel(struct mmu_notifier *mn, struct mm_struct *mm)\n"
        "{\nspin_lock(&l);\nspin_unlock(&l);\n}\n"
        "static const struct mmu_notifier_ops ops = { .invalidate_range_end = end, .release = rel };\n"
    )
    begun = read(tmp_path, text)
    assert "    def release(self):\n" in begun.text
    assert method(begun, "release") == "with self.l:\n    pass"
    assert "`self.zap(all_pages())`" in begun.text


def test_numbers_are_lines_of_the_file(tmp_path: Path) -> None:
    """Whatever is rewritten on the way, each number behind a line is where its words stand in C."""
    begun = begin("mirror", MIRROR)
    lines = MIRROR.read_text().splitlines()
    words = {"mutex:": "mutex_lock", "trylock": "mutex_trylock", "get_user_page(": "hmm_range_fault",
             "set_seq(cur_seq)": "mmu_interval_set_seq", "read_begin()": "mmu_interval_read_begin"}  # fmt: skip
    seen = set()
    for line in begun.text.splitlines():
        if match := re.search(r"^        (.*?)  # (\d+)$", line):
            for made, said in words.items():
                if made in match[1]:
                    assert said in lines[int(match[2]) - 1]
                    seen.add(made)
    assert seen == set(words)


def test_the_gaps_filled_the_plan_is_checked(tmp_path: Path) -> None:
    """A user says where the device's entries are set and cleared: the plan holds, and races without the retry."""
    text = begin("mirror", MIRROR).text
    filled = re.sub(r"# GAP line \d+: mirror_forget.*", "self.zap(r)", text)
    filled = re.sub(r"# GAP line \d+: mirror_learn.*", "self.map(gfn, page, write)", filled)
    assert (filled.count("self.zap(r)"), filled.count("self.map(gfn")) == (
        2 + 1,
        1 + 1,
    )  # one of each stands in a comment
    plan = tmp_path / "mirror.py"
    plan.write_text(filled)
    (result,) = check(plan, required_only=True, seconds=100)
    assert result.race is None
    assert result.verdict.value == "holds"
    plan.write_text(filled.replace("if self.mmu_interval_read_retry(notifier_seq)", "if self.gap_36"))
    (result,) = check(plan, required_only=True, seconds=100)
    assert result.race is not None
    assert result.race.rule == "stale-use"


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    empty = tmp_path / "empty.c"
    empty.write_text("int x;\n")
    for path, words in ((empty, "no mmu_notifier_ops"), (tmp_path, "a directory"), (tmp_path / "no.c", "No such file")):
        with pytest.raises((UsageError, PlanError)) as refused:
            begin("driver", path)
        assert words in refused.value.what
        assert refused.value.hint
    with pytest.raises(UsageError) as refused:
        begin("mirror", MIRROR, "mirror_falt")
    assert "did you mean `mirror_fault`?" in refused.value.what


@pytest.mark.parametrize(
    ("c", "plan"),
    [
        ("put_page(p);", "# GAP line 5: put_page(p)"),
        ("x->y = put_page(p);", "# GAP line 5: put_page(p)\n# GAP line 5: x->y = put_page(p)"),
        ("wait_event(c->queue);", "# GAP line 5: wait_event"),
        ("goto nowhere;", "# GAP line 5: goto nowhere"),
        ("break; c->n++;", "# GAP line 5: break;\nself.n += 1"),
        ("get_user_pages(c);", "# GAP line 5: get_user_pages(c)"),
    ],
)
def test_what_has_no_place_there_is_a_gap(c: str, plan: str, tmp_path: Path) -> None:
    assert re.sub(r"  # \d+$", "", start(tmp_path, c)) == plan


def test_c_that_is_nested_too_deep_is_said(tmp_path: Path) -> None:
    file = tmp_path / "deep.c"
    file.write_text("int f(void) { get_user_pages(c); if (" + "(" * 3000 + "x" + ")" * 3000 + ") g(); }")
    with pytest.raises(PlanError, match="nested too deep"):
        begin("deep", file)


@pytest.mark.parametrize(
    "text",
    ["\x00", "}{" * 500, "int f(" + "(" * 300, "struct mmu_notifier_ops o = { .release = r };", "/* no end", '"',
     "ä" * 40, "int f(x) { get_user_pages(); if", "int f() { for (;;) get_user_pages(" + "f(" * 200, "\\\n" * 50],
)  # fmt: skip
def test_odd_files_end_in_a_plan_or_a_message(text: str, tmp_path: Path) -> None:
    file = tmp_path / "odd.c"
    file.write_text(text, encoding="utf-8")
    try:
        text = begin("odd", file).text
    except (UsageError, PlanError) as error:
        text = f"refused = {error.hint!r}"
    assert ast.parse(text).body
    assert "refused = ''" not in text


def test_the_normaliser_moves_no_line() -> None:
    text = MIRROR.read_text() + "int f(void) __acquires(x)\n{\n\tlist_for_each_entry(a,\n\t\tb, c) {\n\t}\n}\n"
    new = normalise(text)
    assert new.count("\n") == text.count("\n")
    assert "container_of(sub,        mirror, sub)" in new
    assert "for (;list_for_each_entry(a,\n\t\tb, c);) {" in new
    assert "__acquires" not in new
    assert normalise("list_for_each_entry(a, b, c);\n#define for_each_x(a) for (a)\n") == (
        "list_for_each_entry(a, b, c);\n#define for_each_x(a) for (a)\n"
    )


def test_cases_of_a_switch(tmp_path: Path) -> None:
    """Several labels are one choice, and `default` may stand anywhere; one case that goes on into the next is a gap."""
    made = start(tmp_path, "switch (c->kind) {\ndefault: c->n--; break;\ncase ONE: case TWO: c->n++;\n}")
    assert made.splitlines()[2:] == ["if self.gap_7 or self.gap_7_2:", "    self.n += 1", "else:", "    self.n -= 1"]
    made = start(tmp_path, "switch (c->kind) {\ncase ONE: spin_lock(&l);\ncase TWO: c->n++;\n}\nspin_unlock(&l);")
    assert made.splitlines() == ["# GAP line 5: switch: a case goes on into the next", "# GAP line 9: drops l"]


def test_work_is_run_for_all_pages(tmp_path: Path) -> None:
    """Who knows what a work item runs queues it; whatever that does to some pages, the plan does to all of them."""
    more = (
        "static void drain(struct work_struct *w)\n{\nmutex_lock(&m);\nc->n--;\nmutex_unlock(&m);\n}\n"
        "static void init(struct c *c)\n{\nINIT_WORK(&c->work, drain);\n}\n"
    )
    made = start(tmp_path, "queue_work(wq, &c->work);\nflush_work(&c->work);\nschedule_work(&c->other);", more)
    assert made == "self.work.queue()\nself.work.flush()\n# GAP line 17: schedule_work(&c->other)"
    plan = (tmp_path / "driver.py").read_text()
    assert 'work = WorkItem("run_drain")' in plan
    assert (
        '    def run_drain(self):\n        """Run the work drain(), line 1."""\n        self.drain(all_pages())' in plan
    )
    assert "    def drain(self, r):" in plan


def test_the_last_reference_frees(tmp_path: Path) -> None:
    more = "static void gone(struct kref *kref)\n{\nstruct c *c = container_of(kref, struct c, ref);\nkfree(c);\n}\n"
    assert start(tmp_path, "kref_put(&c->ref, gone);", more) == "if self.ref.put():\n    self.gone(r)"
    assert "        self.ref.free()  # 4" in (tmp_path / "driver.py").read_text()


def test_operations_of_the_clients_own(tmp_path: Path) -> None:
    """Each runs once for all pages; what gets pages does so for one after the other."""
    more = (
        "static int drop(struct c *c)\n{\nmutex_lock(&m);\nc->n--;\nmutex_unlock(&m);\nreturn 0;\n}\n"
        "static int warm(struct c *c)\n{\nget_user_pages(c);\nput_page(p);\nreturn 0;\n}\n"
    )
    file = tmp_path / "driver.c"
    file.write_text(f"{more}{END}static int start(struct mmu_notifier *mn)\n{{\nreturn 0;\n}}\n{TABLE}")
    begun = begin("driver", file, own=("drop", "warm"))
    assert not begun.refusal
    assert 'own = ("drop", "warm",)' in begun.text
    assert method(begun, "drop") == "self.drop_(all_pages())"
    assert method(begun, "warm") == "for gfn in all_pages():\n    self.warm_(gfn, True)"
    with pytest.raises(UsageError, match="did you mean `drop`"):
        begin("driver", file, own=("dropp",))


def test_the_mm_of_2008_for_callbacks_of_single_pages(tmp_path: Path) -> None:
    text = (
        "static void page(struct mmu_notifier *mn, struct mm_struct *mm, unsigned long addr)\n{\nc->n++;\n}\n"
        "static const struct mmu_notifier_ops ops = { .invalidate_page = page };\n"
    )
    begun = read(tmp_path, text)
    assert 'era = "2008"' in begun.text
    assert method(begun, "invalidate_page") == "self.n += 1"


def test_a_notifier_that_another_file_has(tmp_path: Path) -> None:
    """A fault that reads a sequence has a subscription, whoever fills its table in."""
    made = fault(tmp_path, "seq = mmu_interval_read_begin(c->sub);\nget_user_pages(c);\nput_page(p);\nreturn 0;")
    assert "seq = self.mmu_interval_read_begin()" in made or "self.mmu_interval_read_begin()" in made
    begun = read(tmp_path, (tmp_path / "driver.c").read_text(), "fault")
    assert method(begun, "invalidate").endswith("return True")
