SELECT hashes FROM public.applied_files WHERE user_id = %(user_id)s
