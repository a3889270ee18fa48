"""A person's settings as a YAML file has them: their time zone, and what they prefer of tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from rota.domain.agents.configuration import Preference, ToolDeclaration
from rota.domain.errors import InvalidInputError
from rota.domain.schedules.rules.cron import parse_zone
from rota.domain.text.shortening import quoted
from rota.domain.text.validation import near_or_all
from rota.services.yaml_files import load_yaml

_NAMES: Final = ("time_zone", "tools")
_PREFERENCES: Final[tuple[str, ...]] = get_args(Preference)


@dataclass(frozen=True, slots=True)
class SettingsEntry:
    """What a file says; None leaves it as it is, and `tools` are all preferences."""

    time_zone: str | None
    tools: Mapping[str, Preference] | None


def write_settings(time_zone: str, tools: Sequence[ToolDeclaration]) -> dict[str, Any]:
    """Return settings as a file has them."""
    preferred = {one.name: one.preference for one in tools if one.preference is not None}
    ordered = {name: preferred[name] for name in sorted(preferred)}
    return {"time_zone": time_zone, "tools": ordered}


def parse_settings_file(text: str, *, source: str) -> SettingsEntry:
    """Read settings; raises InvalidInputError that names what is wrong."""
    value = load_yaml(text, source=source)
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"{source}: it is a mapping of {' and '.join(_NAMES)}.")
    for name in value:
        if name not in _NAMES:
            raise InvalidInputError(
                f"{source}: there is no field {quoted(str(name))}; {near_or_all(name, _NAMES)}"
            )
    zone, tools = value.get("time_zone"), value.get("tools")
    if zone is not None and not isinstance(zone, str):
        raise InvalidInputError(f"{source}: `time_zone` is a text, such as Europe/Berlin.")
    if zone is not None:
        try:
            parse_zone(zone)
        except InvalidInputError as error:
            raise InvalidInputError(f"{source}: {error.message}") from error
    if tools is None and "tools" not in value:
        return SettingsEntry(zone, None)
    if not isinstance(tools, Mapping) or not all(
        isinstance(name, str) and said in _PREFERENCES for name, said in tools.items()
    ):
        raise InvalidInputError(
            f"{source}: `tools` is a mapping of tools to one of {', '.join(_PREFERENCES)}."
        )
    return SettingsEntry(zone, dict(tools))
