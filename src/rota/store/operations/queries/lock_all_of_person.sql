-- In the one order of all locks: schedules, then runs, then actions, each by id.
WITH schedules AS MATERIALIZED (
    SELECT id FROM public.agent_schedules WHERE user_id = %(user_id)s ORDER BY id FOR UPDATE
), runs AS MATERIALIZED (
    SELECT id FROM public.agent_runs
    WHERE user_id = %(user_id)s AND (SELECT count(*) FROM schedules) >= 0
    ORDER BY id FOR UPDATE
), actions AS MATERIALIZED (
    SELECT id FROM public.pending_actions
    WHERE user_id = %(user_id)s AND (SELECT count(*) FROM runs) >= 0
    ORDER BY id FOR UPDATE
)
SELECT count(*) FROM actions
