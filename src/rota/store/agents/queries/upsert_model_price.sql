INSERT INTO public.model_prices (model, input_usd, output_usd, cached_input_usd, cache_write_usd)
VALUES (%(model)s, %(input)s, %(output)s, %(cached_input)s, %(cache_write)s)
ON CONFLICT (model) DO UPDATE
SET input_usd = excluded.input_usd, output_usd = excluded.output_usd,
    cached_input_usd = excluded.cached_input_usd, cache_write_usd = excluded.cache_write_usd
