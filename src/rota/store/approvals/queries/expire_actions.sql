WITH late AS (
    SELECT id FROM public.pending_actions AS a
    WHERE a.status = 'pending' AND a.expires_at <= now()
      AND a.run_id IS NOT DISTINCT FROM %(run_id)s::uuid
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE public.pending_actions AS a SET status = 'expired', decided_at = now()
FROM late
WHERE a.id = late.id
RETURNING a.*, rota.record_decision(a, 'expired', 'not_run', 'rota', 'scheduler', '')
