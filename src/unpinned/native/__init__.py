# SPDX-License-Identifier: Apache-2.0
"""Compile a small part of Python to machine code, and run it; nothing here knows what the programs are for.

The language is described in `check` (statements) and `expressions`; what a program means is what `python.run` does
with it, which is the same text executed by CPython. The ways through:

    text  --check-->  typed tree  --program-->  LLVM IR  --machine-->  object code  --machine.load-->  callables
    text  --python.run-->  callables of the same meaning, for tests

`cache` keeps object code on disk. Importing these modules does not import llvmlite: only compiling and loading do.
"""
