# SPDX-License-Identifier: Apache-2.0
"""Quadrics' ioproc hooks: a network adapter whose MMU is kept in step with the CPU's page table under one lock.

Source: David Addison's posting of 26 April 2005 ("Linux VM hooks for advanced RDMA NICs"), and what its header says of
the hooks. The Elan driver itself was not found, so that its fault is inferred: what it needs is that the page is
faulted in, and the hook has loaded the translation by then.
"""

from unpinned import MAPPED, SecondaryMMU


class Ioproc(SecondaryMMU):
    """All hooks run under page_table_lock, and need no lock of their own; nothing is pinned, and nothing replayed."""

    era = "2005"

    def ioproc_invalidate_range(self, r):
        self.zap(r)

    def ioproc_invalidate_page(self, gfn):
        self.zap(gfn)

    def ioproc_update_page(self, gfn, page, write):
        self.map(gfn, page, write)

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        self.put_page(page)
        return MAPPED
