-- A worker that stops hands its runs over: an attempt, but none that something in the run killed.

ALTER TABLE public.agent_runs
    ADD COLUMN hand_overs integer NOT NULL DEFAULT 0 CHECK (hand_overs BETWEEN 0 AND attempt);

-- Statistics of the queue that nothing reads, and nothing pruned.
TRUNCATE rota.pgqueuer_statistics;
