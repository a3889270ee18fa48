UPDATE public.pending_actions AS a SET status = 'expired', decided_at = now()
WHERE a.status = 'pending' AND a.expires_at <= now()
  AND a.run_id IS NOT DISTINCT FROM %(run_id)s::uuid
RETURNING a.*, rota.record_decision(a, 'expired', 'not_run', 'rota', 'scheduler', '')
