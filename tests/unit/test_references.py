"""What a reference fits, and what is said where that is nothing or too much."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from rota.domain.errors import InvalidInputError, NotFoundError
from rota.services import references
from rota.services.references import id_prefix, the_one


@dataclass(frozen=True)
class Thing:
    id: UUID


def thing(beginning: str) -> Thing:
    return Thing(UUID(beginning.ljust(32, "0")))


@pytest.mark.parametrize("written", ["4a3f", "4A3F", "4a3f0000-0000-0000-0000-000000000000"])
def test_beginning_of_an_id_is_looked_for_as_the_database_has_it(written):
    assert id_prefix(written) == written.lower()


@pytest.mark.parametrize("written", ["4a3", "", "demo", "4a3f%", "4a3_", "4a3f 1"])
def test_what_is_too_short_or_no_id_is_not_looked_for(written):
    assert id_prefix(written) is None


def test_what_fits_alone_is_it():
    assert the_one("run", "4a3f", [thing("4a3f")], hint="") == thing("4a3f")


def test_nothing_says_where_to_look():
    with pytest.raises(NotFoundError, match=r"run '4a3f'.* See `rota runs list`\."):
        the_one("run", "4a3f", [], hint="See `rota runs list`.")


def test_several_are_named_as_far_as_they_differ():
    with pytest.raises(InvalidInputError) as caught:
        the_one("run", "4a3f", [thing("4a3f1"), thing("4a3f2")], hint="")
    assert caught.value.message == (
        "'4a3f' fits more than one run (4a3f1000, 4a3f2000); write more of it."
    )
    with pytest.raises(InvalidInputError, match=r"\(4a3f0000-0, 4a3f0000-1\)"):
        the_one("run", "4a3f", [thing("4a3f000001"), thing("4a3f000012")], hint="")


def test_not_all_of_many_are_named():
    with pytest.raises(InvalidInputError, match=r"\(.{8}(, .{8}){4}, \.\.\.\)"):
        the_one("run", "4a3f", [thing(f"4a3f{n}") for n in range(1, 7)], hint="")


def test_one_place_says_what_a_reference_fits():
    services = Path(references.__file__).parent
    saying = {
        path.name for path in services.rglob("*.py") if "fits more than one" in path.read_text()
    }
    asking = {
        str(path.relative_to(services))
        for path in services.rglob("*.py")
        if "the_one(" in path.read_text() and path.name != "references.py"
    }

    assert saying == {"references.py"}
    assert asking == {
        "approvals/rules.py",
        "approvals/service.py",
        "identity/tokens.py",
        "notifications/service.py",
        "runs/finding.py",
        "runs/results.py",
        "schedules/service.py",
    }
