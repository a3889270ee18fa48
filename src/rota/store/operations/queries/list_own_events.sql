-- As a person, by number: row-level security leaves what is theirs.
SELECT number, kind, subject AS id, run_id, model_step, call_index, status, at
FROM public.person_events
WHERE number > %(after)s
  AND (%(run_id)s::uuid IS NULL OR run_id = %(run_id)s)
  AND (cardinality(%(kinds)s::text[]) = 0 OR kind = ANY(%(kinds)s))
ORDER BY number
LIMIT %(at_most)s
