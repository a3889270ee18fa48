SELECT chain_id, seq, previous, hash, row_ids, contents, digests,
       to_jsonb(sealed_at AT TIME ZONE 'UTC') #>> '{}' AS sealed_at
FROM public.audit_blocks
WHERE chain_id = %(chain_id)s AND seq > %(after)s AND seq <= %(through)s
ORDER BY seq
LIMIT %(limit)s
