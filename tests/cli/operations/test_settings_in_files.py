"""Commands go by rota.toml and .env where they are typed: nothing is exported."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def rota(tmp_path):
    environment = {n: v for n, v in os.environ.items() if not n.startswith("ROTA_")}
    environment |= {"XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path)}

    def run(*arguments, code=0, **more):
        finished = subprocess.run(
            [sys.executable, "-m", "rota", *arguments],
            cwd=tmp_path,
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert finished.returncode == code, finished.stdout + finished.stderr
        return finished

    return run


@pytest.mark.usefixtures("alice")
def test_command_finds_database_and_person_in_the_files(rota, tmp_path, database_url):
    toml = tmp_path / "rota.toml"
    toml.write_text(f'database_url = "{database_url}"\nuser = "bob@example.com"\n')
    toml.chmod(0o600)
    mine = tmp_path / "config" / "rota"
    mine.mkdir(parents=True)
    (mine / ".env").write_text("OPENAI_API_KEY=sk-123\nROTA_USER=carol@example.com\n")

    unknown = rota("schedules", "list", code=3)
    assert "bob@example.com" in unknown.stderr
    listed = rota("schedules", "list", "--json", ROTA_USER="alice@example.com")
    assert json.loads(listed.stdout) == []
    rota("schedules", "list", "--as", "alice@example.com")

    checks = json.loads(rota("doctor", "--json", code=1).stdout)
    said = {check["name"]: check["said"] for check in checks}
    assert said["Configuration"] == f"{toml}, {mine / '.env'}"
    assert said["Model keys"] == "OPENAI_API_KEY (this terminal's)"
    assert said["User"].startswith(f"No user 'bob@example.com'. user in {toml} names them: ")
    assert f"Others can read {mine / '.env'}, which holds secrets" in listed.stderr


def test_error_in_a_file_is_one_sentence_that_names_file_and_key(rota, tmp_path, database_url):
    toml = tmp_path / "rota.toml"
    for text in ("concurrency = 0\n", "concurency = 3\n", "concurrency 3\n"):
        toml.write_text(text)
        toml.chmod(0o600)
        said = rota("schedules", "list", "--data-dir", str(tmp_path / "data"), code=2).stderr
        assert len(said.splitlines()) == 1, said
        assert str(toml) in said
        assert text.split()[0] in said or "line 1" in said

    toml.write_text(f'secret_key = "short"\ndatabase_url = "{database_url}"\n')
    said = rota("schedules", "list", code=2).stderr
    assert f"secret_key in {toml} must hold 32 bytes" in said
    assert "rota keys new" in said


RUNNING = """
import sys, time
from pathlib import Path
from rota.store.embedded.files import instance_lock
with instance_lock(Path(sys.argv[1])):
    print("running", flush=True)
    time.sleep(200)
"""


@pytest.mark.parametrize("wrong", ["ROTA_LISTNE=x", "ROTA_LISTEN=x", "this is no setting"])
def test_a_wrong_setting_does_not_keep_down_from_stopping_rota(rota, tmp_path, wrong):
    mine = tmp_path / "config" / "rota"
    mine.mkdir(parents=True)
    (mine / ".env").write_text(f"{wrong}\nROTA_DATA_DIR=elsewhere\n")
    (mine / ".env").chmod(0o600)
    with subprocess.Popen(
        [sys.executable, "-c", RUNNING, str(mine / "elsewhere")], stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout.readline() == "running\n"
            done = rota("down")
            assert f"rota is stopped (process {running.pid})" in done.stdout
            assert str(mine / ".env") in done.stderr
            assert running.wait() != 0
        finally:
            running.kill()
    assert "rota is not running" in rota("down", "--data-dir", str(tmp_path / "other")).stdout


def test_a_wrong_rota_toml_does_not_keep_down_from_the_directory_that_it_names(rota, tmp_path):
    toml = tmp_path / "rota.toml"
    toml.write_text('concurrency = 0\ndata_dir = "elsewhere"\n')
    toml.chmod(0o600)
    assert f"rota is not running on {tmp_path / 'elsewhere'}." in rota("down").stdout


@pytest.mark.usefixtures("alice")
def test_code_of_ones_own_finds_its_variables_and_its_folder(rota, tmp_path, database_url):
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "house.py").write_text(
        "import os\nfrom langchain_core.tools import tool\n\n\n"
        "@tool(description=os.environ['HOUSE_SAYS'])\n"
        "def lamp() -> str:\n    return 'on'\n"
    )
    (tmp_path / ".env").write_text(f"PYTHONPATH={folder}\nHOUSE_SAYS='Turn it on.'\n")
    (tmp_path / "rota.toml").write_text(
        f'data_dir = "data"\ndatabase_url = "{database_url}"\n[tools]\nlamp = "house:lamp"\n'
    )

    toml = tmp_path / "rota.toml"
    entry = 'door = "house:door"\n'
    toml.write_text(toml.read_text() + entry)
    for command in ("worker", "up"):
        said = rota(command, "--as", "alice@example.com", code=2).stderr
        assert f"tools in {toml}, entry door=house:door: house has no attribute 'door'" in said

    toml.write_text(toml.read_text().replace(entry, ""))
    declared = rota("tools", "declare", "lamp", "--pin", "--read-only")

    assert "lamp" in declared.stdout
    assert (tmp_path / "data").is_dir()


@pytest.mark.usefixtures("alice")
def test_misspelt_variable_and_foreign_parameter_are_named(rota, database_url):
    mark = "&" if "?" in database_url else "?"
    said = rota(
        *("schedules", "list", "--as", "alice@example.com"),
        *("--database-url", f"{database_url}{mark}pgbouncer=true"),
        ROTA_CONCURENCY="3",
        ROTA_TEAM_OF_OURS="blue",
    ).stderr

    assert said == (
        "Warning: ROTA_CONCURENCY is no setting, and is ignored; did you mean ROTA_CONCURRENCY?\n"
        "The parameter pgbouncer of the database URL is ignored. Behind a transaction pooler, set "
        "ROTA_DATABASE_PREPARED_STATEMENTS=off.\n"
    )
