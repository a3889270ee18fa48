-- Entries of a person, or nobody's, that are in no block. One should be, if it was visible when
-- everything visible was sealed. Neither is one in order that says that its transaction is to come.
SELECT a.id,
       coalesce(pg_visible_in_snapshot(a.written_in, %(sealed)s::pg_snapshot)
                OR (%(sealed)s::pg_snapshot IS NOT NULL
                    AND a.written_in >= pg_snapshot_xmax(pg_current_snapshot())), false)
           AS is_late,
       to_jsonb(a.created_at AT TIME ZONE 'UTC') #>> '{}' AS created_at
FROM public.audit_logs AS a
WHERE a.user_id IS NOT DISTINCT FROM %(user_id)s::uuid
  AND NOT EXISTS (
      SELECT FROM (
          SELECT unnest(b.row_ids) AS id FROM public.audit_blocks AS b
          WHERE %(chain_id)s::uuid IS NULL OR b.chain_id = %(chain_id)s
      ) AS covered
      WHERE covered.id = a.id)
ORDER BY a.id
