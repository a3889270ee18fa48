UPDATE public.connections
SET secret = %(resealed)s, key_id = %(key_id)s
WHERE id = %(id)s AND secret = %(sealed)s
