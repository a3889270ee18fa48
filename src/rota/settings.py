"""Environment and files, read once, as one frozen object. Only bootstrap and the CLI read it.

`rota.configuration` reads the files. Every variable is documented in docs/reference/settings.md;
a test keeps that true.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from rota.domain.errors import InvalidInputError
from rota.domain.identity.issuers import OidcClient, SupabaseProject
from rota.domain.operations.database_url import read_database_url
from rota.domain.operations.listening import (
    Exposure,
    ListenAddress,
    is_loopback,
    read_listen_address,
    read_networks,
    read_public_url,
)

VARIABLES: Final[Mapping[str, str]] = {
    "ROTA_CONFIG": "a file of settings, or a directory with some, instead of those looked for",
    "ROTA_DATA_DIR": "where the embedded database and rota's own files live",
    "ROTA_DATABASE_URL": "a PostgreSQL server of your own instead of the embedded one",
    "ROTA_DATABASE_LISTEN_URL": "a direct connection for LISTEN, where the other URL is a pooler",
    "ROTA_DATABASE_PREPARED_STATEMENTS": "`off` behind a transaction pooler",
    "ROTA_USER": "the e-mail address or id of the person that commands act as",
    "ROTA_SECRET_KEY": "32 bytes, base64 or hexadecimal: encrypts secrets; the newest key first",
    "ROTA_MAIL": "an mbox file or a Maildir that the mail tools read",
    "ROTA_ENDPOINTS": "base URLs that agents may name: `name=https://...`, separated by spaces",
    "ROTA_ENDPOINT_KEYS": "keys of those endpoints that need one: `name=key`, separated by spaces",
    "ROTA_TOOLS": "tools of your own: `name=package.module:attribute`, separated by spaces",
    "ROTA_CALLABLES": "code that rows may name: `name=package.module:attribute`, as above",
    "ROTA_UNWRAPPED_TOOLS": "`withhold` or `allow` a tool that the approval system cannot wrap",
    "ROTA_CONCURRENCY": "runs that one worker executes at a time at most",
    "ROTA_GROUP_SIZE": "runs that end close together and share one commit",
    "ROTA_OPERATOR": "addresses or ids of the operators, separated by spaces",
    "ROTA_SUPABASE_URL": "a Supabase project whose people sign in by its JWTs: `https://...`",
    "ROTA_SUPABASE_JWT_SECRET": "the project's shared secret, for JWTs signed with HS256",
    "ROTA_SUPABASE_ANONYMOUS": "`on` lets anonymous sign-ins of the project in, too",
    "ROTA_OIDC_ISSUER": "an issuer of OpenID Connect that people sign in at: `https://...`",
    "ROTA_OIDC_CLIENT_ID": "what that issuer calls this rota",
    "ROTA_OIDC_CLIENT_SECRET": "rota's secret at that issuer; none for a public client",
    "ROTA_OIDC_MATCH_EMAIL": "`on` finds people by addresses that the issuer has verified",
    "ROTA_PING_URL": "a URL that is fetched each minute while rota is healthy",
    "ROTA_LISTEN": "where the server of the HTTP API listens: `HOST:PORT`",
    "ROTA_PUBLIC_URL": "the address that people use for the server: `https://rota.example.com`",
    "ROTA_TRUSTED_PROXIES": "addresses or networks of reverse proxies, separated by spaces",
    "ROTA_PLAIN_HTTP": "`on`: HTTP without TLS is meant, in a private network",
    "ROTA_REQUESTS_PER_MINUTE": "requests of one caller a minute at most; changes are a quarter",
    "ROTA_LOG_LEVEL": "debug, info, warning or error",
    "ROTA_LOG_FORMAT": "`text`, or `json` for machines",
}

API_KEYS: Final[Mapping[str, str]] = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "google_genai": "GOOGLE_API_KEY",
    "mistralai": "MISTRAL_API_KEY",
    "groq": "GROQ_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "azure_openai": "AZURE_OPENAI_API_KEY",
    "baseten": "BASETEN_API_KEY",
    "cohere": "COHERE_API_KEY",
    "fireworks": "FIREWORKS_API_KEY",
    "nvidia": "NVIDIA_API_KEY",
    "perplexity": "PPLX_API_KEY",
    "together": "TOGETHER_API_KEY",
    "upstage": "UPSTAGE_API_KEY",
    "xai": "XAI_API_KEY",
}
"""Providers' own variables, by provider; those of `agents.models.PROVIDERS`, as a test checks."""

