"""The rules of the house as tests, and the readers of source and documents that they need."""
