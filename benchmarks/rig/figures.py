"""Figures: percentiles of samples, and how they are printed."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """How far samples lie apart, in milliseconds."""

    samples: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Sum up samples, given in seconds; there must be one at least."""
        ordered = sorted(seconds)
        return cls(
            samples=len(ordered),
            p50_ms=_ms(percentile(ordered, 0.5)),
            p99_ms=_ms(percentile(ordered, 0.99)),
            max_ms=_ms(ordered[-1]),
        )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of sorted samples."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def machine() -> str:
    """Name the kind of machine that figures were measured on."""
    return f"{platform.machine()}, {os.cpu_count()} cores"


def show(figures: Any, *, as_json: bool) -> None:
    """Print a dataclass of figures: a line of JSON, or a line for each."""
    values = asdict(figures)
    if as_json:
        print(json.dumps(values))
        return
    for name, value in values.items():
        print(f"{name:20} {value if not isinstance(value, dict | list) else json.dumps(value)}")


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
