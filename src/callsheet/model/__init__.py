"""The nouns: frozen, plain, JSON-shaped. Imports nothing else of the project."""
