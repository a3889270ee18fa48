"""What the benchmarks share: a server of their own, rota's processes, figures."""
