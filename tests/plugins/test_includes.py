"""Every file of plugins/ includes the standard headers of the names it uses, itself or by the header of its own name.

What another header happens to bring differs between the libraries of compilers: g++ 12 has `std::system_error` after
`<thread>`, g++ 13 has not.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "plugins"
FILES = sorted(path for path in ROOT.rglob("*") if path.suffix in (".h", ".cuh", ".cpp", ".cu"))
# The names we use of each header; a name that is new here says so.
STANDARD = {
    "algorithm": "adjacent_find all_of any_of clamp copy copy_n count_if equal fill fill_n find find_if for_each "
    "generate max min nth_element remove_if shuffle sort transform",
    "array": "array",
    "atomic": "atomic memory_order_acquire memory_order_relaxed memory_order_release",
    "cctype": "isdigit",
    "chrono": "chrono",
    "cmath": "abs ceil exp2 fabs floor isfinite nearbyint round sqrt",
    "condition_variable": "condition_variable",
    "csetjmp": "jmp_buf longjmp",
    "cstddef": "ptrdiff_t size_t",
    "cstdint": "int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t uintptr_t",
    "cstdio": "fprintf fputs printf snprintf",
    "cstdlib": "abort aligned_alloc atoi free getenv strtoll",
    "cstring": "memcpy memset strcmp strncmp strrchr",
    "deque": "deque",
    "exception": "current_exception exception exception_ptr rethrow_exception",
    "fstream": "ifstream",
    "functional": "function multiplies",
    "initializer_list": "initializer_list",
    "iterator": "back_inserter begin end prev size",
    "limits": "numeric_limits",
    "map": "map",
    "memory": "align make_shared make_unique shared_ptr unique_ptr",
    "mutex": "call_once lock_guard mutex once_flag unique_lock",
    "new": "bad_alloc",
    "numeric": "accumulate iota",
    "random": "mt19937 mt19937_64",
    "ratio": "milli",
    "set": "set",
    "sstream": "istringstream",
    "stdexcept": "invalid_argument logic_error out_of_range runtime_error",
    "string": "getline stod stoll string to_string",
    "string_view": "string_view",
    "system_error": "system_error",
    "thread": "this_thread thread",
    "tuple": "get tuple",
    "type_traits": "common_type_t is_trivially_copyable",
    "utility": "move pair swap",
    "vector": "vector",
}
HEADER_OF = {name: header for header, names in STANDARD.items() for name in names.split()}
# What carries no `std::`: a pattern, and where it is declared.
PLAIN = {
    r"\bU?INT(8|16|32|64)_(MAX|MIN)\b": "cstdint",
    r"\bdl(open|sym|error|addr|close)\(": "dlfcn.h",
    r"\b_mm(256|512)?_\w+\(": "immintrin.h",
}


def code(path: Path) -> str:
    """The file without its comments and texts."""
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"', "", path.read_text(), flags=re.DOTALL)


def used(text: str) -> set[str]:
    """The headers that declare what the code names."""
    names = set(re.findall(r"\bstd::([a-z_0-9]+)", text))
    assert names <= set(HEADER_OF), f"add {names - set(HEADER_OF)} to STANDARD, with the header that declares them"
    return {HEADER_OF[name] for name in names} | {header for rule, header in PLAIN.items() if re.search(rule, text)}


def included(path: Path) -> set[str]:
    """The standard headers that it includes itself."""
    return set(re.findall(r"^#include <(.+)>$", path.read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_includes_what_it_uses(path: Path) -> None:
    own = path.with_suffix(".h")
    there = included(path) | (included(own) if own.is_file() else set())
    assert used(code(path)) <= there
