"""Sweeps: many runs as one graph of tasks that share trainings, serial or on a Dask cluster."""
