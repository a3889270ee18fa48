"""Reads settings from files: `rota.toml`, and `.env` beside it.

rota looks in the current directory, then in the user's (`~/.config/rota`). The nearer directory
wins; in one directory, `.env` wins over `rota.toml`. `ROTA_CONFIG` names a file or a directory that
is read instead. An exported variable wins over all files. `rota.settings` combines both. See
docs/reference/settings.md.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rota.domain.errors import InvalidInputError
from rota.settings import API_KEYS, VARIABLES

NAMED_BY: Final = "ROTA_CONFIG"
TOML: Final = "rota.toml"
DOTENV: Final = ".env"

_KEYS: Final[Mapping[str, str]] = {
    name.removeprefix("ROTA_").lower(): name for name in VARIABLES if name != NAMED_BY
}
"""Keys of rota.toml, with the variables whose place they take."""

_API_KEYS: Final = "api_keys"
_TABLES: Final = frozenset({"endpoints", "endpoint_keys", "tools", "callables"})
_PATHS: Final = frozenset({"ROTA_DATA_DIR", "ROTA_MAIL"})
_SECRETS: Final = frozenset(
    {
        *("ROTA_DATABASE_URL", "ROTA_DATABASE_LISTEN_URL", "ROTA_SECRET_KEY"),
        *("ROTA_ENDPOINT_KEYS", "ROTA_PING_URL", *API_KEYS.values()),
    }
)


_NEAR: Final = 0.88
"""How alike a misspelt name is to the one that was meant: programs may have names of their own."""

_PASSWORD: Final = re.compile(r"://[^/?@]*:[^/?@]*@|[?&]password=")


@dataclass(frozen=True, slots=True)
class Configuration:
    """The variables that the files set, and the name that each has in its file.

    `warnings` are sentences for the person who runs rota.
    """

    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    names: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()

    def beneath(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that the environment does not have, or has empty."""
        return {n: v for n, v in self.variables.items() if not environment.get(n, "").strip()}


def read_configuration(environment: Mapping[str, str]) -> Configuration:
    """Read the files that there are; raises InvalidInputError, which names file and key."""
    variables: dict[str, str] = {}
    names: dict[str, str] = {}
    files: list[Path] = []
    warnings: list[str] = []
    for path, is_named in _places(environment):
        if (text := _read(path, warnings, is_named=is_named)) is None:
            continue
        files.append(path)
        read = _dotenv(path, text) if path.name == DOTENV else _toml(path, text)
        for name, value in read.items():
            if not value.strip() or name in variables:
                continue
            in_file = value
            if name in _PATHS:
                in_file = str(path.parent / Path(value.strip()).expanduser())
            variables[name] = in_file
            names[name] = f"{_key(name) if path.name != DOTENV else name} in {path}"
        warnings += _seen_by_others(path, read)
    return Configuration(variables, names, tuple(files), tuple(warnings))


def data_dir_in_files(environment: Mapping[str, str]) -> Path | None:
    """Return the data directory that the files name, whatever else is wrong in them."""
    for path, is_named in _places(environment):
        with suppress(InvalidInputError):
            if (text := _read(path, [], is_named=is_named)) is None:
                continue
            if named := _data_dir_in(path, text).strip():
                return path.parent / Path(named).expanduser()
    return None


def _data_dir_in(path: Path, text: str) -> str:
    if path.name == DOTENV:
        from io import StringIO

        from dotenv import dotenv_values

        return dotenv_values(stream=StringIO(text)).get("ROTA_DATA_DIR") or ""
    import tomllib

    with suppress(tomllib.TOMLDecodeError, RecursionError):
        return str(tomllib.loads(text).get("data_dir", ""))
    return ""


def misspelt_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Say which variables are ignored and look as if one of rota's was meant."""
    from difflib import get_close_matches

    for name in sorted(environment):
        if name.startswith("ROTA_") and name not in VARIABLES:
            near = get_close_matches(name, VARIABLES, n=1, cutoff=_NEAR)
            if near:
                yield f"Warning: {name} is no setting, and is ignored; did you mean {near[0]}?"


def user_folder(environment: Mapping[str, str]) -> Path | None:
    """Return where a person's configuration lies; None where they have no home."""
    chosen = Path(environment.get("XDG_CONFIG_HOME", ""))
    with suppress(RuntimeError):  # no home directory
        # The XDG specification has relative paths ignored.
        return (chosen if chosen.is_absolute() else Path("~/.config").expanduser()) / "rota"
    return None


def _places(environment: Mapping[str, str]) -> Iterator[tuple[Path, bool]]:
    """Return files to look for, the strongest first, and whether somebody named them."""
    if named := environment.get(NAMED_BY, "").strip():
        path = Path(named).expanduser().absolute()
        if not path.exists():
            raise InvalidInputError(f"{NAMED_BY} names {path}, which is not there.")
        is_folder = path.is_dir()
        yield (path if is_folder else path.parent) / DOTENV, True
        if not (path.name == DOTENV and not is_folder):
            yield path / TOML if is_folder else path, True
        return
    folders: list[Path] = []
    with suppress(FileNotFoundError):  # the current directory was deleted
        folders.append(Path.cwd())
    if (own := user_folder(environment)) is not None and own not in folders:
        folders.append(own)
    for folder in folders:
        yield folder / DOTENV, False
        yield folder / TOML, False


