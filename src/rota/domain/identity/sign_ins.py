"""A sign-in at an issuer that is under way: what the callback has to fit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Final

SIGN_IN_LASTS: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class SignInUnderWay:
    """What was sent to the issuer: it is kept in the browser that began, sealed."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    began: float

    def written(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> SignInUnderWay:
        """Read what `written` returned; raises ValueError."""
        known: Mapping[str, object] = json.loads(text)
        try:
            return cls(
                str(known["state"]),
                str(known["nonce"]),
                str(known["verifier"]),
                float(str(known["began"])),
            )
        except (KeyError, TypeError) as error:
            raise ValueError("no sign-in") from error
