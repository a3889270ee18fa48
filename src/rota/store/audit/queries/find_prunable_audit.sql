-- How far each chain may be pruned, and what a checkpoint says of it. Where the clock was set back,
-- what follows a block that is kept is kept, and takes no place of what can go.
WITH due AS (
    SELECT b.chain_id, b.seq FROM public.audit_blocks AS b
    WHERE b.sealed_at < %(before)s AND b.chain_id <> ALL (%(without)s::uuid[])
      AND NOT EXISTS (
          SELECT FROM public.audit_blocks AS k
          WHERE k.chain_id = b.chain_id AND k.seq < b.seq AND k.sealed_at >= %(before)s)
    ORDER BY b.sealed_at, b.seq
    LIMIT %(limit)s
), far AS (
    SELECT d.chain_id, max(d.seq) AS seq FROM due AS d GROUP BY d.chain_id
)
SELECT f.chain_id, f.seq AS through_seq, last.hash, g.block_count,
       g.row_count + coalesce(c.row_count, 0) AS rows_in_all,
       to_jsonb(last.sealed_at AT TIME ZONE 'UTC') #>> '{}' AS sealed_at,
       to_jsonb(%(now)s::timestamptz AT TIME ZONE 'UTC') #>> '{}' AS pruned_at
FROM far AS f
JOIN public.audit_blocks AS last ON last.chain_id = f.chain_id AND last.seq = f.seq
CROSS JOIN LATERAL (
    SELECT count(*) AS block_count, sum(cardinality(b.row_ids))::bigint AS row_count
    FROM public.audit_blocks AS b
    WHERE b.chain_id = f.chain_id AND b.seq <= f.seq
) AS g
LEFT JOIN public.audit_checkpoints AS c ON c.chain_id = f.chain_id
ORDER BY f.chain_id
