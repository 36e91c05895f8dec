"""Draws of any pair: at once where it can be, in bounded memory, and scored."""
