SELECT public.resume_everything()
