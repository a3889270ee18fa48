SELECT (SELECT count(*) FROM public.connections)
     + (SELECT count(*) FROM public.pending_actions WHERE sealed_arguments IS NOT NULL)
