"""Settings in files: what counts before what, what is refused, and how it is named."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from rota.configuration import Configuration, read_configuration
from rota.domain.errors import InvalidInputError
from rota.settings import API_KEYS, VARIABLES, read_settings

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current directory, empty."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def mine(tmp_path):
    """The user's own directory of configuration, empty."""
    folder = tmp_path / "config" / "rota"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def read(here, mine):
    def read(**environment):
        return read_configuration({"XDG_CONFIG_HOME": str(mine.parent), **environment})

    return read


def write(path, text, mode=0o600):
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def settings_of(configuration: Configuration, environment=None, **said):
    return read_settings(
        environment or {}, files=configuration.variables, names=configuration.names, **said
    )


def test_option_environment_env_file_toml_and_default_count_in_this_order(read, here, mine):
    sources = [
        (mine / "rota.toml", 'user = "1"'),
        (mine / ".env", "ROTA_USER=2"),
        (here / "rota.toml", 'user = "3"'),
        (here / ".env", "ROTA_USER=4"),
    ]
    assert settings_of(read()).user is None
    for expected, (path, text) in enumerate(sources, start=1):
        write(path, text)
        assert settings_of(read()).user == str(expected)
    assert settings_of(read(), {"ROTA_USER": "5"}).user == "5"
    assert settings_of(read(), {"ROTA_USER": "5"}, user="6").user == "6"
    assert settings_of(read(), {"ROTA_USER": " "}).user == "4"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("rota.toml", "concurrency = 20.5", "or a whole number"),
        ("rota.toml", "user = alice@example.com", "text stands in quotes"),
        ("rota.toml", "user = info@example.com", "text stands in quotes"),
        ("rota.toml", 'ROTA_USER = "alice"', "did you mean user?"),
        (".env", "ROTA_CONFIG=/etc/rota", "counts in the environment only"),
    ],
)
def test_what_is_written_wrongly_is_told_how_it_is_written(read, here, file, text, said):
    write(here / file, text)
    with pytest.raises(InvalidInputError, match=re.escape(said)):
        read()


def test_example_of_the_reference_is_read(read, here):
    [toml] = re.findall(r"```toml\n(.*?)```", REFERENCE.read_text(encoding="utf-8"), re.DOTALL)
    [dotenv] = re.findall(r"```sh\n(.*?)```", REFERENCE.read_text(encoding="utf-8"), re.DOTALL)
    write(here / "rota.toml", toml)
    write(here / ".env", dotenv)

    settings = settings_of(read())

    assert settings.user == "alice@example.com"
    assert settings.mail == Path("~/Mail/inbox.mbox").expanduser()
    assert settings.concurrency == 20
    assert settings.prepared_statements is False
    assert settings.endpoints == {"house": "http://127.0.0.1:8000/v1"}
    assert settings.tools == {"disk_free": "house:disk_free"}
    assert set(settings.api_keys) == {"anthropic"}


def test_every_setting_has_a_key_in_toml(read, here):
    tables = {"endpoints", "endpoint_keys", "tools", "callables"}
    keys = {name.removeprefix("ROTA_").lower() for name in VARIABLES} - {"config"}
    lines = [f'{key} = "x"' for key in keys - tables]
    lines += [f'[{key}]\na = "x"' for key in tables]
    lines += ["[api_keys]", *(f'{provider} = "k-{provider}"' for provider in API_KEYS)]
    write(here / "rota.toml", "\n".join(lines))

    found = read().variables

    assert set(found) == (set(VARIABLES) - {"ROTA_CONFIG"}) | set(API_KEYS.values())
    assert found["OPENAI_API_KEY"] == "k-openai"
    assert found["ROTA_TOOLS"] == "a=x"


