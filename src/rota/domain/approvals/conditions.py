"""Conditions of rules on a call's arguments. They are data, never code.

A condition holds, does not hold, or cannot be decided. It cannot be decided if the argument is
absent, has another type, or is written so that tools may read it differently. What a rule does then
is decided in `rota.domain.approvals.verdict`.

An argument may have several values (`items[*].price`, the addresses of a mail). In a rule that
allows, all of them must pass. In a rule that asks or denies, one is enough.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from rota.domain.approvals.argument_paths import EVERYTHING, UNDECIDED, ArgumentPath
from rota.domain.approvals.argument_tests import MAIL, ONLY, PRESENCE, TESTS, is_empty, shown
from rota.domain.approvals.mail_addresses import (
    Recipients,
    is_recipient_name,
    read_addresses,
    recipients_in,
)
from rota.domain.errors import InvalidInputError
from rota.domain.text.shortening import quoted
from rota.domain.text.validation import near_or_all

Missing = Literal["matches", "does_not_match"]
Quantifier = Literal["all", "any"]

WORDS: Final = frozenset({"not", "or", "unless", "missing"})
"""Words of the form that `--when` takes; as values they stand in quotes."""

_BARE: Final = re.compile(r"[^\s\"\\]+")


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """Whether a condition holds (None: it cannot be decided), and the reason in words."""

    holds: bool | None
    why: str


@dataclass(frozen=True, slots=True)
class Condition:
    """One test of one argument. `values` are those of the rule. `missing` decides if it is absent.

    `is_negated` applies to each value: `to not email_domain own.com` passes for an address
    elsewhere. Make it with `make`, which raises InvalidInputError.
    """

    paths: tuple[ArgumentPath, ...]
    test: str
    values: tuple[Any, ...] = ()
    is_negated: bool = False
    missing: Missing | None = None

    @classmethod
    def make(
        cls,
        paths: Sequence[str],
        test: str,
        values: Sequence[Any] = (),
        *,
        is_negated: bool = False,
        missing: Missing | None = None,
    ) -> Condition:
        """Check and return a condition."""
        read = tuple(ArgumentPath.parse(path) for path in paths)
        if test not in TESTS:
            raise _wrong(f"There is no test {quoted(test)}; {near_or_all(test, TESTS)}")
        if not read or (len(read) > 1 and test not in MAIL):
            raise _wrong(f"{test} looks at one argument.")
        if (test == ONLY) != (read[0].text == EVERYTHING):
            raise _wrong(
                "`* only NAMES` tests all arguments together. Every other test names one argument."
            )
        if missing is not None and test in PRESENCE | {ONLY}:
            raise _wrong(f"{test} is always decided: nothing can be missing.")
        return cls(read, test, TESTS[test].checked(test, tuple(values)), is_negated, missing)

    def judge(self, arguments: Mapping[str, Any], quantifier: Quantifier) -> ConditionResult:
        """Say whether it holds for these (validated) arguments."""
        if self.test in PRESENCE:
            return self._judge_presence(arguments)
        if self.test == ONLY:
            given = [str(name) for name, value in arguments.items() if not is_empty(value)]
            extra = sorted(set(given) - set(self.values))
            said = (
                f"there is another argument, {shown(extra[0])}"
                if extra
                else "there is nothing else"
            )
            return ConditionResult((not extra) != self.is_negated, said)
        if self.test in MAIL:
            return self._judge_mail(arguments, quantifier)
        tried = [TESTS[self.test].of(value, self.values) for value in self._found(arguments)]
        return self._over_all(tried, quantifier, f"{self.named} is absent")

    @property
    def named(self) -> str:
        """The arguments that it looks at, as they are written."""
        return ",".join(path.text for path in self.paths)

    def argument_names(self) -> tuple[str, ...]:
        """Return the names of the arguments that it looks at, or that it permits."""
        if self.test == ONLY:
            return tuple(map(str, self.values))
        return tuple(str(path.parts[0]) for path in self.paths)

    def __str__(self) -> str:
        """Return it as `--when` takes it."""
        parts = [self.named, *(["not"] if self.is_negated else []), self.test]
        parts += [written(value) for value in self.values]
        if self.missing is not None:
            parts += ["or" if self.missing == "matches" else "unless", "missing"]
        return " ".join(parts)

    def in_words(self) -> str:
        """Return it as it is shown in a list of rules."""
        if self.test != ONLY:
            return str(self)
        if not self.values:
            return "at least one argument" if self.is_negated else "no arguments"
        names = ", ".join(map(str, self.values))
        return f"other arguments than {names}" if self.is_negated else f"no arguments but {names}"

    def _found(self, arguments: Mapping[str, Any]) -> Iterator[Any]:
        for path in self.paths:
            yield from path.values(arguments)

    def _judge_presence(self, arguments: Mapping[str, Any]) -> ConditionResult:
        found = list(self._found(arguments))
        if UNDECIDED in found:
            return ConditionResult(None, f"{self.named} cannot be read")
        there = not all(map(is_empty, found))
        holds = (there == (self.test == "present")) != self.is_negated
        return ConditionResult(holds, f"{self.named} is {'there' if there else 'absent'}")

    def _judge_mail(self, arguments: Mapping[str, Any], quantifier: Quantifier) -> ConditionResult:
        recipients = Recipients()
        # Whoever names `to` means whom the mail reaches: a hidden bcc is not passed over.
        for value in recipients_in(arguments):
            read_addresses(value, recipients)
        for path in self.paths:
            if not any(isinstance(part, str) and is_recipient_name(part) for part in path.parts):
                for value in path.values(arguments):
                    read_addresses(value, recipients)
        if self.test == "email_domain":
            tried: list[tuple[bool | None, str]] = [
                (domain in self.values, f"an address is at {domain}")
                for domain in recipients.domains
            ]
            tried += [
                (None, f"{shown(text)} is no plain address") for text in recipients.unreadable
            ]
            return self._over_all(tried, quantifier, "there is no address")
        limit, count = self.values[0], recipients.count
        if count == 0:
            return self._absent("there is no address")
        if recipients.unreadable and count <= limit:  # one text may hold many
            return ConditionResult(None, f"{shown(recipients.unreadable[0])} is no plain address")
        holds = ((count > limit) == (self.test == "recipients_over")) != self.is_negated
        return ConditionResult(holds, f"there are {count} addresses")

    def _over_all(
        self, tried: Sequence[tuple[bool | None, str]], quantifier: Quantifier, nothing: str
    ) -> ConditionResult:
        if not tried:
            return self._absent(nothing)
        decisive = quantifier == "any"
        doubt: str | None = None
        for passed, why in tried:
            if passed is None:
                doubt = doubt or why
            elif (passed != self.is_negated) == decisive:
                return ConditionResult(decisive, why)
        if doubt is not None:
            return ConditionResult(None, doubt)
        return ConditionResult(not decisive, tried[0][1])

    def _absent(self, why: str) -> ConditionResult:
        if self.missing is None:
            return ConditionResult(None, why)
        return ConditionResult(self.missing == "matches", why)


def written(value: Any) -> str:
    """Return a value as `--when` takes it: in quotes where it could be taken for something else."""
    if isinstance(value, str) and _BARE.fullmatch(value) and value not in WORDS:
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value, ensure_ascii=False)


def _wrong(message: str) -> InvalidInputError:
    return InvalidInputError(message, field="when")
