"""Who writes notifications: one query, that one service uses, and one function of the database."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import rota

SOURCE = Path(rota.__file__).parent
WRITES = re.compile(
    r"\b(?:insert\s+into|merge\s+into|copy)\s+(?:only\s+)?"
    r'(?:"?public"?\s*\.\s*)?"?notifications"?(?![\w."])',
    re.IGNORECASE,
)


def without_comments(sql):
    return re.sub(r"--[^\n]*|/\*.*?\*/", " ", sql, flags=re.DOTALL)


def modules_that(matches):
    return {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if any(map(matches, ast.walk(ast.parse(path.read_text(encoding="utf-8")))))
    }


def is_text(node, test):
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(test(node.value))


def is_name(node, name):
    match node:
        case ast.Name(id=found) | ast.Attribute(attr=found) | ast.alias(name=found):
            return found == name
    return False


def test_one_query_inserts_notifications():
    found = [
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.sql")
        if WRITES.search(without_comments(path.read_text(encoding="utf-8")))
    ]

    assert found == ["store/notifications/queries/insert_notifications.sql"]
    assert modules_that(lambda node: is_text(node, WRITES.search)) == set()


def test_one_service_uses_the_query():
    query = "notifications/insert_notifications"

    assert modules_that(lambda node: is_text(node, lambda text: query in text)) == {
        "store/notifications/rows.py"
    }
    assert modules_that(lambda node: is_name(node, "insert_notifications")) == {
        "services/notifications/service.py"
    }


async def test_one_function_of_the_database_inserts_notifications(owner):
    cursor = await owner.execute(
        "SELECT p.oid::regprocedure::text, coalesce(p.prosrc, '') || "
        "coalesce(pg_get_function_sqlbody(p.oid), '') FROM pg_proc AS p "
        "JOIN pg_namespace AS n ON n.oid = p.pronamespace "
        "WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')"
    )
    found = [
        name for name, body in await cursor.fetchall() if WRITES.search(without_comments(body))
    ]

    assert found == ["decide_action(uuid,text,integer,text,text,text)"]


def test_the_writing_of_notifications_is_recognised():
    for sql in (
        "INSERT INTO public.notifications (title) VALUES ('x')",
        'insert  into\n"notifications" DEFAULT VALUES',
        "COPY notifications (title) FROM STDIN",
        "MERGE INTO public.notifications AS n USING x",
    ):
        assert WRITES.search(sql), sql
    for sql in (
        "UPDATE public.notifications SET read_at = now()",
        "INSERT INTO public.notifications_sent DEFAULT VALUES",
    ):
        assert not WRITES.search(sql), sql
