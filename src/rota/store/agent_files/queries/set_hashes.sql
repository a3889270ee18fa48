INSERT INTO public.applied_files (user_id, hashes, applied_at)
VALUES (%(user_id)s, %(hashes)s, now())
ON CONFLICT (user_id) DO UPDATE SET hashes = excluded.hashes, applied_at = excluded.applied_at
