-- `rota apply` remembers what it stored last of each file, so that it sees where somebody changed the
-- same thing here since.

CREATE TABLE public.applied_files (
    user_id uuid PRIMARY KEY REFERENCES auth.users (id) ON DELETE CASCADE,
    hashes jsonb NOT NULL DEFAULT '{}',
    applied_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT applied_files_hashes_check CHECK (
        jsonb_typeof(hashes) = 'object' AND rota.is_bounded_json(hashes, 2000000))
);
COMMENT ON TABLE public.applied_files IS
    'What `rota apply` stored last of the files of a person''s directory';
COMMENT ON COLUMN public.applied_files.user_id IS 'Whose files; goes with the person';
COMMENT ON COLUMN public.applied_files.hashes IS
    'By the file''s name in an export, SHA-256 of what it says and of what was stored then';
COMMENT ON COLUMN public.applied_files.applied_at IS 'When files were applied last';

SELECT rota.keep_to_backend('public.applied_files');
GRANT SELECT, DELETE ON public.applied_files TO authenticated;
GRANT INSERT (user_id, hashes, applied_at) ON public.applied_files TO authenticated;
GRANT UPDATE (hashes, applied_at) ON public.applied_files TO authenticated;
CREATE POLICY reads_own ON public.applied_files FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY inserts_own ON public.applied_files FOR INSERT TO authenticated
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY updates_own ON public.applied_files FOR UPDATE TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY deletes_own ON public.applied_files FOR DELETE TO authenticated
    USING (user_id = (SELECT auth.uid()));
