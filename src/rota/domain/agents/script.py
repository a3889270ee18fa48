"""The format of a `scripted` agent's script: a plan of tool calls, then a template over results.

    {"steps": [
        {"calls": [{"tool": "mail_search", "args": {"query": "newer_than:7d"}}]},
        {"calls": [{"for_each": "results[0].messages", "tool": "mail_get_message",
                    "args": {"id": "{{ item.id }}"}}]}],
     "answer": "{{ by_tool.mail_get_message | length }} messages since last week."}

Every step is one message of the model, its text in `say`; its calls are made side by side. Texts in
`args` are Jinja templates (a text that is one `{{ expression }}` keeps the value's type), and so is
`error`: a step whose error comes out blank raises none, and is passed over;
`for_each` is a Jinja expression for a list and makes one call per `item` of it, up to `limit`; a
step that comes to no call is passed over. Templates see `prompt`, `now`, `results` (of all calls so
far, JSON parsed), `by_tool` (the same by the tool's name), and `failures` (of `tool` and
`message`).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rota.domain.errors import InvalidInputError
from rota.domain.text.validation import problem_in_words

MOST_CALLS: Final = 20
"""Calls that one `for_each` makes at most."""

Template = Annotated[str, Field(max_length=100_000)]
Expression = Annotated[str, Field(min_length=1, max_length=10_000)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Call(_Part):
    """A tool call, or with `for_each` one for each item of a list."""

    tool: str = Field(min_length=1, max_length=200)
    args: dict[str, Any] = Field(default_factory=dict)
    for_each: Expression | None = None
    limit: int = Field(default=MOST_CALLS, ge=1, le=MOST_CALLS)


class Step(_Part):
    """One answer of the model: calls, or an error; after a pause, if `sleep_ms` is given."""

    calls: tuple[Call, ...] = Field(default=(), max_length=MOST_CALLS, strict=False)
    say: Template = ""
    error: Template | None = Field(default=None, min_length=1)
    sleep_ms: int = Field(default=0, ge=0, le=600_000)

    @model_validator(mode="after")
    def _does_one_thing(self) -> Step:
        if self.calls and self.error is not None:
            raise ValueError("a step makes calls or raises an error, not both")
        if self.say and not self.calls:
            raise ValueError("`say` needs calls in the same step; use `answer` for a final text")
        if not (self.calls or self.error is not None or self.sleep_ms):
            raise ValueError("a step needs calls, an error or sleep_ms")
        return self


class Script(_Part):
    """What a scripted model does."""

    steps: tuple[Step, ...] = Field(default=(), max_length=100, strict=False)
    answer: Template = ""

    @model_validator(mode="after")
    def _does_something(self) -> Script:
        if not self.steps and not self.answer:
            raise ValueError("a script needs steps or an answer")
        return self


def parse_script(value: object) -> Script:
    """Read a script from JSON values; raises InvalidInputError naming the first bad place."""
    try:
        return Script.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = _place(("script", *first["loc"]))
        said = problem_in_words(first)
        raise InvalidInputError(f"{place}: {said[0].lower()}{said[1:]}.", field=place) from error


def _place(location: tuple[int | str, ...]) -> str:
    """Write a path as people do: `script.steps[0].calls[1].tool`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".")
