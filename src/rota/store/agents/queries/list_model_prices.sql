SELECT model, input_usd, output_usd, cached_input_usd, cache_write_usd
FROM public.model_prices
ORDER BY model
