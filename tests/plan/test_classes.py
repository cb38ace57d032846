# SPDX-License-Identifier: Apache-2.0
"""Plans are resolved from source: fields, methods, inheritance, imports and what a plan says of itself."""

from __future__ import annotations

import importlib
import random
import sysconfig
import textwrap
from pathlib import Path

import pytest

import unpinned
from unpinned.errors import PlanError
from unpinned.plan import language, modelling
from unpinned.plan.reading.classes import PlanClass, read_model, read_plans
from unpinned.plan.vocabulary import (
    ATTRIBUTES,
    DRIVER_CALLS,
    DRIVER_FIELDS,
    DRIVER_ROOT,
    DRIVER_VALUES,
    HOOKS,
    MM_CALLS,
    MODEL_CALLS,
    MODEL_FIELDS,
    MODEL_ROOT,
    MODEL_VALUES,
    SECTIONS,
)

BASE = """\
'''Plans for tests.'''
from __future__ import annotations
from unpinned import *

__all__ = ["Base", "Kvm"]

class Base(SecondaryMMU):
    '''No plan by itself.'''
    mmu_lock = SpinLock()
    seq = Counter(bits=3, init=2)
    pages = PerPage(Flag())
    operations = ("zap",)

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.zap(r)

    def helper(self, gfn: Gfn) -> bool:
        return self.pages[gfn]

class Kvm(Base):
    '''A plan.

    With more words.
    '''
    waive = {"leak": "for the test"}

    def page_fault(self, gfn, write):
        while True:
            seq = self.seq
            page = self.get_user_page(gfn, write)
            with self.mmu_lock:
                if self.seq == seq and not self.helper(gfn):
                    self.map(gfn, page, write)
                    break
            self.put_page(page)
        for g in page_range(gfn):
            self.pages[g] = gfn in page_range(g) or -1 < 0
        self.seq -= 1 if write else 0
        return MAPPED

class Loud(Kvm):
    era = '2008'
    promises = ['stale-use', 'leak']
    operations = ('munmap', 'reclaim')
    pages = PerPage(Flag(init=True))

    def invalidate_range_start(self, r):
        super().invalidate_range_start(r)

    def page_fault(self, gfn, write):
        return super().page_fault(gfn, write)
"""


def plans(folder: Path, text: str, name: str = "plan.py") -> dict[str, PlanClass]:
    """Write a file, and return its plans by name."""
    (folder / name).write_text(textwrap.dedent(text))
    return {plan.name: plan for plan in read_plans(folder / name)}


def test_the_plans_of_a_file_in_order(tmp_path):
    assert list(plans(tmp_path, BASE)) == ["Kvm", "Loud"]  # Base has no page_fault, and is a base


def test_what_a_plan_inherits(tmp_path):
    kvm = plans(tmp_path, BASE)["Kvm"]
    assert kvm.lineage == ("Kvm", "Base")
    assert kvm.doc == "A plan.\n\nWith more words."
    assert (kvm.pos.line, kvm.pos.col, kvm.pos.text) == (21, 0, "class Kvm(Base):")
    assert {name: field.kind for name, field in kvm.fields.items()} == {
        "mmu_lock": "SpinLock",
        "seq": "Counter",
        "pages": "PerPage",
    }
    assert (kvm.fields["seq"].bits, kvm.fields["seq"].init) == (3, 2)
    assert kvm.fields["pages"].of is not None
    assert (kvm.fields["pages"].of.kind, kvm.fields["pages"].of.init) == ("Flag", 0)
    assert {name: method.owner for name, method in kvm.methods.items()} == {
        "invalidate_range_start": "Base",
        "helper": "Base",
        "page_fault": "Kvm",
    }
    assert kvm.methods["page_fault"].params == ("gfn", "write")
    assert kvm.methods["helper"].params == ("gfn",)


def test_what_super_means(tmp_path):
    loud = plans(tmp_path, BASE)["Loud"]
    assert loud.lineage == ("Loud", "Kvm", "Base")
    assert loud.supers["Loud", "page_fault"].owner == "Kvm"
    assert loud.supers["Loud", "invalidate_range_start"].owner == "Base"
    assert loud.supers["Kvm", "invalidate_range_start"].owner == "Base"
    assert ("Kvm", "page_fault") not in loud.supers
    assert ("Base", "helper") not in loud.supers
    assert loud.methods["page_fault"].owner == "Loud"
    assert loud.fields["pages"].of is not None
    assert loud.fields["pages"].of.init == 1


