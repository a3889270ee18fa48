"""What a person set up as a set of files: made of the database, and applied to it.

A set has a file for each agent with its schedules, and one each for calendars, rules and settings.
It is what `rota export` writes into a directory and `rota apply` reads, and GET /files and
POST /files/apply have. Names of files are relative, with `/`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

from rota.domain.errors import InvalidInputError
from rota.domain.ids import UserId
from rota.services.agent_files.faults import Faults
from rota.services.agent_files.reading import AgentFile, read_agent_text
from rota.services.agent_files.settings_files import SettingsEntry, parse_settings_file
from rota.services.agent_files.writing import Entry
from rota.services.approvals.rule_files import RuleEntry, parse_rules
from rota.services.schedules.calendar_texts import CalendarEntry, parse_calendars
from rota.services.yaml_files import dump_yaml

AGENTS: Final = "agents/"
CALENDARS: Final = "calendars.yaml"
RULES: Final = "rules.yaml"
SETTINGS: Final = "settings.yaml"
SEEN: Final = ".rota-export.json"
"""Says what an export saw, so that `apply` knows what somebody changed since."""

ENDINGS: Final = (".yaml", ".yml", ".json")
MOST_FILES: Final = 2_000

_FORMAT: Final = 1
_NAME: Final = re.compile(r"(?!\.)[^\x00-\x1f/\\]{1,200}(/(?!\.)[^\x00-\x1f/\\]{1,200}){0,20}")
_OF_AGENT: Final = re.compile(r"agents/[a-z0-9][a-z0-9_-]{0,62}\.yaml")
_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FileSet:
    """Files of an export by their names. `left_out` says in words what no file has."""

    files: Mapping[str, str]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What an export saw of a file: the hash of its text, and of what it says."""

    text: str
    content: str


@dataclass(frozen=True, slots=True)
class FilesRead:
    """A set of files, read. What is None has no file; `agents` are those of all agent files.

    `seen` is what the export saw that these files are from, None where it was another person's, or
    there is no note of it.
    """

    agents: tuple[AgentFile, ...]
    calendars: tuple[CalendarEntry, ...] | None = None
    rules: tuple[RuleEntry, ...] | None = None
    settings: SettingsEntry | None = None
    seen: Mapping[str, Seen] | None = None

    @property
    def sources(self) -> dict[str, str]:
        """Return which file has what an export would write into each, by the latter's name."""
        found = {
            file_of_agent(entry.name): file.places.source
            for file in self.agents
            for entry in file.agents
        }
        others = {CALENDARS: self.calendars, RULES: self.rules, SETTINGS: self.settings}
        return found | {name: name for name, there in others.items() if there is not None}


@dataclass(frozen=True, slots=True)
class Content:
    """What there is of a person, as files have it: `texts`, and the hashes of what they say.

    The note of a schedule that is paused is in its file, and not in the hash: applying the file
    changes nothing of a pause.
    """

    texts: Mapping[str, str]
    hashes: Mapping[str, str]
    left_out: tuple[str, ...] = ()

    def export(self, user_id: UserId) -> FileSet:
        """Return the files, with the note of what was seen."""
        seen = {name: Seen(hash_of(t), self.hashes[name]) for name, t in self.texts.items()}
        note = {"format": _FORMAT, "person": str(user_id), "files": {}}
        written = carry_over(json.dumps(note), seen)
        return FileSet(dict(sorted(self.texts.items())) | {SEEN: written}, self.left_out)


@dataclass(slots=True)
class ContentDraft:
    """Collects what there is, file by file."""

    texts: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: Any) -> None:
        """Add a file."""
        self.texts[name] = dump_yaml(value)
        self.hashes[name] = hash_of(dump_yaml(_without_pauses(value)))


def file_of_agent(agent_name: str) -> str:
    """Return the name of the file that an export writes an agent into."""
    return f"{AGENTS}{agent_name}.yaml"


def hash_of(text: str) -> str:
    """Return SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_file_set(files: Mapping[str, str], *, user_id: UserId, now: datetime) -> FilesRead:
    """Read files by their names; raises InvalidInputError for all that is wrong at once.

    What is wrong with values of agents is kept in the agent files, for whoever writes them. `now`
    (aware) is what a time such as "tomorrow 9:00" is told from.
    """
    faults = Faults()
    if len(files) > MOST_FILES:
        raise InvalidInputError(f"There are more than {MOST_FILES} files.")
    agents: list[AgentFile] = []
    calendars: tuple[CalendarEntry, ...] | None = None
    rules: tuple[RuleEntry, ...] | None = None
    settings: SettingsEntry | None = None
    for name in sorted(files):
        with faults.gathered():
            match name:
                case "calendars.yaml":
                    calendars = parse_calendars(files[name], source=name)
                case "rules.yaml":
                    rules = _rules(files[name])
                case "settings.yaml":
                    settings = parse_settings_file(files[name], source=name)
                case ".rota-export.json":
                    pass
                case _:
                    _check_name(name)
                    agents.append(read_agent_text(files[name], source=name, now=now))
    seen = None
    with faults.gathered():
        seen = read_seen(files[SEEN], user_id=user_id) if SEEN in files else None
    faults.check(by_line=False)
    return FilesRead(tuple(agents), calendars, rules, settings, seen)


def read_seen(text: str, *, user_id: UserId | None = None) -> dict[str, Seen] | None:
    """Read the note of an export; None where it is of another person, or of a later format.

    Raises InvalidInputError for what is no such note.
    """
    seen: dict[str, Seen] = {}
    try:
        note = json.loads(text)
        if note["format"] != _FORMAT or (user_id and note["person"] != str(user_id)):
            return None
        seen = {str(name): Seen(**one) for name, one in note["files"].items()}
        hashes = [h for one in seen.values() for h in (one.text, one.content)]
        is_ours = all(_HASH.fullmatch(one) for one in hashes)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        is_ours = False
    if not is_ours:
        raise InvalidInputError(
            f"{SEEN} is not as `rota export` writes it (a merge of git may have left its marks). "
            "Export anew, or delete it."
        )
    return seen


def carry_over(text: str, seen: Mapping[str, Seen]) -> str:
    """Return the note of an export with these files in it, too."""
    note = json.loads(text)
    note["files"] |= {name: asdict(one) for name, one in seen.items()}
    return json.dumps(note, indent=1, sort_keys=True) + "\n"


def is_export_name(name: str) -> bool:
    """Return whether an export may write a file of this name."""
    return name in {CALENDARS, RULES, SETTINGS} or _OF_AGENT.fullmatch(name) is not None


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or not name.endswith(ENDINGS):
        raise InvalidInputError(
            f"{name!r} is no name of a file here: it is relative, with / between folders, "
            f"and ends with {', '.join(ENDINGS)}."
        )


def _rules(text: str) -> tuple[RuleEntry, ...]:
    entries = parse_rules(text, source=RULES, least=0)
    faults = Faults()
    for number, entry in enumerate(entries, 1):
        if entry.user is not None:
            said = "only the operator's rules name a person, and those are in no file"
        elif entry.uses is not None or entry.lasts:
            said = (
                "`uses` and lengths of time would begin anew each time; "
                "add such a rule with `rota approvals policy add`"
            )
        else:
            continue
        faults.add(InvalidInputError(f"{RULES}: rule {number}: {said}."))
    faults.check(by_line=False)
    return entries


def _without_pauses(value: Any) -> Any:
    if not isinstance(value, dict) or "schedules" not in value:
        return value
    schedules: Iterable[Entry] = value["schedules"]
    return value | {
        "schedules": [{k: v for k, v in one.items() if k != "paused"} for one in schedules]
    }
