"""The supervisor of the embedded PostgreSQL, with real servers, killed for real."""

import multiprocessing
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from rota.domain.errors import ConflictError, InvalidInputError, UnavailableError
from rota.store.embedded.binaries import Account, binaries_for
from rota.store.embedded.files import LogFile, default_data_dir, instance_lock, instance_of
from rota.store.embedded.process import clear_stale_lock_files, find_postmaster, start_mark
from rota.store.embedded.server import EmbeddedPostgres

pytestmark = pytest.mark.kill

AS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not AS_ROOT, reason="only root can start processes as another user")


@pytest.fixture
def folder():
    """A short directory that every account may enter, as pytest's own may not be."""
    path = Path(tempfile.mkdtemp(prefix="rota-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@contextmanager
def opened(data_dir, **options):
    server = EmbeddedPostgres.open(data_dir, durable=False, **options)
    try:
        yield server
    finally:
        server.destroy()


def execute(url, query):
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query)
        return cursor.fetchall() if cursor.description else None


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def script(text, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", text, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


HOLD = """
import sys, time
from pathlib import Path
from rota.store.embedded.server import EmbeddedPostgres
server = EmbeddedPostgres.open(Path(sys.argv[1]), durable=False)
print(server.pid, flush=True)
time.sleep(600)
"""


def test_fresh_cluster_has_a_database_and_a_role_without_privileges(folder):
    with opened(folder / "data") as server:
        [role] = execute(
            server.app_url,
            "SELECT current_user, current_database(), rolsuper, rolbypassrls, rolcreatedb, "
            "rolcreaterole, rolcanlogin FROM pg_roles WHERE rolname = current_user",
        )
        assert role == ("rota_backend", "rota", False, False, False, False, True)
        assert execute(server.owner_url, "SELECT current_user, current_setting('timezone')") == [
            ("rota", "UTC")
        ]
        assert execute(server.owner_url, "SHOW listen_addresses") == [("",)]
        [(version,)] = execute(server.app_url, "SELECT current_setting('server_version_num')::int")
        assert version // 10000 == 18


def test_durable_server_syncs_and_a_throwaway_one_does_not(folder):
    with opened(folder / "data") as server:
        assert execute(server.app_url, "SHOW fsync") == [("off",)]
        server.close()
        with EmbeddedPostgres.open(folder / "data") as durable:
            assert execute(durable.app_url, "SHOW fsync") == [("on",)]
            assert execute(durable.app_url, "SHOW full_page_writes") == [("on",)]


def test_second_open_attaches_and_only_the_last_close_stops(folder):
    with opened(folder / "data") as first:
        second = EmbeddedPostgres.open(folder / "data")
        assert second.pid == first.pid
        first.close()
        assert execute(second.app_url, "SELECT 1") == [(1,)]
        second.close()
        assert find_postmaster(first.cluster_dir) is None
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(first.app_url)
        second.close()  # twice is harmless


def test_data_stays_across_a_restart(folder):
    with opened(folder / "data") as server:
        execute(server.owner_url, "CREATE TABLE kept AS SELECT 7 AS n")
        server.close()
        with EmbeddedPostgres.open(folder / "data") as again:
            assert execute(again.owner_url, "SELECT n FROM kept") == [(7,)]


def test_killed_server_is_started_again_with_its_data(folder):
    with opened(folder / "data") as server:
        execute(server.owner_url, "CREATE TABLE kept AS SELECT 7 AS n")
        execute(server.owner_url, "CHECKPOINT")
        assert server.ensure_alive() is False
        killed = server.pid
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: start_mark(killed) is None)
        assert server.ensure_alive() is True
        assert server.pid != killed
        assert execute(server.owner_url, "SELECT n FROM kept") == [(7,)]
        assert server.ensure_alive() is False


def test_server_killed_while_backends_work_is_started_again(folder):
    with opened(folder / "data") as server:
        with closing(psycopg.connect(server.owner_url, autocommit=True)) as busy:
            busy.execute("CREATE TABLE kept AS SELECT 7 AS n")
            busy.execute("CHECKPOINT")
            # This backend computes without ever looking whether its server lives.
            busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 4000000) a")
            os.kill(server.pid, signal.SIGKILL)
            wait_until(server.ensure_alive)
        assert execute(server.owner_url, "SELECT n FROM kept") == [(7,)]


def test_reopening_after_both_were_killed_recovers(folder):
    holder = script(HOLD, folder / "data")
    pid = int(holder.stdout.readline())
    holder.kill()
    os.kill(pid, signal.SIGKILL)
    holder.communicate()
    with opened(folder / "data") as server:
        assert server.pid != pid
        assert execute(server.app_url, "SELECT 1") == [(1,)]


