"""The reference of the schema is true, and says something of everything that is public."""

from __future__ import annotations

import os

import pytest

from tests import postgres, schema


@pytest.mark.skipif(postgres.OWN_SERVER in os.environ, reason="another version writes otherwise")
@pytest.mark.parametrize("name", ["schema.md", "schema.sql"])
async def test_reference_is_current(owner_url, name):
    written = (schema.REFERENCE / name).read_text(encoding="utf-8")

    assert written == schema.documents(owner_url)[name], "run scripts/schema"


async def test_every_public_thing_has_a_comment(owner):
    cursor = await owner.execute(
        "SELECT c.relname, a.attname FROM pg_class AS c"
        " JOIN pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped"
        "      AND (a.attnum > 0 OR a.attname = 'tableoid')"  # tableoid: the table itself
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
        " AND coalesce(CASE WHEN a.attnum > 0 THEN col_description(c.oid, a.attnum)"
        "                   ELSE obj_description(c.oid, 'pg_class') END, '') = ''"
        " UNION ALL SELECT 'function', p.oid::regprocedure::text FROM pg_proc AS p"
        " WHERE p.pronamespace = 'public'::regnamespace"
        " AND coalesce(obj_description(p.oid, 'pg_proc'), '') = ''"
    )
    assert await cursor.fetchall() == []
