SELECT r.id AS run_id, r.priority, r.attempt,
       CASE WHEN r.status = 'queued' THEN coalesce(r.start_tag, 0) END AS start_tag
FROM public.agent_runs AS r
WHERE rota.holds_slot(r) AND r.queued_at < now() - make_interval(secs => %(seconds)s)
  AND NOT EXISTS (
      SELECT FROM rota.pgqueuer AS q
      WHERE q.dedupe_key = r.id::text AND q.status IN ('queued', 'picked')
  )
LIMIT 1000
