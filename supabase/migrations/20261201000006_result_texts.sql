-- What a result is cut to (50,000 characters, SPEC-003) is not all that the agent answered: the whole of a longer
-- answer is kept beside it. Backends of the version before write none.
CREATE TABLE public.result_texts (
    result_id uuid PRIMARY KEY REFERENCES public.agent_execution_results (id) ON DELETE CASCADE,
    user_id uuid NOT NULL,
    content text NOT NULL CHECK (char_length(content) BETWEEN 50001 AND 10000000)
);
COMMENT ON TABLE public.result_texts IS
    'The whole of results that are longer than a result is stored: 10,000,000 characters at most';
COMMENT ON COLUMN public.result_texts.result_id IS 'The result; goes with it';
COMMENT ON COLUMN public.result_texts.user_id IS 'Whose it is: the person of the result';
COMMENT ON COLUMN public.result_texts.content IS 'All that the agent answered';

SELECT rota.keep_to_backend('public.result_texts');
GRANT SELECT ON public.result_texts TO authenticated;
CREATE POLICY reads_own ON public.result_texts FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
