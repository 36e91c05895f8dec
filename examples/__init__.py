"""Scripts to copy, and a tutorial in steps."""