def test_server_outlives_a_killed_process_and_the_next_one_attaches(folder):
    holder = script(HOLD, folder / "data")
    pid = int(holder.stdout.readline())
    holder.kill()
    holder.communicate()
    with opened(folder / "data") as server:
        assert server.pid == pid
        assert execute(server.app_url, "SELECT 1") == [(1,)]
        os.kill(pid, signal.SIGKILL)  # not our child: noticed all the same
        wait_until(lambda: start_mark(pid) is None)
        assert server.ensure_alive() is True


def test_zombie_server_is_not_taken_for_a_live_one(folder):
    # The holder never reaps its child, so the killed server's id stays taken.
    holder = script(HOLD, folder / "data")
    pid = int(holder.stdout.readline())
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: start_mark(pid) is None)
    os.kill(pid, 0)  # the id is still there
    try:
        server = EmbeddedPostgres.open(folder / "data", durable=False)
        assert server.pid != pid
        assert execute(server.app_url, "SELECT 1") == [(1,)]
    finally:
        holder.kill()
        holder.communicate()
    server.destroy()


def test_recycled_process_id_does_not_keep_the_server_from_starting(folder):
    with opened(folder / "data") as server:
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: start_mark(server.pid) is None)
        lock_file = server.cluster_dir / "postmaster.pid"
        stranger = script("import time; time.sleep(600)")
        try:
            lines = lock_file.read_text().splitlines(keepends=True)
            lock_file.write_text("".join([f"{stranger.pid}\n", *lines[1:]]))
            assert server.ensure_alive() is True
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.communicate()


def test_lock_file_of_a_live_server_is_never_cleared(folder):
    with opened(folder / "data") as server:
        clear_stale_lock_files(server.cluster_dir, server.cluster_dir / ".s.PGSQL.5432")
        assert find_postmaster(server.cluster_dir) == server.pid


def _open_and_count(data_dir, barrier, results):
    barrier.wait()
    with EmbeddedPostgres.open(data_dir, durable=False) as server:
        # Two of these at once can collide in the catalogue, IF NOT EXISTS or not.
        create = "SELECT pg_advisory_xact_lock(1); CREATE TABLE IF NOT EXISTS seen (pid int)"
        execute(server.owner_url, create)
        execute(server.owner_url, f"INSERT INTO seen VALUES ({os.getpid()})")
        results.put(server.pid)
        barrier.wait()


def test_two_processes_at_once_make_one_cluster(folder):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    results = context.Queue()
    opener = [
        context.Process(target=_open_and_count, args=(folder / "data", barrier, results))
        for _ in range(2)
    ]
    for process in opener:
        process.start()
    pids = {results.get(timeout=60) for _ in opener}
    for process in opener:
        process.join(60)
        assert process.exitcode == 0
        process.close()
    results.close()
    results.join_thread()
    assert len(pids) == 1
    with opened(folder / "data") as server:
        assert execute(server.owner_url, "SELECT count(*) FROM seen") == [(2,)]


def test_long_and_odd_paths_get_a_private_socket_elsewhere(folder):
    data_dir = folder / ("long-" * 20) / "it's, odd"
    with opened(data_dir) as server:
        assert execute(server.app_url, "SELECT 1") == [(1,)]
        [(socket_dir,)] = execute(server.owner_url, "SHOW unix_socket_directories")
        found = Path(socket_dir).lstat()
        assert stat.S_IMODE(found.st_mode) == 0o700
        assert found.st_uid == server.cluster_dir.stat().st_uid
        assert len(socket_dir) < 60
        server.close()
        assert not Path(socket_dir).exists()
        with EmbeddedPostgres.open(data_dir) as again:
            assert again.app_url == server.app_url
        # Somebody else's directory of the same name is not used.
        Path(socket_dir).mkdir(mode=0o777)
        Path(socket_dir).chmod(0o777)
        with EmbeddedPostgres.open(data_dir) as wary:
            assert wary.app_url != server.app_url
            assert execute(wary.app_url, "SELECT 1") == [(1,)]
        Path(socket_dir).rmdir()


def test_lost_socket_is_made_again(folder):
    holder = script(HOLD, folder / "data")
    pid = int(holder.stdout.readline())
    holder.kill()
    holder.communicate()
    (folder / "data" / "postgres" / ".s.PGSQL.5432").unlink()
    with opened(folder / "data") as server:
        assert server.pid != pid
        assert execute(server.app_url, "SELECT 1") == [(1,)]


