-- What is new for some people, by number, and in each row how far that goes: a row of NULL for nothing.
SELECT s.last, s.pruned, e.user_id, e.number, e.kind, e.id, e.run_id, e.model_step, e.call_index,
       e.status, e.at
FROM (
    SELECT greatest(f.pruned, (SELECT max(n.number) FROM public.person_events AS n)) AS last, f.pruned
    FROM rota.event_feed AS f
) AS s
LEFT JOIN LATERAL (
    SELECT p.user_id, p.number, p.kind, p.subject AS id, p.run_id, p.model_step, p.call_index,
           p.status, p.at
    FROM public.person_events AS p
    WHERE p.number > %(after)s AND p.number <= s.last AND p.user_id = ANY(%(people)s::uuid[])
    ORDER BY p.number LIMIT %(at_most)s
) AS e ON true
ORDER BY e.number
