"""Reads approval rules as people write them: on the command line, or in a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from rota.domain.approvals.condition_syntax import parse_condition
from rota.domain.approvals.rules import EFFECTS, RuleDraft
from rota.domain.errors import InvalidInputError
from rota.domain.ids import ScheduleId, UserId
from rota.domain.schedules.written_time import parse_duration, parse_moment, written_moment
from rota.domain.text.shortening import quoted
from rota.domain.text.validation import near_or_all
from rota.services.text_files import read_text_file
from rota.services.yaml_files import load_yaml

LARGEST_FILE: Final = 1_000_000
MOST_RULES: Final = 500

_EFFECT_WORDS: Final = {**{effect: effect for effect in EFFECTS}, "refuse": "deny"}
"""How a file says what a rule does; rows have what stands behind it."""

_WORD_OF: Final = {effect: word for word, effect in _EFFECT_WORDS.items() if word != "deny"}

_NAMES: Final = frozenset(
    {*_EFFECT_WORDS, "when", "agent", "schedule", "user", "runs", "risk", "note", "expires", "uses"}
)


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """A rule as written: schedule and person by name, its end as a duration or a time."""

    effect: str
    tool: str
    when: tuple[str, ...] = ()
    agent: str | None = None
    schedule: str | None = None
    user: str | None = None
    runs: str = "any"
    risk: str | None = None
    note: str = ""
    expires: str | None = None
    uses: int | None = None

    def draft(
        self,
        *,
        now: datetime,
        zone: ZoneInfo,
        schedule_id: ScheduleId | None = None,
        for_user: UserId | None = None,
    ) -> RuleDraft:
        """Return the rule, with what its names stand for; raises InvalidInputError."""
        return RuleDraft(
            effect=self.effect,  # type: ignore[arg-type]  # `checked` looks
            tool=self.tool,
            conditions=tuple(parse_condition(text) for text in self.when),
            agent_name=self.agent,
            schedule_id=schedule_id,
            for_user=for_user,
            attendance=self.runs,  # type: ignore[arg-type]  # as above
            risk=self.risk,  # type: ignore[arg-type]  # as above
            note=self.note.strip(),
            expires_at=self._end(now, zone),
            uses_left=self.uses,
        ).checked()

    @property
    def lasts(self) -> bool:
        """Whether its end is said as a length of time."""
        said = self.expires
        return said is not None and not (
            "-" in said or ":" in said or said in {"today", "tomorrow"}
        )

    def _end(self, now: datetime, zone: ZoneInfo) -> datetime | None:
        if self.expires is None:
            return None
        if self.lasts:
            return now + parse_duration(self.expires, field="expires")
        return parse_moment(self.expires, zone, now=now, field="expires", alone="future")


def read_rule_file(path: Path) -> tuple[RuleEntry, ...]:
    """Read a file of rules; raises InvalidInputError that names the place."""
    text = read_text_file(path, most_bytes=LARGEST_FILE)
    return parse_rules(text, source=path.name)


def parse_rules(text: str, *, source: str, least: int = 1) -> tuple[RuleEntry, ...]:
    """Read a YAML list of rules; raises InvalidInputError that names the rule and what is wrong."""
    value = load_yaml(text, source=source)
    if not isinstance(value, list) or not least <= len(value) <= MOST_RULES:
        raise InvalidInputError(f"{source}: it is a list of {least} to {MOST_RULES} rules.")
    return tuple(_entry(item, f"{source}: rule {n}") for n, item in enumerate(value, 1))


def write_rule(draft: RuleDraft, schedule: str | None, zone: ZoneInfo) -> dict[str, Any]:
    """Return a rule as a file has it; `schedule` is the name of the one that it is for."""
    written = {
        _WORD_OF[draft.effect]: draft.tool,
        "when": [str(condition) for condition in draft.conditions],
        "agent": draft.agent_name,
        "schedule": schedule,
        "runs": draft.attendance if draft.attendance != "any" else None,
        "risk": draft.risk,
        "note": draft.note,
        "expires": written_moment(draft.expires_at, zone) if draft.expires_at else None,
    }
    return {name: value for name, value in written.items() if value not in (None, "", [])}


def _entry(item: object, where: str) -> RuleEntry:
    if not isinstance(item, Mapping):
        raise InvalidInputError(f"{where}: a rule is a mapping, such as `allow: send_email`.")
    for name in item:
        if name not in _NAMES:
            raise InvalidInputError(
                f"{where}: there is no field {quoted(str(name))}; {near_or_all(name, _NAMES)}"
            )
    effects = [word for word in _EFFECT_WORDS if word in item]
    if len(effects) != 1:
        raise InvalidInputError(
            f"{where}: it has one of allow, require, refuse, with a tool's name."
        )
    when = item.get("when", [])
    when = [when] if isinstance(when, str) else when
    if not isinstance(when, list) or not all(isinstance(text, str) for text in when):
        raise InvalidInputError(f"{where}: `when` is a list of conditions, each a text.")
    uses = item.get("uses")
    if uses is not None and (isinstance(uses, bool) or not isinstance(uses, int)):
        raise InvalidInputError(f"{where}: `uses` is a number.")
    return RuleEntry(
        effect=_EFFECT_WORDS[effects[0]],
        tool=_text(item, effects[0], where) or "",
        when=tuple(when),
        agent=_text(item, "agent", where),
        schedule=_text(item, "schedule", where),
        user=_text(item, "user", where),
        runs=_text(item, "runs", where) or "any",
        risk=_text(item, "risk", where),
        note=_text(item, "note", where) or "",
        expires=_text(item, "expires", where),
        uses=uses,
    )


def _text(item: Mapping[str, Any], name: str, where: str) -> str | None:
    value = item.get(name)
    if value is None or isinstance(value, str):
        return value
    raise InvalidInputError(f"{where}: `{name}` is a text; put it in quotes.")