def test_what_a_plan_says_of_itself(tmp_path):
    read = plans(tmp_path, BASE)
    kvm, loud = read["Kvm"], read["Loud"]
    assert (kvm.era, kvm.operations, kvm.promises, kvm.waive) == ("2008", ("zap",), None, {"leak": "for the test"})
    assert (loud.operations, loud.promises) == (("munmap", "reclaim"), ("stale-use", "leak"))
    assert loud.waive == {"leak": "for the test"}


@pytest.mark.parametrize("line", ["from base import Kvm", "from .base import Kvm", "from base import Kvm as Upstream"])
def test_a_base_in_a_file_beside(tmp_path, line):
    (tmp_path / "base.py").write_text(BASE)
    name = line.split()[-1]
    mine = plans(tmp_path, f"{line}\nclass Mine({name}):\n    '''Mine.'''\n")["Mine"]
    assert mine.lineage == ("Mine", "Kvm", "Base")
    assert mine.source.path == str(tmp_path / "plan.py")
    assert mine.methods["page_fault"].source.path == str(tmp_path / "base.py")
    assert mine.waive == {"leak": "for the test"}


def test_a_base_that_is_passed_on(tmp_path):
    (tmp_path / "base.py").write_text(BASE)
    (tmp_path / "middle.py").write_text("from base import Kvm\n")
    assert plans(tmp_path, "from middle import Kvm\nclass Mine(Kvm):\n    pass\n")["Mine"].lineage[1] == "Kvm"


def test_a_relative_path_has_its_siblings(tmp_path, monkeypatch):
    (tmp_path / "base.py").write_text(BASE)
    (tmp_path / "plan.py").write_text("from base import Kvm\nclass Mine(Kvm):\n    pass\n")
    monkeypatch.chdir(tmp_path)
    assert read_plans("plan.py")[0].methods["helper"].source.path == "base.py"


def test_a_shipped_driver_as_base(tmp_path):
    mine = plans(tmp_path, "from unpinned.drivers.kvm2008 import Kvm2008\nclass Mine(Kvm2008):\n    pass\n")["Mine"]
    assert mine.lineage[:2] == ("Mine", "Kvm2008")
    assert "page_fault" in mine.methods


def test_words_may_be_renamed(tmp_path):
    text = """\
    from unpinned import MAPPED, PerPage as Each, SecondaryMMU as Client, SpinLock as Lock
    class Kvm(Client):
        locks = Each(Lock())
        def page_fault(self, gfn, write):
            with self.locks[gfn]:
                return MAPPED
    """
    field = plans(tmp_path, text)["Kvm"].fields["locks"]
    assert field.kind == "PerPage"
    assert field.of is not None
    assert field.of.kind == "SpinLock"


def test_imports_that_go_round(tmp_path):
    (tmp_path / "a.py").write_text("from b import B\n")
    (tmp_path / "b.py").write_text("from a import A\n")
    with pytest.raises(PlanError) as caught:
        read_plans(tmp_path / "a.py")
    assert "a.py -> b.py -> a.py" in caught.value.what
    (tmp_path / "c.py").write_text("from c import C\n")
    with pytest.raises(PlanError, match=r"c\.py -> c\.py"):
        read_plans(tmp_path / "c.py")


def test_a_long_row_of_files(tmp_path):
    for number in range(40):
        (tmp_path / f"f{number}.py").write_text(f"from f{number + 1} import X\n")
    with pytest.raises(PlanError, match="more than 20 files"):
        read_plans(tmp_path / "f0.py")


