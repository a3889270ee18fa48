-- Ends what was announced: nobody hears of a recovery from something that was never told.
UPDATE public.incidents SET closed_at = now()
WHERE user_id = ANY (%(user_ids)s) AND kind = %(kind)s AND closed_at IS NULL
  AND announced_at IS NOT NULL
RETURNING id, user_id, opened_at
