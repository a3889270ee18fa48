-- Chains that the transaction's person sees; with entries but no chain, a person has no line here.
SELECT c.id, c.user_id, c.salt::text, c.person_hash, c.length, c.head
FROM public.audit_chains AS c
WHERE (%(chain_id)s::uuid IS NULL OR c.id = %(chain_id)s)
ORDER BY c.created_at, c.id
