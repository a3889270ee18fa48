-- What models cost, where the operator knows better than the table that rota comes with: other
-- terms, a model server of one's own. Written by the backend alone, read by everybody signed in.

CREATE TABLE public.model_prices (
    model text PRIMARY KEY -- provider:model, provider:*, or * for any model
        CHECK (model = '*' OR (model ~ '^[a-z][a-z0-9_]*:\S(.*\S)?$' AND length(model) <= 300)),
    -- US dollars per million tokens. BETWEEN also keeps NaN out, which is greater than any number.
    input_usd numeric NOT NULL CHECK (input_usd BETWEEN 0 AND 1000000),
    output_usd numeric NOT NULL CHECK (output_usd BETWEEN 0 AND 1000000),
    cached_input_usd numeric CHECK (cached_input_usd BETWEEN 0 AND 1000000), -- NULL: as input
    cache_write_usd numeric CHECK (cache_write_usd BETWEEN 0 AND 1000000), -- NULL: as input
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.model_prices
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();

SELECT rota.keep_to_backend('public.model_prices');

GRANT SELECT ON public.model_prices TO authenticated;
CREATE POLICY reads_all ON public.model_prices FOR SELECT TO authenticated USING (true);