def test_a_long_row_of_classes(tmp_path):
    text = BASE + "".join(f"class C{n}({f'C{n - 1}' if n else 'Loud'}):\n    pass\n" for n in range(200))
    assert len(plans(tmp_path, text)["C199"].lineage) == 203


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("mmu_lock = Mutex()", "`mmu_lock` is inherited as a SpinLock"),
        ("pages = PerPage(Counter())", "`pages` is inherited as a PerPage of Flag"),
        ("helper = Flag()", "`helper` is a method of `Base`, and a field here"),
        ("def seq(self):\n        pass", "`seq` is inherited as a field"),
        ("def m(self):\n        super().nothing()", "no class above `Mine` defines `nothing`"),
        ("def m(self):\n        super().page_fautl()", "did you mean `page_fault`?"),
    ],
)
def test_a_class_that_does_not_fit_its_base(tmp_path, line, what):
    with pytest.raises(PlanError) as caught:
        plans(tmp_path, BASE + f"class Mine(Kvm):\n    {line}\n")
    assert what in caught.value.what
    assert caught.value.hint
    assert caught.value.pos is not None


def test_two_classes_of_one_name_in_a_lineage(tmp_path):
    (tmp_path / "base.py").write_text(BASE)
    with pytest.raises(PlanError, match="share a name"):
        plans(tmp_path, "from base import Kvm as Upstream\nclass Kvm(Upstream):\n    pass\n")


def test_a_helper_of_any_name_that_is_called(tmp_path):
    text = BASE + "class Mine(Kvm):\n    def age_page(self, gfn):\n        return gfn\n"
    with pytest.raises(PlanError, match="not modelled yet"):
        plans(tmp_path, text)
    assert plans(tmp_path, text + "    def invalidate_page(self, gfn):\n        self.age_page(gfn)\n")


# ---- models


def test_a_model(tmp_path):
    (tmp_path / "m.py").write_text(
        textwrap.dedent("""\
        from unpinned import FAULT, Counter, PerPage, RwSem, SpinLock
        from unpinned.plan.modelling import *

        class Other(Model):
            x = Pfn()

        class Mm(Model):
            sem = RwSem()
            lock = SpinLock()
            locks = PerPage(SpinLock())
            pte = PerPage(Pfn())
            refs = PerFrame(Counter(bits=3))
            tlb = PerVcpu(PerPage(Pfn()))
            depth = PerCpu(Counter())
            last = GfnField()

            def zap(self, r):
                may_sleep("zap")
                gather = per_page(NONE)
                with self.sem.read(), self.mm.sem.write(), self.mm.locks[0], atomic():
                    for gfn in r:
                        gather[gfn] = self.pte[gfn]
                        self.tlb[this_cpu(), gfn] = NONE
                        self.mm.tlb[0, gfn] = gather[gfn]
                        self.depth[this_cpu()] += 2 * 1
                    page = choose_frame()
                    n = choose(0, PAGES)
                    n = choose(g for g in PAGES if gather[g] == NONE)
                    n = lowest(f for f in FRAMES if self.refs[f] == 0)
                    n = exists(c for c in VCPUS if self.tlb[c, 0] == n)
                    wait(self.refs[page] == 0)
                    check("stale-use", page != NONE, "the words {page}")
                    limit(n < 3, "too many")
                    cover("event")
                    note("words")
                self.client.invalidate_range_start(r)
                for gfn in span(0, 1):
                    self.last = gfn
                if n:
                    raise FAULT
        """)
    )
    model = read_model(tmp_path / "m.py", "Mm")
    assert model.lineage == ("Mm",)
    assert model.fields["tlb"].of is not None
    assert model.fields["tlb"].of.of is not None
    assert model.fields["tlb"].of.of.kind == "Pfn"
    with pytest.raises(PlanError, match="has no model `None_`"):
        read_model(tmp_path / "m.py", "None_")


# ---- the language


