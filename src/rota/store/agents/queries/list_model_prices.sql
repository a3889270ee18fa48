SELECT model, input_usd AS input, output_usd AS output, cached_input_usd AS cached_input,
       cache_write_usd AS cache_write
FROM public.model_prices
ORDER BY model
