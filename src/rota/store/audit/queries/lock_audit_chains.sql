-- Whoever deletes a person waits for the lock, and blanks the entries after they were read.
SELECT c.id, c.user_id, c.salt::text, c.person_hash, c.length, c.head
FROM public.audit_chains AS c
WHERE c.user_id = ANY (%(user_ids)s::uuid[]) OR c.id = %(nobodys)s
ORDER BY c.id
FOR NO KEY UPDATE
