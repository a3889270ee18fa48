-- Keeps schedules from being deleted while results of theirs are stored, and for whoever counts a
-- failure, or ends a row of them, from being changed. Whatever another session has locked is left:
-- `is_free` is false of it.
WITH kept AS MATERIALIZED (
    SELECT id FROM public.agent_schedules WHERE id = ANY (%(schedule_ids)s)
    ORDER BY id
    FOR KEY SHARE SKIP LOCKED
), changed AS MATERIALIZED (
    SELECT id FROM public.agent_schedules
    WHERE id = ANY (%(failing)s) OR (id = ANY (%(recovering)s) AND failures_in_row > 0)
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT s.id, c.id IS NOT NULL AS is_changed,
       k.id IS NOT NULL
           AND (c.id IS NOT NULL
                OR NOT (s.id = ANY (%(failing)s)
                        OR (s.id = ANY (%(recovering)s) AND s.failures_in_row > 0))) AS is_free
FROM public.agent_schedules AS s
LEFT JOIN kept AS k USING (id)
LEFT JOIN changed AS c USING (id)
WHERE s.id = ANY (%(schedule_ids)s)
