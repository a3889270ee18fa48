"""The kinds of values that options of runs have, and the declaration of an option.

An option is declared once, as a dataclass field of RunOptions, Limits or DayLimits with `option()`.
Rows, agent files, the command line and its output all use that declaration. A kind knows how to
read its values, from JSON and from what people write. It does not know which option it is for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, ClassVar, Final, Self, TypeAlias, TypeVar

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.drafts import NONE
from rota.domain.schedules.rules.intervals import length_in_words
from rota.domain.schedules.written_time import parse_duration, written_duration
from rota.domain.text.shortening import quoted
from rota.domain.text.validation import near_or_all

T = TypeVar("T")

Written: TypeAlias = str | tuple[str, ...] | None
"""What a person wrote for a flag; several texts where it may be repeated. None: nothing."""

_LARGEST: Final = 10**12
_COUNT: Final = re.compile(r"(\d{1,13})(?:\.(\d{1,6}))?\s*([kKmM]?)", re.ASCII)
_MONEY: Final = re.compile(r"\$?\s*(\d{1,12}(?:\.\d{1,12})?|\.\d{1,12})", re.ASCII)
_TIMES: Final = {"": 1, "k": 1_000, "m": 1_000_000}


class Kind:
    """The base of all kinds. `empty` is the value of an option that is not set."""

    empty: Any = None

    def parse(self, value: object, place: str) -> Any:
        """Read a JSON value that is not null; raises InvalidInputError naming the place."""
        raise NotImplementedError

    def read(self, text: str, place: str) -> Any:  # noqa: ARG002  of a kind that can misread
        """Make a JSON value of what a person wrote; in a change, nothing and 0 take one away."""
        return text.strip() or None

    def change(self, before: Any, written: Sequence[Written], place: str) -> Any:
        """Return the value that what was written for its flags makes of `before`."""
        (text,) = written
        if not isinstance(text, str):
            return before
        value = None if text.strip() == NONE else self.read(text, place)
        return self.parse(value, place) if value else self.empty

    def from_file(self, value: object, place: str) -> Any:
        """Read the value of a file's field."""
        return self.parse(value, place)

    def as_json(self, value: Any) -> Any:
        """Return a value as a row has it."""
        return value

    def to_file(self, value: Any) -> Any:
        """Return a value as a file has it, for `from_file` to read."""
        return self.as_json(value)


@dataclass(frozen=True)
class Text(Kind):
    """One line of 1 to `longest` characters."""

    longest: int

    def parse(self, value: object, place: str) -> str:
        """Read it as `Kind` does."""
        if not isinstance(value, str) or not value.strip() or len(value) > self.longest:
            raise InvalidInputError(
                f"{place} is a text of 1 to {self.longest} characters.", field=place
            )
        return value.strip()


class ModelName(Kind):
    """A model as `provider:model`."""

    def parse(self, value: object, place: str) -> str:
        """Read it as `Kind` does."""
        if not isinstance(value, str) or ":" not in value.strip(":") or len(value) > 200:
            raise InvalidInputError(
                f"{place} is of the form provider:model, not {quoted(str(value))}.", field=place
            )
        return value


@dataclass(frozen=True)
class Texts(Kind):
    """A list of texts, each of 1 to `longest` characters."""

    most: int
    longest: int
    empty = ()

    def parse(self, value: object, place: str) -> tuple[str, ...]:
        """Read it as `Kind` does."""
        if not isinstance(value, list | tuple) or len(value) > self.most:
            raise InvalidInputError(f"{place} is a list of at most {self.most} texts.", field=place)
        for item in value:
            if not isinstance(item, str) or not item.strip() or len(item) > self.longest:
                raise InvalidInputError(
                    f"Each item of a {place} is a text of 1 to {self.longest} characters.",
                    field=place,
                )
        return tuple(item.strip() for item in value)

    def change(self, before: Any, written: Sequence[Written], place: str) -> tuple[str, ...]:
        """Return the list that takes the place of `before`."""
        (items,) = written
        if items is None:
            return tuple(before)
        return () if is_none(items) else self.parse(items, place)

    def as_json(self, value: Any) -> list[str]:
        """Return it as a row has it."""
        return list(value)


class Number(Kind):
    """A number. A file may hold it as a number or as a text."""

    def from_file(self, value: object, place: str) -> Any:
        """Read a YAML number as its text, so that files and the command line are read alike.

        0 is a number as any other here: it takes nothing away.
        """
        if isinstance(value, int | float) and not isinstance(value, bool):
            whole = isinstance(value, int)
            value = str(value) if whole else f"{Decimal(repr(value)):f}".removesuffix(".0")
        if isinstance(value, str):
            value = None if value.strip() == NONE else self.read(value, place)
        return None if value is None else self.parse(value, place)


