# SPDX-License-Identifier: Apache-2.0
"""One lock is held over the read of the PTE and the set of the device's entry.

family: A
who: Quadrics ioproc (2005), under page_table_lock
rule: the mm calls before it clears a PTE, under the lock that a fault holds too: nothing can slip between
needs: a fault that holds the page table lock while it reads the PTE
"""
