SELECT n.id, n.schedule_id, s.name AS schedule_name, n.agent_name, n.prompt, n.trigger, n.status,
       n.priority, n.attempt, n.fire_time, n.created_at, n.queued_at, n.started_at, n.finished_at,
       n.cancel_requested_at, n.cancel_reason, n.journal_pruned_at,
       r.status AS result_status,
       n.not_before, n.retry_of, n.options, n.snapshot ->> 'model' AS model,
       n.snapshot -> 'run_limits' AS limits, r.metadata,
       CASE WHEN r.status <> 'error' THEN NULL
            WHEN length(r.result_content) > 2000 THEN left(r.result_content, 1999) || '…'
            ELSE r.result_content END AS error
FROM public.agent_runs AS n
LEFT JOIN public.agent_schedules AS s ON s.id = n.schedule_id
LEFT JOIN public.agent_execution_results AS r ON r.run_id = n.id
WHERE n.id BETWEEN %(first)s AND %(last)s
ORDER BY n.created_at DESC, n.id
LIMIT %(limit)s