def _read(path: Path, warnings: list[str], *, is_named: bool) -> str | None:
    """Return a file's text; None where there is none, or it is not this person's.

    It may name code to run. So what others own, or may write, is only read if somebody named it.
    """
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):  # a virtual environment of this name, say
            return None
        if not is_named and (why := _not_trusted(found)) is not None:
            refusal = f"{path} {why}, and it could name code to run"
            hint = f"To have it read all the same: {NAMED_BY}={path}"
            if path.name == DOTENV:  # which is likely another program's
                warnings.append(f"Not read: {refusal}. {hint}")
                return None
            raise InvalidInputError(f"{refusal}. {hint}")
        return path.read_text(encoding="utf-8").removeprefix("\ufeff")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path} is not UTF-8 text.") from None
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}.") from error


def _not_trusted(found: os.stat_result) -> str | None:
    if found.st_uid not in {os.geteuid(), 0}:
        return "belongs to another user"
    if stat.S_IMODE(found.st_mode) & stat.S_IWOTH:
        return "can be written by everybody"
    return None


def _seen_by_others(path: Path, read: Mapping[str, str]) -> Iterator[str]:
    from rota.security.secrets.names import is_secret

    secret = [
        name
        for name, value in read.items()
        if (name in _SECRETS or is_secret(name, value)) and not _is_open_url(name, value)
    ]
    if secret and stat.S_ISREG(mode := path.stat().st_mode) and stat.S_IMODE(mode) & 0o077:
        name = secret[0] if path.name == DOTENV else _key(secret[0])
        yield f"Others can read {path}, which holds secrets ({name}). Run: chmod 600 {path}"


def _is_open_url(variable: str, value: str) -> bool:
    """Return whether a value is the URL of a database, and holds no password."""
    is_url = variable in {"ROTA_DATABASE_URL", "ROTA_DATABASE_LISTEN_URL"}
    return is_url and not _PASSWORD.search(value)


def _dotenv(path: Path, text: str) -> dict[str, str]:
    """Read NAME=value lines, as python-dotenv has them: other programs read the file so too."""
    from io import StringIO

    from dotenv import dotenv_values  # takes as long as a third of typer
    from dotenv.parser import parse_stream

    for binding in parse_stream(StringIO(text)):
        if binding.error:
            blank = binding.original.string
            line = binding.original.line + blank[: len(blank) - len(blank.lstrip())].count("\n")
            # The line may hold a secret: it is not shown.
            raise InvalidInputError(f"{path}, line {line}: this is not NAME=value.", line=line)
        key = binding.key or ""
        if key == NAMED_BY:
            raise InvalidInputError(
                f"{path}: {NAMED_BY} counts in the environment only. Export it instead."
            )
        if key.startswith("ROTA_") and key not in VARIABLES:
            raise InvalidInputError(f"{path}: {_no_setting(key, VARIABLES)}")
    return {name: value for name, value in dotenv_values(stream=StringIO(text)).items() if value}


def _toml(path: Path, text: str) -> dict[str, str]:
    if not text.strip():
        return {}
    import tomllib

    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        hint = (
            "; text stands in quotes"
            if str(error).startswith(("Invalid value", "Expected newline"))
            else ""
        )
        raise InvalidInputError(f"{path}: {error}{hint}.") from None
    variables: dict[str, str] = {}
    for key, value in document.items():
        if key == _API_KEYS:
            for provider, secret in _table(path, key, value).items():
                if provider not in API_KEYS:
                    said = _no_setting(provider, API_KEYS, what="no provider")
                    raise InvalidInputError(
                        f"{path}: in [{_API_KEYS}], {said} Keys of other endpoints stand in "
                        "[endpoint_keys]."
                    )
                variables[API_KEYS[provider]] = secret
        elif key in _TABLES:
            pairs = _table(path, key, value)
            variables[_KEYS[key]] = " ".join(f"{name}={one}" for name, one in pairs.items())
        elif key in _KEYS:
            variables[_KEYS[key]] = _scalar(path, key, value)
        else:
            raise InvalidInputError(f"{path}: {_no_setting(key, [*_KEYS, _API_KEYS])}")
    return variables


def _table(path: Path, key: str, value: Any) -> Mapping[str, str]:
    """Return a table of texts without spaces, which separate them in the environment."""
    if not isinstance(value, dict):
        raise InvalidInputError(f'{path}: {key} is a table: [{key}], then lines of name = "value".')
    for name, one in value.items():
        if not isinstance(one, str) or not one or any(c.isspace() for c in name + one):
            # The value may be a key: it is not shown.
            raise InvalidInputError(f"{path}: {key}.{name} must be text in quotes, without spaces.")
        if not name or "=" in name:
            raise InvalidInputError(f"{path}: in [{key}], {name!r} cannot be a name.")
    return value


def _scalar(path: Path, key: str, value: Any) -> str:
    match value:
        case bool():
            return "on" if value else "off"
        case int() | str():
            return str(value)
        case float():
            raise InvalidInputError(
                f"{path}: {key} is {value}; it must be a text in quotes, or a whole number."
            )
        case _:
            raise InvalidInputError(f"{path}: {key} must be one value: a text in quotes, a number.")


def _key(variable: str) -> str:
    """Return what a variable is called in rota.toml."""
    for provider, name in API_KEYS.items():
        if name == variable:
            return f"{_API_KEYS}.{provider}"
    return variable.removeprefix("ROTA_").lower()


def _no_setting(
    name: str, there: Mapping[str, str] | list[str], *, what: str = "no setting"
) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name.removeprefix("ROTA_").lower(), there, n=1, cutoff=1)
    near = near or get_close_matches(name, [one for one in there if one != NAMED_BY], n=1)
    meant = f"did you mean {near[0]}?" if near else f"there are: {', '.join(there)}."
    return f"{name} is {what}; {meant}"
