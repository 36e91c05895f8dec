"""How the pages of the site are made."""
