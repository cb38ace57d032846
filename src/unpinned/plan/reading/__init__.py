# SPDX-License-Identifier: Apache-2.0
"""Read plan files as validated syntax: files, imports, classes, then methods; nothing is executed."""