@dataclass(frozen=True)
class Count(Number):
    """A whole number, as people write it: 20, 200k, 1.5M."""

    least: int = 1
    most: int = _LARGEST
    said: str = "a whole number, 1 or more"

    def parse(self, value: object, place: str) -> int:
        """Read it as `Kind` does."""
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not isinstance(value, int) or not is_whole or not self.least <= value <= self.most:
            raise InvalidInputError(
                f"{place} is {self.said}; not {self.shown(value)}.", field=place
            )
        return value

    def shown(self, value: object) -> str:
        """Return what was given, as a message shows it."""
        return quoted(str(value))

    def read(self, text: str, place: str) -> int:
        """Read it as `Kind` does."""
        found = _COUNT.fullmatch(text.strip())
        size = Decimal(f"{found[1]}.{found[2] or 0}") * _TIMES[found[3].lower()] if found else None
        if size is None or size != int(size):
            raise InvalidInputError(
                f"The number {quoted(text)} is not understood; write a whole number such as 20, "
                "200k or 1.5M.",
                field=place,
            )
        return int(size)


class Seconds(Count):
    """A length of time in seconds, as people write it: 90s, 10m, 1h30m."""

    def read(self, text: str, place: str) -> int:
        """Read it as `Kind` does."""
        return round(parse_duration(text, field=place).total_seconds())

    def to_file(self, value: int) -> str:
        """Return it as people write it."""
        return written_duration(timedelta(seconds=value))

    def shown(self, value: object) -> str:
        """Return what was given, as a message shows it."""
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return f"{value} s" if is_whole else super().shown(value)


class Dollars(Number):
    """An amount of US dollars, as people write it: 0.50, $0.50."""

    def parse(self, value: object, place: str) -> Decimal:
        """Read a positive amount; raises InvalidInputError."""
        try:
            amount = Decimal(str(value))
        except InvalidOperation:
            amount = Decimal(0)
        if isinstance(value, bool) or not amount.is_finite() or not 0 < amount <= _LARGEST:
            raise InvalidInputError(
                f"{place} is an amount of US dollars above 0, such as 0.50; not "
                f"{quoted(str(value))}.",
                field=place,
            )
        return amount

    def read(self, text: str, place: str) -> Decimal:
        """Read it as `Kind` does."""
        found = _MONEY.fullmatch(text.strip())
        if found is None:
            raise InvalidInputError(
                f"The amount {quoted(text)} is not understood; write US dollars, such as 0.50 or "
                "$0.50.",
                field=place,
            )
        return Decimal(found[1])

    def as_json(self, value: Any) -> str:
        """Return it as a string, so that no cent is lost."""
        return str(value)


@dataclass(frozen=True)
class Choice(Kind):
    """One of the names of an enum."""

    names: type[StrEnum]

    def parse(self, value: object, place: str) -> StrEnum:
        """Read it as `Kind` does."""
        try:
            return self.names(str(value))
        except ValueError:
            raise InvalidInputError(f"{place} is {' or '.join(self.names)}.", field=place) from None

    def as_json(self, value: Any) -> str:
        """Return it as a row has it."""
        return str(value.value)


class YesNo(Kind):
    """True or false. An option that is not set is false."""

    empty = False

    def parse(self, value: object, place: str) -> bool:
        """Read it as `Kind` does."""
        if not isinstance(value, bool):
            raise InvalidInputError(f"{place} is true or false.", field=place)
        return value


@dataclass(frozen=True, slots=True)
class Flag:
    """An option of the command line: max_time is `--max-time`."""

    name: str
    metavar: str
    help: str
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """The declaration of a field: its kind, or `group`, the dataclass that holds its own options.

    `flags` are those of the command line; without flags, only rows have the option. `place` is its
    name in a file. `label` and `says` tell how its value is shown. `of_one_run`: a single run may
    have its own.
    """

    kind: Kind
    flags: tuple[Flag, ...]
    place: str | None
    label: str
    says: Callable[[Any], str]
    of_one_run: bool
    group: type[Options] | None = None


def option(
    kind: Kind,
    *flags: Flag,
    place: str | None = None,
    label: str = "",
    says: Callable[[Any], str] = str,
    of_one_run: bool = False,
) -> Any:
    """Declare a field of options."""
    declared = Option(kind, flags, place, label, says, of_one_run)
    return field(default=kind.empty, metadata={"option": declared})


def group(of: type[Options], *, label: str, of_one_run: bool = False) -> Any:
    """Declare a field that is a group of options."""
    declared = Option(Kind(), (), None, label, str, of_one_run, of)
    return field(default_factory=of, metadata={"option": declared})