def test_nothing_is_open_to_others(folder):
    with opened(folder / "data") as server:
        mode = stat.S_IMODE((folder / "data").stat().st_mode)
        # Root's directory may be passed through by the server's group, and no more.
        assert mode == (0o710 if AS_ROOT else 0o700)
        assert stat.S_IMODE(server.cluster_dir.stat().st_mode) == 0o700
        for path in (folder / "data").iterdir():
            if path.is_file():
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_directory_that_was_open_is_closed_only_if_it_is_empty_or_ours(folder):
    empty = folder / "empty"
    empty.mkdir(mode=0o755)
    with instance_lock(empty):
        assert stat.S_IMODE(empty.stat().st_mode) == 0o700
    shared = folder / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "theirs").touch()
    with pytest.raises(InvalidInputError, match="holds other files"):
        EmbeddedPostgres.open(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o777


def test_passwords_are_in_no_command_line_and_in_no_log(folder):
    with opened(folder / "data") as server:
        passwords = [
            psycopg.conninfo.conninfo_to_dict(url)["password"]
            for url in (server.owner_url, server.app_url)
        ]
        assert all(len(password) >= 32 for password in passwords)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.app_url, password="wrong")
        listed = subprocess.run(
            ["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True
        )
        seen = listed.stdout + server.log_path.read_text()
        assert str(server.cluster_dir) in seen
        assert not any(password in seen for password in passwords)
        assert execute(
            server.owner_url,
            "SELECT DISTINCT auth_method FROM pg_hba_file_rules WHERE error IS NULL",
        ) == [("scram-sha-256",)]


def test_server_inherits_no_secret_from_the_environment(folder, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-postgres")
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=1MB")
    with opened(folder / "data") as server:
        environment = Path(f"/proc/{server.pid}/environ")
        if not environment.exists():
            pytest.skip("this system does not show a process's environment")
        assert b"sk-not-for-postgres" not in environment.read_bytes()
        assert b"PGOPTIONS" not in environment.read_bytes()


def test_cluster_of_another_major_version_is_refused(folder):
    with opened(folder / "data") as server:
        server.close()
        version = server.cluster_dir / "PG_VERSION"
        version.write_text("16\n")
        with pytest.raises(UnavailableError, match="made by PostgreSQL 16") as refused:
            EmbeddedPostgres.open(folder / "data")
        assert refused.value.permanent
        version.write_text("18\n")


def test_failing_start_shows_the_end_of_the_log(folder):
    with opened(folder / "data") as server:
        server.close()
        settings = server.cluster_dir / "postgresql.auto.conf"
        settings.write_text("max_connections = 'many'\n")
        with pytest.raises(UnavailableError, match="max_connections"):
            EmbeddedPostgres.open(folder / "data")
        settings.write_text("")


def test_half_made_cluster_is_made_again(folder):
    with opened(folder / "data") as server:
        server.close()
        shutil.rmtree(server.cluster_dir)
        (server.cluster_dir.parent / "postgres.new-abandoned").mkdir()
        with EmbeddedPostgres.open(folder / "data") as again:
            assert again.app_url == server.app_url
            assert execute(again.app_url, "SELECT 1") == [(1,)]
        assert not list(server.cluster_dir.parent.glob("postgres.new-*"))


def test_damaged_or_missing_passwords_are_said_to_be_so(folder):
    with opened(folder / "data") as server:
        server.close()
        state = folder / "data" / "postgres.json"
        good = state.read_text()
        state.write_text("{")
        with pytest.raises(UnavailableError, match="is damaged"):
            EmbeddedPostgres.open(folder / "data")
        state.unlink()
        with pytest.raises(UnavailableError, match=r"passwords .* is gone"):
            EmbeddedPostgres.open(folder / "data")
        state.write_text(good)


def test_full_disk_is_said_in_a_sentence(folder):
    if not AS_ROOT:
        pytest.skip("only root can mount a small file system")
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "tmpfs", disk]
    mounted = subprocess.run(mount, check=False)
    if mounted.returncode != 0:
        pytest.skip("this system does not let root mount a file system")
    try:
        with pytest.raises(UnavailableError, match="No space left on device"):
            EmbeddedPostgres.open(disk / "data")
        assert not list((disk / "data").glob("postgres*new*"))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_destroying_is_refused_while_another_uses_it(folder):
    with opened(folder / "data") as server:
        other = EmbeddedPostgres.open(folder / "data")
        with pytest.raises(ConflictError):
            server.destroy()
        assert execute(server.app_url, "SELECT 1") == [(1,)]
        other.close()
        assert execute(server.app_url, "SELECT 1") == [(1,)]


def test_log_is_kept_small(folder):
    (folder / "data").mkdir()
    log = LogFile(folder / "data", "postgres.log")
    with os.fdopen(log.open(), "wb") as writer:
        for _ in range(3):
            writer.write(b"x" * 9 * 1024 * 1024)
            writer.flush()
            log.keep_small()
            assert log.size() == 0
        writer.write(b"the newest line\n")
        writer.flush()
    assert log.since(0) == "the newest line"
    assert (folder / "data" / "postgres.log.1").stat().st_size <= 8 * 1024 * 1024


def test_second_instance_is_refused_with_the_first_ones_process(folder):
    with (
        instance_lock(folder / "data"),
        pytest.raises(ConflictError, match=rf"process {os.getpid()}"),
        instance_lock(folder / "data"),
    ):
        pass
    with instance_lock(folder / "data"):
        assert instance_of(folder / "data") == os.getpid()
    assert instance_of(folder / "data") is None
    assert instance_of(folder / "nowhere") is None


def test_instance_lock_of_a_killed_process_is_free(folder):
    holder = script(
        "import sys, time\nfrom pathlib import Path\n"
        "from rota.store.embedded.files import instance_lock\n"
        "with instance_lock(Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n    time.sleep(600)",
        folder / "data",
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ConflictError), instance_lock(folder / "data"):
        pass
    holder.kill()
    holder.communicate()
    with instance_lock(folder / "data"):
        pass


def test_default_data_dir_follows_xdg(monkeypatch):
    if sys.platform == "darwin":
        pytest.skip("macOS has a place of its own")
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert default_data_dir() == Path("/home/alice/.local/share/rota")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_data_dir() == Path("/home/alice/.local/share/rota")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_data_dir() == Path("/data/rota")


@needs_root
def test_root_keeps_the_cluster_where_its_account_reaches_it(folder):
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    state_dir = folder / "state"
    with opened(closed / "data", state_dir=state_dir) as server:
        assert server.cluster_dir.parent == state_dir / "clusters"
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert stat.S_IMODE((closed / "data").stat().st_mode) == 0o700
        assert execute(server.app_url, "SELECT 1") == [(1,)]
        account = pwd.getpwuid(server.cluster_dir.stat().st_uid)
        assert account.pw_name in {"postgres", "rota"}
        server.close()
        with EmbeddedPostgres.open(closed / "data", state_dir=state_dir) as again:
            assert again.cluster_dir == server.cluster_dir
    assert not list((state_dir / "clusters").iterdir())


@needs_root
def test_throwaway_clusters_of_vanished_directories_are_swept(folder):
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    holder = script(
        HOLD.replace("durable=False", "durable=False, state_dir=Path(sys.argv[2])"),
        closed / "data",
        folder / "state",
    )
    pid = int(holder.stdout.readline())
    holder.kill()
    holder.communicate()
    shutil.rmtree(closed / "data")
    with opened(closed / "other", state_dir=folder / "state") as server:
        assert start_mark(pid) is None
        kept = [path for path in (folder / "state" / "clusters").iterdir() if path.is_dir()]
        assert kept == [server.cluster_dir]


@needs_root
def test_binaries_that_the_account_cannot_reach_are_copied_once(folder, monkeypatch):
    from rota.store.embedded import binaries

    account = Account.by_id(pwd.getpwnam("nobody").pw_uid)
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    package = binaries._package_dir()
    shutil.copytree(package, closed / package.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, closed / libraries.name)
    monkeypatch.syspath_prepend(str(closed))
    told = []
    first = binaries_for(account, folder / "state", told.append)
    assert first.is_relative_to(folder / "state")
    assert account.run([first / "postgres", "--version"]).stdout.startswith("postgres (PostgreSQL)")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    again = binaries_for(account, folder / "state", told.append)
    assert again == first
    assert len(told) == 1
    assert len(list((folder / "state").iterdir())) == 1


@needs_root
def test_directory_of_a_person_is_served_as_that_person(folder):
    nobody = pwd.getpwnam("nobody")
    data_dir = folder / "data"
    data_dir.mkdir(mode=0o700)
    os.chown(data_dir, nobody.pw_uid, nobody.pw_gid)
    with opened(data_dir) as server:
        assert server.cluster_dir.stat().st_uid == nobody.pw_uid
        for path in data_dir.iterdir():
            assert path.stat().st_uid == nobody.pw_uid, path


@needs_root
def test_other_peoples_directory_is_refused_with_a_sentence(folder):
    data_dir = folder / "data"
    data_dir.mkdir(mode=0o700)
    child = os.fork()
    if child == 0:
        os.setgid(65534)
        os.setuid(pwd.getpwnam("nobody").pw_uid)
        try:
            EmbeddedPostgres.open(data_dir)
        except UnavailableError as error:
            os._exit(0 if "Permission denied" in error.message else 3)
        except BaseException:  # noqa: BLE001 - a forked child must end here
            os._exit(4)
        os._exit(5)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
