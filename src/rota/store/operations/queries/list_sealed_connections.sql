SELECT c.id, c.user_id, c.service AS name, c.secret AS sealed
FROM public.connections AS c
WHERE c.id > %(after)s
ORDER BY c.id
LIMIT %(limit)s