class Options:
    """The base of dataclasses of options.

    `NOUN` is the name of one such option in messages, `PLACE` the place of the group among all
    options.
    """

    __slots__ = ()
    NOUN: ClassVar[str]
    PLACE: ClassVar[str] = ""

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read options from a row's JSON; raises InvalidInputError naming the place."""
        if value is None:
            return cls()
        if not isinstance(value, Mapping):
            where = cls.PLACE or "options"
            raise InvalidInputError(f"{where} is a mapping of names to values.", field=where)
        options = options_of(cls)
        parsed: dict[str, Any] = {}
        for name, given in value.items():
            place = f"{cls.PLACE}.{name}".lstrip(".")
            if name not in options:
                raise InvalidInputError(
                    f"There is no {cls.NOUN} {quoted(str(name))}; {near_or_all(name, options)}",
                    field=place[:60],
                )
            declared = options[name]
            if declared.group is not None:
                parsed[name] = declared.group.parse(given)
            elif given is not None:
                parsed[name] = declared.kind.parse(given, place)
        return cls(**parsed)

    def overridden_by(self, other: Self) -> Self:
        """Return these options with what `other` sets in their place."""
        merged: dict[str, Any] = {}
        for name, declared in options_of(type(self)).items():
            ours, theirs = getattr(self, name), getattr(other, name)
            if declared.group is not None:
                merged[name] = ours.overridden_by(theirs)
            else:
                merged[name] = ours if theirs == declared.kind.empty else theirs
        return type(self)(**merged)

    def as_json(self) -> dict[str, Any]:
        """Return what is set, as a row has it."""
        written: dict[str, Any] = {}
        for name, declared in options_of(type(self)).items():
            value = getattr(self, name)
            if declared.group is not None:
                if values := value.as_json():
                    written[name] = values
            elif value != declared.kind.empty:
                written[name] = declared.kind.as_json(value)
        return written


def options_of(kind: type) -> Mapping[str, Option]:
    """Return what is declared of a dataclass, by the names of its fields."""
    return {f.name: f.metadata["option"] for f in fields(kind)}


def flags_of(kind: type, *, of_one_run: bool = False) -> Iterator[Flag]:
    """Yield the flags of options and of their groups; of one run: those that it may have."""
    for declared in options_of(kind).values():
        if declared.of_one_run or not of_one_run:
            yield from flags_of(declared.group) if declared.group else declared.flags


def change(
    before: T, written: Mapping[str, Written], where: str = "", *, is_new: bool = False
) -> T:
    """Return options with what was written in their place, by the names of flags.

    Where they are new, 0 takes nothing away: it is read as in a file. Raises InvalidInputError
    naming the place, as files have it.
    """
    changed: dict[str, Any] = {}
    for name, declared in options_of(type(before)).items():
        was, place = getattr(before, name), f"{where}{declared.place or name}"
        if declared.group is not None:
            changed[name] = change(was, written, f"{place}.", is_new=is_new)
        elif declared.flags:
            texts = [written.get(flag.name) for flag in declared.flags]
            if is_new and isinstance(declared.kind, Number) and texts[0] is not None:
                changed[name] = declared.kind.from_file(texts[0], place)
            else:
                changed[name] = declared.kind.change(was, texts, place)
    return replace(before, **changed)  # type: ignore[type-var]  # a dataclass, as options_of says


def from_file(kind: type[T], values: Mapping[str, object], where: str = "") -> T:
    """Read the options of a file; raises InvalidInputError naming the place."""
    options = options_of(kind)
    places = {
        declared.place or name: name
        for name, declared in options.items()
        if declared.flags or declared.group
    }
    read: dict[str, Any] = {}
    for place, value in values.items():
        if place not in places:
            raise InvalidInputError(
                f"There is no such field; {near_or_all(place, places)}", field=f"{where}{place}"
            )
        declared, name = options[places[place]], places[place]
        if value is None:
            continue
        if declared.group is None:
            read[name] = declared.kind.from_file(value, f"{where}{place}")
        elif isinstance(value, Mapping):
            read[name] = from_file(declared.group, value, f"{where}{place}.")
        else:
            raise InvalidInputError(
                f"{place} is a mapping of names to values.", field=f"{where}{place}"
            )
    return kind(**read)


def to_file(options: Options) -> dict[str, Any]:
    """Return what is set as a file has it, for `from_file` to read."""
    written: dict[str, Any] = {}
    for name, declared in options_of(type(options)).items():
        value, place = getattr(options, name), declared.place or name
        if declared.group is not None:
            if values := to_file(value):
                written[place] = values
        elif declared.flags and value != declared.kind.empty:
            written[place] = declared.kind.to_file(value)
    return written


def in_words(options: object) -> str:
    """Say the limits of a group that are set, nothing where none is."""
    parts = [
        declared.says(value)
        for name, declared in options_of(type(options)).items()
        if (value := getattr(options, name)) is not None
    ]
    return f"at most {', '.join(parts)}" if parts else ""


def is_none(written: str | Sequence[str]) -> bool:
    """Whether what was written takes a value away."""
    texts = [written] if isinstance(written, str) else written
    return [text.strip() for text in texts] in ([], [NONE])


def length(seconds: int) -> str:
    """Say a length of time."""
    return length_in_words(timedelta(seconds=seconds))


def counted(count: int, noun: str) -> str:
    """Say a number of things in good English."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def money(amount: Decimal) -> str:
    """Say an amount of US dollars: to the cent, or so that a small one is not nothing."""
    if amount == 0 or amount == round(amount, 2):
        return f"${amount:,.2f}"
    return f"${amount:,.4f}" if amount >= Decimal("0.0001") else "<$0.0001"
