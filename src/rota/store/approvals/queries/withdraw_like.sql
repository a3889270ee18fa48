-- Earlier requests of the run for the same call: one approval must not send two mails.
UPDATE public.pending_actions AS a SET status = 'withdrawn', decided_at = now()
WHERE a.run_id = %(run_id)s AND a.status = 'pending' AND a.tool_name = %(tool_name)s
  AND a.arguments_hash = %(arguments_hash)s
RETURNING rota.record_decision(a, 'withdrawn', 'not_run', 'rota', 'worker', %(detail)s)
