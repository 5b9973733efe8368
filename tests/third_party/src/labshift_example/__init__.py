"""Two small corrections."""

from labshift_example.example_scale import ExampleScale

__all__ = ["ExampleScale"]