def test_paths_are_relative_to_the_file(read, mine, here):
    write(mine / "rota.toml", 'mail = "inbox.mbox"')
    write(mine / ".env", "ROTA_DATA_DIR=data\n")

    settings = settings_of(read())

    assert settings.mail == mine / "inbox.mbox"
    assert settings.data_dir == mine / "data"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('concurency = "10"', "concurency is no setting; did you mean concurrency?"),
        ('config = "x"', "config is no setting"),
        ("rota = 1", "rota is no setting"),
        (
            "concurrency = 10.5",
            "concurrency is 10.5; it must be a text in quotes, or a whole number",
        ),
        ("tools = 3", "tools is a table"),
        ('tools = ["a=m:x"]', "tools is a table"),
        ('tools = "a=m:x"', "tools is a table"),
        ("[tools]\na = 3", "tools.a must be text"),
        ('[endpoint_keys]\nhouse = "a b"', "endpoint_keys.house must be text"),
        ('[endpoint_keys]\n"a=b" = "c"', "in [endpoint_keys], 'a=b' cannot be a name"),
        ('[api_keys]\nopen_ai = "k"', "open_ai is no provider; did you mean openai?"),
        ("user = alice", "line 1"),
        ('user = "a"\nuser = "b"', "Cannot overwrite a value"),
        ("a." * 5000 + "b = 1", ""),
    ],
)
def test_what_toml_cannot_mean_is_refused_with_file_and_key(read, here, text, said):
    path = write(here / "rota.toml", text)

    with pytest.raises(InvalidInputError) as caught:
        read()

    assert str(path) in caught.value.message
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ROTA_CONCURENCY=3", "ROTA_CONCURENCY is no setting; did you mean ROTA_CONCURRENCY?"),
        ("ROTA_CONFIG=/x", "ROTA_CONFIG counts in the environment only"),
        ("\n# a comment\n\nANTHROPIC_API_KEY sk-123", "line 4: this is not NAME=value"),
        ("A='", "line 1: this is not NAME=value"),
    ],
)
def test_what_an_env_file_cannot_mean_is_refused_without_its_value(read, here, text, said):
    path = write(here / ".env", text)

    with pytest.raises(InvalidInputError) as caught:
        read()

    assert str(path) in caught.value.message
    assert said in caught.value.message
    assert "sk-123" not in caught.value.message


@pytest.mark.parametrize(
    ("toml", "dotenv", "variable"),
    [
        ("concurrency = 0", "ROTA_CONCURRENCY=0", "ROTA_CONCURRENCY"),
        ('log_level = "loud"', "ROTA_LOG_LEVEL=loud", "ROTA_LOG_LEVEL"),
        ('log_format = "x"', "ROTA_LOG_FORMAT=x", "ROTA_LOG_FORMAT"),
        ('unwrapped_tools = "x"', "ROTA_UNWRAPPED_TOOLS=x", "ROTA_UNWRAPPED_TOOLS"),
        ('ping_url = "x"', "ROTA_PING_URL=x", "ROTA_PING_URL"),
        ('database_url = "mysql://x"', "ROTA_DATABASE_URL=mysql://x", "ROTA_DATABASE_URL"),
        (
            'database_url = "postgresql://a:%zz@h/d"',
            "ROTA_DATABASE_URL=postgresql://a:%zz@h/d",
            "ROTA_DATABASE_URL",
        ),
        (
            'database_prepared_statements = "maybe"',
            "ROTA_DATABASE_PREPARED_STATEMENTS=maybe",
            "ROTA_DATABASE_PREPARED_STATEMENTS",
        ),
        ('[endpoints]\na = "x"', "ROTA_ENDPOINTS=a=x", "ROTA_ENDPOINTS"),
        ('[endpoint_keys]\nopenai = "x"', "ROTA_ENDPOINT_KEYS=openai=x", "ROTA_ENDPOINT_KEYS"),
        ('[tools]\na = "x"', "ROTA_TOOLS=a=x", "ROTA_TOOLS"),
        ('[callables]\na = "x"', "ROTA_CALLABLES=a=x", "ROTA_CALLABLES"),
    ],
)
def test_value_that_cannot_be_meant_is_named_by_file_and_key(read, here, toml, dotenv, variable):
    path = write(here / "rota.toml", toml)
    with pytest.raises(InvalidInputError) as caught:
        settings_of(read())
    assert f"{variable.removeprefix('ROTA_').lower()} in {path}" in caught.value.message

    write(here / ".env", f"{dotenv}\n")
    with pytest.raises(InvalidInputError) as caught:
        settings_of(read())
    assert f"{variable} in {here / '.env'}" in caught.value.message

    with pytest.raises(InvalidInputError) as caught:
        settings_of(read(), {variable: dotenv.partition("=")[2]})
    assert caught.value.message.startswith(variable)
    assert str(here) not in caught.value.message


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_file_with_secrets_that_others_can_read_is_warned_about(read, here, mode):
    toml = write(here / "rota.toml", '[api_keys]\nopenai = "k-123"\n', mode)
    dotenv = write(here / ".env", "MY_CRM_TOKEN=k-123\n", mode)

    said = read().warnings

    assert said == (
        f"Others can read {dotenv}, which holds secrets (MY_CRM_TOKEN). Run: chmod 600 {dotenv}",
        f"Others can read {toml}, which holds secrets (api_keys.openai). Run: chmod 600 {toml}",
    )
    toml.chmod(0o600)
    dotenv.chmod(0o600)
    assert read().warnings == ()


