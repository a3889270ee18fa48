-- The greatest number that was given, and the one up to which events may be gone.
SELECT greatest(f.pruned, (SELECT max(e.number) FROM public.person_events AS e)) AS last, f.pruned,
       now() - %(kept_for)s::interval AS kept_from
FROM rota.event_feed AS f
