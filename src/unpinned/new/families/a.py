# SPDX-License-Identifier: Apache-2.0
"""One lock is held over the read of the PTE and the set of the device's entry.

family: A
who: Quadrics ioproc (2005), under page_table_lock
rule: the mm calls before it clears a PTE, under the lock that a fault holds too: nothing can slip between
needs: a hook that the mm calls under the page table lock, before the PTE is cleared
needs: a fault that holds the page table lock while it reads the PTE
"""