@pytest.mark.parametrize("module", [language, modelling])
def test_every_word_has_a_docstring_and_is_exported(module):
    own = {name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    own -= {"never_run", "T", "Result"}
    assert {name for name in own if not name.startswith("_")} <= set(module.__all__)
    for name in set(module.__all__) & own:
        assert getattr(module, name).__doc__, name


def test_every_word_is_known_to_the_reader():
    assert set(language.__all__) <= set(unpinned.__all__)
    types = {"Gfn", "GfnRange", "Page"}
    assert set(language.__all__) == DRIVER_FIELDS | DRIVER_VALUES | set(DRIVER_CALLS) | SECTIONS | {DRIVER_ROOT} | types
    assert set(modelling.__all__) == MODEL_FIELDS | MODEL_VALUES | set(MODEL_CALLS) | {MODEL_ROOT}
    own = {name for name in vars(language.SecondaryMMU) if not name.startswith("_")}
    assert own - ATTRIBUTES == MM_CALLS
    assert not MM_CALLS & set(HOOKS)


def test_a_plan_that_is_run_says_so(tmp_path, monkeypatch):
    class Kvm(language.SecondaryMMU):
        lock = language.SpinLock()
        seq = language.Counter(bits=3)
        flag = language.Flag()
        pages = language.PerPage(language.Counter())
        count = language.Atomic(signed=True)
        sem = language.RwSem()
        queue = language.WaitQueue()
        mr = language.Object()
        srcu = language.Srcu()
        work = language.WorkItem("drain")

    kvm, gfn = Kvm(), language.Gfn()
    for run in (
        lambda: kvm.seq,
        lambda: setattr(kvm, "seq", 1),
        lambda: kvm.flag,
        lambda: kvm.pages[gfn],
        kvm.lock.__enter__,
        lambda: kvm.get_user_page(gfn, True),
        lambda: kvm.zap(gfn),
        lambda: language.page_range(gfn),
        lambda: kvm.count,
        lambda: setattr(kvm, "count", 1),
        lambda: type(kvm).count.add_return(1),
        lambda: type(kvm).count.cmpxchg(0, 1),
        lambda: type(kvm).count.xchg(1),
        lambda: type(kvm).flag.xchg(True),
        kvm.lock.trylock,
        language.Mutex().trylock,
        kvm.sem.read,
        kvm.sem.write,
        kvm.sem.try_read,
        kvm.sem.try_write,
        lambda: kvm.queue.wait_event(True),
        kvm.queue.wake_up,
        kvm.mr.use,
        kvm.mr.get,
        kvm.mr.get_unless_zero,
        kvm.mr.put,
        kvm.mr.free,
        kvm.mr.kfree_rcu,
        lambda: kvm.mr.call_srcu(kvm.srcu),
        kvm.srcu.read,
        kvm.srcu.synchronize,
        kvm.work.queue,
        kvm.work.flush,
        kvm.work.cancel_sync,
        language.rcu_read_lock,
        language.synchronize_rcu,
        language.cond_resched,
        language.all_pages,
        lambda: language.READ_ONCE(1),
        lambda: language.WRITE_ONCE(1, 2),
        lambda: language.smp_load_acquire(1),
        lambda: language.smp_store_release(1, 2),
        language.smp_mb,
        language.smp_rmb,
        language.smp_wmb,
        lambda: modelling.choose(0, 2),
        lambda: modelling.choose(iter([])),
        lambda: modelling.lowest(()),
        lambda: modelling.exists(()),
        modelling.atomic,
    ):
        with pytest.raises(RuntimeError, match="read by unpinned, not run"):
            run()


def test_the_shipped_plans_can_be_imported_by_an_editor():
    assert importlib.import_module("unpinned.drivers.kvm2008").Kvm2008.seq


# ---- whatever comes in, only PlanError comes out


def survive(path: Path) -> bool:
    """Say whether a file is a plan; let nothing but PlanError pass."""
    try:
        read_plans(path)
    except PlanError as error:
        return not str(error)
    return True


def test_the_standard_library_is_no_plan():
    files = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))[::17][:200]
    assert len(files) > 50
    assert [path for path in files if survive(path)] == []


@pytest.mark.parametrize("seed", range(4))
def test_broken_plans(tmp_path, seed):
    rng = random.Random(seed)
    words = BASE.split(" ")
    path = tmp_path / "plan.py"
    good = 0
    for _ in range(150):
        text = list(words)
        for _ in range(rng.randint(1, 3)):
            at, other = rng.randrange(len(text)), rng.randrange(len(text))
            match rng.randrange(4):
                case 0:
                    del text[at]
                case 1:
                    text[at], text[other] = text[other], text[at]
                case 2:
                    text.insert(at, text[other])
                case _:
                    cut = rng.randrange(len(text[at]) + 1)
                    text[at] = text[at][:cut] + rng.choice("()[]:=.,'\"\n\t\\*@\0\u00e9é~x1") + text[at][cut:]
        path.write_text(" ".join(text))
        good += survive(path)
    assert good < 150
