SELECT open_to_all FROM rota.limits
