-- A run that a process executes outside the queue counts for itself: nobody else would end it. A
-- backfill does not count: the present goes before it, one after the other all the same. Nor does
-- a run that waits for its time, a retry say: no fire is skipped because an earlier one failed.
SELECT schedule_id, count(*) AS count, min(coalesce(fire_time, created_at)) AS since
FROM public.agent_runs
WHERE schedule_id = ANY (%(schedule_ids)s) AND status IN ('waiting', 'queued', 'running')
  AND trigger <> 'backfill' AND NOT (status = 'running' AND queued_at IS NULL)
  AND NOT (status = 'waiting' AND coalesce(not_before > now(), false))
GROUP BY schedule_id
