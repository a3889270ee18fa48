-- Pauses of these people that are not over by `over_after`, or not by now.
SELECT user_id, starts_at, ends_at, note
FROM public.pauses
WHERE user_id = ANY (%(people)s) AND (ends_at IS NULL OR ends_at > least(%(over_after)s, now()))
ORDER BY starts_at
