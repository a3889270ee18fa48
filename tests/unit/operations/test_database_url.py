"""Database URLs are read as libpq reads them; what is not encoded is refused, and never shown."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from rota.domain.errors import InvalidInputError
from rota.domain.operations.database_url import FOREIGN_PARAMETERS, read_database_url

READ = [
    "postgresql://u:p@host:5432/rota",
    "postgres://u:p%25%40%2F@host/rota?sslmode=require&application_name=x",
    "postgresql://host",
    "postgresql://",
    "postgresql:///rota?host=/tmp&port=5433",
    "postgresql://u:p@%2Ftmp%2Fsockets:5432/rota",
    "postgresql://u:p@[::1]:5432/rota",
    "postgresql://u:p@one:5432,two:5433/rota?target_session_attrs=read-write",
    "postgresql://u.project:p:q@host:6543/postgres?options=-c%20a%3Db",
]


@pytest.mark.parametrize("url", READ)
def test_url_that_libpq_reads_is_left_as_it_is(url):
    assert read_database_url(url, variable="URL") == (url, ())
    assert conninfo_to_dict(url) is not None


@pytest.mark.parametrize("password", ["sec%ret", "sec@ret", "sec/ret", "sec?ret", "100%", "a b"])
@pytest.mark.parametrize("tail", ["host:5432/rota", "host/rota", "host"])
def test_password_that_is_not_encoded_is_refused_and_not_shown(password, tail):
    with pytest.raises(InvalidInputError, match="percent-encode") as caught:
        read_database_url(f"postgresql://u:{password}@{tail}", variable="URL")

    assert "sec" not in caught.value.message
    assert "ret" not in caught.value.message


@pytest.mark.parametrize("parameter", sorted(FOREIGN_PARAMETERS))
def test_parameter_of_another_program_is_taken_out(parameter):
    url = f"postgresql://u:p@host/rota?{parameter}=true&sslmode=require"

    read, ignored = read_database_url(url, variable="URL")

    assert (read, ignored) == ("postgresql://u:p@host/rota?sslmode=require", (parameter,))


def test_url_with_nothing_but_a_foreign_parameter_has_no_query_left():
    assert read_database_url("postgresql://h/d?pgbouncer=true", variable="URL") == (
        "postgresql://h/d",
        ("pgbouncer",),
    )
