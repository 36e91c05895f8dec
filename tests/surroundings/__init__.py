"""Programs in surroundings that lack something: training goes on, and one line says what."""
