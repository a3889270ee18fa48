SELECT n.id, n.schedule_id, s.name AS schedule_name, n.agent_name, n.trigger, n.status,
       CASE WHEN length(n.prompt) > %(longest)s THEN left(n.prompt, %(longest)s - 1) || '…'
            ELSE n.prompt END AS prompt,
       n.priority, n.attempt, n.fire_time, n.created_at, n.queued_at, n.started_at, n.finished_at,
       n.cancel_requested_at, n.cancel_reason, n.journal_pruned_at,
       r.status AS result_status,
       n.not_before, n.retry_of, n.options, n.snapshot ->> 'model' AS model,
       n.snapshot -> 'run_limits' AS limits, r.metadata - 'dry_run' AS metadata,
       CASE WHEN r.status <> 'error' THEN NULL
            WHEN length(r.result_content) > 2000 THEN left(r.result_content, 1999) || '…'
            ELSE r.result_content END AS error
FROM public.agent_runs AS n
LEFT JOIN public.agent_schedules AS s ON s.id = n.schedule_id
LEFT JOIN public.agent_execution_results AS r ON r.run_id = n.id
WHERE n.created_at <= %(after_created)s::timestamptz -- for the index: the next line is no condition of it
  AND (n.created_at, coalesce(n.fire_time, '0001-01-01 00:00:00+00'), n.id)
      < (%(after_created)s::timestamptz, %(after_fire)s::timestamptz, %(after_id)s::uuid)
  AND (%(schedule_id)s::uuid IS NULL OR n.schedule_id = %(schedule_id)s)
  AND (%(agent_name)s::text IS NULL OR n.agent_name = %(agent_name)s)
  AND (%(status)s::text IS NULL OR n.status = %(status)s)
  AND (%(result_status)s::text IS NULL OR r.status = %(result_status)s)
  AND (%(trigger)s::text IS NULL OR n.trigger = %(trigger)s)
  AND (%(since)s::timestamptz IS NULL OR n.created_at >= %(since)s)
ORDER BY n.created_at DESC, coalesce(n.fire_time, '0001-01-01 00:00:00+00') DESC, n.id DESC
LIMIT %(limit)s
