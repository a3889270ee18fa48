"""Groups of commands that are imported and built only when they are called.

Building a command takes typer 2 ms, so help and completion build none that they do not need.

A module of a room makes a `CommandGroup` named `group` and registers functions with
`@group.command`. `rota.cli.main` lists the modules with their help texts, so help and completion
import no room. Options common to all commands are in `rota.cli.options`. They may also stand before
the command (`rota --json runs list`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Any, Final, TypeVar, cast, get_args

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup, TyperOption

from rota.cli.help_texts import Command
from rota.cli.options import As, CommonOptions, DatabaseUrl, DataDir, Json

F = TypeVar("F", bound=Callable[..., None])

_COMMON: Final = {
    "data_dir": (DataDir, None),
    "database_url": (DatabaseUrl, None),
    "user": (As, None),
    "json": (Json, False),
}
_OPERATORS: Final = {name: option for name, option in _COMMON.items() if name != "user"}
_BEFORE: Final = {
    option.default: option for option in (get_args(type_)[-1] for type_, _ in _COMMON.values())
}
"""Those that may stand before the command, as they are written, which typer calls a default."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A command or group: its help text, and the function that builds typer's command."""

    help: str
    build: Callable[[], Any]


class CommandGroup:
    """Commands by their names: those of one group, or a module's top-level commands."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._aliases: dict[str, str] = {}

    def command(
        self, name: str, *, person: bool = True, alias: str | None = None
    ) -> Callable[[F], F]:
        """Register a function as a command; its first parameter is `common: CommonOptions`.

        It takes `--data-dir`, `--database-url` and `--json`; and `--as` unless it is the operator's
        (`person` false). `alias` calls it too, and help does not list that.
        """
        common = _COMMON if person else _OPERATORS
        if alias is not None:
            self._aliases[alias] = name

        def register(function: F) -> F:
            def build() -> Any:
                alone = typer.Typer(add_completion=False, rich_markup_mode=None)
                take_common = takes("common", common, CommonOptions, are_last=True)
                alone.command(name, cls=Command)(take_common(function))
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
        entries, aliases = self._entries, self._aliases

        class Group(TyperGroup):
            def __init__(self, **attributes: Any) -> None:
                super().__init__(**attributes)
                self.context_settings.setdefault("help_option_names", ["--help", "-h"])
                # Enough for help, completion and suggestions.
                self.params = [*self.params, *_shown_before()]
                for name, entry in entries.items():
                    self.add_command(TyperCommand(name, help=entry.help))

            def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
                before, args = _split_common(args)
                if args[:1] == ["help"]:  # rota help schedules add
                    args = [*args[1:], "--help"]
                super().parse_args(ctx, args)
                ctx.args = [*before, *ctx.args]  # as if they stood behind the command
                return cast("list[str]", ctx.args)

            def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
                args = [aliases.get(args[0], args[0]), *args[1:]]
                name, command, rest = super().resolve_command(ctx, args)
                return name, entries[name].build() if name in entries else command, rest

        return Group


def _shown_before() -> list[Any]:
    """Return the options that may stand before a command, for the help of its group."""
    return [
        TyperOption(
            param_decls=[name],
            metavar=option.metavar,
            is_flag=option.metavar is None,
            help=option.help,
            expose_value=False,
        )
        for name, option in _BEFORE.items()
    ]


def _split_common(args: list[str]) -> tuple[list[str], list[str]]:
    """Return the options of every command that arguments begin with, and what follows them."""
    end = 0
    while end < len(args) and (option := _BEFORE.get(args[end].partition("=")[0])) is not None:
        is_value_apart = option.metavar is not None and "=" not in args[end]
        if end + is_value_apart >= len(args):
            break  # its value is missing: the parser reports it
        end += 1 + is_value_apart
    return args[:end], args[end:]


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
