"""Output contracts: the form that an answer must have for its run to be a success.

A contract asks for a JSON value that matches a schema, for sections with text, or for both. If an
answer breaks the contract, sentences say why, for the model and for the person alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rota.domain.errors import InvalidInputError
from rota.domain.schemas.schema import MOST_PROBLEMS, JsonSchema
from rota.domain.text.json_values import NotJsonError, read_json
from rota.domain.text.markdown import code_blocks, filled_sections, title_key
from rota.domain.text.storable import RESULT_CONTENT_LIMIT

MOST_SECTIONS: Final = 20
LONGEST_SECTION: Final = 100
"""Characters of a section's name."""

_JSON_LANGUAGES: Final = frozenset({"", "json"})


@dataclass(frozen=True, slots=True)
class OutputContract:
    """The form of an answer: JSON that matches a schema (draft 2020-12), and sections.

    Each section needs some text; their order does not matter. `parse_contract` makes contracts
    whose schema was checked.
    """

    schema: Mapping[str, Any] | None = None
    sections: tuple[str, ...] = ()

    def instructions(self) -> str:
        """Return what is added to the agent's prompt."""
        said: list[str] = []
        if self.schema is not None and not self.sections:
            said.append("Answer with one JSON value and nothing else, before or after it.")
        elif self.schema is not None:
            said.append("The answer holds one JSON value, in a code block that begins with ```json")
        if self.schema is not None:
            said.append(
                "The JSON must match this JSON Schema:\n\n"
                f"```json\n{JsonSchema(self.schema).text}\n```"
            )
        if self.sections:
            headings = "\n".join(f"## {name}" for name in self.sections)
            said.append(f"The answer has these headings, with text under each:\n\n{headings}")
        return "\n\n".join(said)

    def check(self, answer: str) -> tuple[str, ...]:
        """Return why an answer does not deliver: at most five sentences, none if it does.

        What counts is what will be stored: the first 50,000 characters.
        """
        problems = [*self._json_problems(answer), *self._section_problems(answer)]
        return tuple(problems[:MOST_PROBLEMS])

    def correction(self, problems: Sequence[str]) -> str:
        """Return what an agent is told whose answer had these problems, before it tries again."""
        listed = "\n".join(f"- {problem}" for problem in problems)
        return (
            f"Your answer was not accepted:\n\n{listed}\n\n"
            f"Give the whole answer again, corrected. {self.instructions()}"
        )

    def value(self, answer: str) -> Any:
        """Return the JSON of an answer, or None where the contract has no schema.

        Raises InvalidInputError where `check` says that it is no JSON; the schema is not asked.
        """
        if self.schema is None:
            return None
        try:
            return _json_of(answer)
        except NotJsonError as error:
            raise InvalidInputError(error.sentence) from error

    def _json_problems(self, answer: str) -> tuple[str, ...]:
        if self.schema is None:
            return ()
        try:
            value = _json_of(answer)
        except NotJsonError as error:
            return (error.sentence,)
        return JsonSchema(self.schema).problems(value)

    def _section_problems(self, answer: str) -> tuple[str, ...]:
        if not self.sections:
            return ()
        filled = filled_sections(answer[:RESULT_CONTENT_LIMIT], self.sections)
        is_cut = len(answer) > RESULT_CONTENT_LIMIT
        within = f" in the first {RESULT_CONTENT_LIMIT} characters, which are kept" * is_cut
        return tuple(
            f"The section {name!r} is empty{within}: put text under it."
            if name in filled
            else f"There is no section {name!r}{within}: write the heading '## {name}', and text "
            "under it."
            for name in self.sections
            if not filled.get(name)
        )


def parse_contract(value: object, *, where: str = "output") -> OutputContract:
    """Read a contract from a row's JSON: {"schema": {...}}, {"sections": [...]}, or both.

    Raises InvalidInputError naming the place, below `where`.
    """
    if not isinstance(value, Mapping) or not value:
        raise InvalidInputError(f"{where} is a mapping of `schema` or `sections`.", field=where)
    for name in value:
        if name not in {"schema", "sections"}:
            raise InvalidInputError(
                f"There is no {where}.{str(name)[:60]}. Use `schema` or `sections`.",
                field=f"{where}.{str(name)[:60]}",
            )
    schema = value.get("schema")
    return OutputContract(
        JsonSchema(schema, where=f"{where}.schema").value if "schema" in value else None,
        _sections(value["sections"], f"{where}.sections") if "sections" in value else (),
    )


def _sections(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MOST_SECTIONS:
        raise InvalidInputError(f"{where} is a list of 1 to {MOST_SECTIONS} names.", field=where)
    names: dict[str, str] = {}
    for index, name in enumerate(value):
        place = f"{where}[{index}]"
        if not isinstance(name, str) or not _is_title(name):
            raise InvalidInputError(
                f"{place} is a heading without its #: one line of 1 to {LONGEST_SECTION} "
                "characters, with a letter or a digit.",
                field=place,
            )
        earlier = names.setdefault(title_key(name), name)
        if earlier is not name:
            raise InvalidInputError(f"{place}: {earlier!r} is there already.", field=place)
    return tuple(name.strip() for name in names.values())


def _is_title(name: str) -> bool:
    return (
        len(name) <= LONGEST_SECTION
        and name.isprintable()
        and not name.lstrip().startswith("#")
        and any(character.isalnum() for character in name)
    )


def _json_of(answer: str) -> Any:
    """Return the JSON that an answer is, or holds as its one fenced block; raises NotJsonError.

    A block counts if it is marked `json`, or not at all. Text around the block is passed over;
    text around bare JSON is not, for nobody could tell where the JSON begins.
    """
    if len(answer) > RESULT_CONTENT_LIMIT:
        raise NotJsonError(
            f"The answer has {len(answer)} characters; only {RESULT_CONTENT_LIMIT} are kept, and "
            "half of a JSON value is none."
        )
    whole = answer.strip().removeprefix("\ufeff").strip()
    if not whole:
        raise NotJsonError("The answer is empty; one JSON value is asked for.")
    try:
        return read_json(whole)
    except NotJsonError:
        blocks = [block for block in code_blocks(whole) if block.language in _JSON_LANGUAGES]
        # What begins with a brace is meant to be JSON: a fence inside belongs to it.
        if whole.startswith("{") or (whole.startswith(("[", '"')) and not blocks):
            raise
    candidates = [block for block in blocks if block.language] or blocks
    match candidates:
        case []:
            raise NotJsonError(
                "The answer is not JSON: give one JSON value and nothing else, or put it in one "
                "block that begins with ```json."
            )
        case [block]:
            return read_json(block.text.strip())
        case _:
            raise NotJsonError(f"The answer has {len(candidates)} blocks of JSON; give one.")
