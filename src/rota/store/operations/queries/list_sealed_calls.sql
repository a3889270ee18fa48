SELECT a.id, a.user_id, a.tool_name AS name, a.sealed_arguments AS sealed
FROM public.pending_actions AS a
WHERE a.sealed_arguments IS NOT NULL AND a.id > %(after)s
  AND (NOT %(open_only)s OR a.status IN ('pending', 'approved', 'running', 'unknown'))
ORDER BY a.id
LIMIT %(limit)s
