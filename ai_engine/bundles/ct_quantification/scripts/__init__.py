"""CT quantification: deterministic measurements of lungs and body tissue; needs numpy and scipy only."""
