SELECT count(*) FROM public.audit_blocks AS b
JOIN public.audit_chains AS c ON c.id = b.chain_id AND b.seq > c.length
WHERE c.id = %(chain_id)s
