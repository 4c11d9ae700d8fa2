"""A command rewrites its part of a document and nothing around it."""

from __future__ import annotations

import pytest

from export.sections import with_section, write_section
from services.errors import UsageError

DOCUMENT = "# A\n\n<!-- a:begin -->\nold\n<!-- a:end -->\n\n<!-- b:begin -->\n<!-- b:end -->\nend\n"


def test_only_the_part_between_the_marks_changes(tmp_path):
    fresh = with_section(DOCUMENT, "a", "new\n\n")
    assert fresh == DOCUMENT.replace("old", "new")
    assert with_section(fresh, "a", "new") == fresh
    path = tmp_path / "a.md"
    path.write_text(DOCUMENT)
    write_section(path, "b", "| x |")
    assert path.read_text() == DOCUMENT.replace("b:begin -->\n", "b:begin -->\n| x |\n")


@pytest.mark.parametrize("document", ["", "<!-- a:begin -->", "<!-- a:end --> <!-- a:begin -->"])
def test_a_document_without_marks_is_refused(document):
    with pytest.raises(UsageError, match="has no <!-- a:begin --> followed by <!-- a:end -->"):
        with_section(document, "a", "new")
