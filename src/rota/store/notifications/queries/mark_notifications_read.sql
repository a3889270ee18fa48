UPDATE public.notifications SET read_at = now()
WHERE read_at IS NULL AND (%(ids)s::uuid[] IS NULL OR id = ANY (%(ids)s::uuid[]))
