-- What the run asked for before that this one repeats: one yes is not to be two mails.
UPDATE public.pending_actions SET status = 'withdrawn', decided_at = now()
WHERE run_id = %(run_id)s AND status = 'pending' AND tool_name = %(tool_name)s
  AND arguments_hash = %(arguments_hash)s
RETURNING id