def test_file_without_secrets_may_be_read_by_all(read, here):
    write(here / "rota.toml", 'log_level = "info"\nuser = "alice@example.com"\n', 0o644)

    assert read().warnings == ()


@pytest.mark.parametrize(
    ("url", "is_secret"),
    [
        ("postgresql://rota@host/rota", False),
        ("postgresql:///rota?host=/run/postgresql", False),
        ("postgresql://rota:word@host/rota", True),
        ("postgresql://rota:p@ss:w/rd@host/rota", True),
        ("postgresql:///rota?user=rota&password=word", True),
    ],
)
def test_url_is_a_secret_if_it_holds_a_password(read, here, url, is_secret):
    write(here / "rota.toml", f'database_url = "{url}"\n', 0o644)

    assert len(read().warnings) == is_secret


def test_what_everybody_may_write_is_not_read(read, here):
    write(here / ".env", "ROTA_USER=eve\n", 0o666)
    configuration = read()
    assert configuration.variables == {}
    assert "can be written by everybody" in configuration.warnings[0]

    path = write(here / "rota.toml", 'user = "eve"\n', 0o666)
    with pytest.raises(InvalidInputError, match="can be written by everybody"):
        read()
    assert read(ROTA_CONFIG=str(path)).variables["ROTA_USER"] == "eve"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_somebody_else_is_not_read(read, here):
    path = write(here / "rota.toml", 'user = "eve"\n')
    os.chown(path, 12345, 12345)

    with pytest.raises(InvalidInputError, match="belongs to another user"):
        read()
    assert read(ROTA_CONFIG=str(here)).variables["ROTA_USER"] == "eve"


def test_named_file_is_read_instead_with_the_env_file_beside_it(read, here, mine, tmp_path):
    write(here / "rota.toml", "concurrency = 3")
    write(mine / "rota.toml", "concurrency = 4")
    named = tmp_path / "named"
    named.mkdir()
    path = write(named / "work.toml", "concurrency = 5")
    write(named / ".env", "ROTA_USER=alice\n")

    configuration = read(ROTA_CONFIG=str(path))

    assert configuration.variables == {"ROTA_CONCURRENCY": "5", "ROTA_USER": "alice"}
    assert configuration.files == (named / ".env", path)
    assert read(ROTA_CONFIG=str(named / ".env")).variables == {"ROTA_USER": "alice"}
    with pytest.raises(InvalidInputError, match=r"ROTA_CONFIG names .*nowhere"):
        read(ROTA_CONFIG=str(tmp_path / "nowhere"))


def test_what_is_no_file_of_settings_is_passed_over(read, here, mine):
    (here / ".env").mkdir()  # a virtual environment may have this name
    write(mine / "rota.toml", "\ufeffconcurrency = 4\n")

    assert read().variables == {"ROTA_CONCURRENCY": "4"}


def test_other_variables_of_an_env_file_are_kept_for_code_of_ones_own(read, here):
    write(here / ".env", 'export NOTES=\'/a b\'\nCRM="x#y" # mine\nROTA_TOOLS="a=m:x b=m:y"\n')

    configuration = read()

    assert configuration.beneath({"CRM": "z"}) == {"NOTES": "/a b", "ROTA_TOOLS": "a=m:x b=m:y"}
    assert set(settings_of(configuration).tools) == {"a", "b"}


@pytest.mark.parametrize("name", ["rota.toml", ".env"])
def test_file_that_is_not_text_is_named(read, here, name):
    (here / name).write_bytes(b"a = '\xff\xfe'")

    with pytest.raises(InvalidInputError, match="is not UTF-8 text"):
        read()


@pytest.mark.usefixtures("here")
def test_deleted_current_directory_is_no_obstacle(read, here, mine):
    write(mine / "rota.toml", "concurrency = 4")
    here.rmdir()

    assert read().variables == {"ROTA_CONCURRENCY": "4"}


def test_secrets_are_not_shown_by_the_configuration_itself(read, here):
    write(here / ".env", "OPENAI_API_KEY=sk-123\n")

    assert "sk-123" not in repr(read())
    assert not stat.S_IMODE((here / ".env").stat().st_mode) & 0o077
