WITH block AS (
    INSERT INTO public.audit_blocks
        (chain_id, seq, previous, hash, row_ids, contents, digests, sealed_at)
    SELECT b.chain_id, b.seq, decode(b.previous, 'hex'), decode(b.hash, 'hex'), b.row_ids,
           decode(b.contents, 'hex'), decode(b.digests, 'hex'), b.sealed_at
    FROM jsonb_to_recordset(%(blocks)s::jsonb) AS b (
        chain_id uuid, seq bigint, previous text, hash text, row_ids bigint[], contents text,
        digests text, sealed_at timestamptz)
    RETURNING chain_id, seq, hash, row_ids
), marks AS (
    INSERT INTO rota.audit_sealed (audit_id) SELECT unnest(row_ids) FROM block
)
UPDATE public.audit_chains AS c SET length = block.seq, head = block.hash
FROM block WHERE block.chain_id = c.id
