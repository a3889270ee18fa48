SELECT c.id, c.user_id, c.name, c.secret AS sealed
FROM public.connections AS c
WHERE c.id > %(after)s
ORDER BY c.id
LIMIT %(limit)s
