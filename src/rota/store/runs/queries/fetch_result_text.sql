SELECT content FROM public.result_texts WHERE result_id = %(result_id)s
