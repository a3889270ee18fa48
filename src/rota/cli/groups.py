"""Groups of commands, each imported and built when it is called: typer takes 2 ms for a command.

A module of a room makes a `CommandGroup` named `group` and registers functions with
`@group.command`. `rota.cli.main` names the modules, and says what help and completion say of them,
so that neither imports a room. The options that all take are in `rota.cli.options`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Any, Final, TypeVar, cast

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from rota.cli.options import As, CommonOptions, DatabaseUrl, DataDir, Json

F = TypeVar("F", bound=Callable[..., None])

_DATABASE: Final = {"data_dir": (DataDir, None), "database_url": (DatabaseUrl, None)}
_PERSON: Final = {"user": (As, None)}
_JSON: Final = {"json": (Json, False)}


@dataclass(frozen=True, slots=True)
class _Entry:
    """A command or a group by its name: what is said of it, and how typer's own is made."""

    help: str
    build: Callable[[], Any]


class CommandGroup:
    """Commands, by their names: those of one group, or those of a module that stand at the top."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def command(self, name: str, *, person: bool = True, json: bool = False) -> Callable[[F], F]:
        """Register a function as a command; its first parameter is `common: CommonOptions`.

        It takes `--data-dir` and `--database-url`; `--as` unless it is the operator's (`person`
        false); `--json` where it can write that.
        """
        common = {**_DATABASE, **(_PERSON if person else {}), **(_JSON if json else {})}

        def register(function: F) -> F:
            def build() -> Any:
                alone = typer.Typer(add_completion=False, rich_markup_mode=None)
                take_common = takes("common", common, CommonOptions, are_last=True)
                alone.command(name)(take_common(function))
                return typer.main.get_command(alone)

            self._entries[name] = _Entry(inspect.getdoc(function) or "", build)
            return function

        return register

    def add(self, name: str, module: str, help: str) -> None:  # noqa: A002  typer's word for it
        """Add what `group` of a module is: its command of that name, or else a group of that name.

        The module is imported when it is called. `help` is the group's, or the command's first
        paragraph.
        """

        def build() -> Any:
            group: CommandGroup = import_module(module).group
            if name in group._entries:
                return group._entries[name].build()
            made = typer.Typer(
                name=name,
                cls=group.typer_class(),
                help=help,
                no_args_is_help=True,
                rich_markup_mode=None,
            )
            return typer.main.get_group(made)

        self._entries[name] = _Entry(help, build)

    def typer_class(self) -> type[TyperGroup]:
        """Return the class of typer's group with these commands."""
        entries = self._entries

        class Group(TyperGroup):
            def __init__(self, **attributes: Any) -> None:
                super().__init__(**attributes)
                # Enough for help, completion and suggestions.
                for name, entry in entries.items():
                    self.add_command(TyperCommand(name, help=entry.help))

            def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
                name, command, rest = super().resolve_command(ctx, args)
                return name, entries[name].build() if name in entries else command, rest

        return Group


def takes(
    name: str,
    options: Mapping[str, tuple[Any, object]],
    make: Callable[..., object],
    *,
    are_last: bool = False,
) -> Callable[[F], F]:
    """Give a command options in place of its parameter `name`, of which `make` makes the value.

    `options` are types, as typer reads them, and defaults by the names that `make` takes. What
    several commands share is so written once. `are_last`: help lists them after the others.
    """
    added = [
        inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=type_)
        for n, (type_, default) in options.items()
    ]

    def decorate(function: F) -> F:
        signature = inspect.signature(function, eval_str=True)
        own = [p.replace(kind=p.KEYWORD_ONLY) for p in signature.parameters.values()]
        position = [p.name for p in own].index(name)
        del own[position]
        position = len(own) if are_last else position
        own[position:position] = added

        @wraps(function)
        def call(**given: Any) -> None:
            function(**{name: make(**{n: given.pop(n) for n in options})}, **given)

        call.__signature__ = signature.replace(parameters=own)  # type: ignore[attr-defined]
        call.__annotations__ = {}  # the signature has them, evaluated
        return cast("F", call)

    return decorate
