# SPDX-License-Identifier: Apache-2.0
"""The text of a variant is the file's with its changes, and each of its lines knows which line it was."""

from __future__ import annotations

import ast

import pytest

from unpinned.errors import PlanError
from unpinned.plan.reading.source import Source, parse_source
from unpinned.vary.text import Change, changed, diff, indent_of, lines_of, span, written

TEXT = "a = 1\nif a:\n    b = 2  # why\n    c = 3; d = 4\n"


def stmts(source: Source) -> dict[str, ast.stmt]:
    """Return the assignments of a text by the name that they set."""
    return {
        node.targets[0].id: node
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def test_a_line_that_goes_takes_its_number_with_it():
    source = parse_source(TEXT, "f.py")
    at = lines_of(source, stmts(source)["b"])
    assert at is not None
    assert source.text[at.start : at.end] == "    b = 2  # why\n"
    new = changed(source, [Change(at.start, at.end, "", at.first)])
    assert new.text == "a = 1\nif a:\n    c = 3; d = 4\n"
    assert new.origins == (1, 2, 4)
    assert new.pos(stmts(new)["d"]).line == 4
    assert new.pos(stmts(new)["d"]).text == "    c = 3; d = 4"


def test_a_line_that_moves_keeps_its_number():
    source = parse_source("a = 1\nb = 2\nc = 3\n", "f.py")
    new = changed(source, [Change(0, 6, "", 1), Change(12, 12, "a = 1\n", 1)])
    assert (new.text, new.origins) == ("b = 2\na = 1\nc = 3\n", (2, 1, 3))


def test_a_line_that_is_new_has_the_number_that_it_is_given():
    source = parse_source("a = 1\nb = 2\n", "f.py")
    new = changed(source, [Change(6, 6, "x = 1\ny = 2\n", 7)])
    assert (new.text, new.origins) == ("a = 1\nx = 1\ny = 2\nb = 2\n", (1, 7, 8, 2))
    new = changed(source, [Change(6, 6, "x = 1\ny = 2\n", 1, new=True)])
    assert (new.text, new.origins) == ("a = 1\nx = 1\ny = 2\nb = 2\n", (1, 1, 1, 2))


def test_part_of_a_line_leaves_it_its_number():
    source = parse_source(TEXT, "f.py")
    value = stmts(source)["c"]
    assert isinstance(value, ast.Assign)
    at = span(source, value.value)
    new = changed(source, [Change(at.start, at.end, "30", at.first)])
    assert new.lines[3] == "    c = 30; d = 4"
    assert new.origins == (1, 2, 3, 4)


def test_changes_of_changes_point_at_the_first_text():
    source = parse_source("a = 1\nb = 2\nc = 3\n", "f.py")
    once = changed(source, [Change(0, 6, "", 1)])
    twice = changed(once, [Change(0, 6, "", 1)])
    assert (twice.text, twice.origins) == ("c = 3\n", (3,))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_the_file_does(end):
    source = parse_source(TEXT.replace("\n", end), "f.py")
    at = lines_of(source, stmts(source)["b"])
    assert at is not None
    new = changed(source, [Change(at.start, at.start, "    x = 0\n", at.first)])
    assert new.text == TEXT.replace("    b", "    x = 0\n    b").replace("\n", end)
    assert new.origins == (1, 2, 3, 3, 4)


def test_columns_are_those_of_characters():
    source = parse_source("if 'é' == 'è': a = 'ß'; b = 2\n", "f.py")
    assert written(source, stmts(source)["b"]) == "b = 2"
    assert written(source, stmts(source)["a"]) == "a = 'ß'"


def test_a_statement_that_shares_its_line_has_no_line_of_its_own():
    source = parse_source(TEXT, "f.py")
    named = stmts(source)
    assert lines_of(source, named["c"]) is None
    assert lines_of(source, named["d"]) is None
    assert indent_of(source, named["b"]) == "    "


def test_the_last_line_needs_no_end():
    source = parse_source("a = 1\nb = 2", "f.py")
    at = lines_of(source, stmts(source)["b"])
    assert at is not None
    assert changed(source, [Change(at.start, at.end, "", at.first)]).text == "a = 1\n"


def test_what_is_no_python_any_more_is_refused():
    source = parse_source(TEXT, "f.py")
    with pytest.raises(PlanError, match="not Python"):
        changed(source, [Change(0, 1, "(", 1)])


def test_the_diff_is_unified_and_of_one_file():
    source = parse_source(TEXT, "folder/f.py")
    at = lines_of(source, stmts(source)["b"])
    assert at is not None
    new = changed(source, [Change(at.start, at.end, "", at.first)])
    assert diff(source, new) == (
        "--- folder/f.py\n+++ folder/f.py\n@@ -1,4 +1,3 @@\n a = 1\n if a:\n-    b = 2  # why\n     c = 3; d = 4\n"
    )
