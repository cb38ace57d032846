# SPDX-License-Identifier: Apache-2.0
"""Turn programs into object code for this CPU, and object code into callables, through llvmlite.

llvmlite is imported when something is compiled or loaded, and not before. Object code is self-contained: it says which
functions it exports, and may be kept and loaded in another process on the same machine (see `cache`).

llvmlite lets one thread at a time into LLVM: loading waits for what another thread compiles. Calling does not.

The callables are ctypes functions: they take and return u64, release the interpreter lock while they run, and may be
called from several threads at once.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any

from unpinned.native.errors import CompileError, NativeError

#: What went wrong when llvmlite was loaded, once that was tried and failed.
_faults: list[str] = []


def available() -> bool:
    """Say whether llvmlite is installed, and was not found to be broken; it is not imported for that."""
    return not _faults and importlib.util.find_spec("llvmlite") is not None


def fault() -> str:
    """Load llvmlite, and say in words what is wrong with it; or nothing."""
    if not _faults and available():
        try:
            _binding()
        except Exception as error:  # noqa: BLE001 - whatever a broken package does, the reference engine answers
            _faults.append(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    return _faults[0] if _faults else ""


@cache
def _binding() -> Any:
    """Import llvmlite and prepare it for this CPU."""
    llvm = importlib.import_module("llvmlite.binding")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


def identity() -> str:
    """Return what object code depends on beside the program: the CPU with its features, llvmlite and LLVM."""
    llvm = _binding()
    versions = (importlib.import_module("llvmlite").__version__, llvm.llvm_version_info)
    return repr((llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten(), versions))


class Machine:
    """This CPU as a target of LLVM, at an optimisation level: 0 compiles fast, 2 makes fast code."""

    def __init__(self, level: int) -> None:
        llvm = _binding()
        self.level = level
        self.target = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
            cpu=llvm.get_host_cpu_name(),
            features=llvm.get_host_cpu_features().flatten(),
            opt=level,
            jit=True,
        )

    def object_code(self, text: str) -> bytes:
        """Compile LLVM IR."""
        llvm = _binding()
        context = llvm.create_context()
        module = llvm.parse_assembly(text, context)
        module.triple = self.target.triple
        module.data_layout = str(self.target.target_data)
        options = llvm.create_pipeline_tuning_options(speed_level=self.level)
        builder = llvm.create_pass_builder(self.target, options)
        builder.getModulePassManager().run(module, builder)
        if self.level == 0:
            passes = llvm.create_new_function_pass_manager()
            passes.add_sroa_pass()
            for function in module.functions:
                if not function.is_declaration:
                    passes.run(function, builder)
        code: bytes = self.target.emit_object(module)
        return code


def compile_module(
    source: str, exports: Mapping[str, int], *, level: int, debug: bool = False, inline: Collection[str] = ()
) -> bytes:
    """Compile a program to object code.

    `exports` has the functions that can be called from outside, each with its number of parameters; the others can be
    removed. `inline` names functions to be inlined at every call. Raises `CompileError`.
    """
    # The compiler is imported here, because a process that loads what it finds in the cache does not wait for it.
    from unpinned.native.check import read_module  # noqa: PLC0415
    from unpinned.native.debug import debug_text  # noqa: PLC0415
    from unpinned.native.program import module_text  # noqa: PLC0415

    module = read_module(source)
    for name, count in exports.items():
        if name not in module.functions:
            raise CompileError("", 0, f"{name} is to be exported and not defined")
        if len(module.functions[name].params) != count:
            raise CompileError(name, module.functions[name].line, f"exported with {count} parameters")
    try:
        text = debug_text(module, exports) if debug else module_text(module, exports, inline)
    except RecursionError as error:
        raise CompileError("", 0, "an expression or a block is nested too deeply", "split it") from error
    return Machine(level).object_code(text)


class Loaded:
    """Object code in memory; it stays there as long as this object or one of its callables."""

    def __init__(self, object_code: bytes) -> None:
        llvm = _binding()
        # The module is in the global context, which outlives every engine.
        empty = llvm.parse_assembly("")
        self._engine = llvm.create_mcjit_compiler(empty, Machine(0).target)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(object_code))
        self._engine.finalize_object()
        self._signatures: dict[str, int] = json.loads(self._string("native.signatures") or "{}")
        places = self._string("native.places")
        self._places: list[tuple[str, int, str]] = json.loads(places or "[]")
        self._debug = places is not None
        self._regions: dict[int, int] = {}

    def _string(self, name: str) -> bytes | None:
        address = self._engine.get_global_value_address(name)
        return ctypes.string_at(address) if address else None

    def function(self, name: str) -> Callable[..., int]:
        """Return an exported function: it takes u64s, addresses for pointers, and returns a u64.

        In a debug build it raises `NativeError` for a fault.
        """
        if name not in self._signatures:
            raise KeyError(f"{name} is not exported; there are {', '.join(self._signatures)}")
        count = self._signatures[name] + self._debug
        kind = ctypes.CFUNCTYPE(ctypes.c_uint64, *[ctypes.c_uint64] * count)
        native = kind(self._engine.get_function_address(f"native.{name}"))
        native.loaded = self  # type: ignore[attr-defined]
        return self._checked(native) if self._debug else native

    def _checked(self, native: Callable[..., int]) -> Callable[..., int]:
        def call(*args: int) -> int:
            regions = [number for region in self._regions.items() for number in region]
            context = (ctypes.c_uint64 * (3 + len(regions)))(0, 0, len(regions) // 2, *regions)
            result = native(ctypes.addressof(context), *args)
            if context[0]:
                function, line, kind = self._places[context[0] - 1]
                raise NativeError(function, line, kind, context[1])
            return result

        return call

    def region(self, address: int, size: int) -> None:
        """Let a debug build touch `size` bytes from an address, until `forget`; calls that run do not see it yet.

        Take a region back before its memory is freed: what lies there afterwards would pass for it.
        """
        self._regions[address] = size

    def forget(self, address: int) -> None:
        """Take back the region that begins at an address."""
        del self._regions[address]


def load(object_code: bytes) -> Loaded:
    """Load object code into this process."""
    return Loaded(object_code)
