# SPDX-License-Identifier: Apache-2.0
"""Read plans: what an author imports, and the way from Python source to programs of the ir."""