COMPARED: Final = (
    "ROTA_SECRET_KEY",
    "ROTA_MAIL",
    "ROTA_ENDPOINTS",
    "ROTA_ENDPOINT_KEYS",
    "ROTA_TOOLS",
    "ROTA_CALLABLES",
    "ROTA_OPERATOR",
    "ROTA_PING_URL",
    *API_KEYS.values(),
)
"""What a run depends on: `rota doctor` compares whether a terminal and the workers have these."""

_ON_COMMAND_LINE: Final = "The database URL"
_SHORTEST_SECRET: Final = 32  # as Supabase has it; HS256 wants no less
_REGISTERED_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # as the table `tools` has it
_TARGET: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]
UnwrappedTools = Literal["withhold", "allow"]

C = TypeVar("C", bound=str)
D = TypeVar("D", bound=str | None)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator chose. A None path or URL means the default.

    `ignored_parameters`: parameters of database URLs for other programs, which rota ignores.
    `names`: the names of variables in the files that they come from.
    """

    data_dir: Path | None = None
    database_url: str | None = field(default=None, repr=False)
    database_listen_url: str | None = field(default=None, repr=False)
    ignored_parameters: tuple[str, ...] = ()
    prepared_statements: bool = True
    user: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    mail: Path | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    callables: Mapping[str, str] = field(default_factory=dict)
    unwrapped_tools: UnwrappedTools = "withhold"
    concurrency: int = 100
    group_size: int = 20
    operators: tuple[str, ...] = ()
    supabase: SupabaseProject | None = None
    oidc: OidcClient | None = None
    ping_url: str | None = field(default=None, repr=False)
    exposure: Exposure = field(default_factory=Exposure)
    requests_per_minute: int = 1_200
    log_level: LogLevel | None = None
    log_format: LogFormat = "text"
    api_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    names: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, variable: str) -> str:
        """Return what a variable is called where it was set: `mail in /home/alice/rota.toml`."""
        return self.names.get(variable, variable)

    @property
    def compared(self) -> tuple[str, ...]:
        """The names of the settings of `COMPARED` that are set; never their values."""
        return tuple(name for name in COMPARED if name in self.names)

    @property
    def has_sign_in(self) -> bool:
        """Whether a provider is set up that people sign in with."""
        return self.oidc is not None or self.supabase is not None

    def is_in_file(self, variable: str) -> bool:
        """Return whether a variable counts that a file has, and not the environment."""
        return self.name_of(variable) != variable


class _Given(dict[str, str]):
    """The values of the variables that are set, and the name of each where it was set."""

    def __init__(self, values: Mapping[str, str], names: Mapping[str, str]) -> None:
        super().__init__(values)
        self._names = names

    def name_of(self, variable: str) -> str:
        return self._names.get(variable, variable)


def read_settings(
    environment: Mapping[str, str],
    *,
    files: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    data_dir: Path | None = None,
    database_url: str | None = None,
    user: str | None = None,
    mail: Path | None = None,
) -> Settings:
    """Read the environment; what is passed (from the command line) comes before it.

    `files` are variables that count where the environment has none, `names` what these are called
    there. A `data_dir` on the command line comes before ROTA_DATABASE_URL too: whoever names a
    directory means the embedded server in it. Raises InvalidInputError for a value that cannot be
    meant.
    """
    files, names = files or {}, names or {}
    wanted = (*VARIABLES, *API_KEYS.values())
    in_files = {name: value for name in wanted if (value := files.get(name, "").strip())}
    there = {name: value for name in wanted if (value := environment.get(name, "").strip())}
    known = _Given(in_files | there, {n: names.get(n, n) for n in in_files if n not in there})
    url = database_url or (None if data_dir else known.get("ROTA_DATABASE_URL"))
    folder = data_dir or _path(known.get("ROTA_DATA_DIR"))
    listen_url = known.get("ROTA_DATABASE_LISTEN_URL") if url else None
    ignored: list[str] = []

    def database_url_of(text: str | None, variable: str) -> str | None:
        if text is None:
            return None
        read, foreign = read_database_url(text, variable=variable)
        called = "the database URL" if variable == _ON_COMMAND_LINE else variable
        ignored.extend(f"{name} of {called}" for name in foreign)
        return read

    return Settings(
        data_dir=folder.expanduser() if folder else None,
        database_url=database_url_of(
            url, _ON_COMMAND_LINE if database_url else known.name_of("ROTA_DATABASE_URL")
        ),
        database_listen_url=database_url_of(listen_url, known.name_of("ROTA_DATABASE_LISTEN_URL")),
        ignored_parameters=tuple(ignored),
        prepared_statements=_is_on(known, "ROTA_DATABASE_PREPARED_STATEMENTS"),
        user=user or known.get("ROTA_USER"),
        secret_key=known.get("ROTA_SECRET_KEY"),
        mail=mail or _path(known.get("ROTA_MAIL")),
        endpoints=_endpoints(known),
        tools=_registered(known, "ROTA_TOOLS"),
        callables=_registered(known, "ROTA_CALLABLES"),
        unwrapped_tools=_choice(
            known, "ROTA_UNWRAPPED_TOOLS", get_args(UnwrappedTools), "withhold"
        ),
        concurrency=_count(known, "ROTA_CONCURRENCY", default=100, least=2, most=1_000),
        group_size=_count(known, "ROTA_GROUP_SIZE", default=20, least=1, most=200),
        supabase=_supabase(known),
        oidc=_oidc(known),
        operators=tuple(known.get("ROTA_OPERATOR", "").split()),
        ping_url=_ping_url(known),
        exposure=_exposure(known),
        requests_per_minute=_count(
            known, "ROTA_REQUESTS_PER_MINUTE", default=1_200, least=4, most=1_000_000
        ),
        log_level=_choice(known, "ROTA_LOG_LEVEL", get_args(LogLevel), None),
        log_format=_choice(known, "ROTA_LOG_FORMAT", get_args(LogFormat), "text"),
        api_keys={provider: known[name] for provider, name in API_KEYS.items() if name in known}
        | _endpoint_keys(known),
        # A person who was named on the command line is not the variable's.
        names={name: known.name_of(name) for name in known if not (name == "ROTA_USER" and user)},
    )


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None


def _supabase(known: _Given) -> SupabaseProject | None:
    url = known.get("ROTA_SUPABASE_URL")
    secret = known.get("ROTA_SUPABASE_JWT_SECRET")
    if url is None:
        for variable in ("ROTA_SUPABASE_JWT_SECRET", "ROTA_SUPABASE_ANONYMOUS"):
            if variable in known:
                raise InvalidInputError(
                    f"{known.name_of(variable)} needs ROTA_SUPABASE_URL, the project's address."
                )
        return None
    if secret is not None and len(secret) < _SHORTEST_SECRET:
        raise InvalidInputError(
            f"{known.name_of('ROTA_SUPABASE_JWT_SECRET')} has fewer than {_SHORTEST_SECRET} "
            "characters: copy all of it."
        )
    return SupabaseProject(
        _origin_of(known, "ROTA_SUPABASE_URL", path=False),
        secret,
        anonymous=_is_on(known, "ROTA_SUPABASE_ANONYMOUS", default="off"),
    )


def _oidc(known: _Given) -> OidcClient | None:
    client_id = known.get("ROTA_OIDC_CLIENT_ID")
    needed = ("ROTA_OIDC_ISSUER", "ROTA_OIDC_CLIENT_ID")
    missing = [variable for variable in needed if variable not in known]
    if missing or client_id is None:
        for variable in known:
            if variable.startswith("ROTA_OIDC_"):
                are = "is" if len(missing) == 1 else "are"
                raise InvalidInputError(
                    f"{known.name_of(variable)} is set, but {' and '.join(missing)} {are} missing."
                )
        return None
    return OidcClient(
        _origin_of(known, "ROTA_OIDC_ISSUER", path=True),
        client_id,
        known.get("ROTA_OIDC_CLIENT_SECRET"),
        match_email=_is_on(known, "ROTA_OIDC_MATCH_EMAIL", default="off"),
    )


def _origin_of(known: _Given, variable: str, *, path: bool) -> str:
    """Return the URL of an issuer: https, or http on this machine."""
    text = known[variable]
    try:
        parts = urlsplit(text)
        is_safe = parts.scheme == "https" or is_loopback(parts.hostname or "")
    except ValueError:
        parts, is_safe = urlsplit(""), False
    if (
        parts.scheme not in {"https", "http"}
        or not parts.hostname
        or not is_safe
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
        or not (path or parts.path in {"", "/"})
    ):
        raise InvalidInputError(
            f"{known.name_of(variable)} is {text!r}; it must be an address that begins with "
            "https:// (http:// only on this machine)."
        )
    return text if path else text.rstrip("/")


def _ping_url(known: _Given) -> str | None:
    url = known.get("ROTA_PING_URL")
    if url is not None and not url.startswith(("http://", "https://")):
        # The URL may be a secret: it is not shown.
        name = known.name_of("ROTA_PING_URL")
        raise InvalidInputError(f"{name} must begin with https:// or http://.")
    return url


def _exposure(known: _Given) -> Exposure:
    listen, public = known.get("ROTA_LISTEN"), known.get("ROTA_PUBLIC_URL")
    called = known.name_of
    return Exposure(
        ListenAddress()
        if listen is None
        else read_listen_address(listen, variable=called("ROTA_LISTEN")),
        None if public is None else read_public_url(public, variable=called("ROTA_PUBLIC_URL")),
        read_networks(
            known.get("ROTA_TRUSTED_PROXIES", ""), variable=called("ROTA_TRUSTED_PROXIES")
        ),
        plain_http=_is_on(known, "ROTA_PLAIN_HTTP", default="off"),
    )


def _is_on(known: _Given, name: str, *, default: str = "on") -> bool:
    value = known.get(name, default)
    if value.lower() not in {"on", "true", "yes", "1", "off", "false", "no", "0"}:
        raise InvalidInputError(f"{known.name_of(name)} is {value!r}; it must be `on` or `off`.")
    return value.lower() in {"on", "true", "yes", "1"}


def _pairs(known: _Given, variable: str) -> list[tuple[str, str, str]]:
    """Return entries that are separated by spaces, with name and value: `name=value`."""
    return [(item, *item.partition("=")[::2]) for item in known.get(variable, "").split()]


def _endpoints(known: _Given) -> Mapping[str, str]:
    endpoints: dict[str, str] = {}
    for item, name, url in _pairs(known, "ROTA_ENDPOINTS"):
        if not name or not url.startswith(("http://", "https://")):
            raise InvalidInputError(
                f"{known.name_of('ROTA_ENDPOINTS')} has {item!r}; each entry is name=https://... ."
            )
        endpoints[name] = url.rstrip("/")
    return endpoints


def _endpoint_keys(known: _Given) -> dict[str, str]:
    variable = known.name_of("ROTA_ENDPOINT_KEYS")
    keys: dict[str, str] = {}
    for _, name, key in _pairs(known, "ROTA_ENDPOINT_KEYS"):
        if not name or not key:
            # The item may be a key: it is not shown.
            raise InvalidInputError(f"{variable} has an entry that is not name=key.")
        if name in API_KEYS:
            raise InvalidInputError(
                f"{variable} names {name!r}, which is a provider: set {API_KEYS[name]}, or "
                "give the endpoint another name."
            )
        keys[name] = key
    return keys


def _registered(known: _Given, variable: str) -> Mapping[str, str]:
    """Read names of code; that it is there is seen when a worker loads it."""
    entries: dict[str, str] = {}
    for item, name, target in _pairs(known, variable):
        if item.startswith("$"):
            raise InvalidInputError(
                f"{known.name_of(variable)} has {item!r}. Variables are not expanded there: write "
                "the value in place of the name."
            )
        if not _REGISTERED_NAME.fullmatch(name) or not _TARGET.fullmatch(target):
            raise InvalidInputError(
                f"{known.name_of(variable)} has {item!r}; each entry is "
                "name=package.module:attribute, the name of up to 64 letters, digits, - and _."
            )
        if name in entries:
            raise InvalidInputError(f"{known.name_of(variable)} has two entries named {name!r}.")
        entries[name] = target
    return entries


def _choice(known: _Given, name: str, choices: tuple[C, ...], default: D) -> C | D:
    if (value := known.get(name)) is None:
        return default
    for choice in choices:
        if choice == value.lower():
            return choice
    *others, last = (f"`{choice}`" for choice in choices)
    raise InvalidInputError(
        f"{known.name_of(name)} is {value!r}; it must be {', '.join(others)} or {last}."
    )


def _count(known: _Given, name: str, *, default: int, least: int, most: int) -> int:
    value = known.get(name, str(default))
    if not value.isdecimal() or not least <= int(value) <= most:
        raise InvalidInputError(
            f"{known.name_of(name)} is {value!r}; it must be a whole number from {least} to {most}."
        )
    return int(value)
